"""Coordinates as inputs: `AddCoords` appends their maps, `CoordConv` has their effect without appending anything."""

import copy
import math
from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from faltung import torch_gate
from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, ConvLayer, Example, Layer, Symmetry, shown, uniform_bias
from faltung.nn.functional.definition import conv_by_taps
from faltung.planner import Policy


class Coordinates:
    """Which axes are numbered and how; `maps` makes the maps for given sizes."""

    def __init__(self, axes: Any, range: Any, radius: bool, step: Any) -> None:
        who = "coordinates"
        many = isinstance(axes, (tuple, list))
        if axes != "all" and not (many and axes and all(type(a) is int for a in axes)):
            raise ArgumentError.of(who, 'axes "all" or a tuple of spatial axes', repr(axes), "write (0,) or the like")
        if not isinstance(radius, bool):
            raise ArgumentError.of(who, "radius True or False", repr(radius), "leave it out for False")
        pairs = range if isinstance(range, (tuple, list)) else ()
        pairs = pairs if pairs and all(isinstance(p, (tuple, list)) for p in pairs) else (pairs,)
        if not all(len(p) == 2 and all(map(_finite, p)) for p in pairs):
            raise ArgumentError.of(who, "a range (first, last), or one for each axis", repr(range), "write (-1, 1)")
        steps = step if isinstance(step, (tuple, list)) else (step,)
        if step is not None and not (steps and all(map(_finite, steps))):
            raise ArgumentError.of(who, "a step, one for each axis, or None", repr(step), "leave it out for None")
        self.axes: tuple[int, ...] | None = tuple(axes) if many else None
        self.radius = radius
        self.ranges: tuple[tuple[float, float], ...] = tuple((float(a), float(b)) for a, b in pairs)
        self.steps: tuple[float | None, ...] = (None,) if step is None else tuple(map(float, steps))
        if self.axes is not None:
            self._lines(len(self.axes))

    def _lines(self, count: int) -> list[tuple[tuple[float, float], float | None]]:
        """Range and step of each of the chosen axes."""
        pairs, steps = self.ranges, self.steps
        if len(pairs) not in (1, count) or len(steps) not in (1, count):
            raise ArgumentError.of(
                "coordinates", f"one range and step, or {count} for {count} axes", f"{len(pairs)} and {len(steps)}",
                "give one for all",
            )  # fmt: skip
        return list(zip(pairs * (count // len(pairs)), steps * (count // len(steps)), strict=True))

    def chosen(self, ndim: int) -> tuple[int, ...]:
        """The numbered axes among `ndim` spatial ones, counted from 0."""
        if self.axes is None:
            return tuple(range(ndim))
        if not all(-ndim <= a < ndim for a in self.axes) or len({a % ndim for a in self.axes}) < len(self.axes):
            raise ArgumentError.of(
                "coordinates",
                f"different axes from {-ndim} to {ndim - 1}",
                repr(self.axes),
                "count spatial axes from 0",
            )
        return tuple(a % ndim for a in self.axes)

    def count(self, ndim: int) -> int:
        """How many maps there are."""
        return len(self.chosen(ndim)) + self.radius

    def others(self, ndim: int) -> tuple[int, ...]:
        """The axes that are not numbered, counted from behind."""
        return tuple(a - ndim for a in range(ndim) if a not in self.chosen(ndim))

    def maps(self, sizes: Any, like: Tensor) -> Tensor:
        """The maps (count, *sizes), those of the axes in their order and then the radius, on the device of `like`."""
        ndim = len(sizes)
        axes = self.chosen(ndim)
        fine = {"dtype": torch.promote_types(like.real.dtype, torch.float32), "device": like.device}
        made = []
        for axis, ((first, last), step) in zip(axes, self._lines(len(axes)), strict=True):
            at = torch.arange(sizes[axis], **fine)
            # Not linspace: that takes a size which is left open in an exported graph for a constant.
            line = first + ((last - first) * (at / at[-1:].clamp(min=1)) if step is None else step * at)
            made.append(line[(..., *(slice(None) if a == axis else None for a in range(ndim)))])
        if self.radius:
            squares = [(line - line.mean()).square() for line in made]
            made.append(sum(squares[1:], squares[0]).sqrt())
        return torch.stack([line.expand(sizes) for line in made]).to(like.dtype)

    def by_formula(self, sizes: Any, like: Tensor) -> Tensor:
        """The same maps, written down place by place."""
        axes = self.chosen(len(sizes))
        maps = torch.zeros(self.count(len(sizes)), *sizes, dtype=like.dtype)
        lines = []
        for m, (axis, ((first, last), step)) in enumerate(zip(axes, self._lines(len(axes)), strict=True)):
            n = sizes[axis]
            line = [first + i * ((last - first) / max(n - 1, 1) if step is None else step) for i in range(n)]
            lines.append((axis, line))
            for i in range(n):
                maps[m].select(axis, i).fill_(line[i])
        if self.radius:
            for place in range(math.prod(sizes)):
                at = torch.unravel_index(torch.tensor(place), tuple(sizes))
                off = [line[at[axis]] - sum(line) / len(line) for axis, line in lines]
                maps[(-1, *at)] = math.hypot(*off)
        return maps


class AddCoords(Layer):
    """Append a channel for each chosen axis that holds the coordinate along it.

    Formula: `c_a[p] = first + (last − first) · p_a / (n_a − 1)`, and `first` where the axis has one sample; with a step
    `c_a[p] = first + step · p_a`, which means the same for inputs of every length. Radius: the distance from the middle,
    `√Σ over a of (c_a[p] − mean(c_a))²`.

    Shapes: input (batch, channels, *n), returns (batch, channels + axes + radius, *n), the coordinates behind the channels.

    Args:
        axes: "all", or a tuple of spatial axes: 0 is the height or the frequency, 1 the width or the time, −1 the last.
            Default "all".
        range: the coordinates (first, last) of the ends, or such a pair for each chosen axis. Default (−1, 1).
        radius: whether the distance from the middle is appended, too. Default False.
        step: distance of neighbours, or one for each chosen axis, in place of `last`. Default None.

    Raises:
        ArgumentError: axes that the input does not have, or settings that name no coordinates.

    Cost: no arithmetic worth counting, but a copy of the input; `CoordConv` needs none.

    Example:
        >>> AddCoords(axes=(1,))(torch.zeros(1, 1, 1, 3))
        tensor([[[[ 0.,  0.,  0.]],
        <BLANKLINE>
                 [[-1.,  0.,  1.]]]])
    """

    name = "add-coords"
    summary = "channels that hold the coordinates of chosen axes"
    source = "Abdelnour, Rouat and Salvi, NAAQA: a neural architecture for acoustic question answering (2023)"
    cost = "0"
    portrait = shown("maps", (1, 1, 96, 96), radius=True)

    def __init__(
        self, axes: Any = "all", range: Any = (-1, 1), radius: bool = False, step: Any = None
    ) -> None:  # fmt: skip
        super().__init__()
        self.coordinates = Coordinates(axes, range, radius, step)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, None)
        if input.ndim < 3:
            raise ArgumentError.of(
                "AddCoords", "an input (batch, channels, *n) with spatial axes", f"shape {tuple(input.shape)}",
                "add an axis",
            )  # fmt: skip
        maps = self.coordinates.maps(input.shape[2:], input)
        return torch.cat([input, maps.expand(input.shape[0], *maps.shape)], 1)

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        maps = self.coordinates.by_formula(x.shape[2:], x)
        return torch.cat([x, maps.unsqueeze(0).repeat(x.shape[0], *[1] * (x.ndim - 1))], 1)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        batch, channels, *sizes = inputs[0]
        return (batch, channels + self.coordinates.count(len(sizes)), *sizes)

    def parameter_count(self) -> int:
        return 0

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({}, ((2, 2, 3, 4),))
        yield Example({"axes": (0,), "range": (0, 1), "radius": True}, ((2, 1, 5),))
        yield Example({"axes": (1, -1), "range": ((0, 2), (-3, 3)), "step": (0.5, 2.0)}, ((1, 2, 2, 3, 2),))
        yield Example({"radius": True}, ((1, 1, 2, 1, 3, 2),))
        yield Example({"axes": (1,)}, ((2, 1, 3, 2),), complex=True)


class CoordConv(ConvLayer):
    """A convolution that sees coordinates as further channels, as the position-dependent bias that these amount to.

    Formula: `y = conv(x, W_x) + conv(c, W_c) + bias`, c the maps of `AddCoords`, W_x and W_c the first and last channels of one
    weight: the convolution of x with c appended to each group, but c is convolved once for all samples, and nothing is copied.

    Shapes: as `Conv`; weight (out, in / groups + axes + radius, *kernel_size), so with one group state dicts are interchangeable
    with those of torch's convolution behind `AddCoords`.

    Args:
        axes, range, radius, step: as for `AddCoords`.   All others: as for `Conv`. The coordinates are padded like the input.

    Raises:
        ArgumentError: settings that name no layer.

    Example:
        >>> CoordConv(2, 3, 8, 3, padding=1, axes=(1,))(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 8, 16, 16])
    """

    name = "coord-conv"
    summary = "a convolution with coordinates as further inputs, evaluated as a bias for each position"
    source = AddCoords.source
    cost = "(in / groups + (axes + radius) / batch) · Π kernel_size"
    portrait = shown(
        "kernels maps", (1, 1, 96, 96), ndim=2, in_channels=1, out_channels=2, kernel_size=7, padding=3, radius=True
    )

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
        padding_mode: str = "zeros",
        axes: Any = "all",
        range: Any = (-1, 1),
        radius: bool = False,
        step: Any = None,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.settle(
            ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode, policy
        )
        self.coordinates = Coordinates(axes, range, radius, step)
        out, own, *taps = self.weight_shape
        shape, factory = (out, own + self.coordinates.count(self.ndim), *taps), {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(torch.empty(shape, **factory))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.register_parameter("bias", uniform_bias(out, math.prod(shape[1:]), factory) if bias else None)

    @classmethod
    def from_conv(cls, conv: ConvLayer, **settings: Any) -> Self:
        """This layer in place of a plain convolution, with the same result: the coordinates' weights are zero.

        Raises:
            ArgumentError: settings with which the layer has another kernel.
        """
        usual = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "padding_mode": "zeros", "policy": None}
        kernel, bias = conv.effective_kernel().detach(), conv.effective_bias()
        common = {name: getattr(conv, name) for name in usual}
        common = {n: value for n, value in common.items() if value not in (usual[n], (usual[n],) * conv.ndim)}
        common |= {
            "kernel_size": conv.kernel_size,
            "bias": bias is not None,
            "device": kernel.device,
            "dtype": kernel.dtype,
        }
        made = cls(conv.ndim, conv.in_channels, conv.out_channels, **common | settings)
        if made.weight_shape != tuple(kernel.shape):
            raise ArgumentError.of(
                "CoordConv.from_conv", f"a kernel of shape {tuple(kernel.shape)}", f"settings for {made.weight_shape}",
                "leave kernel_size and groups as they are",
            )  # fmt: skip
        with torch.no_grad():
            made.weight.zero_()
            made.kernel().copy_(kernel)
            if made.bias is not None and bias is not None:
                made.bias.copy_(bias)
        return made.train(conv.training)

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    def kernel(self) -> Tensor:
        """What the channels of the input meet; the coordinates' kernel is not part of it."""
        return self.weight[:, : self.in_channels // self.groups]

    def position_bias(self, sizes: Any, like: Tensor | None = None) -> Tensor:
        """The bias (out, *m) of every position of the result, for an input of these spatial sizes."""
        maps = self.coordinates.maps(tuple(sizes), self.weight if like is None else like).unsqueeze(0)
        return functional.conv(
            maps, self.weight[:, self.in_channels // self.groups :], self.bias, self.stride, self.padding, self.dilation, 1,
            self.padding_mode, self.policy,
        ).squeeze(0)  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim, batch=False)
        y = functional.conv(
            input, self.kernel(), None, self.stride, self.padding, self.dilation, self.groups, self.padding_mode, self.policy
        )  # fmt: skip
        bias = self.position_bias(input.shape[-self.ndim :], input)
        return y.add_(bias) if torch_gate.plain(y, bias) else y + bias

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        maps = self.coordinates.by_formula(x.shape[2:], x)
        maps = maps.repeat(x.shape[0], self.groups, *[1] * (self.ndim + 1))
        appended = torch.cat([x.unflatten(1, (self.groups, -1)), maps], 2).flatten(1, 2)
        return conv_by_taps(
            appended, self.weight, self.bias, self.stride, self.pads, self.dilation, self.groups, self.padding_mode
        )

    def parameter_count(self) -> int:
        own = self.in_channels // self.groups + self.coordinates.count(self.ndim)
        return self.out_channels * own * math.prod(self.kernel_size) + (0 if self.bias is None else self.out_channels)

    def symmetries(self) -> Iterable[Symmetry]:
        others = tuple(
            a for a in self.coordinates.others(self.ndim)
            if self.stride[a] == 1 and sum(self.pads[a]) == self.dilation[a] * (self.kernel_size[a] - 1)
        )  # fmt: skip
        if self.padding_mode == "circular" and others:
            ones = (1,) * len(others)
            yield Symmetry("shift", lambda x: x.roll(ones, others), lambda y: y.roll(ones, others))

    def freeze(self) -> nn.Module:
        """A copy as it is: no plain convolution has a bias for each position."""
        return copy.deepcopy(self)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        common = {"in_channels": 2, "out_channels": 4, "kernel_size": 3}
        yield Example({"ndim": 1, **common, "stride": 2, "padding": 1, "radius": True}, ((2, 2, 6),))
        yield Example(
            {"ndim": 2, **common, "padding": "same", "padding_mode": "circular", "axes": (0,)}, ((2, 2, 4, 3),)
        )
        yield Example({"ndim": 2, **common, "groups": 2, "dilation": 2, "padding": 2, "bias": False}, ((1, 2, 3, 4),))
        yield Example(
            {
                "ndim": 3,
                **common,
                "kernel_size": (1, 2, 3),
                "padding": "same",
                "padding_mode": "circular",
                "axes": (-1,),
                "step": 0.1,
            },
            ((1, 2, 2, 3, 3),),
        )
        yield Example({"ndim": 4, **common, "kernel_size": 2, "range": (0, 1)}, ((1, 2, 2, 3, 2, 2),))


def _finite(value: Any) -> bool:
    """Whether it is a finite real number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
