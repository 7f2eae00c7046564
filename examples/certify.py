"""How sure is a classifier of digits? Train it small, bound it, and try to fool it within the radius that it is certain of."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.utils.parametrize import register_parametrization

from faltung import certify


def one_lipschitz(layer: nn.Module) -> nn.Module:
    """A convolution whose filters are divided so that it never lengthens anything."""
    register_parametrization(layer, "weight", certify.SpectralRescale(layer.stride, groups=layer.groups, n_iter=2))
    return layer


def main() -> None:
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    y = torch.tensor(digits.target)
    model = nn.Sequential(
        one_lipschitz(nn.Conv2d(1, 16, 3, padding=1)), nn.ReLU(), one_lipschitz(nn.Conv2d(16, 32, 2, stride=2)), nn.ReLU(),
        nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(150):
        batch = torch.randint(1400, (256,))
        loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    model.eval()
    test, labels = x[1400:], y[1400:]
    print(certify.lipschitz(model, test))
    radii = certify.radius(model, test, labels)
    accuracy = (model(test).argmax(1) == labels).float().mean()
    for distance in (0.0, 0.05, 0.1, 0.2):
        print(f"certain within {distance:4.2f}: {(radii > distance).float().mean():.3f} of the digits")
    print(f"accuracy {accuracy:.3f}, median radius {radii.median():.3f}")

    # The strongest step along the gradient, as long as the certificate allows: not one decision changes.
    moved = test.clone().requires_grad_()
    nn.functional.cross_entropy(model(moved), labels).backward()
    direction = moved.grad / moved.grad.flatten(1).norm(dim=1).clamp(min=1e-30)[:, None, None, None]
    attacked = test + 0.999 * radii[:, None, None, None] * direction
    certain = radii > 0
    assert (model(attacked).argmax(1) == labels)[certain].all()
    assert accuracy > 0.8
    assert radii.median() > 0.02


if __name__ == "__main__":
    main()
