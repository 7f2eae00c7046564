"""What long filters over images and volumes share: one after the other along the axes, or one filter for all axes at once."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, Layer
from faltung.nn.functional.definition import conv_by_taps
from faltung.nn.sequence.sequence import DIRECTIONS, checked_rate, wide
from faltung.planner import Policy

Margins = list[tuple[int, int]]


class SpatialLong(Layer):
    """A depthwise convolution over all of an image or volume, with a learnt multiple of the input added.

    A subclass calls `settle`, and gives `axes`, a `SequenceConv` without skip for each axis, whose filters' outer product is the
    filter; or it leaves them out and writes `kernel` and `definition_kernel`.
    """

    learning_rates: ClassVar[dict[str, float]] = {}
    """Parameters with learning rates of their own, see `faltung.nn.param_groups`."""

    axes: nn.ModuleList | None
    skip: Tensor | None
    ndim: int
    channels: int
    words: tuple[str, ...]
    policy: Policy | None

    def settle(
        self, ndim: Any, channels: Any, direction: Any, skip: Any, policy: Policy | None, factory: dict[str, Any]
    ) -> None:
        """Check the settings that all have and keep them; `words` are the directions of the axes. No axes yet.

        Raises:
            ArgumentError: settings that name no layer.
        """
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        (self.channels,) = functional.numbers("channels", channels, 1, 1)
        words = tuple(direction) if isinstance(direction, (tuple, list)) else (direction,) * self.ndim
        if len(words) != self.ndim:
            raise ArgumentError.of("direction", f"one word or {self.ndim}", repr(direction), "give one for each axis")
        if not set(words) <= set(DIRECTIONS):
            raise ArgumentError.of(
                "direction", f"one of {', '.join(DIRECTIONS)}", repr(direction), "choose one of these"
            )
        if not isinstance(skip, bool):
            raise ArgumentError.of("skip", "True or False", repr(skip), "leave it out for True")
        self.words, self.policy, self.axes = words, policy, None
        self.register_parameter("skip", nn.Parameter(torch.randn(self.channels, **factory)) if skip else None)

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def kernel(self, sizes: tuple[int, ...], rates: tuple[float, ...]) -> tuple[Tensor, Margins]:
        """The weight (channels, 1, *taps) of the correlation with an image of these sizes, and its margins along every axis."""
        raise ArgumentError.of(type(self).__name__, "kernel()", "none", "make the kernel from the parameters")

    def definition_kernel(self, sizes: tuple[int, ...], rates: tuple[float, ...]) -> tuple[Tensor, Margins]:
        """The same by the formula, in plain torch, slow: here the outer product of the filters along the axes."""
        weight: Any = 1.0
        margins, along = [], self.axes
        assert along is not None
        axis: Any
        for place, (axis, size, rate) in enumerate(zip(along, sizes, rates, strict=True)):
            taps = axis.taps(max(1, size), rate)
            line, pair = axis.weight(axis.constructor.definition_filters(taps, rate))
            weight = weight * line.reshape(self.channels, 1, *[1] * place, -1, *[1] * (self.ndim - 1 - place))
            margins.append(pair)
        return weight, margins

    def forward(self, input: Tensor, rate: Any = 1.0) -> Tensor:
        """The result; rate: see `FilterConstructor.filters`, one number for all axes or one each."""
        self.expect(input, self.channels, self.ndim)
        rates = self._rates(rate)
        if self.axes is None:
            kernel, margins = self.kernel(tuple(max(1, n) for n in input.shape[2:]), rates)
            y = functional.conv(input, kernel, padding=tuple(margins), groups=self.channels, policy=self.policy)
        else:
            y = input
            for place, (axis, own) in enumerate(zip(self.axes, rates, strict=True), 2):
                lines = y.movedim(place, -1).movedim(1, -2)  # (batch, all other axes, channels, this axis)
                y = axis(lines.flatten(0, -3), own).reshape(lines.shape).movedim(-2, 1).movedim(-1, place)
        return y if self.skip is None else y + self._through(input)

    def definition(self, *inputs: Any) -> Tensor:
        x = inputs[0]
        kernel, margins = self.definition_kernel(tuple(max(1, n) for n in x.shape[2:]), self._rates(*inputs[1:]))
        y = conv_by_taps(x, kernel, None, (1,) * self.ndim, margins, (1,) * self.ndim, self.channels)
        return y if self.skip is None else y + self._through(x)

    def _through(self, input: Tensor) -> Tensor:
        assert self.skip is not None
        return self.skip.reshape(-1, *[1] * self.ndim) * input

    def _rates(self, rate: Any = 1.0) -> tuple[float, ...]:
        rates = tuple(rate) if isinstance(rate, (tuple, list)) else (rate,) * self.ndim
        if len(rates) != self.ndim:
            raise ArgumentError.of("rate", f"one number or {self.ndim}", repr(rate), "give one for each axis")
        return tuple(map(checked_rate, rates))


def offsets(word: str, taps: int, like: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """How far back each tap of a correlation looks along an axis with that direction, in float32 or wider; the axis' margins."""
    more = taps - 1
    low, high = (0 if word == "anticausal" else more), (0 if word == "causal" else more)
    return torch.arange(low, -high - 1, -1, dtype=wide(like), device=like.device), (low, high)


@torch.no_grad()
def reset_axes(layer: SpatialLong) -> None:
    """Draw the filters along all axes."""
    along: Any = layer.axes
    for axis in along:
        axis.constructor.reset_parameters()


def axis_parameters(layer: SpatialLong) -> int:
    """How many numbers the filters along all axes have, by their formulas."""
    along: Any = layer.axes
    return sum(axis.parameter_count() for axis in along)
