"""Deformable convolution: a small convolution of the input says where the taps of another one look."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, shown, uniform_bias
from faltung.nn.conv import Conv
from faltung.nn.functional.definition import conv_by_taps, deformed_by_taps
from faltung.planner import Policy

KINDS = ("free", "bounded", "square", "dilation")


class Offsets(nn.Module):
    """The head that predicts offsets, and masks where they are wanted, for every tap and place of a deformable convolution.

    `free`: a 1×1 convolution gives one number for every tap and axis. `bounded`: a convolution of three taps an axis does, clamped
    to ±bound. `square`: it gives one number s for each place, clamped to [0, bound], and tap t moves by s·(t − centre): a dilation
    of 1 + s that changes from place to place. `dilation`: the same with a number for each axis. All start at zero. The head looks
    at the centre of each window, so its result has the sizes of the convolution's whatever the stride and the padding.
    """

    def __init__(self, layer: "DeformConv", taps: int, policy: Policy | None, factory: dict[str, Any]) -> None:
        super().__init__()
        self.kind, self.bound, self.rounded = layer.offset, layer.offset_bound, layer.round_offsets
        self.groups, self.kernel_size, self.stride = layer.deform_groups, layer.kernel_size, layer.stride
        self.ndim, self.head_size = layer.ndim, taps
        count = math.prod(self.kernel_size)
        self.moves = self.groups * {"square": 1, "dilation": self.ndim}.get(self.kind, count * self.ndim)
        self.masks = self.groups * count if layer.modulated else 0
        self.conv = Conv(
            self.ndim, layer.moved_channels, self.moves + self.masks, taps, self.stride, policy=policy, **factory
        )
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)

    def forward(self, input: Tensor, places: tuple[int, ...], pads: Any, dilation: tuple[int, ...]) -> tuple:
        """Offsets (N, groups · taps · ndim, *places) and masks (N, groups · taps, *places) or None."""
        found = self.conv(torch.nn.functional.pad(input, self.margins(input.shape[2:], places, pads, dilation)))
        return self.spread(found)

    def margins(self, n: Any, places: tuple[int, ...], pads: Any, dilation: tuple[int, ...]) -> list[int]:
        """Zeros around the input, or samples to leave out, last axis first, so that the head sees the centres of windows."""
        around = []
        sizes = zip(n, places, pads, dilation, self.kernel_size, self.stride, strict=True)
        for size, many, (lo, _), d, t, s in reversed(list(sizes)):
            before = lo - d * (t - 1) // 2 + (self.head_size - 1) // 2
            around += [before, (many - 1) * s + self.head_size - size - before]
        return around

    def spread(self, found: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the head's convolution gave, as offsets of every tap and as masks."""
        moves, masks = found[:, : self.moves], found[:, self.moves :]
        if self.kind == "bounded":
            moves = moves.clamp(
                -self.bound, self.bound
            )  # a copy: clamped in place it could not be differentiated twice
        if self.kind in ("square", "dilation"):
            scale = moves.clamp(0, self.bound).unflatten(1, (self.groups, 1, -1))
            moves = (scale * self.from_centre(found)).flatten(1, 3)
        if self.rounded:
            moves = moves + (moves.round() - moves).detach()  # the derivative is that of numbers that are not rounded
        return moves, masks.sigmoid() if self.masks else None

    def from_centre(self, like: Tensor) -> Tensor:
        """How far each tap lies from the centre of the kernel along each axis, (taps, ndim, 1, ..., 1)."""
        lines = [torch.arange(t, device=like.device) - (t - 1) / 2 for t in self.kernel_size]
        grid = torch.stack(torch.meshgrid(*lines, indexing="ij"), -1).to(like.dtype)
        return grid.reshape(-1, self.ndim, *[1] * self.ndim)


