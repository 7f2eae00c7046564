"""ImplicitFilter and ImplicitConv1d: filters that a small network of sines makes of the time, under a window that fades."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, shown
from faltung.nn.sequence.sequence import LOCAL, FilterConstructor, SequenceConv, heads_of, wide
from faltung.planner import Policy

SOURCE = "Poli et al., Hyena hierarchy: towards larger convolutional language models (2023)"


class ImplicitFilter(FilterConstructor):
    """Filters from a network: each tap's time, as waves, goes through layers of sines, and the result under a fading window.

    Formula: at time t in [0, 1], `z = (t, cos 2πft, sin 2πft for f = 1 .. bands)`, `h_1 = sin(omega · (A_1 z + b_1))`,
    `h_i = sin(A_i h_{i−1} + b_i)`, and `k[c, m] = scale_c · (w_c(t) + floor) · (L h_last)[c, m]` with the window
    `w_c(t) = exp(−α_c t)`, tap l at t = l · r / length for the rate r, which multiplies the taps. α falls from fast to slow
    over the channels, so that windows have sunk to 0.01 at t = `reach`. scale is such that at first the squares of a filter's
    taps sum to 1, on average over draws.

    Shapes: see `faltung.nn.FilterConstructor`; omega (hidden) is learnt, scale and α are not.

    Args:
        channels, length: at least 1; filters have `length` taps at rate 1.   heads: filters for each channel. Default 1.
        hidden: width, at least 1. Default 32.   layers: layers of sines, at least 1. Default 2.   bands: at least 0. Default 4.
        omega: what phases of the first layer are multiplied with at first; larger ones make rougher filters. Default 10.
        reach: t at which the windows of the first and the last channel have sunk to 0.01. Default (0.3, 1.5).
        floor: what is added to the windows. Default 0.05.
        device, dtype: of the parameters.

    Raises:
        ArgumentError: settings that make no filters.

    Cost: hidden · (2 · bands + 1 + (layers − 1) · hidden + channels · heads) products a tap, whatever the batch; as many
    parameters for any length.

    Source: Poli et al., Hyena hierarchy: towards larger convolutional language models (2023). There omega multiplies the
    phases of all layers, and nothing fixes the size of the filters.

    Example:
        >>> ImplicitFilter(4, 1000).filters(1000).shape
        torch.Size([4, 1, 1000])
    """

    source = SOURCE

    def __init__(
        self,
        channels: int,
        length: int,
        heads: int = 1,
        hidden: int = 32,
        layers: int = 2,
        bands: int = 4,
        omega: float = 10.0,
        reach: tuple[float, float] = (0.3, 1.5),
        floor: float = 0.05,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.settle(channels, heads)
        self.longest, self.hidden, self.layers = functional.numbers(
            "length, hidden, layers", (length, hidden, layers), 3, 1
        )
        (self.bands,) = functional.numbers("bands", bands, 1, 0)
        ends = reach if isinstance(reach, (tuple, list)) and len(reach) == 2 else (0, 0)
        for word, given, good in (
            ("omega", omega, omega > 0), ("reach", reach, min(ends) > 0), ("floor", floor, floor >= 0),
        ):  # fmt: skip
            if not good:
                raise ArgumentError.of(
                    word, "a positive number, or two for reach", repr(given), "leave it out for its default"
                )
        self.first_omega, self.ends, self.floor = float(omega), (float(ends[0]), float(ends[1])), float(floor)
        factory = {"device": device, "dtype": dtype}
        self.first = nn.Linear(2 * self.bands + 1, self.hidden, **factory)
        self.omega = nn.Parameter(torch.empty(self.hidden, **factory))
        self.steps = nn.ModuleList(nn.Linear(self.hidden, self.hidden, **factory) for _ in range(self.layers - 1))
        self.last = nn.Linear(self.hidden, self.channels * self.heads, bias=False, **factory)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights: phases spread over a turn, layers that keep variance, filters whose squares sum to about 1."""
        nn.init.uniform_(self.first.weight, -1, 1)
        self.first.weight.div_(math.sqrt(self.first.in_features))
        nn.init.uniform_(self.first.bias, -math.pi / self.first_omega, math.pi / self.first_omega)
        nn.init.constant_(self.omega, self.first_omega)
        for step in self.steps:
            # Sines have the mean square ½; a variance of 3 keeps the next ones well away from being linear.
            nn.init.normal_(step.weight, std=math.sqrt(6 / self.hidden))
            nn.init.uniform_(step.bias, -math.pi, math.pi)
        nn.init.normal_(self.last.weight, std=math.sqrt(2 / self.hidden))

    def times(self, length: int, rate: float) -> Tensor:
        """t of every tap."""
        like = {"dtype": wide(self.omega), "device": self.omega.device}
        return torch.arange(length, **like) * (rate / (self.longest or 1))

    def windows(self, times: Tensor) -> Tensor:
        """scale · (w + floor) for every channel and tap."""
        alpha = -math.log(0.01) / torch.linspace(*self.ends, self.channels, dtype=times.dtype, device=times.device)
        # The sum of (e^(−αt) + floor)² over the taps, as a geometric series: three sums, of e^(−2αt), of e^(−αt) and of 1.
        n = self.longest or 1
        squares = _geometric(2 * alpha / n, n) + 2 * self.floor * _geometric(alpha / n, n) + n * self.floor**2
        return (torch.exp(-alpha[:, None] * times) + self.floor) / squares.sqrt()[:, None]

    def filters(self, length: int, rate: float = 1.0) -> Tensor:
        reach = min(length, self.reach(rate) or length)
        times = self.times(reach, rate)
        waves = [times]
        for band in range(1, self.bands + 1):
            waves += [torch.cos(2 * math.pi * band * times), torch.sin(2 * math.pi * band * times)]
        # The first layer is no matrix product, which autocast would narrow: omega makes phases of many turns from it.
        phases = self.first.bias + sum(
            w[:, None] * column for w, column in zip(waves, self.first.weight.T, strict=True)
        )
        h = torch.sin(self.omega * phases).to(self.omega.dtype)
        for step in self.steps:
            h = torch.sin(step(h))
        made = self.last(h).T.unflatten(0, (self.channels, self.heads)) * (rate * self.windows(times))[:, None]
        return nn.functional.pad(made.to(self.omega.dtype), (0, length - reach))

    def definition_filters(self, length: int, rate: float = 1.0) -> Tensor:
        """Tap by tap."""
        found, n = [], self.longest or 1
        squares = 0
        alpha = -math.log(0.01) / torch.linspace(*self.ends, self.channels, dtype=self.omega.dtype)
        for step in range(n):
            squares = squares + (torch.exp(-alpha * step / n) + self.floor) ** 2
        for step in range(length):
            t = step * rate / n
            waves = [t, *(f(2 * math.pi * b * t) for b in range(1, self.bands + 1) for f in (math.cos, math.sin))]
            h = torch.sin(self.omega * (self.first.weight @ self.omega.new_tensor(waves) + self.first.bias))
            for layer in self.steps:
                h = torch.sin(layer.weight @ h + layer.bias)
            window = (torch.exp(-alpha * t) + self.floor) / squares**0.5 * (step < n / rate)
            found.append((self.last.weight @ h).reshape(self.channels, self.heads) * rate * window[:, None])
        return torch.stack(found, -1)

    def parameter_count(self) -> int:
        h = self.hidden
        return h * (2 * self.bands + 3) + (self.layers - 1) * (h + 1) * h + h * self.channels * self.heads


