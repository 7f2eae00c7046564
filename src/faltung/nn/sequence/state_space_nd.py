"""State spaces along every axis of images and volumes: S4ND."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Layer, shown
from faltung.nn.functional.definition import conv_by_taps
from faltung.nn.sequence.state_space import StateSpaceConv1d
from faltung.planner import Policy


class StateSpaceConv(Layer):
    """A depthwise convolution over the whole of an image or volume: one state space for every axis.

    Formula: `y[p] = Σ_l k₁[l₁]·k₂[l₂]·… x[p − l] + D x[p]`, the filters of `StateSpaceConv1d` for every axis; both directions of an
    axis are summed before the next.

    Shapes: input (batch, channels, *n), returns the same.

    Args:
        ndim: number of spatial axes, at least 1.   channels: at least 1.
        direction: of every axis, one word for all or one each. Default bidirectional.
        state, method, init, disc, dt, skip, fixed_dynamics, policy: as for `StateSpaceConv1d`.
        device, dtype: of the parameters. Default: torch's.

    Raises:
        ArgumentError: settings that name no layer.

    Cost: a convolution along each axis, one after the other; the outer product of the filters is never made.
    Source: Nguyen, Goel, Gu, Downs, Shah, Dao, Baccus and Ré, S4ND: modeling images and videos as multidimensional signals using
    state spaces (2022).

    Example:
        >>> StateSpaceConv(2, 4, state=16)(torch.zeros(1, 4, 20, 30)).shape
        torch.Size([1, 4, 20, 30])
    """

    name = "state-space-nd"
    summary = "a filter as large as the image, the outer product of state spaces along its axes (S4ND)"
    source = "Nguyen et al., S4ND: modeling images and videos as multidimensional signals using state spaces (2022)"
    cost = "Σ log n, as convolutions of spectra"
    dims = (2, 3)
    portrait = shown("impulses", (1, 1, 24, 24), ndim=2, channels=1, state=16, skip=False, dt=(0.05, 0.2))

    def __init__(
        self,
        ndim: int,
        channels: int,
        state: int = 64,
        method: str = "diag",
        init: str | None = None,
        disc: str | float | None = None,
        dt: tuple[float, float] = (0.001, 0.1),
        direction: str | tuple[str, ...] = "bidirectional",
        skip: bool = True,
        fixed_dynamics: bool = False,
        policy: Policy | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        (self.channels,) = functional.numbers("channels", channels, 1, 1)
        words = direction if isinstance(direction, (tuple, list)) else (direction,) * self.ndim
        if len(words) != self.ndim:
            raise ArgumentError.of("direction", f"one word or {self.ndim}", repr(direction), "give one for each axis")
        if not isinstance(skip, bool):
            raise ArgumentError.of("skip", "True or False", repr(skip), "leave it out for True")
        factory = {"device": device, "dtype": dtype}
        self.axes = nn.ModuleList(
            StateSpaceConv1d(
                channels, state, 1, method, init, disc, dt, word, False, fixed_dynamics, policy, **factory
            )
            for word in words
        )  # fmt: skip
        self.register_parameter("skip", nn.Parameter(torch.randn(self.channels, **factory)) if skip else None)

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        along: Any = self.axes
        return sum(axis.parameter_count() for axis in along) + (0 if self.skip is None else self.channels)

    def forward(self, input: Tensor, rate: Any = 1.0) -> Tensor:
        """The result; rate: see `FilterConstructor.filters`, one number for all axes or one each."""
        self.expect(input, self.channels, self.ndim)
        rates = tuple(rate) if isinstance(rate, (tuple, list)) else (rate,) * self.ndim
        if len(rates) != self.ndim:
            raise ArgumentError.of("rate", f"one number or {self.ndim}", repr(rate), "give one for each axis")
        y = input
        for place, (axis, own) in enumerate(zip(self.axes, rates, strict=True), 2):
            lines = y.movedim(place, -1).movedim(1, -2)  # (batch, all other axes, channels, this axis)
            y = axis(lines.flatten(0, -3), own).reshape(lines.shape).movedim(-2, 1).movedim(-1, place)
        return y if self.skip is None else y + self.skip.reshape(-1, *[1] * self.ndim) * input

    def definition(self, *inputs: Any) -> Tensor:
        """One convolution with the outer product of the filters."""
        x = inputs[0]
        kernel, pads = x.new_ones(self.channels, 1, *[1] * self.ndim), []
        along: Any = self.axes
        for place, axis in enumerate(along):
            weight, margins = axis.weight(axis.constructor.definition_filters(max(1, x.shape[2 + place])))
            kernel = kernel * weight.reshape(self.channels, 1, *[1] * place, -1, *[1] * (self.ndim - 1 - place))
            pads.append(margins)
        y = conv_by_taps(x, kernel, None, (1,) * self.ndim, pads, (1,) * self.ndim, self.channels)
        return y if self.skip is None else y + self.skip.reshape(-1, *[1] * self.ndim) * x

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 2, "channels": 2, "state": 4, "disc": "bilinear"}, ((2, 2, 5, 4),))
        words = ("causal", "anticausal", "causal")
        yield Example(
            {"ndim": 3, "channels": 1, "state": 2, "init": "s4d-real", "direction": words, "skip": False}, ((2, 1, 3, 4, 2),)
        )  # fmt: skip
