"""Coordinates as a bias for each position against concatenation, and the gates against their compositions in torch."""

from collections.abc import Iterator

import torch
from torch import nn

from faltung import nn as ours
from operator_rows import Row


def appended(layer: ours.CoordConv, x: torch.Tensor) -> torch.Tensor:
    """What coordinate convolutions usually do: maps for every sample, a concatenation, torch's convolution."""
    lines = [torch.linspace(-1, 1, n) for n in x.shape[2:]]
    maps = torch.stack(torch.meshgrid(*lines, indexing="ij")).expand(x.shape[0], -1, *x.shape[2:])
    return nn.functional.conv2d(torch.cat([x, maps], 1), layer.weight, layer.bias, padding=layer.padding)


def eca(layer: ours.ECA, x: torch.Tensor) -> torch.Tensor:
    """The gate as it is usually composed."""
    means = nn.functional.adaptive_avg_pool2d(x, 1).squeeze(-1).transpose(-1, -2)
    gate = (
        nn.functional.conv1d(means, layer.weight, padding=layer.kernel_size // 2)
        .transpose(-1, -2)
        .unsqueeze(-1)
        .sigmoid()
    )
    return x * gate.expand_as(x)


def ela(layer: ours.ELA, x: torch.Tensor) -> torch.Tensor:
    """The gates as they are usually composed."""
    gates = []
    for axis in (3, 2):
        line = nn.functional.conv1d(x.mean(axis), layer.weight, padding=layer.kernel_size // 2, groups=layer.groups)
        gates.append(layer.norm(line).sigmoid().unsqueeze(axis))
    return x * gates[0] * gates[1]


def rows() -> Iterator[Row]:
    """Inference and training of each."""
    for batch, channels, size in ((8, 64, 56), (1, 64, 112), (8, 16, 56)):
        layer, x = ours.CoordConv2d(channels, channels, 3, padding=1), torch.randn(batch, channels, size, size)
        yield from both(
            f"coord-conv 3², {channels} on {size}², batch {batch}", layer, x, appended, "concatenation in torch"
        )
    for name, layer, composed in (("eca", ours.ECA(256), eca), ("ela", ours.ELA(256), ela)):
        yield from both(
            f"{name}, 256 on 28², batch 16", layer, torch.randn(16, 256, 28, 28), composed, "composition in torch"
        )


def both(label: str, layer: nn.Module, x: torch.Tensor, peer, called: str, small=None) -> Iterator[Row]:
    """A row without and one with derivatives; `small`: an input to load libraries with, a corner of x by default."""
    small = x[:1, :, :8, :8] if small is None else small

    def forward(call, x=x):
        def run() -> torch.Tensor:
            with torch.no_grad():
                return call(x)

        return run

    def training(call):
        leaf = x.clone().requires_grad_()

        def run() -> torch.Tensor:
            leaf.grad = None
            layer.zero_grad()
            call(leaf).sum().backward()
            return leaf.grad

        return run

    def theirs(a: torch.Tensor) -> torch.Tensor:
        return peer(layer, a)

    yield Row(f"{label}, forward", forward(layer), {called: forward(theirs)}, warm=forward(layer, small))
    yield Row(f"{label}, training", training(layer), {called: training(theirs)}, warm=forward(layer, small))