class ImplicitConv1d(SequenceConv):
    """Every channel is filtered over all of its time with filters that a small network makes of the time.

    Formula, Shapes: see `faltung.nn.SequenceConv` and `faltung.nn.ImplicitFilter`. Inputs longer than `length` are filtered with
    as many taps as there are.

    Args:
        channels, length, heads, hidden, layers, bands, omega, reach, floor, device, dtype: see `ImplicitFilter`.
        direction: causal, anticausal or bidirectional (a second filter looks ahead). Default causal.
        skip: whether a learnt multiple of the input is added. Default True.
        policy: see `faltung.nn.SequenceConv`.

    Raises:
        ArgumentError: settings that name no layer.

    Cost: O(T log T) for each result channel, and the network once a tap.

    Source: Poli et al., Hyena hierarchy: towards larger convolutional language models (2023).

    Example:
        >>> ImplicitConv1d(8, 1024)(torch.zeros(1, 8, 1024)).shape
        torch.Size([1, 8, 1024])
    """

    name = "implicit-conv"
    summary = "filters as long as the signal that a small network of sines makes of the time"
    source = SOURCE
    cost = "log2 length, about ten times"
    portrait = shown("rows", (1, 4, 96), channels=4, length=96)

    def __init__(
        self,
        channels: int,
        length: int,
        heads: int = 1,
        hidden: int = 32,
        layers: int = 2,
        bands: int = 4,
        omega: float = 10.0,
        reach: tuple[float, float] = (0.3, 1.5),
        floor: float = 0.05,
        direction: str = "causal",
        skip: bool = True,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        nn.Module.__init__(self)
        made = ImplicitFilter(
            channels, length, heads_of(heads, direction), hidden, layers, bands, omega, reach, floor, device, dtype
        )
        self.settle(made, direction, skip, policy=policy)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        few = {"channels": 2, "length": 6, "hidden": 3, "omega": 2.0}
        yield Example({**few, "heads": 2, "bands": 1, "direction": "bidirectional"}, ((2, 2, 7),))
        single = {"layers": 1, "bands": 0, "skip": False, "floor": 0.0}
        yield Example({**few, **single, "policy": LOCAL}, ((2, 2, 5),))
        yield Example({**few, "bands": 1, "direction": "anticausal"}, ((1, 2, 7),))


def _geometric(rate: Tensor, count: int) -> Tensor:
    """The sum of exp(−rate · l) over l = 0 .. count − 1."""
    return torch.expm1(-rate * count) / torch.expm1(-rate)
