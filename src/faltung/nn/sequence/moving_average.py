"""Exponential moving averages: the shortest recurrences, one number a channel, and their damped version with many."""

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, shown
from faltung.nn.functional.vandermonde import Planes
from faltung.nn.sequence.modes import Modes
from faltung.nn.sequence.sequence import LOCAL, SequenceConv, heads_of
from faltung.planner import Policy


class MovingAverage(Modes):
    """Exponential moving averages.

    Formula: `y_t = α x_t + (1 − α) y_{t−1}`, so `k[l] = α (1 − α)^l`, α = sigmoid(level). At another rate r the average over the
    same time: `1 − (1 − α)^r` in place of α.

    Shapes: level (channels, heads).

    Args:
        channels, heads: at least 1; every head has an α of its own.
        times: after how many samples an average has forgotten 1 − 1/e of the past; drawn between these two, uniform in the
            logarithm. Above 0, default (2, 200).
        device, dtype: of the parameters. Default: torch's.

    Raises:
        ArgumentError: settings that name no constructor.

    Cost: O(channels · heads · length); a step 2 products.
    Source: Holt, Forecasting seasonals and trends by exponentially weighted moving averages (1957).

    Example:
        >>> MovingAverage(4, heads=2).filters(100).shape
        torch.Size([4, 2, 100])
    """

    source = "Holt, Forecasting seasonals and trends by exponentially weighted moving averages (1957)"

    def __init__(
        self,
        channels: int,
        heads: int = 1,
        times: tuple[float, float] = (2.0, 200.0),
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.settle(channels, heads)
        known = isinstance(times, (tuple, list)) and len(times) == 2 and all(isinstance(t, (int, float)) for t in times)
        if not known or not 0 < times[0] <= times[1] < math.inf:
            raise ArgumentError.of(
                "times", "the shortest and the longest time, above 0", repr(times), "leave it out for (2, 200)"
            )
        low, high = math.log(times[0]), math.log(times[1])
        drawn = low + (high - low) * torch.rand(self.channels, self.heads, device=device, dtype=dtype)
        self.level = nn.Parameter(torch.expm1((-drawn).exp()).log())  # 1 − α = exp(−1/time)

    def parameter_count(self) -> int:
        return self.channels * self.heads

    def modes(self, rate: float) -> tuple[Planes, Planes]:
        exponent = -softplus(self.level.double()) * rate
        return (torch.diag_embed(-torch.expm1(exponent)), None), (exponent, None)

    def definition_modes(self, rate: float) -> tuple[Tensor, Tensor]:
        factor = (1 - torch.sigmoid(self.level.double())) ** rate
        return torch.diag_embed(1 - factor).to(torch.complex128), factor.to(torch.complex128)


class DampedMovingAverage(Modes):
    """Damped exponential moving averages of many numbers a channel: the filter of MEGA.

    Formula: `h_t = α ⊙ β x_t + (1 − α ⊙ δ) ⊙ h_{t−1}`, `y_t = ηᵀ h_t / √N`, so
    `k[l] = Σ_n η_n α_n β_n (1 − α_n δ_n)^l / √N`, α and δ between 0 and 1 as sigmoids. At another rate r the factors become
    `(1 − α δ)^r`, and the sum over a mode's taps stays.

    Shapes: alpha, delta, beta (channels, state), eta (channels, heads, state).

    Args:
        channels, heads: at least 1.   state: numbers a channel, at least 1. Default 16.
        device, dtype: of the parameters. Default: torch's.

    Raises:
        ArgumentError: settings that name no constructor.

    Cost: O(channels · state · heads · length) in one matrix product.
    Source: Ma, Zhou, Kong, He, Gui, Neubig, May and Zettlemoyer, Mega: moving average equipped gated attention (2023).

    Example:
        >>> DampedMovingAverage(4).filters(100).shape
        torch.Size([4, 1, 100])
    """

    source = "Ma et al., Mega: moving average equipped gated attention (2023)"
    learning_rates: ClassVar[dict[str, float]] = {}

    def __init__(self, channels: int, state: int = 16, heads: int = 1, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.settle(channels, heads)
        (self.state,) = functional.numbers("state", state, 1, 1)
        shape, factory = (self.channels, self.state), {"device": device, "dtype": dtype}
        self.alpha = nn.Parameter(0.2 * torch.randn(shape, **factory))
        self.delta = nn.Parameter(0.2 * torch.randn(shape, **factory))
        sign = 1 - 2 * (torch.arange(self.state, device=device) % 2)
        self.beta = nn.Parameter(0.02 * torch.randn(shape, **factory) + sign)
        self.eta = nn.Parameter(torch.randn(self.channels, self.heads, self.state, **factory))

    def parameter_count(self) -> int:
        return self.channels * self.state * (3 + self.heads)

    def modes(self, rate: float) -> tuple[Planes, Planes]:
        alpha, delta = self.alpha.double().sigmoid(), self.delta.double().sigmoid()
        exponent = torch.log1p(-alpha * delta) * rate
        push = -torch.expm1(exponent) / delta * self.beta.double() / math.sqrt(self.state)
        return (self.eta.double() * push[:, None], None), (exponent, None)

    def definition_modes(self, rate: float) -> tuple[Tensor, Tensor]:
        alpha, delta = torch.sigmoid(self.alpha.double()), torch.sigmoid(self.delta.double())
        once = 1 - alpha * delta
        kept = (1 - once**rate) / (1 - once)
        weight = self.eta.double() * (alpha * self.beta.double() * kept)[:, None] / math.sqrt(self.state)
        return weight.to(torch.complex128), (once**rate).to(torch.complex128)


class MovingAverageConv1d(SequenceConv):
    """A layer of exponential moving averages over time, plain or damped.

    Formula: that of `MovingAverage`, or of `DampedMovingAverage` where a state is given, plus a multiple of the input.

    Shapes: input (batch, channels, T), returns (batch, channels · heads, T).

    Args:
        channels: at least 1.   heads: results of each channel. Default 1.
        state: numbers a channel of damped averages; None for plain averages. Default None.
        direction, skip, policy: see `SequenceConv`.
        device, dtype: of the parameters. Default: torch's.

    Raises:
        ArgumentError: settings that name no layer.

    Cost: O(T log T) a result channel; `step` 2 · state products.
    Source: as the constructors.

    Example:
        >>> MovingAverageConv1d(4, state=16)(torch.zeros(1, 4, 100)).shape
        torch.Size([1, 4, 100])
    """

    name = "moving-average"
    summary = "exponential moving averages over time, plain or damped with many numbers a channel"
    source = DampedMovingAverage.source
    cost = "log T, as a convolution of spectra; 2 · state by steps"
    portrait = shown("rows", (1, 4, 96), channels=4, state=8, skip=False)

    def __init__(
        self,
        channels: int,
        heads: int = 1,
        state: int | None = None,
        direction: str = "causal",
        skip: bool = True,
        policy: Policy | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        count, factory = heads_of(heads, direction), {"device": device, "dtype": dtype}
        made = (
            MovingAverage(channels, count, **factory)
            if state is None
            else DampedMovingAverage(channels, state, count, **factory)
        )
        super().__init__(made, direction, skip, None, policy)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 3, "heads": 2, "direction": "anticausal"}, ((2, 3, 20),))
        yield Example({"channels": 2, "state": 4, "policy": LOCAL}, ((2, 2, 19),))
