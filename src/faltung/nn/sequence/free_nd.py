"""LongConv: kernels as large as the image or volume whose taps are all learnt, whole or along the axes."""

import itertools
import math
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, shown
from faltung.nn.functional.shrink import checked_threshold, checked_window
from faltung.nn.sequence.free import INITS, SOURCE, LongConv1d, at_rate
from faltung.nn.sequence.sequence import checked_chance, wide
from faltung.nn.sequence.spatial import Margins, SpatialLong, axis_parameters, offsets, reset_axes
from faltung.planner import Policy


class LongConv(SpatialLong):
    """A depthwise convolution with a kernel as large as the image, every tap learnt, shrunk or smoothed.

    Formula: `y[p] = Σ_o k[o] · x[p − o] + D · x[p]` with x zero beyond its ends. Whole kernels are
    `k = dropout(squash(smooth(weight)))`, smoothed along every axis; separable ones `k[o] = k₁[o₁] · k₂[o₂] · …`, each the filter
    of a `LongConv1d`. Along an axis of length l, o runs from 0 to l − 1 (causal), from 1 − l to 0 (anticausal) or from 1 − l to
    l − 1 (bidirectional). `random` taps of a whole kernel are normal with standard deviation 0.002, those of `double_exp`
    0.02 · exp(−Σ_a |o_a| / l_a · (channels / 2)^(c / channels)). At another rate r of an axis, tap o is r times the weight at place
    o · r, on a straight line between its neighbours.

    Shapes: input (batch, channels, *n), returns the same; weight of a whole kernel (channels, *l), 2l − 1 for l along
    bidirectional axes, the tap that looks farthest ahead first.

    Args:
        ndim: number of spatial axes.   channels: at least 1.   length: reach of the kernel, one number for all axes or one each.
        separable: filters along the axes in place of whole kernels. Default False.
        direction: of every axis, one word for all or one each. Default bidirectional.
        squash, dropout, init: see `FreeFilter`.   smooth: window of averages over taps, odd, or None. Default None.
        skip: whether a learnt multiple of the input is added. Default True.   policy: see `faltung.nn.functional.conv`.
        device, dtype: of the parameters. Default: torch's.

    Raises:
        ArgumentError: settings that name no layer.

    Cost: one convolution of spectra; as many parameters as taps. Separable: one along each axis, parameters Σ l in place of Π l.

    Source: Fu et al., Simple hardware-efficient long convolutions for sequence modeling (2023), there for one axis.

    Example:
        >>> LongConv(2, 4, (20, 30))(torch.zeros(1, 4, 20, 30)).shape
        torch.Size([1, 4, 20, 30])
    """

    name = "long-conv-nd"
    summary = "kernels as large as the image whose taps are all learnt, whole or along the axes"
    source = SOURCE
    cost = "Σ log n, as convolutions of spectra"
    dims = (2, 3)
    portrait = shown("impulses", (1, 1, 24, 24), ndim=2, channels=1, length=12, skip=False, squash=0.0, dropout=0.0)
    learning_rates: ClassVar[dict[str, float]] = {"weight": 1e-3}

    def __init__(
        self,
        ndim: int,
        channels: int,
        length: int | tuple[int, ...],
        separable: bool = False,
        direction: str | tuple[str, ...] = "bidirectional",
        squash: float = 0.003,
        smooth: int | None = None,
        dropout: float = 0.2,
        init: str = "double_exp",
        skip: bool = True,
        policy: Policy | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        nn.Module.__init__(self)
        factory = {"device": device, "dtype": dtype}
        self.settle(ndim, channels, direction, skip, policy, factory)
        self.length = functional.numbers("length", length, self.ndim, 1)
        if not isinstance(separable, bool):
            raise ArgumentError.of("separable", "True or False", repr(separable), "leave it out for whole kernels")
        self.squash, self.dropout, self.init = checked_threshold(squash), checked_chance(dropout), init
        self.smooth = None if smooth is None else checked_window(smooth, "time")
        if init not in INITS:
            raise ArgumentError.of("init", f"one of {', '.join(INITS)}", repr(init), "choose one of these")
        if separable:
            self.axes = nn.ModuleList(
                LongConv1d(
                    channels, n, 1, word, squash, smooth, "time", dropout, init, False, policy=policy, **factory
                )
                for n, word in zip(self.length, self.words, strict=True)
            )  # fmt: skip
            return
        extents = (2 * n - 1 if word == "bidirectional" else n for n, word in zip(self.length, self.words, strict=True))
        self.weight = nn.Parameter(torch.empty(self.channels, *extents, **factory))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the taps, see `init`."""
        if self.axes is not None:
            reset_axes(self)
            return
        if self.init == "random":
            nn.init.normal_(self.weight, std=0.002)
            return
        nn.init.normal_(self.weight, std=0.02)
        channel = torch.arange(self.channels, dtype=wide(self.weight), device=self.weight.device)
        speed = (self.channels / 2) ** (channel / self.channels)
        for axis, (n, word) in enumerate(zip(self.length, self.words, strict=True), 1):
            far = offsets(word, n, self.weight)[0].flip(0).abs() / n
            fade = torch.exp(-speed[:, None] * far)
            self.weight.mul_(fade.reshape(-1, *[1] * (axis - 1), len(far), *[1] * (self.ndim - axis)))

    def kernel(self, sizes: tuple[int, ...], rates: tuple[float, ...]) -> tuple[Tensor, Margins]:
        taps, margins = self.weight, []
        if self.smooth is not None:
            for axis in range(1, self.ndim + 1):
                taps = functional.smooth(taps.movedim(axis, -1), self.smooth).movedim(-1, axis)
        taps = nn.functional.dropout(functional.squash(taps, self.squash), self.dropout, self.training)
        for axis, (n, word, size, rate) in enumerate(zip(self.length, self.words, sizes, rates, strict=True), 1):
            line, count = taps.movedim(axis, -1), min(size, math.ceil(n / rate))
            ahead, back = (
                line[..., :n].flip(-1),
                line[..., -n:],
            )  # from the present on; one of them where there is one side
            parts = [] if word == "anticausal" else [at_rate(back, count, rate).flip(-1)]
            if word != "causal":
                parts.append(at_rate(ahead, count, rate)[..., len(parts) :])
            taps = torch.cat(parts, -1).movedim(-1, axis)
            margins.append(offsets(word, count, taps)[1])
        return taps[:, None], margins

    def definition_kernel(self, sizes: tuple[int, ...], rates: tuple[float, ...]) -> tuple[Tensor, Margins]:
        """Tap by tap."""
        if self.axes is not None:
            return super().definition_kernel(sizes, rates)
        weight, reach = self.weight, (self.smooth or 1) // 2
        for axis in range(1, self.ndim + 1):
            rows = weight.unbind(axis)
            near = [[rows[j + d] for d in range(-reach, reach + 1) if 0 <= j + d < len(rows)] for j in range(len(rows))]
            weight = torch.stack([sum(row) / (2 * reach + 1) for row in near], axis)
        weight = torch.where(weight.abs() > self.squash, weight.sign() * (weight.abs() - self.squash), 0 * weight)
        lines, margins = [], []
        for n, word, size, rate in zip(self.length, self.words, sizes, rates, strict=True):
            at, pair = offsets(word, min(size, math.ceil(n / rate)), weight)
            margins.append(pair)
            lines.append([self._between(int(o), n, word, rate) for o in at])
        found = []
        for corners in itertools.product(*lines):
            tap: Any = 0 * weight[(slice(None), *[0] * self.ndim)]
            for corner in itertools.product(*corners):
                tap = tap + math.prod(part for _, part in corner) * weight[(slice(None), *(at for at, _ in corner))]
            found.append(tap)
        return torch.stack(found, -1).reshape(self.channels, 1, *map(len, lines)), margins

    @staticmethod
    def _between(offset: int, n: int, word: str, rate: float) -> list[tuple[int, float]]:
        """The places in the weight on both sides of an offset, and their shares."""
        low = math.floor(abs(offset) * rate)
        part = abs(offset) * rate - low
        first = 0 if word == "causal" else n - 1  # where the present stands
        sign = -1 if offset < 0 or word == "anticausal" else 1
        both = ((low, rate * (1 - part)), (low + 1, rate * part))
        return [(first + sign * far, share) for far, share in both if far < n]

    def parameter_count(self) -> int:
        extents = [2 * n - 1 if word == "bidirectional" else n for n, word in zip(self.length, self.words, strict=True)]
        own = axis_parameters(self) if self.axes is not None else self.channels * math.prod(extents)
        return own + (0 if self.skip is None else self.channels)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        few = {"ndim": 2, "channels": 2, "length": (3, 2), "dropout": 0.0}
        yield Example(few, ((2, 2, 4, 3),))
        words = ("causal", "anticausal")
        yield Example({**few, "direction": words, "smooth": 3, "squash": 0.0, "init": "random"}, ((1, 2, 2, 3),))
        yield Example(
            {**few, "separable": True, "skip": False, "direction": ("causal", "bidirectional")}, ((1, 2, 3, 4),)
        )
        yield Example({"ndim": 3, "channels": 1, "length": 2, "dropout": 0.3, "squash": 0.0}, ((1, 1, 2, 3, 2),))
