"""Partitions of a filter for streaming, and what one filter keeps while a signal passes by.

A part of several pieces of `block` taps, from tap `first` on, is applied to whole blocks of as many samples: a transform of the
last two blocks, a sum of products along the line of past spectra, one transform back (overlap-save). Small blocks are soon
complete and answer at once, large ones are cheap; a filter may begin with small ones and go on with larger ones, because its
later taps have time. What must answer within a block is a *head* that the planner's own methods compute.
"""

import itertools
import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from faltung.kernels.delay_line.strips import real_of
from faltung.kernels.native import lanes
from faltung.kernels.negacyclic.frame import Frame, Line, frame_points
from faltung.methods.method import ROUNDOFF, Machine
from faltung.methods.negacyclic import cheapest, tile_cost
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
    """So many blocks of a part in one call."""
    return 2 * on.seconds("call") + many * _work(sizes, part, on)


def _work(sizes: Sizes, part: Part, on: Machine) -> float:
    """One block on one thread: transforms there and back, products along the line."""
    real, pairs = real_of(sizes.dtype), 2 if sizes.dtype.startswith("complex") else 1
    width = lanes(real)
    points = frame_points(part.block, width if part.block >= width * width else width // 2)
    C, O, rows = pairs * sizes.C, pairs * sizes.O, sizes.B * sizes.N
    each = math.log2(points) * on.seconds("ring.transform", real) + on.seconds("ring.move", real)
    products = C * O * part.pieces * on.seconds("line.product", real)
    return rows * points / width * ((C + O) * each + products)


def error(sizes: Sizes, scheme: Scheme, policy: Policy) -> float:
    """The bound of one transform of the largest block, sums over all parts, and the head's own bound."""
    bound = head_plan(sizes, scheme.head, scheme.grain, policy).error if scheme.head else 0.0
    if scheme.parts:
        u, largest = ROUNDOFF[sizes.dtype], 2 * max(part.block for part in scheme.parts)
        terms = sizes.C * sum(part.pieces for part in scheme.parts)
        bound += 5.0 * u * (math.log2(largest) + 2.0) * (1.0 + 0.2 * sizes.C**0.5)
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
    """One part at work: its line of past blocks, and how many blocks are done. Complex signals are two real ones each."""

    def __init__(self, part: Part, k: np.ndarray, sizes: Sizes, machine: Machine) -> None:
        self.part, self.sizes, self.machine, self.done = part, sizes, machine, 0
        h = k[..., part.first : part.first + part.pieces * part.block]
        self.complex = sizes.dtype.startswith("complex")
        if self.complex:  # (re, im) meets ((re, −im), (im, re))
            h = np.concatenate(
                [np.concatenate([h.real, -h.imag], 2), np.concatenate([h.imag, h.real], 2)], 1
            )  # fmt: skip
        self.line = Line(h, part.block, sizes.N)
        self.rows = sizes.B * sizes.N

    def run(self, past: Strip, seen: int, acc: Strip, silent: int = 0) -> None:
        """Take in all blocks that are complete; the results of all but the first `silent` ones are added from tap `first` on."""
        b = self.part.block
        at, stop = self.done * b + self.part.first, seen // b * b + self.part.first
        if stop > at:
            acc.extend(stop)
            self.into(past, seen, acc.values, at - acc.base, silent)

    def into(self, past: Strip, seen: int, y: np.ndarray, to: int, silent: int = 0) -> None:
        """As `run`, into an array from place `to` on."""
        b = self.part.block
        many, start = seen // b - self.done, (self.done - 1) * b
        threads = 1
        if self.rows > 1:
            threads = awake(many * _work(self.sizes, self.part, self.machine), self.rows, self.machine)
        if self.complex:
            samples = past[start : start + (many + 1) * b]
            split = np.concatenate([samples.real, samples.imag], 2)
            both = np.zeros((*y.shape[:2], 2 * self.sizes.O, many * b), split.dtype)
            self.line.run(split, 0, both, 0, many, silent, threads)
            into = y[..., to : to + many * b]
            into.real += both[:, :, : self.sizes.O]
            into.imag += both[:, :, self.sizes.O :]
        else:
            self.line.run(past.values, start - past.base, y, to, many, silent, threads)
        self.done += many


class Leap:
    """A filter applied to many samples at once, as to a whole signal: for pushes that are longer than the filter."""

    def __init__(self, k: np.ndarray, sizes: Sizes, machine: Machine) -> None:
        self.sizes, self.threads, self.longest = sizes, machine.threads, max(8 * sizes.taps, 1 << 16)
        frame = cheapest(sizes.dtype, *sizes[:2], sizes.C, sizes.O, self.longest + sizes.taps - 1, sizes.taps,
            self.longest, sizes.taps - 1, machine)  # fmt: skip
        self.points = frame.points
        self.spectra = frame.spectra(k, self.threads)
        self.each, self.fixed = tile_cost(frame, machine), 8 * machine.seconds("call")

    def pays(self, samples: int, cost: float) -> bool:
        """Whether so many samples take less time than at `cost` seconds each, on one thread: the bits must not depend on more."""
        tiles = -(-samples // (2 * self.points - self.sizes.taps + 1)) * self.sizes.B * self.sizes.N
        return self.fixed + tiles * self.each < samples * cost

    def results(self, x: np.ndarray) -> np.ndarray:
        """Of all samples behind the first taps − 1."""
        s, m = self.sizes, x.shape[-1] - self.sizes.taps + 1
        frame = Frame(s.dtype, s.B, s.N, s.C, s.O, x.shape[-1], s.taps, m, s.taps - 1, self.points)
        y = np.empty((s.B, s.N, s.O, m), x.dtype)
        frame.convolve(x, self.spectra, y, self.threads)
        return y


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
        # One part that starts with the first tap: its results are those of the stream, nothing has to be added up.
        self.sole = len(scheme.parts) == 1 and not scheme.head
        self.lead = sizes.B, sizes.N, sizes.O
        self.leap: Leap | None = None
        self.leaps = bool(scheme.parts) and not sizes.dtype.startswith("complex")
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
        self.acc = Strip(self.lead, s.dtype, at)
        for line in self.lines:
            line.done = at // line.part.block

    def push(self, x: np.ndarray) -> Iterator[np.ndarray]:
        """The results that these samples complete, in pieces; long signals go a piece at a time, so that memory is bounded."""
        at, length = 0, x.shape[-1]
        least = max(self.sizes.taps, self.scheme.grain)  # a block at least comes out
        if self.leaps and length >= least:
            self.leap = self.leap or Leap(self.k, self.sizes, self.machine)
            while length - at >= least and self.leap.pays(length - at, self.scheme.cost):
                piece = x[..., at : at + self.leap.longest]
                yield self._leapt(piece) if np.isfinite(piece.sum()) else self.step(piece)
                at += piece.shape[-1]
        span = self.span
        for start in range(at, length, span):
            yield self.step(x[..., start : start + span])

    @cached_property
    def span(self) -> int:
        """Most samples that are worked on at once: some that fill the cache, whole blocks of the largest size."""
        s = self.sizes
        fit = self.machine.cache // (np.dtype(s.dtype).itemsize * 4 * s.B * s.N * (s.C + s.O))
        return self.largest * max(1, max(fit, 4 * self.scheme.head) // self.largest)

    @cached_property
    def short(self) -> int:
        """Most samples for which `step` is all that `push` does."""
        return min(self.span, self.sizes.taps - 1) if self.leaps else self.span

    def step(self, x: np.ndarray) -> np.ndarray:
        """The results that these samples complete; a few samples, for which the line is the cheapest."""
        self.past.append(x)
        self.seen += x.shape[-1]
        ready = self.seen // self.scheme.grain * self.scheme.grain
        if self.sole:
            y = np.zeros((*self.lead, ready - self.emitted), x.dtype)
            if ready > self.emitted:
                self.lines[0].into(self.past, ready, y, 0)
        else:
            y = self._sum(ready)
        self.emitted = ready
        self.past.low, self.acc.low = max(self.past.low, self.seen - self.keep), ready
        return y

    def _sum(self, ready: int) -> np.ndarray:
        """Results up to there: what all parts have added up, and the head's."""
        for line in self.lines:
            line.run(self.past, self.seen, self.acc)
        pieces = list(self._headed(ready)) if self.scheme.head else []
        if not self.scheme.parts and pieces:
            return np.concatenate(pieces, axis=-1) if len(pieces) > 1 else pieces[0]
        self.acc.extend(max(ready, self.emitted))
        y, at = self.acc[self.emitted : ready].copy(), 0
        for piece in pieces:
            y[..., at : at + piece.shape[-1]] += piece
            at += piece.shape[-1]
        return y

    def _leapt(self, x: np.ndarray) -> np.ndarray:
        """As `step`, for samples that are longer than the filter: all at once, and then the lines are brought up to date."""
        assert self.leap is not None
        self.past.append(x)
        self.seen += x.shape[-1]
        ready = self.seen // self.scheme.grain * self.scheme.grain
        y = self.leap.results(self.past[self.emitted - self.sizes.taps + 1 : ready])
        self.acc = Strip(self.lead, self.sizes.dtype, ready - self.largest)
        until = ready if self.sole else self.seen
        for line in self.lines:
            b, first = line.part.block, line.part.first
            # Blocks from here on have results that are not out yet; what came before them enters the line in silence.
            line.done = min((ready - first) // b, until // b) - line.part.pieces + 1
            line.run(self.past, until, self.acc, line.part.pieces - 1)
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
