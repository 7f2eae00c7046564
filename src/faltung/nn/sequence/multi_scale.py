"""MultiScale and SGConv1d: filters of short learnt pieces, each twice as long as the one before it, and weaker."""

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, shown
from faltung.nn.sequence.sequence import LOCAL, FilterConstructor, SequenceConv, heads_of, wide
from faltung.planner import Policy

MODES = ("cat", "sum")
INTERPOLATIONS = ("linear", "nearest")
INITS = ("normal", "cosine")
SOURCE = "Li et al., What makes convolutional models great on long sequence modeling? (2023)"


class MultiScale(FilterConstructor):
    """Filters of O(log length) parameters: short pieces, stretched to twice the length each, and scaled down.

    Formula: piece i of `piece` numbers is stretched by 2^e_i, linearly or by repeating, and weighted m_c^(s − 1 − i), s the
    number of pieces. `cat`: e = 0, 0, 1, 2, ... and pieces follow each other; `sum`: e = 0, 1, 2, ... and pieces are added,
    all from tap 0. Everything is divided by the filter's 2-norm at its first values. With `power`, tap t is multiplied by
    (1 + t)^(−a), a learnt. Both have `piece` · 2^(s − 1 + stretch) taps. At another rate r, tap l is r times the filter at place
    (l + ½) · r, in the same measure in which tap l stands at l + ½.

    Shapes: weight (channels, heads, s, piece); norm (channels, heads), no parameter but stored with them; power a (channels,
    heads).

    Args:
        channels, max_length: at least 1. Pieces are as many as max_length needs.   heads: filters for each channel. Default 1.
        piece: numbers in a piece, at least 1. Default 32.   mode: cat or sum. Default cat.
        decay: the factor m from one piece to the next, (first channel, last channel), on a straight line between. Default (2, 2).
        interpolation: linear or nearest (filters are constant on dyadic blocks). Default linear.
        init: normal or cosine (waves, faster from channel to channel, in another order for each piece). Default normal.
        power: bounds of a at first, drawn uniformly, or None. Default None.
        stretch: doublings of every piece; each makes do with one piece less. Default 0.
        device, dtype: of the parameters.

    Raises:
        ArgumentError: settings that make no filters.

    Cost: channels · heads · piece · s parameters, and two products a tap.

    Source: Li et al., What makes convolutional models great on long sequence modeling? (2023). There the norm is taken at the
    first call and never again, so that it depends on what was called; here it is taken when numbers are drawn.

    Example:
        >>> made = MultiScale(2, 4096, piece=32)
        >>> made.scales, made.longest, made.parameter_count() // 2
        (8, 4096, 256)
    """

    learning_rates: ClassVar[dict[str, float]] = {"weight": 1e-3}
    source = SOURCE

    def __init__(
        self,
        channels: int,
        max_length: int,
        piece: int = 32,
        heads: int = 1,
        mode: str = "cat",
        decay: tuple[float, float] = (2.0, 2.0),
        interpolation: str = "linear",
        init: str = "normal",
        power: tuple[float, float] | None = None,
        stretch: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.settle(channels, heads)
        self.max_length, self.piece = functional.numbers("max_length, piece", (max_length, piece), 2, 1)
        (self.stretch,) = functional.numbers("stretch", stretch, 1, 0)
        for word, given, known in (
            ("mode", mode, MODES),
            ("interpolation", interpolation, INTERPOLATIONS),
            ("init", init, INITS),
        ):
            if given not in known:
                raise ArgumentError.of(word, f"one of {', '.join(known)}", repr(given), "choose one of these")
        self.mode, self.interpolation, self.init = mode, interpolation, init
        self.decay = _pair("decay", decay)
        if min(self.decay) <= 0:
            raise ArgumentError.of("decay", "numbers above 0", repr(decay), "2 halves each piece")
        self.bounds = None if power is None else _pair("power", power)
        need = math.ceil(self.max_length / self.piece)
        self.scales = max(1, 1 + (need - 1).bit_length() - self.stretch)
        self.longest = self.piece << (self.scales - 1 + self.stretch)
        factory = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(torch.empty(self.channels, self.heads, self.scales, self.piece, **factory))
        drawn = None if power is None else nn.Parameter(torch.empty(self.channels, self.heads, **factory))
        self.register_parameter("power", drawn)
        self.norm: Tensor
        self.register_buffer("norm", torch.ones(self.channels, self.heads, **factory))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the pieces, see `init`, and take the norm of the filters that they make."""
        if self.init == "normal":
            nn.init.normal_(self.weight)
        else:
            count = self.channels * self.heads
            like = {"dtype": self.weight.dtype, "device": self.weight.device}
            place = (torch.arange(self.piece, **like) + 0.5) * (math.pi / self.piece)
            waves = torch.cos(torch.linspace(0, self.piece - 1, count, **like)[:, None] * place)
            for scale in range(self.scales):
                order = torch.randperm(count).to(waves.device)
                self.weight[:, :, scale] = waves[order].reshape(self.channels, self.heads, self.piece)
        if self.bounds is not None:
            nn.init.uniform_(self.power, self.bounds[0], self.bounds[1])
        self.norm.fill_(1)
        self.norm.copy_(self.filters(self.longest or 1).norm(dim=-1))

    @property
    def spans(self) -> list[tuple[int, int]]:
        """(first tap, stretch factor) of every piece."""
        if self.mode == "sum":
            return [(0, 1 << (i + self.stretch)) for i in range(self.scales)]
        factors = [1 << (max(0, i - 1) + self.stretch) for i in range(self.scales)]
        return [(self.piece * sum(factors[:i]), f) for i, f in enumerate(factors)]

    def weights(self) -> Tensor:
        """What every piece is multiplied with, (channels, 1, scales, 1)."""
        like = {"dtype": self.weight.dtype, "device": self.weight.device}
        m = torch.linspace(self.decay[0], self.decay[1], self.channels, **like)
        return (m[:, None] ** torch.arange(self.scales - 1, -1, -1, **like))[:, None, :, None]

    def reach(self, rate: float) -> int:
        """The taps whose middles lie within the filter."""
        return max(1, math.ceil((self.longest or 1) / rate - 0.5))

    def filters(self, length: int, rate: float = 1.0) -> Tensor:
        pieces = self.weight * self.weights()
        like = {"dtype": wide(pieces), "device": pieces.device}
        reach = min(length, self.reach(rate))
        # The middle of tap l is at (l + ½) · rate, measured in taps of rate 1.
        middles = (torch.arange(reach, **like) + 0.5) * rate
        taps = pieces.new_zeros(self.channels, self.heads, reach) if self.mode == "sum" else None
        parts = []
        for i, (first, factor) in enumerate(self.spans):
            end = first + self.piece * factor
            begin, stop = (min(reach, math.ceil(edge / rate - 0.5)) for edge in (first, end))
            if rate == 1.0:  # whole factors: torch's interpolation is the same, without a gather
                part = nn.functional.interpolate(pieces[:, :, i], scale_factor=factor, mode=self.interpolation)
                part = part[..., : stop - begin]
            else:
                part = self._stretched(pieces[:, :, i], (middles[begin:stop] - first) / factor)
            if taps is None:
                parts.append(part)
            else:
                taps = taps + nn.functional.pad(part, (0, reach - stop))
        taps = torch.cat(parts, -1) if taps is None else taps
        if self.power is not None:
            taps = taps * torch.exp(-self.power[..., None] * torch.log(middles + 1 - 0.5 * rate))
        taps = (rate * taps / self.norm[..., None]).to(pieces.dtype)
        return nn.functional.pad(taps, (0, length - reach))

    def _stretched(self, piece: Tensor, at: Tensor) -> Tensor:
        """The piece (channels, heads, piece) at places in [0, piece], number j filling the place from j to j + 1."""
        if self.interpolation == "nearest":
            return piece[..., at.floor().long().clamp(0, self.piece - 1)]
        at = (at - 0.5).clamp(0, self.piece - 1)
        low = at.floor().clamp(max=max(self.piece - 2, 0))
        part, low = at - low, low.long()
        return (1 - part) * piece[..., low] + part * piece[..., (low + 1).clamp(max=self.piece - 1)]

    def definition_filters(self, length: int, rate: float = 1.0) -> Tensor:
        """Tap by tap."""
        m = [
            self.decay[0] + (self.decay[1] - self.decay[0]) * c / max(self.channels - 1, 1)
            for c in range(self.channels)
        ]
        total = self.longest or 0
        taps = self.weight.new_zeros(self.channels, self.heads, max(self.reach(rate), length))
        for c in range(self.channels):
            for i, (first, factor) in enumerate(self.spans):
                piece = self.weight[c, :, i] * m[c] ** (self.scales - 1 - i)
                for step in range(taps.shape[-1]):
                    at = ((step + 0.5) * rate - first) / factor
                    if not 0 <= at < self.piece or (step + 0.5) * rate >= total:
                        continue
                    if self.interpolation == "nearest":
                        taps[c, :, step] += piece[:, int(at)]
                        continue
                    at = min(max(at - 0.5, 0), self.piece - 1)
                    low = int(at)
                    above = piece[:, min(low + 1, self.piece - 1)]
                    taps[c, :, step] += (1 - (at - low)) * piece[:, low] + (at - low) * above
        steps = torch.arange(taps.shape[-1], dtype=wide(taps))
        fade = 1 if self.power is None else (1 + rate * steps) ** -self.power[..., None]
        return (rate * taps * fade / self.norm[..., None]).to(taps.dtype)[..., :length]

    def parameter_count(self) -> int:
        count = self.channels * self.heads
        return count * self.scales * self.piece + (0 if self.power is None else count)


class SGConv1d(SequenceConv):
    """Every channel is filtered over all of its time with filters of O(log length) parameters: stretched pieces that fade.

    Formula, Shapes: see `faltung.nn.SequenceConv` and `faltung.nn.MultiScale`. Inputs longer than `max_length` are filtered
    with as many taps as there are.

    Args:
        channels, max_length, piece, heads, mode, decay, interpolation, init, power, stretch, device, dtype: see `MultiScale`.
        direction: causal, anticausal or bidirectional (a second filter looks ahead). Default causal.
        skip: whether a learnt multiple of the input is added. Default True.
        policy: see `faltung.nn.SequenceConv`.

    Raises:
        ArgumentError: settings that name no layer.

    Cost: O(T log T) for each result channel.

    Source: Li et al., What makes convolutional models great on long sequence modeling? (2023).

    Example:
        >>> SGConv1d(8, 1024)(torch.zeros(1, 8, 1024)).shape
        torch.Size([1, 8, 1024])
    """

    name = "sgconv"
    summary = "filters as long as the signal of O(log length) parameters: pieces stretched to twice the length each"
    source = SOURCE
    cost = "log2 length, about ten times"
    portrait = shown("rows", (1, 4, 96), channels=4, max_length=96, piece=8)

    def __init__(
        self,
        channels: int,
        max_length: int,
        piece: int = 32,
        heads: int = 1,
        mode: str = "cat",
        decay: tuple[float, float] = (2.0, 2.0),
        interpolation: str = "linear",
        init: str = "normal",
        power: tuple[float, float] | None = None,
        stretch: int = 0,
        direction: str = "causal",
        skip: bool = True,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        nn.Module.__init__(self)
        made = MultiScale(
            channels, max_length, piece, heads_of(heads, direction), mode, decay, interpolation, init, power, stretch, device, dtype
        )  # fmt: skip
        self.settle(made, direction, skip, policy=policy)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        few = {"channels": 2, "max_length": 8, "piece": 2}
        yield Example({**few, "heads": 2, "decay": (2.0, 4.0)}, ((2, 2, 9),))
        both = {"direction": "bidirectional", "skip": False}
        yield Example({**few, "mode": "sum", "interpolation": "nearest", **both}, ((2, 2, 5),))
        yield Example({**few, "init": "cosine", "power": (0.5, 1.0), "stretch": 1, "policy": LOCAL}, ((2, 2, 7),))
        yield Example({**few, "direction": "anticausal"}, ((1, 2, 9),))


def _pair(name: str, given: Any) -> tuple[float, float]:
    """Two numbers; ArgumentError otherwise."""
    good = isinstance(given, (tuple, list)) and len(given) == 2
    if not good or any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in given):
        raise ArgumentError.of(name, "two numbers", repr(given), "give the value for the first and the last channel")
    return float(given[0]), float(given[1])
