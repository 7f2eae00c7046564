"""The convolution of the Poincaré ball against its definition by patches, and a Euclidean convolution of as many products."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import nn

from faltung import nn as ours
from operator_rows import Row


def by_patches(layer: ours.PoincareConv, x: torch.Tensor) -> torch.Tensor:
    """The published steps: unfold, expmap0, planes, logmap0."""
    root = layer.c**0.5
    patches = nn.functional.unfold(x, layer.kernel_size, padding=layer.padding) * layer.ratio
    size = patches.norm(dim=1, keepdim=True).clamp(min=1e-15)
    point = torch.tanh(root * size) * patches / (root * size)
    conformal = 2 / (1 - layer.c * point.square().sum(1, keepdim=True))
    planes, shift = layer.weight.flatten(1), layer.bias[:, None]
    length = planes.norm(dim=1)[:, None]
    inside = root * conformal * ((planes / length) @ point)
    v = 2 * length * torch.asinh(inside * torch.cosh(2 * root * shift) - (conformal - 1) * torch.sinh(2 * root * shift))
    w = torch.sinh(v) / root
    y = w / (1 + torch.sqrt(1 + layer.c * w.square().sum(1, keepdim=True)))
    norm = y.norm(dim=1, keepdim=True).clamp(min=1e-15)
    return (torch.atanh(root * norm) * y / (root * norm)).unflatten(-1, x.shape[2:])


def euclidean(layer: ours.PoincareConv, x: torch.Tensor) -> torch.Tensor:
    """A convolution by unfolding with the same weights, and as many results: for its time alone."""
    patches = nn.functional.unfold(x, layer.kernel_size, padding=layer.padding)
    return (layer.weight.flatten(1) @ patches).unflatten(-1, x.shape[2:])


def training(call: Callable[..., torch.Tensor], layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The gradient for x of the sum of squares."""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(call(layer, x).square().sum(), [x, *layer.parameters()][:2])[0]


def rows() -> Iterator[Row]:
    """Inference and training."""
    for batch, channels, size in ((8, 16, 32), (8, 32, 32), (8, 64, 16)):
        torch.manual_seed(0)
        layer = ours.PoincareConv2d(channels, channels, 3, padding=1, init="normal")
        x = 0.3 * torch.randn(batch, channels, size, size)
        label = f"poincare-conv 3², {channels} on {size}², batch {batch}"
        peers = {"by patches, in torch": partial(by_patches, layer, x)}
        yield Row(
            label,
            torch.no_grad()(partial(layer, x)),
            {k: torch.no_grad()(f) for k, f in peers.items()},
            warm=torch.no_grad()(partial(layer, x)),
        )
        yield Row(
            f"{label}, training", partial(training, lambda one, z: one(z), layer, x),
            {"by patches, in torch": partial(training, by_patches, layer, x)}, tolerance=1e-3,
        )  # fmt: skip
        # The cost of hyperbolic over Euclidean: results differ by design.
        flat = ours.PoincareConv2d(channels, channels, 3, padding=1, init="normal", c=0.0, bias=False)
        with torch.no_grad():
            flat.weight.copy_(layer.weight)
        scale = 2 * flat.ratio
        yield Row(
            f"{label}, c = 0", torch.no_grad()(partial(flat, x)),
            {"Euclidean by unfolding": torch.no_grad()(lambda one=flat, z=x, s=scale: s * euclidean(one, z))},
        )  # fmt: skip
