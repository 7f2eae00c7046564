"""A small network that reads digits: trained, looked at, damaged, and told apart from what it was."""

import copy

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from faltung.report import compare, inspect


def trained() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A network after a minute of digits, and the digits it has not seen."""
    torch.manual_seed(0)
    found = load_digits()
    x = torch.tensor(found.images[:, None] / 8 - 1, dtype=torch.float32)
    y = torch.tensor(found.target)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(96, 10),
    )  # fmt: skip
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(8):
        for part in torch.randperm(1400).split(64):
            loss = nn.functional.cross_entropy(model(x[part]), y[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval(), x[1400:], y[1400:]


def main() -> None:
    model, x, y = trained()
    with torch.no_grad():
        print(f"{(model(x).argmax(1) == y).float().mean():.1%} of unseen digits are read")
    before = inspect(model, x[:1])
    print(before.to_text())
    assert not any(finding.grade == "bad" for finding in before.findings)

    # The norm goes into the convolution before it: one operation less, the same results.
    better, proof = before.fix("E3")
    print(proof[0])
    with torch.no_grad():
        assert torch.allclose(better(x), model(x), atol=1e-4)

    # A damaged copy is told by name.
    damaged = copy.deepcopy(model)
    with torch.no_grad():
        damaged[3].weight[np.arange(6)] = 0
    difference = compare(before, inspect(damaged, x[:1]))
    print(difference.to_text())
    assert difference.worse
    assert ("F5", "3") in [entry[:2] for entry in difference.new]


if __name__ == "__main__":
    main()
