"""Convolution with a filter for each sample against what torch users write: groups, patches and a batched product, a loop."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from faltung import nn
from faltung.nn import functional
from operator_rows import Row

TARGET = 2.0

# samples, channels in and out, side, taps along an axis, groups
SHAPES = [
    (8, 64, 64, 28, 3, 1),
    (32, 64, 64, 14, 3, 1),
    (16, 32, 64, 28, 3, 1),
    (8, 64, 64, 56, 3, 1),
    (8, 40, 40, 28, 3, 1),
    (8, 20, 20, 56, 3, 1),
    (8, 112, 672, 14, 1, 1),
    (8, 64, 64, 28, 3, 64),
    (8, 96, 96, 56, 3, 96),
    (8, 96, 96, 28, 5, 96),
    (16, 672, 672, 14, 5, 672),
]


def by_groups(x: Tensor, w: Tensor, groups: int = 1) -> Tensor:
    """The batch as groups of one sample."""
    n, o = w.shape[:2]
    y = F.conv2d(x.reshape(1, -1, *x.shape[2:]), w.flatten(0, 1), padding=w.shape[-1] // 2, groups=n * groups)
    return y.reshape(n, o, *y.shape[2:])


def by_patches(x: Tensor, w: Tensor, groups: int = 1) -> Tensor:
    """Patches side by side and one product a sample."""
    n, o = w.shape[:2]
    patches = F.unfold(x, w.shape[-1], padding=w.shape[-1] // 2).unflatten(1, (groups, -1))
    return (w.flatten(2).unflatten(1, (groups, -1)) @ patches).reshape(n, o, *x.shape[2:])


def by_loop(x: Tensor, w: Tensor, groups: int = 1) -> Tensor:
    """One call a sample."""
    pad = w.shape[-1] // 2
    return torch.cat([F.conv2d(a[None], b, padding=pad, groups=groups) for a, b in zip(x, w, strict=True)])


def ours(x: Tensor, w: Tensor, groups: int = 1) -> Tensor:
    return functional.conv_per_sample(x, w, padding=w.shape[-1] // 2, groups=groups)


def forward(call: Callable, x: Tensor, w: Tensor, groups: int) -> Callable:
    def run() -> Tensor:
        with torch.no_grad():
            return call(x, w, groups)

    return run


def training(call: Callable, x: Tensor, w: Tensor, groups: int) -> Callable:
    """Result and both gradients, as one vector."""
    x, w = x.clone().requires_grad_(), w.clone().requires_grad_()

    def run() -> Tensor:
        y = call(x, w, groups)
        return torch.cat([g.flatten() for g in torch.autograd.grad(y, (x, w), y.detach())])

    return run


def rows() -> Iterator[Row]:
    torch.manual_seed(0)
    peers = {"N·g groups": by_groups, "unfold and product": by_patches, "loop": by_loop}
    for n, c, o, side, k, groups in SHAPES:
        x, w = torch.randn(n, c, side, side), torch.randn(n, o, c // groups, k, k)
        kind = "depthwise" if groups == c else f"{c} → {o}"
        for name, mode in (("forward", forward), ("forward and backward", training)):
            yield Row(
                f"conv_per_sample, {n} × {kind}, {side}², {k}×{k}, {name}",
                mode(ours, x, w, groups),
                {label: mode(peer, x, w, groups) for label, peer in peers.items()},
                {"N·g groups": TARGET},
                lambda: ours(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 2, 3, 3)),
            )
    for n, c, side, experts in ((16, 64, 28, 4), (32, 128, 7, 8), (32, 128, 2, 4)):
        layer = nn.CondConv2d(c, c, 3, padding=1, num_experts=experts, bias=False)
        x = torch.randn(n, c, side, side)

        def mixed(x: Tensor = x, layer: torch.nn.Module = layer) -> Tensor:
            r = layer.routing(x)
            return by_groups(x, (r @ layer.weight.flatten(1)).reshape(len(x), *layer.weight.shape[1:]))

        def whole(call: Callable, x: Tensor = x, layer: torch.nn.Module = layer) -> Callable:
            return lambda: torch.cat(
                [g.flatten() for g in torch.autograd.grad(call(x).square().sum(), layer.parameters())]
            )

        yield Row(
            f"CondConv2d, {n} × {c} channels, {side}², {experts} experts, forward and backward", whole(layer),
            {"N·g groups": whole(mixed)}, {"N·g groups": TARGET}, lambda: nn.CondConv2d(2, 2, 3)(torch.zeros(1, 2, 4, 4)),
        )  # fmt: skip
