"""Partitions of a filter for streaming, and what one filter keeps while a signal passes by.

A part of several pieces of `block` taps, from tap `first` on, is applied to whole blocks of as many samples: a transform of the
last two blocks, a sum of products along the line of past spectra, one transform back (overlap-save). Small blocks are soon
complete and answer at once, large ones are cheap; a filter may begin with small ones and go on with larger ones, because its
later taps have time. What must answer within a block is a *head* that the planner's own methods compute.
"""

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view as sliding

from faltung.kernels.delay_line.on_numba import delay_line, strip
from faltung.kernels.delay_line.strips import bins_of, from_strips, into_strips, real_of, strips_of
from faltung.kernels.fourier import on_scipy as fourier
from faltung.kernels.native import lanes
from faltung.methods.method import ROUNDOFF, Machine
from faltung.methods.pieced import awake
from faltung.planner import Plan, plan_problem
from faltung.planner.policy import Policy
from faltung.problem import Spec
from faltung.request import problem_of

CANONICAL = "b n c *s, b o c *s -> b n o *s"
SMALLEST = 64  # samples of a block that is worth splitting off
LEVELS = 4  # sizes of blocks in one filter: more of them do not pay for their transforms


class Part(NamedTuple):
    """So many pieces of `block` taps, from tap `first` on."""

    block: int
    first: int
    pieces: int


class Scheme(NamedTuple):
    """How a filter is cut: `head` taps computed directly whenever `grain` samples are complete, and the parts."""

    head: int
    grain: int
    parts: tuple[Part, ...]
    cost: float  # predicted seconds for a sample of every signal


class Sizes(NamedTuple):
    """Sizes of the canonical axes, taps, dtypes of signal and filter (both that of the arithmetic where there are parts)."""

    B: int
    N: int
    O: int
    C: int
    taps: int
    dtype: str
    k_dtype: str
    over: str | None = None


def whole(sizes: Sizes, block: int, on: Machine, policy: Policy) -> Scheme:
    """The whole filter as head: each block is convolved by the method that the planner chooses."""
    return Scheme(sizes.taps, block, (), head_plan(sizes, sizes.taps, block, policy).cost / block)


