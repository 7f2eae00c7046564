"""Shifts in place of spatial kernels: the layers `Shift` and `ShiftConv`."""

import math
from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import ConvLayer, Example, shown, uniform_bias
from faltung.nn.exchange import grouped
from faltung.nn.functional.shift import MODES, offsets_of, shift
from faltung.planner import Policy

SOURCE = "Wu, Jiang, Jiang, Liu, Fully 1×1 convolutional network for lightweight image super-resolution (2023)"


class _Shifting(ConvLayer):
    """What both layers share: the offsets of the groups of input channels."""

    def _settle(
        self,
        ndim: int,
        channels: tuple[int, int],
        offsets: Any,
        step: int,
        padding_mode: str,
        groups: int,
        policy: Any = None,
    ) -> None:
        who = type(self).__name__
        (ndim,) = functional.numbers("ndim", ndim, 1, 1)
        (step,) = functional.numbers("step", step, 1, 1)
        self.offsets = tuple(tuple(step * v for v in o) for o in offsets_of(offsets, ndim))
        if padding_mode not in MODES:
            raise ArgumentError.of(
                "padding_mode", f"one of {', '.join(MODES)}", repr(padding_mode), "choose one of these"
            )
        reach = tuple(max(abs(v) for v in along) for along in zip(*self.offsets, strict=True))
        taps = tuple(2 * r + 1 for r in reach)
        self.settle(ndim, *channels, taps, 1, reach, 1, groups, padding_mode, policy)
        if self.in_channels % len(self.offsets):
            raise ArgumentError.of(
                who, f"channels in {len(self.offsets)} equal groups, one for each offset", str(self.in_channels),
                f"use a multiple of {len(self.offsets)}",
            )  # fmt: skip

    def _placed(self, values: Tensor) -> Tensor:
        """Values (…, in) at the taps of their groups: (…, in, *kernel_size), zero elsewhere."""
        parts = values.reshape(*values.shape, *[1] * self.ndim).chunk(len(self.offsets), values.ndim - 1)
        sides = [
            [
                side
                for v, r in zip(reversed(o), reversed(self.kernel_size), strict=True)
                for side in (r // 2 + v, r // 2 - v)
            ]
            for o in self.offsets
        ]
        return torch.cat([nn.functional.pad(part, s) for part, s in zip(parts, sides, strict=True)], values.ndim - 1)

    def _tap(self, channel: int) -> tuple[int, ...]:
        """The place in the kernel that a channel is read from."""
        offset = self.offsets[channel * len(self.offsets) // self.in_channels]
        return tuple(v + t // 2 for v, t in zip(offset, self.kernel_size, strict=True))


class Shift(_Shifting):
    """Groups of channels, each read from another neighbour: a spatial operator without parameters and arithmetic.

    Formula: `y[b, c, p] = x̃[b, c, p + offset of the group of c]`, the groups equal parts of the channels in their order. The same
    as a depthwise convolution whose kernels are ones at a single tap.

    Shapes: input (batch, channels, *n), returns the same.

    Args:
        ndim: number of spatial axes, at least 1.   channels: a multiple of the number of offsets.
        offsets: `neighbours` (all 3^n − 1, in the plane 8: up, down, left, right, then the diagonals), `axes` (2·n), their numbers
            as words (`8-neighbour`, `4-neighbour` in the plane), or a list of offsets of n whole numbers. Default neighbours.
        padding_mode: `zeros` or `circular`; a circular shift is a permutation of the samples. Default zeros.
        step: a factor on all offsets, at least 1. Default 1.
        device, dtype: of the effective kernel; signals of any kind are shifted.

    Returns: a tensor like the input.

    Raises:
        ArgumentError: settings that name no layer.

    Cost: one pass over memory.

    Source: as below. The reference writes into a zero tensor in eight pieces; see `faltung.nn.functional.shift`.

    Example:
        >>> Shift(2, 16)(torch.ones(1, 16, 3, 3))[0, 0]
        tensor([[0., 0., 0.],
                [1., 1., 1.],
                [1., 1., 1.]])
    """

    name = "shift"
    summary = "groups of channels read from neighbouring samples"
    source = SOURCE
    cost = "none"
    portrait = shown("kernels", (1, 8, 96, 96), ndim=2, channels=8)

    one: Tensor

    def __init__(
        self,
        ndim: int,
        channels: int,
        offsets: Any = "neighbours",
        padding_mode: str = "zeros",
        step: int = 1,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self._settle(ndim, (channels, channels), offsets, step, padding_mode, channels)
        self.bias = None
        self.register_buffer("one", torch.ones((), device=device, dtype=dtype), persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim)
        return shift(input, self.offsets, self.padding_mode)

    def opposite(self) -> "Shift":
        """The layer that shifts back: the inverse where the margins are circular, and inside the signal otherwise."""
        back = [tuple(-v for v in o) for o in self.offsets]
        return Shift(self.ndim, self.in_channels, back, self.padding_mode, device=self.one.device, dtype=self.one.dtype)

    def inverse(self, output: Tensor) -> Tensor:
        """The input of a circular shift.

        Raises:
            ArgumentError: samples were shifted out and are lost.
        """
        if self.padding_mode != "circular":
            raise ArgumentError.of(
                "Shift.inverse", "circular margins", repr(self.padding_mode), "use opposite(), which is right inside"
            )
        return self.opposite()(output)

    def kernel(self) -> Tensor:
        return self._placed(self.one.expand(1, self.in_channels)).transpose(0, 1)

    def definition_kernel(self) -> Tensor:
        made = self.one.new_zeros(self.weight_shape)
        for c in range(self.in_channels):
            made[(c, 0, *self._tap(c))] = 1
        return made

    @property
    def claims(self) -> frozenset[str]:
        circular = {"norm-preserving", "invertible"} if self.padding_mode == "circular" else set()
        return super().claims | circular

    def gain(self) -> float:
        return 1.0

    def parameter_count(self) -> int:
        return 0

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "channels": 4, "padding_mode": "circular"}, ((2, 4, 5),))
        yield Example({"ndim": 2, "channels": 8}, ((2, 8, 4, 3),))
        yield Example({"ndim": 2, "channels": 4, "offsets": "4-neighbour", "step": 2}, ((1, 4, 4, 5),))
        given = {"offsets": [(0, 0), (2, -1), (-3, 1)], "padding_mode": "circular"}
        yield Example({"ndim": 2, "channels": 3, **given}, ((2, 3, 3, 4),))
        yield Example({"ndim": 3, "channels": 6, "offsets": "axes"}, ((1, 6, 2, 3, 3),))
        yield Example({"ndim": 4, "channels": 8, "offsets": "8-neighbour"}, ((1, 8, 2, 2, 2, 3),))


class ShiftConv(_Shifting):
    """A shift of groups of channels and then a 1×1 convolution: the spatial mixing of a larger kernel at the price of one tap.

    Formula: `y[b, o, p] = bias[o] + Σ over c of weight[o, c] x̃[b, c, p + offset of the group of c]`.

    Shapes: input (batch, in, *n), returns (batch, out, *n); weight (out, in, *1), bias (out).

    Args:
        in_channels: a multiple of the number of offsets.   out_channels: at least 1.
        ndim, offsets, padding_mode, step: as for `Shift`.   bias: whether a constant is learnt. Default True.
        device, dtype: of the parameters.   policy: see `faltung.nn.functional.conv`.

    Returns: a tensor (batch, out, *n).

    Raises:
        ArgumentError: settings that name no layer.

    Cost: one pass for the shift, which takes about a quarter of the 1×1 convolution's time at 64 channels, and the 1×1 convolution.

    Source: as below.

    Example:
        >>> ShiftConv(2, 16, 4)(torch.zeros(1, 16, 5, 6)).shape
        torch.Size([1, 4, 5, 6])
    """

    name = "shift-conv"
    summary = "a 1×1 convolution of channels read from neighbouring samples"
    source = SOURCE
    cost = "in"
    portrait = shown("kernels photo", (1, 8, 96, 96), ndim=2, in_channels=8, out_channels=1)

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        offsets: Any = "neighbours",
        padding_mode: str = "zeros",
        step: int = 1,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self._settle(ndim, (in_channels, out_channels), offsets, step, padding_mode, 1, policy)
        factory = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(torch.empty(self.out_channels, self.in_channels, *[1] * self.ndim, **factory))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.bias = uniform_bias(self.out_channels, self.in_channels, factory) if bias else None

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim)
        moved = shift(input, self.offsets, self.padding_mode)
        return functional.conv(moved, self.weight, self.bias, policy=self.policy)

    def kernel(self) -> Tensor:
        return self._placed(self.weight.flatten(1))

    def definition_kernel(self) -> Tensor:
        made = self.weight.new_zeros(self.weight_shape)
        for c in range(self.in_channels):
            made[(slice(None), c, *self._tap(c))] = self.weight[:, c].flatten()
        return made

    @torch.no_grad()
    def take(self, kernel: Tensor, bias: Tensor | None = None) -> Self:
        """The one tap of each input channel that the layer reads: the nearest kernel."""
        kernel = grouped(kernel, self)
        for c in range(self.in_channels):
            self.weight[:, c] = kernel[(slice(None), c, *self._tap(c))].reshape(-1, *[1] * self.ndim)
        self.take_bias(bias)
        return self

    def parameter_count(self) -> int:
        return self.out_channels * (self.in_channels + (self.bias is not None))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "in_channels": 4, "out_channels": 3}, ((2, 4, 5),))
        yield Example({"ndim": 2, "in_channels": 8, "out_channels": 3, "padding_mode": "circular"}, ((2, 8, 4, 3),))
        plain = {"offsets": "axes", "bias": False}
        yield Example({"ndim": 3, "in_channels": 6, "out_channels": 2, "step": 2, **plain}, ((1, 6, 2, 3, 3),))
        yield Example({"ndim": 4, "in_channels": 8, "out_channels": 1, **plain}, ((1, 8, 2, 2, 2, 3),))
