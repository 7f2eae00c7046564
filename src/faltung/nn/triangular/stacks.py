"""Stacks of masked convolutions that together see every earlier position: no blind spot."""

import itertools
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import PER_SAMPLE, Example, Layer, shown
from faltung.nn.conv import Conv
from faltung.nn.functional.definition import conv_by_taps
from faltung.nn.triangular.masked import MaskedConv


class GatedStack(Layer):
    """Gated masked convolutions in one stack for every axis: each result depends on all earlier positions, and on no other.

    A plain pile of raster masks never sees some positions to the right above. Here, stack a sees what comes before along the first
    a + 1 axes: its taps lie at the centre along the axes before a, up to the centre along a (before it in the first layer), and
    anywhere along those behind. In two dimensions the first is the vertical stack, the second the horizontal one. Each stack hands
    what it knows to the next through a 1 × 1 convolution; the last one has a residual connection and gives the result.

    Formula, layer by layer: `u_a = masked_a(v_a) + link(u_{a−1})`, `v_a ← tanh(u_a[first half]) · sigmoid(u_a[second half])`,
    and for the last stack `v ← mix(that) + v`.

    Shapes: input (batch, in_channels, *n), returns (batch, channels, *n).

    Args:
        ndim: number of spatial axes.   in_channels, channels: of the input and of every stack.
        kernel_size: odd, of every layer. Default 3.   layers: how many, at least 1. Default 2.
        device, dtype: of the parameters.

    Raises:
        ArgumentError: settings that name no layer.

    Source: van den Oord et al., Conditional image generation with PixelCNN decoders (2016), for two axes.

    Example:
        >>> GatedStack(2, 1, 8)(torch.zeros(1, 1, 5, 6)).shape
        torch.Size([1, 8, 5, 6])
    """

    name = "gated-stack"
    summary = "masked convolutions in one stack an axis, which see all earlier positions"
    source = "van den Oord et al., Conditional image generation with PixelCNN decoders (2016)"
    cost = "layers · 2 · channels² · (taps of the masks + 2·ndim − 1)"
    portrait = shown("field photo", (1, 1, 48, 48), ndim=2, in_channels=1, channels=8, layers=6)
    dims = (1, 2, 3, 4)

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        channels: int,
        kernel_size: Any = 3,
        layers: int = 2,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        (self.in_channels,) = functional.numbers("in_channels", in_channels, 1, 1)
        (self.channels,) = functional.numbers("channels", channels, 1, 1)
        (self.layers,) = functional.numbers("layers", layers, 1, 1)
        self.kernel_size = functional.numbers("kernel_size", kernel_size, self.ndim, 1)
        if not all(k % 2 for k in self.kernel_size):
            raise ArgumentError.of("GatedStack", "odd kernel sizes", str(self.kernel_size), "add a tap")
        factory = {"device": device, "dtype": dtype}
        both = 2 * self.channels

        def masked(layer: int, axis: int) -> MaskedConv:
            ins, mask = self.channels if layer else self.in_channels, self.mask(axis, layer == 0)
            return MaskedConv(self.ndim, ins, both, self.kernel_size, mask=mask, **factory)

        self.masked = nn.ModuleList(
            nn.ModuleList(masked(layer, axis) for axis in range(self.ndim)) for layer in range(self.layers)
        )
        self.links = nn.ModuleList(
            nn.ModuleList(Conv(self.ndim, both, both, 1, bias=False, **factory) for _ in range(self.ndim - 1))
            for _ in range(self.layers)
        )
        self.mixes = nn.ModuleList(
            Conv(self.ndim, self.channels, self.channels, 1, **factory) for _ in range(self.layers)
        )

    def mask(self, axis: int, strict: bool) -> Tensor:
        """The taps of one stack: the centre's before `axis`, up to the centre along it (before it if `strict`), all behind."""
        kept = torch.ones(self.kernel_size, dtype=torch.bool)
        for a, k in enumerate(self.kernel_size[: axis + 1]):
            place = torch.arange(k) - k // 2
            along = place == 0 if a < axis else (place < 0 if strict else place <= 0)
            kept &= along.reshape(-1, *[1] * (self.ndim - 1 - a))
        return kept

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim)
        states = [input] * self.ndim
        for layer in range(self.layers):
            before = None
            for axis in range(self.ndim):
                before, states[axis] = self.advanced(
                    layer, axis, self.masked[layer][axis](states[axis]), before, states[axis]
                )
        return states[-1]

    def advanced(self, layer: int, axis: int, u: Tensor, before: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor]:
        """What a stack hands on and its next state, from its masked convolution's result: position by position."""
        if before is not None:
            u = u + self.links[layer][axis - 1](before)
        first, second = u.chunk(2, 1)
        after = first.tanh() * second.sigmoid()
        if axis == self.ndim - 1:
            after = self.mixes[layer](after)
            after = after + state if layer else after
        return u, after

    def definition(self, *inputs: Any) -> Tensor:
        """The same with masks made tap by tap and 1 × 1 convolutions as products."""
        n, ones = self.ndim, (1,) * self.ndim
        pads, centre = [(k // 2, k // 2) for k in self.kernel_size], [k // 2 for k in self.kernel_size]
        states = [inputs[0]] * n
        for layer in range(self.layers):
            handed: Any = None
            for axis in range(n):
                conv = self.masked[layer][axis]
                kernel = torch.zeros_like(conv.weight)
                for tap in itertools.product(*map(range, self.kernel_size)):
                    level = all(t == c for t, c in zip(tap[:axis], centre, strict=False))
                    if level and tap[axis] < centre[axis] + (layer > 0):
                        kernel[(..., *tap)] = conv.weight[(..., *tap)]
                u = conv_by_taps(states[axis], kernel, conv.bias, ones, pads, ones)
                if axis:
                    u = u + torch.einsum("oi,bi...->bo...", self.links[layer][axis - 1].weight.flatten(1), handed)
                handed = u
                gated = torch.tanh(u[:, : self.channels]) * torch.sigmoid(u[:, self.channels :])
                if axis == n - 1:
                    mix = self.mixes[layer]
                    gated = torch.einsum("oi,bi...->bo...", mix.weight.flatten(1), gated) + mix.bias.reshape(-1, *ones)
                    gated = gated + states[axis] if layer else gated
                states[axis] = gated
        return states[-1]

    def shapes(self, *inputs: Any) -> Any:
        return (inputs[0][0], self.channels, *inputs[0][2:])

    def parameter_count(self) -> int:
        both, taps = 2 * self.channels, torch.Size(self.kernel_size).numel()
        ins = self.in_channels + (self.layers - 1) * self.channels
        masked = self.ndim * (ins * both * taps + self.layers * both)
        return masked + self.layers * ((self.ndim - 1) * both**2 + self.channels**2 + self.channels)

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({PER_SAMPLE, "causal"} if self.ndim == 1 else {PER_SAMPLE})

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "in_channels": 2, "channels": 2}, ((2, 2, 5),))
        yield Example({"ndim": 2, "in_channels": 1, "channels": 2, "kernel_size": (3, 5)}, ((1, 1, 4, 3),))
        yield Example({"ndim": 3, "in_channels": 1, "channels": 1, "layers": 1}, ((1, 1, 2, 3, 2),))