def uniform(sizes: Sizes, block: int, zero_latency: bool, on: Machine, policy: Policy) -> Scheme:
    """All parts of one size: that of the block, or a fraction of it, several of which are then transformed side by side."""
    first, schemes = block if zero_latency else 0, []
    for halvings in range(8):
        size = block >> halvings
        if size << halvings < block or (halvings and size < SMALLEST):
            break
        pieces = -(-(sizes.taps - first) // size)
        parts = (Part(size, first, pieces),) if pieces > 0 else ()
        schemes.append(_priced(sizes, block, first, parts, on, policy))
    return min(schemes, key=lambda scheme: scheme.cost)


def growing(sizes: Sizes, block: int, zero_latency: bool, on: Machine, policy: Policy) -> Scheme:
    """Parts whose blocks grow by powers of two as soon as their answer is in time, the cheapest choice of sizes.

    A block of b samples is complete b − 1 samples after its first one, so it may serve taps from b − block on (from b on where
    results must not lag at all).
    """
    first, lag = (block, 0) if zero_latency else (0, block)
    largest = max(0, int(math.log2(max(sizes.taps / (2 * block), 1))))
    schemes = []
    for levels in range(1, min(LEVELS, largest + 1)):
        for steps in itertools.combinations(range(1, largest + 1), levels):
            parts, at = [], first
            blocks = [block, *(block << e for e in steps)]
            for size, larger in zip(blocks, [*blocks[1:], 0], strict=True):
                until = min(larger - lag, sizes.taps) if larger else sizes.taps
                count = max(0, -(-(until - at) // size))
                parts += [Part(size, at, count)] * (count > 0)
                at += count * size
            schemes.append(_priced(sizes, block, first, tuple(parts), on, policy))
    # a filter of a block or two has nothing to grow
    return min(schemes, key=lambda scheme: scheme.cost) if schemes else uniform(sizes, block, zero_latency, on, policy)


def _priced(sizes: Sizes, block: int, head: int, parts: tuple[Part, ...], on: Machine, policy: Policy) -> Scheme:
    head = min(head, sizes.taps)
    cost = head_plan(sizes, head, block, policy).cost / block if head else 0.0
    for part in parts:
        many = max(1, block // part.block)
        cost += _seconds(sizes, part, on, many) / (many * part.block)
    return Scheme(head, 1 if head else block, parts, cost)


def _seconds(sizes: Sizes, part: Part, on: Machine, many: int) -> float:
    """So many blocks of a part at once: transforms there and back, products along the line."""
    blocks = _transforms(sizes, part, on, many) + _products(sizes, part, on)
    return 2 * on.seconds("call.fft") + many * blocks


def _transforms(sizes: Sizes, part: Part, on: Machine, many: int) -> float:
    points = 2 * part.block
    # A transform alone has no neighbours in the lanes of the vectors: it takes as long as one that leaves the cache.
    alone = sizes.B * sizes.N * max(sizes.C, sizes.O) * many == 1
    place = "spilled" if alone or 16 * points * np.dtype(sizes.dtype).itemsize >= on.cache else "cache"
    values = sizes.B * sizes.N * (sizes.C + sizes.O) * points
    return values * math.log2(points) * on.seconds(f"fft.{place}", sizes.dtype)


def _products(sizes: Sizes, part: Part, on: Machine) -> float:
    real = real_of(sizes.dtype)
    vectors = sizes.B * sizes.N * sizes.C * sizes.O * part.pieces * bins_of(part.block, sizes.dtype) / lanes(real)
    return vectors * on.seconds("line.product", real)


def error(sizes: Sizes, scheme: Scheme, policy: Policy) -> float:
    """The bound of one transform of the largest block, sums over all parts, and the head's own bound."""
    bound = head_plan(sizes, scheme.head, scheme.grain, policy).error if scheme.head else 0.0
    if scheme.parts:
        u, largest = ROUNDOFF[sizes.dtype], 2 * max(part.block for part in scheme.parts)
        terms = sizes.C * sum(part.pieces for part in scheme.parts)
        bound += 4.0 * u * (math.log2(largest) + 2.0) * (1.0 + 0.2 * sizes.C**0.5)
        bound += (min(terms, 6.0 * terms**0.5) + len(scheme.parts) + 1.0) * u
    return bound


def head_plan(sizes: Sizes, taps: int, samples: int, policy: Policy) -> Plan:
    """The plan for so many results of the first taps."""
    x = Spec((sizes.B, sizes.N, sizes.C, samples + taps - 1), sizes.dtype)
    k = Spec((sizes.B, sizes.O, sizes.C, taps), sizes.k_dtype)
    return plan_problem(problem_of(True, x, k, CANONICAL, "valid", over=sizes.over), policy)


class Strip:
    """The values of a signal from some position on, kept in one array; what lies before `low` may be forgotten."""

    def __init__(self, lead: tuple[int, ...], dtype: Any, low: int, fill: Any = 0) -> None:
        self.fill, self.base, self.low, self.high = fill, low, low, low
        self.values = np.empty((*lead, 0), dtype)

    def extend(self, stop: int) -> None:
        """Positions up to `stop`; new ones hold the fill."""
        if stop > self.base + self.values.shape[-1]:
            kept = self.values[..., self.low - self.base : self.high - self.base]
            moved = np.empty((*kept.shape[:-1], 2 * (stop - self.low)), kept.dtype)
            moved[..., : kept.shape[-1]] = kept
            self.values, self.base = moved, self.low
        if stop > self.high:
            self[self.high : stop] = self.fill
            self.high = stop

    def append(self, values: np.ndarray) -> None:
        start = self.high
        self.extend(start + values.shape[-1])
        self[start : self.high] = values

    def __getitem__(self, at: slice) -> np.ndarray:
        return self.values[..., at.start - self.base : at.stop - self.base]

    def __setitem__(self, at: slice, values: Any) -> None:
        self.values[..., at.start - self.base : at.stop - self.base] = values


class _Line:
    """One part at work: its filter's spectra, the spectra of past blocks, how many blocks are done."""

    def __init__(self, part: Part, k: np.ndarray, sizes: Sizes, machine: Machine) -> None:
        self.part, self.sizes, self.machine, self.done = part, sizes, machine, 0
        real, b, P = real_of(sizes.dtype), part.block, part.pieces
        self.bins, self.strips, W = bins_of(b, sizes.dtype), strips_of(b, sizes.dtype), strip(real)
        taps = np.zeros((sizes.B, sizes.O, sizes.C, P, b), sizes.dtype)
        mine = k[..., part.first : part.first + P * b]
        taps.reshape(*taps.shape[:3], P * b)[..., : mine.shape[-1]] = mine
        self.h = np.zeros((sizes.B, sizes.O, sizes.C, self.strips, P, 2, W), real)
        into_strips(fourier.spectrum(taps, (2 * b,), machine.threads), self.h)
        self.x = np.zeros((sizes.B, sizes.N, sizes.C, self.strips, 2 * P, 2, W), real)
        self.used = P - 1  # spectra that lie in the line

    def run(self, past: Strip, seen: int, acc: Strip) -> None:
        """Apply all blocks that are complete; their results are added from tap `first` on."""
        b, P, s = self.part.block, self.part.pieces, self.sizes
        many = seen // b - self.done
        if many <= 0:
            return
        start = (self.done - 1) * b
        samples = past[start : start + (many + 1) * b]
        windows = samples[..., None, :] if many == 1 else sliding(samples, 2 * b, -1)[..., ::b, :]
        rows = s.B * s.N * max(s.C, s.O) * many
        threads = awake(many * _transforms(s, self.part, self.machine, many), rows, self.machine)
        if self.used + many > self.x.shape[-3]:
            room = self.x if P - 1 + many <= self.x.shape[-3] else np.zeros(
                (*self.x.shape[:-3], 2 * (P - 1 + many), *self.x.shape[-2:]), self.x.dtype
            )  # fmt: skip
            room[..., : P - 1, :, :] = self.x[..., self.used - P + 1 : self.used, :, :].copy()
            self.x, self.used = room, P - 1
        into_strips(fourier.spectrum(windows, (2 * b,), threads), self.x[..., self.used : self.used + many, :, :])
        pieces = s.B * s.N * s.O * self.strips
        together = awake(many * _products(s, self.part, self.machine), pieces, self.machine)
        y = delay_line(self.x, self.h, self.used, many, together)
        self.used, self.done = self.used + many, self.done + many
        spectra = from_strips(y, self.bins)
        back = fourier.signal(spectra, (2 * b,), not s.dtype.startswith("complex"), threads)[..., b:]
        at = start + b + self.part.first
        acc.extend(at + many * b)
        into = acc[at : at + many * b]
        into += back.reshape(*back.shape[:-2], many * b)


class Running:
    """One filter at work: canonical samples go in, canonical results come out as soon as the scheme allows.

    `past` are the last samples, enough of them to come to the same state again.
    """

    def __init__(self, k: np.ndarray, sizes: Sizes, scheme: Scheme, machine: Machine, policy: Policy) -> None:
        self.k, self.sizes, self.scheme, self.machine, self.policy = k, sizes, scheme, machine, policy
        self.largest = max([scheme.grain, *(part.block for part in scheme.parts)])
        reach = max([sizes.taps, *(part.first + part.pieces * part.block for part in scheme.parts)])
        self.keep = reach + 4 * self.largest
        self._heads: dict[int, Any] = {}
        self.reset()

    def reset(self) -> None:
        self.lines = [_Line(part, self.k, self.sizes, self.machine) for part in self.scheme.parts]
        self._start(0)

    def _start(self, at: int) -> None:
        s, zero = self.sizes, 0
        if not self.scheme.parts:  # any algebra
            problem = head_plan(s, 1, 1, self.policy).problem
            zero = problem.over.zero(np.dtype(problem.compute_dtype))
        self.seen = self.emitted = at
        self.past = Strip((s.B, s.N, s.C), s.dtype, at - self.keep, zero)
        self.past.extend(at)
        self.acc = Strip((s.B, s.N, s.O), s.dtype, at)
        for line in self.lines:
            line.done = at // line.part.block

    def push(self, x: np.ndarray) -> Iterator[np.ndarray]:
        """The results that these samples complete, in pieces; long signals go a piece at a time, so that memory is bounded."""
        span = self.span
        for start in range(0, x.shape[-1], span):
            yield self._step(x[..., start : start + span])

    @property
    def span(self) -> int:
        """Most samples that are worked on at once: some that fill the cache, whole blocks of the largest size."""
        s = self.sizes
        fit = self.machine.cache // (np.dtype(s.dtype).itemsize * 4 * s.B * s.N * (s.C + s.O))
        return self.largest * max(1, max(fit, 4 * self.scheme.head) // self.largest)

    def _step(self, x: np.ndarray) -> np.ndarray:
        self.past.append(x)
        self.seen += x.shape[-1]
        for line in self.lines:
            line.run(self.past, self.seen, self.acc)
        ready = self.seen // self.scheme.grain * self.scheme.grain
        pieces = list(self._headed(ready)) if self.scheme.head else []
        if self.scheme.parts or not pieces:
            self.acc.extend(max(ready, self.emitted))
            y = self.acc[self.emitted : ready].copy()
            at = 0
            for piece in pieces:
                y[..., at : at + piece.shape[-1]] += piece
                at += piece.shape[-1]
        else:
            y = np.concatenate(pieces, axis=-1) if len(pieces) > 1 else pieces[0]
        self.emitted = ready
        self.past.low, self.acc.low = max(self.past.low, self.seen - self.keep), ready
        return y

    def _headed(self, ready: int) -> Iterator[np.ndarray]:
        """Results of the head, in runs whose lengths are few, so that there are few plans."""
        taps, at, grain = self.scheme.head, self.emitted, self.scheme.grain
        while at < ready:
            run = grain << ((ready - at) // grain).bit_length() - 1
            if run not in self._heads:
                plan = head_plan(self.sizes, taps, run, self.policy)
                self._heads[run] = plan.prepare(np.ascontiguousarray(self.k[..., :taps]))
            yield self._heads[run](np.ascontiguousarray(self.past[at - taps + 1 : at + run]))
            at += run

    def resume(self, past: np.ndarray, seen: int) -> None:
        """Come to the state after `seen` samples, of which `past` are the last ones, by working on these again."""
        whole = self.largest
        start = max(0, ((seen - past.shape[-1]) // whole + 2) * whole)
        fresh = seen - start
        self._start(start)
        room = min(past.shape[-1] - fresh, self.keep)
        self.past[start - room : start] = past[..., past.shape[-1] - fresh - room : past.shape[-1] - fresh]
        for _ in self.push(past[..., past.shape[-1] - fresh :]):
            pass

    def remembered(self) -> np.ndarray:
        """The last `keep` samples."""
        return self.past[self.seen - self.keep : self.seen].copy()
