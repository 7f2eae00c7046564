"""Overlap-save: the signal in tiles that fit the cache, many tiles side by side in the lanes of the vectors."""

import itertools
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.kernels.fourier.layout import Layout, arrangement, counts_of
from faltung.kernels.fourier.on_numba import keys
from faltung.kernels.native import lanes
from faltung.methods.method import ROUNDOFF, Context, Machine
from faltung.methods.pieced import awake
from faltung.methods.spectral import Spectral
from faltung.problem import Problem

TRIED = {1: 16, 2: 6, 3: 4}  # tile lengths tried along each axis, by number of dimensions
RATES = ("transform", "move", "product", "row", "far")


class Overlap(Spectral):
    """Each tile of F points yields F − reach + 1 results that no wrap-around touched; tiles overlap by reach − 1.

    Boundaries are gathered with the tiles, so the signal is never padded; memory is one group of tiles a thread and the filter's
    spectrum. Transforms are paid by channel, products by pair of channels.
    """

    name = "overlap"
    summary = "Fourier transforms of cache-sized tiles (overlap-save), any dimension"

    def error(self, problem: Problem) -> float:
        """As for one transform of the whole signal, which is longer."""
        return super().error(problem) + 8.0 * ROUNDOFF[problem.compute_dtype]

    def cost(self, problem: Problem, machine: Machine) -> float:
        rates, s = _rates(machine, problem.compute_dtype), problem.sizes
        lengths = _lengths(problem, rates, machine.cache)
        _, groups, filters = _groups(problem, lengths)
        one, points = _group_cost(problem, lengths, rates, machine.cache), math.prod(lengths)
        transform = points * (math.log2(max(points, 2)) * rates[0] + 4 * rates[1])
        spectra = 8.0 * s.B * s.O * s.C * points * machine.seconds("copy")
        share = self.threads(problem, machine)
        # Half a group more: threads seldom end together.
        work = (
            groups / share + 0.5 * (share > 1 and groups > 1) if groups > share else groups if share == 1 else 1
        ) * one
        handing = machine.seconds("thread") * (share > 1)
        return machine.seconds("call.overlap") + handing + work + -(-filters // share) * transform + spectra

    def threads(self, problem: Problem, machine: Machine) -> int:
        rates = _rates(machine, problem.compute_dtype)
        lengths = _lengths(problem, rates, machine.cache)
        groups = _groups(problem, lengths)[1]
        return awake(groups * _group_cost(problem, lengths, rates, machine.cache), groups, machine)

    def scratch(self, problem: Problem, machine: Machine) -> int:
        lengths = _lengths(problem, _rates(machine, problem.compute_dtype), machine.cache)
        layout, s = layout_of(problem, lengths), problem.sizes
        wide, _, filters = layout.groups
        spectra = math.prod(lengths) * 2 * (filters * lanes(layout.real) if wide else s.B * s.O * s.C)
        tables = 16 * sum(lengths) + 4 * layout.extension.table_bytes
        item = np.dtype(layout.real).itemsize
        taps = s.B * s.O * s.C * problem.grid.taps * 2 * item
        return machine.threads * layout.thread_bytes + item * spectra + tables + taps + (1 << 16)

    def kernels(self, problem: Problem, machine: Machine) -> tuple[tuple, ...]:
        real = {"complex64": "float32", "complex128": "float64"}.get(problem.compute_dtype, problem.compute_dtype)
        return keys(real)

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> tuple[Layout, np.ndarray]:
        lengths = _lengths(problem, _rates(context.machine, problem.compute_dtype), context.machine.cache)
        layout = layout_of(problem, lengths)
        return layout, layout.spectra(k, context.threads)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        layout, spectra = prepared
        return layout.convolve(operands["x"], spectra, context.threads)


def _rates(machine: Machine, dtype: str) -> tuple[float, ...]:
    real = {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)
    return tuple(machine.seconds(f"lanes.{kind}", real) for kind in RATES)


def _groups(problem: Problem, lengths: tuple[int, ...]) -> tuple[bool, int, int]:
    g, s = problem.grid, problem.sizes
    valid = tuple(f - r + 1 for f, r in zip(lengths, g.reach, strict=True))
    tiles = math.prod(counts_of(g.m, g.stride, valid))
    return arrangement(problem.compute_dtype, s.B, s.N, s.C, s.O, tiles)


def _group_cost(problem: Problem, lengths: tuple[int, ...], rates: tuple[float, ...], cache: int) -> float:
    """Seconds for one group of tiles on one thread."""
    return sum(amount * rate for amount, rate in zip(group_work(problem, lengths, cache), rates, strict=True))


def group_work(problem: Problem, lengths: tuple[int, ...], cache: int) -> tuple[float, ...]:
    """How much of each kind of work, in the order of RATES, one group of tiles is."""
    s, points, D = problem.sizes, math.prod(lengths), len(lengths)
    both, far = s.C + s.O, 0.0
    if (
        128.0 * max(s.C, s.O) * points > 0.75 * cache
    ):  # every pass over the tiles comes from beyond the core's own cache
        passes = 2 if D > 1 else 2 + 2 * max(0, math.ceil(math.log(points / 256, 4)))
        far = 128.0 * both * points * passes
    vectors = both * points
    return vectors * math.log2(max(points, 2)), vectors, s.C * s.O * points, vectors / lengths[-1], far


@lru_cache(maxsize=4096)
def _lengths(problem: Problem, rates: tuple[float, ...], cache: int) -> tuple[int, ...]:
    """The cheapest tile: all choices of 2^a and 3·2^a along each axis that are worth trying, weighed by the cost model."""
    g = problem.grid
    axes = []
    for m, s, r in zip(g.m, g.stride, g.reach, strict=True):
        outputs = (m - 1) * s + 1
        candidates = sorted(f for a in range(1, 40) for f in (1 << a, 3 << a - 1) if f >= r)
        whole = next(i for i, f in enumerate(candidates) if f >= outputs + r - 1)
        candidates = candidates[: whole + 1]
        candidates.sort(key=lambda f: -(-outputs // (f - r + 1)) * f * (math.log2(f) + 8.0))
        axes.append(candidates[: TRIED.get(g.ndim, 2)])

    def cost(lengths: tuple[int, ...]) -> float:
        _, groups, filters = _groups(problem, lengths)
        # One more group than there is: the last ones leave threads without work.
        return (groups + 1 + 0.5 * filters) * _group_cost(problem, lengths, rates, cache)

    return min(itertools.product(*axes), key=lambda lengths: (cost(lengths), lengths))


@lru_cache(maxsize=256)
def layout_of(problem: Problem, lengths: tuple[int, ...]) -> Layout:
    """The convolution by tiles of that size."""
    g, s = problem.grid, problem.sizes

    def sources(axis: int, first: int, stop: int) -> np.ndarray:
        return g.boundary[axis].sources(g.n[axis], -first, stop - g.n[axis])

    lows = tuple(lo for lo, _ in g.pads)
    return Layout(
        problem.compute_dtype, s.B, s.N, s.C, s.O, g.n, g.t, g.m, g.stride, g.dilation, lows, sources, g.fills(0), lengths
    )  # fmt: skip


OVERLAP = Overlap()