class DeformConv(Layer):
    """A convolution whose taps move, by offsets that a head predicts for every place from the input.

    Formula: see `faltung.nn.functional.deform_conv`, with offsets (and masks) from `Offsets`.

    Shapes: input (batch, in, *n), returns (batch, out, *m) as a convolution; weight (out, in / groups, *kernel_size), bias (out).

    Args:
        ndim: number of spatial axes, at least 1.   in_channels, out_channels: at least 1, multiples of groups.
        kernel_size, stride, padding, dilation, groups: as for `faltung.nn.Conv`.   bias: a learnt constant. Default True.
        offset: how taps move: `free`, `bounded`, `square` (one dilation for each place) or `dilation` (one an axis). Default free.
        offset_bound: samples beyond which offsets are cut off (not for free). Default 8.
        round_offsets: whether offsets are rounded to whole samples, so that nothing is interpolated. Default False.
        deform_groups: into how many parts the channels fall that move apart from each other. Default 1.
        modulated: whether a factor in (0, 1) for every tap and place is predicted too, 1/2 at first. Default False.
        device, dtype: of the parameters. Default: torch's.   policy: for the head's convolution.
        There is no padding_mode: what lies outside the input is zero, for offsets may lead anywhere.

    Raises:
        ArgumentError: settings that name no layer.

    Cost: see `deform_conv`; the head of `free` has 2·Π kernel_size·deform_groups·in weights in two dimensions, that of `square`
    9·deform_groups·in. At first nothing moves, and the layer is a convolution (of half the weight where it is modulated).

    Example:
        >>> DeformConv(2, 3, 8, 3, padding=1, offset="square")(torch.zeros(1, 3, 9, 9)).shape
        torch.Size([1, 8, 9, 9])
    """

    name = "deform-conv"
    summary = "a convolution whose taps move by offsets predicted for every place"
    source = "Dai et al., Deformable convolutional networks (2017); Huang et al., CoDeNet (2021)"
    dims = (1, 2, 3, 4)
    cost = "Π kernel_size · (in / groups + 2^ndim · in / out) and the head's convolution"
    portrait = shown(
        "stirred field photo", (1, 1, 96, 96), ndim=2, in_channels=1, out_channels=2, kernel_size=5, padding=4, dilation=2
    )  # fmt: skip

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        offset: str = "free",
        offset_bound: float = 8,
        round_offsets: bool = False,
        deform_groups: int = 1,
        modulated: bool = False,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        self._settle(ndim, in_channels, out_channels, kernel_size, stride, padding, dilation)
        self.groups, self.deform_groups = functional.numbers("groups, deform_groups", (groups, deform_groups), 2, 1)
        if self.in_channels % self.groups or self.out_channels % self.groups or self.in_channels % self.deform_groups:
            raise ArgumentError.of(
                type(self).__name__, f"channels that {groups} groups and {deform_groups} deform_groups divide",
                f"{in_channels} in and {out_channels} out", "choose groups that divide them",
            )  # fmt: skip
        self._moving(self.in_channels, offset, offset_bound, round_offsets, modulated)
        self.weight = nn.Parameter(
            torch.empty(self.out_channels, self.in_channels // self.groups, *self.kernel_size, **factory)
        )
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.bias = uniform_bias(self.out_channels, self.weight[0].numel(), factory) if bias else None
        self.offsets = Offsets(self, 1 if offset == "free" else 3, policy, factory)

    def _settle(
        self, ndim: Any, in_channels: Any, out_channels: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any
    ) -> None:
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        self.in_channels, self.out_channels = functional.numbers(
            "in_channels, out_channels", (in_channels, out_channels), 2, 1
        )
        self.kernel_size = functional.numbers("kernel_size", kernel_size, self.ndim, 1)
        self.stride = functional.numbers("stride", stride, self.ndim, 1)
        self.dilation = functional.numbers("dilation", dilation, self.ndim, 1)
        self.padding = padding
        self.pads = functional.margins(padding, self.stride, self.dilation, self.kernel_size)

    def _moving(self, channels: int, offset: str, offset_bound: float, round_offsets: bool, modulated: bool) -> None:
        if offset not in KINDS:
            raise ArgumentError.of("offset", f"one of {', '.join(KINDS)}", repr(offset), "choose one of these")
        if not isinstance(offset_bound, (int, float)) or not offset_bound > 0:
            raise ArgumentError.of("offset_bound", "a number of samples above 0", repr(offset_bound), "8 is usual")
        self.moved_channels, self.offset, self.offset_bound = channels, offset, offset_bound
        self.round_offsets, self.modulated = round_offsets, modulated

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim)
        return self._moved(input)

    def _moved(self, input: Tensor) -> Tensor:
        places = self.shapes(input.shape)[2:]
        if min(places) < 1:
            raise ArgumentError.of(
                type(self).__name__, "a result with at least one place", f"sizes {places}", "use a larger input"
            )
        offset, mask = self.offsets(input, places, self.pads, self.dilation)
        return functional.deform_conv(
            input, offset.to(input.dtype), self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups,
            self.deform_groups, None if mask is None else mask.to(input.dtype),
        )  # fmt: skip

    def definition(self, *inputs: Any) -> Tensor:
        return self._by_taps(inputs[0])

    def _by_taps(self, x: Tensor) -> Tensor:
        """Tap by tap, offsets and masks by the head's formula."""
        head, ndim, count = self.offsets, self.ndim, math.prod(self.kernel_size)
        places = self.shapes(x.shape)[2:]
        around = head.margins(x.shape[2:], places, self.pads, self.dilation)
        seen = torch.nn.functional.pad(x, around)
        found = conv_by_taps(seen, head.conv.weight, head.conv.bias, self.stride, ((0, 0),) * ndim, (1,) * ndim)
        offset, mask = head.spread(found)
        offset = offset.reshape(x.shape[0], self.deform_groups, count, ndim, *places)
        mask = None if mask is None else mask.reshape(x.shape[0], self.deform_groups, count, *places)
        return deformed_by_taps(
            x, offset, mask, self.weight, self.bias, self.stride, self.pads, self.dilation, self.groups
        )

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        sizes = zip(inputs[0][-self.ndim :], self.pads, self.dilation, self.kernel_size, self.stride, strict=True)
        return (
            inputs[0][0],
            self.out_channels,
            *((n + lo + hi - d * (t - 1) - 1) // s + 1 for n, (lo, hi), d, t, s in sizes),
        )

    def parameter_count(self) -> int:
        kernel = self.out_channels * (
            self.in_channels // self.groups * math.prod(self.kernel_size) + (self.bias is not None)
        )
        return kernel + self._of_head()

    def _of_head(self) -> int:
        """How many numbers the head learns."""
        taps, groups = math.prod(self.kernel_size), self.deform_groups
        each = {"square": 1, "dilation": self.ndim}.get(self.offset, taps * self.ndim) + taps * self.modulated
        return groups * each * (self.moved_channels * self.offsets.head_size**self.ndim + 1)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        common = {"in_channels": 4, "out_channels": 2, "kernel_size": 3}
        yield Example({"ndim": 1, **common, "stride": 2, "deform_groups": 2, "modulated": True}, ((2, 4, 8),))
        yield Example({"ndim": 2, **common, "padding": 1, "offset": "bounded", "groups": 2}, ((2, 4, 4, 5),))
        yield Example(
            {"ndim": 2, **common, "dilation": 2, "padding": 2, "offset": "square", "stride": (2, 1)}, ((1, 4, 5, 4),)
        )
        yield Example({"ndim": 2, **common, "offset": "dilation", "bias": False, "offset_bound": 0.5}, ((1, 4, 4, 5),))
        # Not for finite differences: a rounded number does not change with what it was rounded from.
        yield Example({"ndim": 2, **common, "padding": "same", "round_offsets": True}, ((1, 4, 4, 5),), tiny=False)
        yield Example(
            {"ndim": 3, **common, "kernel_size": 2, "offset": "square", "deform_groups": 2}, ((1, 4, 3, 3, 2),)
        )
        yield Example({"ndim": 4, **common, "kernel_size": 2}, ((1, 4, 2, 3, 2, 2),))


class DepthwiseDeformConv(DeformConv):
    """A 1×1 convolution, and on its result a depthwise deformable convolution with a head of one tap.

    Formula: `u = 1×1 convolution of x`, `y[o] = Σ over t of weight[o, t] · u(o, …)` as `deform_conv` with a group for each channel,
    offsets from a 1×1 convolution of u.

    Shapes: as `DeformConv`; weight (out, 1, *kernel_size).

    Args:
        bias: of the depthwise convolution; the 1×1 convolution has none. Default True.   All others: as for `DeformConv`.

    Raises:
        ArgumentError: settings that name no layer.

    Example:
        >>> DepthwiseDeformConv(2, 3, 8, 3, padding=1)(torch.zeros(1, 3, 9, 9)).shape
        torch.Size([1, 8, 9, 9])
    """

    name = "depthwise-deform-conv"
    summary = "a 1×1 convolution followed by a depthwise one whose taps move"
    source = "Huang et al., CoDeNet: Efficient deployment of input-adaptive object detection on embedded FPGAs (2021)"
    cost = "in + (1 + 2^ndim) · Π kernel_size and the head's convolution"
    portrait = shown(
        "stirred field photo", (1, 1, 96, 96), ndim=2, in_channels=1, out_channels=2, kernel_size=5, padding=4, dilation=2
    )  # fmt: skip

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        bias: bool = True,
        offset: str = "square",
        offset_bound: float = 8,
        round_offsets: bool = False,
        deform_groups: int = 1,
        modulated: bool = False,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        nn.Module.__init__(self)
        factory = {"device": device, "dtype": dtype}
        self._settle(ndim, in_channels, out_channels, kernel_size, stride, padding, dilation)
        (self.deform_groups,) = functional.numbers("deform_groups", deform_groups, 1, 1)
        if self.out_channels % self.deform_groups:
            raise ArgumentError.of(
                type(self).__name__,
                f"out_channels that {deform_groups} deform_groups divide",
                f"{out_channels}",
                "use 1",
            )
        self.groups = self.out_channels
        self._moving(self.out_channels, offset, offset_bound, round_offsets, modulated)
        self.pointwise = Conv(self.ndim, self.in_channels, self.out_channels, 1, bias=False, policy=policy, **factory)
        self.weight = nn.Parameter(torch.empty(self.out_channels, 1, *self.kernel_size, **factory))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.bias = uniform_bias(self.out_channels, self.weight[0].numel(), factory) if bias else None
        self.offsets = Offsets(self, 1, policy, factory)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim)
        return self._moved(self.pointwise(input))

    def definition(self, *inputs: Any) -> Tensor:
        one = (1,) * self.ndim
        return self._by_taps(conv_by_taps(inputs[0], self.pointwise.weight, None, one, ((0, 0),) * self.ndim, one))

    def parameter_count(self) -> int:
        kernel = self.out_channels * (math.prod(self.kernel_size) + (self.bias is not None))
        return self.in_channels * self.out_channels + kernel + self._of_head()

    @classmethod
    def examples(cls) -> Iterable[Example]:
        common = {"in_channels": 2, "out_channels": 4, "kernel_size": 3, "padding": 1}
        yield Example({"ndim": 1, **common, "offset": "free", "stride": 2}, ((2, 2, 6),))
        yield Example({"ndim": 2, **common, "deform_groups": 2, "modulated": True}, ((2, 2, 4, 5),))
        yield Example({"ndim": 3, **common, "offset": "bounded", "bias": False}, ((1, 2, 3, 2, 3),))
