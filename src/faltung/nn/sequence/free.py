"""FreeFilter and LongConv1d: every tap of a filter as long as the signal is a parameter, shrunk or smoothed."""

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, shown
from faltung.nn.functional.shrink import checked_threshold, checked_window
from faltung.nn.sequence.sequence import LOCAL, FilterConstructor, SequenceConv, checked_chance, heads_of, wide
from faltung.planner import Policy

INITS = ("random", "double_exp")
SOURCE = "Fu et al., Simple hardware-efficient long convolutions for sequence modeling (2023)"


class FreeFilter(FilterConstructor):
    """Filters whose taps are parameters: smoothed, then squashed, then dropped at random while training.

    Formula: `k = dropout(squash(smooth(weight, window), threshold))`, see `faltung.nn.functional`. `random` taps are normal with
    standard deviation 0.002; those of `double_exp` 0.02 · exp(−(j / length) · (channels / 2)^(c / channels)) for tap j of
    channel c. At another rate r, tap l is r times the weight at place l · r, on a straight line between its neighbours.

    Shapes: weight (channels, heads, length).

    Args:
        channels, length: at least 1.   heads: filters for each channel. Default 1.
        squash: threshold, at least 0; it should lie below the size of the taps, because those below it have no gradient. Default
            0.003, for `double_exp`; published runs take 0.001 to 0.004.
        smooth: window, odd, or None. Default None.   smooth_domain: time or frequency. Default time.
        dropout: chance of each tap to be 0 while training; the others grow by as much. Default 0.2.
        init: random or double_exp. Default double_exp.
        device, dtype: of the parameters.

    Raises:
        ArgumentError: settings that make no filters.

    Source: Fu et al., Simple hardware-efficient long convolutions for sequence modeling (2023).

    Example:
        >>> FreeFilter(4, 100, heads=2).filters(100).shape
        torch.Size([4, 2, 100])
    """

    learning_rates: ClassVar[dict[str, float]] = {"weight": 1e-3}
    source = SOURCE

    def __init__(
        self,
        channels: int,
        length: int,
        heads: int = 1,
        squash: float = 0.003,
        smooth: int | None = None,
        smooth_domain: str = "time",
        dropout: float = 0.2,
        init: str = "double_exp",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.settle(channels, heads)
        (self.longest,) = functional.numbers("length", length, 1, 1)
        self.squash = checked_threshold(squash)
        self.smooth = None if smooth is None else checked_window(smooth, smooth_domain)
        self.smooth_domain = smooth_domain
        if init not in INITS:
            raise ArgumentError.of("init", f"one of {', '.join(INITS)}", repr(init), "choose one of these")
        self.dropout, self.init = checked_chance(dropout), init
        self.weight = nn.Parameter(torch.empty(self.channels, self.heads, self.longest, device=device, dtype=dtype))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the taps, see `init`."""
        if self.init == "random":
            nn.init.normal_(self.weight, std=0.002)
            return
        nn.init.normal_(self.weight, std=0.02)
        count, length = self.channels, self.longest
        like = {"dtype": wide(self.weight), "device": self.weight.device}
        speed = (count / 2) ** (torch.arange(count, **like) / count)
        self.weight.mul_(torch.exp(-torch.arange(length, **like) / length * speed[:, None, None]))

    def filters(self, length: int, rate: float = 1.0) -> Tensor:
        taps = self.weight if self.smooth is None else functional.smooth(self.weight, self.smooth, self.smooth_domain)
        taps = functional.squash(taps, self.squash)
        taps = nn.functional.dropout(taps, self.dropout, self.training)
        return at_rate(taps, length, rate)

    def definition_filters(self, length: int, rate: float = 1.0) -> Tensor:
        """Averages tap by tap or bin by bin; taps by comparison."""
        taps = self.weight
        if self.smooth is not None:
            taps = self._smoothed(taps)
        size = taps.abs()
        taps = torch.where(size > self.squash, (size - self.squash) * taps.sign(), torch.zeros_like(taps))
        found = []
        for step in range(length):
            low = math.floor(step * rate)
            part = step * rate - low
            ends = [taps[..., j] if j < taps.shape[-1] else 0 * taps[..., 0] for j in (low, low + 1)]
            found.append(rate * ((1 - part) * ends[0] + part * ends[1]))
        return torch.stack(found, -1)

    def _smoothed(self, taps: Tensor) -> Tensor:
        """By the formulas of `smooth`: sums of neighbours, or sums of neighbouring bins of the Fourier transform."""
        length, reach = taps.shape[-1], self.smooth // 2 if self.smooth else 0
        around = range(-reach, reach + 1)
        if self.smooth_domain == "time":
            rows = [sum(taps[..., j + d] for d in around if 0 <= j + d < length) / len(around) for j in range(length)]
            return torch.stack(rows, -1)
        weights = [math.exp(-0.5 * (4 * d / len(around)) ** 2) for d in around]
        bins = torch.fft.fft(taps, 2 * length)
        mean = sum(g * bins.roll(d, -1) for g, d in zip(weights, around, strict=True)) / sum(weights)
        return torch.fft.ifft(mean).real[..., :length]

    def parameter_count(self) -> int:
        return self.channels * self.heads * (self.longest or 0)


class LongConv1d(SequenceConv):
    """Every channel is filtered over all of its time with filters whose taps are all learnt.

    Formula, Shapes: see `faltung.nn.SequenceConv` and `faltung.nn.FreeFilter`. The anticausal filter's tap l meets the sample l
    steps ahead (the first implementation's meets the one l + 1 steps ahead). Inputs longer than `length` are filtered with as
    many taps as there are.

    Args:
        channels, length, heads, squash, smooth, smooth_domain, dropout, init, device, dtype: see `FreeFilter`.
        direction: causal, anticausal or bidirectional (a second filter looks ahead). Default causal.
        skip: whether a learnt multiple of the input is added. Default True.
        policy: see `faltung.nn.SequenceConv`.

    Raises:
        ArgumentError: settings that name no layer.

    Cost: O(T log T) for each result channel; as many parameters as taps. Train the taps with a learning rate of their own and
    without weight decay.

    Source: Fu et al., Simple hardware-efficient long convolutions for sequence modeling (2023).

    Example:
        >>> LongConv1d(8, 1024)(torch.zeros(1, 8, 1024)).shape
        torch.Size([1, 8, 1024])
    """

    name = "long-conv"
    summary = "filters as long as the signal whose taps are all learnt, squashed or smoothed"
    source = SOURCE
    cost = "log2 length, about ten times"
    portrait = shown("rows", (1, 4, 96), channels=4, length=96, dropout=0.0)

    def __init__(
        self,
        channels: int,
        length: int,
        heads: int = 1,
        direction: str = "causal",
        squash: float = 0.003,
        smooth: int | None = None,
        smooth_domain: str = "time",
        dropout: float = 0.2,
        init: str = "double_exp",
        skip: bool = True,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        nn.Module.__init__(self)
        made = FreeFilter(
            channels, length, heads_of(heads, direction), squash, smooth, smooth_domain, dropout, init, device, dtype
        )
        self.settle(made, direction, skip, policy=policy)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        few = {"channels": 2, "length": 5, "dropout": 0.0}
        yield Example({**few, "heads": 2}, ((2, 2, 6),))
        yield Example({**few, "direction": "bidirectional", "smooth": 3, "skip": False}, ((2, 2, 4),))
        yield Example({**few, "direction": "anticausal"}, ((1, 2, 6),))
        rough = {**few, "squash": 0.0, "init": "random", "dropout": 0.3}
        yield Example({**rough, "smooth": 3, "smooth_domain": "frequency", "policy": LOCAL}, ((2, 2, 5),))


def at_rate(taps: Tensor, length: int, rate: float) -> Tensor:
    """`length` taps of a filter whose tap 1 stands at place `rate` of these taps (..., n), so that sums stay what they were."""
    n = taps.shape[-1]
    if rate == 1.0:
        return nn.functional.pad(taps, (0, max(length - n, 0)))[..., :length]
    place = torch.arange(length, dtype=wide(taps), device=taps.device) * rate
    low = place.floor().clamp(max=n)
    part, low, padded = (place - low).clamp(max=1), low.long(), nn.functional.pad(taps, (0, 2))
    return (rate * ((1 - part) * padded[..., low] + part * padded[..., low + 1])).to(taps.dtype)
