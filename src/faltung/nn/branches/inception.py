"""Depthwise convolution of a few channels by a square and by bands; most channels pass through."""

import math
from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import ConvLayer, Example, shown
from faltung.nn.branches.merging import centred, embed_kernel
from faltung.nn.exchange import grouped
from faltung.planner import Policy


class InceptionDWConv(ConvLayer):
    """A cheap stand-in for a large depthwise convolution: identity, a small cube and one long band for each axis.

    Formula: the channels fall into an identity part of C − (ndim + 1)·g, then parts of `g = ⌊C·ratio⌋`: the first is filtered by
    square^ndim taps, the next ones by `band` taps along the last axis, along the one before, and so on; each depthwise with
    margins that keep the size. In two dimensions: identity, square, 1 × band, band × 1.

    Shapes: input (batch, channels, *n) or (channels, *n), returns the same with ⌈n / stride⌉ samples.

    Args:
        ndim: number of spatial axes, 1 to 4.   channels: at least 1, in and out.
        square: odd taps of the cube along each axis. Default 3.   band: odd taps of a band. Default 11 (9 in the smallest nets).
        ratio: share of the channels in each filtered part. Default 1/8 (1/4 in the smallest nets).
        stride: default 1.   bias: whether the filtered parts have one. Default True.
        padding_mode: what stands in the margin. Default zeros.   device, dtype, policy: see `faltung.nn.Conv`.

    Raises:
        ArgumentError: even taps, a ratio that leaves a filtered part no channel or the identity less than none.

    Error: the identity's channels come out bit for bit; they are copied, never multiplied.
    In inference on the processor each plane is read once and its result written straight into place (`fill_planes`).

    Cost: g·(square^ndim + ndim·band) multiplications for each place; `forward_` does not even copy the identity.
    Source: Yu, Zhou, Yan and Wang, InceptionNeXt: when Inception meets ConvNeXt (2024).

    Example:
        >>> layer = InceptionDWConv(2, 96)
        >>> layer.parameter_count(), layer.parts
        (408, (60, 12, 12, 12))
    """

    name = "inception-depthwise"
    summary = "depthwise convolution of a few channels by a cube and by bands, identity for the others"
    source = "Yu, Zhou, Yan and Wang, InceptionNeXt: when Inception meets ConvNeXt (2024)"
    cost = "ratio · (square^ndim + ndim · band), averaged over the channels"
    portrait = shown("kernels taken", (1, 4, 96, 96), ndim=2, channels=4, ratio=0.25)

    def __init__(
        self,
        ndim: int,
        channels: int,
        square: int = 3,
        band: int = 11,
        ratio: float = 0.125,
        stride: Any = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        (self.square,), (self.band,) = (
            functional.numbers("square", square, 1, 1),
            functional.numbers("band", band, 1, 1),
        )
        (axes,) = functional.numbers("ndim", ndim, 1, 1)
        taps = (max(self.square, self.band),) * axes
        self.windows = [(self.square,) * axes]
        self.windows += [tuple(self.band if a == axis else 1 for a in range(axes)) for axis in reversed(range(axes))]
        margins = [centred("square, band", window) for window in self.windows]
        self.settle(
            ndim, channels, channels, taps, stride, tuple(t // 2 for t in taps), 1, channels, padding_mode, policy
        )
        filtered = math.floor(channels * ratio + 1e-9)  # 0.29 · 100 is 28.999999999999996 in floating point
        if filtered < 1 or channels < (axes + 1) * filtered:
            raise ArgumentError.of(
                "ratio", f"from 1/{channels} to 1/{axes + 1}, so that {axes + 1} filtered parts fit into {channels} channels",
                repr(ratio),
                "change the ratio or the channels",
            )  # fmt: skip
        self.parts = (channels - (axes + 1) * filtered, *[filtered] * (axes + 1))
        self.margins, factory = margins, {"device": device, "dtype": dtype}
        self.weights = nn.ParameterList(torch.empty((filtered, 1, *window), **factory) for window in self.windows)
        self.biases = nn.ParameterList(torch.empty(filtered, **factory) for _ in self.windows if bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw each part as torch draws a depthwise convolution."""
        for weight in self.weights:
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
        for bias, weight in zip(self.biases, self.weights, strict=False):
            bound = 1 / math.sqrt(weight[0].numel())
            nn.init.uniform_(bias, -bound, bound)

    @property
    def bias(self) -> Tensor | None:
        """The bias of the depthwise convolution that this layer is: zero for the identity's channels."""
        if not self.biases:
            return None
        return torch.cat([self.biases[0].new_zeros(self.parts[0]), *self.biases])

    def kernel(self) -> Tensor:
        first = self.weights[0]
        units = first.new_ones((self.parts[0], 1, *[1] * self.ndim))
        return torch.cat([embed_kernel(weight, self.kernel_size) for weight in (units, *self.weights)])

    @torch.no_grad()
    def take(self, kernel: Tensor, bias: Tensor | None = None) -> Self:
        """The nearest kernel: each filtered part takes the taps under its window. The identity's channels stay what they are.

        However small the kernel, these channels are off by ‖kernel − 1‖, a unit impulse less: that no parameter can change, but a
        larger ratio leaves fewer of them.
        """
        parts = grouped(kernel, self).split(self.parts)[1:]
        for weight, part in zip(self.weights, parts, strict=True):
            inner = [slice((n - t) // 2, (n + t) // 2) for n, t in zip(self.kernel_size, weight.shape[2:], strict=True)]
            weight.copy_(part[(..., *inner)])
        constants = self.weights[0].new_zeros(self.in_channels) if bias is None else bias
        for own, part in zip(self.biases, constants.split(self.parts)[1:], strict=False):
            own.copy_(part)
        return self

    def definition_kernel(self) -> Tensor:
        size, filtered = self.kernel_size[0], self.parts[1]
        kernel = self.weights[0].new_zeros(self.weight_shape)
        kernel[(slice(self.parts[0]), 0, *[size // 2] * self.ndim)] = 1
        for n, weight in enumerate(self.weights):
            channels = slice(self.parts[0] + n * filtered, self.parts[0] + (n + 1) * filtered)
            for place in (
                torch.cartesian_prod(*[torch.arange(t) for t in weight.shape[2:]]).reshape(-1, self.ndim).tolist()
            ):
                at = [size // 2 + t - width // 2 for t, width in zip(place, weight.shape[2:], strict=True)]
                kernel[(channels, 0, *at)] = weight[(slice(None), 0, *place)]
        return kernel

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim, batch=False)
        axis = input.ndim - self.ndim - 1
        if self._fills(input):
            out = torch.empty_like(input)
            whole, new = (input, out) if axis else (input[None], out[None])
            new[:, : self.parts[0]].copy_(whole[:, : self.parts[0]])
            self._fill(whole, new)
            return out
        kept, *rest = input.split(self.parts, axis)
        if any(s > 1 for s in self.stride):
            kept = kept[(..., *[slice(None, None, s) for s in self.stride])]
        return torch.cat([kept, *(self._filtered(n, part) for n, part in enumerate(rest))], axis)

    def forward_(self, input: Tensor) -> Tensor:
        """The result in the input's own memory: the filtered channels are overwritten, the identity's are not touched at all.

        Raises:
            ArgumentError: a stride, or an input or parameters whose derivatives are recorded.
        """
        self.expect(input, self.in_channels, self.ndim, batch=False)
        recorded = torch.is_grad_enabled() and (input.requires_grad or any(p.requires_grad for p in self.parameters()))
        if recorded or any(s > 1 for s in self.stride):
            came = "recorded derivatives" if recorded else f"stride {self.stride}"
            raise ArgumentError.of(
                "forward_", "a call within torch.no_grad() and stride 1", came, "call the layer itself"
            )
        axis = input.ndim - self.ndim - 1
        if self._fills(input):
            whole = input if axis else input[None]
            self._fill(whole, whole)
            return input
        for n, part in enumerate(input.split(self.parts, axis)[1:]):
            part.copy_(self._filtered(n, part))
        return input

    def _fills(self, input: Tensor) -> bool:
        """Whether one pass over the planes does all: inference on the processor, and no policy that names methods."""
        if self.policy is not None or any(s > 1 for s in self.stride) or not input.is_contiguous():
            return False
        return functional.can_fill_planes(input, input, *self.weights, *self.biases)

    def _fill(self, input: Tensor, out: Tensor) -> None:
        """Filter planes of the input into the same ones of `out`, part by part."""
        channel = self.parts[0]
        for n, weight in enumerate(self.weights):
            part = slice(channel, channel + self.parts[n + 1])
            bias = self.biases[n] if self.biases else None
            functional.fill_planes(input[:, part], weight, bias, out[:, part], self.padding_mode)
            channel += self.parts[n + 1]

    def _filtered(self, n: int, part: Tensor) -> Tensor:
        bias = self.biases[n] if self.biases else None
        return functional.conv(
            part, self.weights[n], bias, self.stride, self.margins[n], 1, self.parts[1], self.padding_mode, self.policy
        )

    def parameter_count(self) -> int:
        taps = self.square**self.ndim + self.ndim * self.band
        return self.parts[1] * (taps + (self.ndim + 1 if self.biases else 0))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "channels": 6, "band": 5, "ratio": 0.34}, ((2, 6, 9),))
        yield Example({"ndim": 2, "channels": 8, "band": 5}, ((2, 8, 6, 5),))
        yield Example(
            {"ndim": 2, "channels": 4, "square": 5, "band": 3, "ratio": 0.25, "stride": 2, "padding_mode": "reflect"},
            ((1, 4, 5, 6),),
        )  # fmt: skip
        yield Example(
            {"ndim": 3, "channels": 5, "ratio": 0.2, "band": 3, "bias": False, "padding_mode": "circular"},
            ((1, 5, 2, 3, 4),),
        )
        yield Example({"ndim": 4, "channels": 5, "ratio": 0.2, "band": 3}, ((1, 5, 2, 2, 1, 3),))
