"""Winograd convolution: small filters with the fewest products, by exact transforms at error-optimal points."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.kernels.native import lanes
from faltung.kernels.turn.on_numba import moved_out
from faltung.kernels.winograd import amplification, transforms
from faltung.kernels.winograd.layout import LARGE, Minimal
from faltung.kernels.winograd.on_numba import filter_key, key
from faltung.methods.method import ROUNDOFF, Context, Machine, bytes_of, summation_error
from faltung.methods.pieced import Pieced
from faltung.problem import Problem

# Outputs of one tile along an axis, by taps and number of spatial axes: the largest whose error stays small.
OUTPUTS = {2: (4, 2, 2), 3: (4, 4, 2), 4: (4, 2, 2), 5: (4, 2, 2), 6: (4, 2, 2), 7: (2, 2, 2)}


class Winograd(Pieced):
    """Y = Aᵀ[ Σ over channels of (G k) ⊙ (Bᵀ x̃) ] with m + t − 1 products for m results of t taps along each axis.

    Tiles are transformed axis by axis with channels in the lanes of vectors, the sum over channels is one matrix product for each
    of the ∏(m + t − 1) points, chunk by chunk in the cache, and the filter's transform is kept by `prepare`. Interpolation points
    are those with the smallest error amplification.
    """

    name = "winograd"
    summary = "minimal products for small filters with many channels, at error-optimal points"
    source = "Winograd (1980); Lavin and Gray (2016); points after Lohia, NOVA (2025), with the error as objective"
    spreads = True
    call = "call.indirect"
    innermost = True

    def refuses(self, problem: Problem) -> str | None:
        g = problem.grid
        if problem.unknown != "out":
            return "computes results, not gradients"
        if problem.algebra != "real":
            return f"computes real floating-point numbers, not {problem.algebra}"
        if g.ndim > 3:
            return f"has one to three spatial axes, the signal has {g.ndim}"
        if max(g.t) > 7 or max(g.t) < 2:
            return f"has transforms for 2 to 7 taps along an axis, the filter is {g.t}"
        if any(s != 1 for s in g.stride) or any(d != 1 for d in g.dilation):
            return f"needs stride and dilation 1, they are {g.stride} and {g.dilation}"
        if problem.device != "cpu":
            return f"runs on the CPU, the arrays are on {problem.device}"
        return None

    def beside(self, problem: Problem, machine: Machine) -> float:
        """The filters at all points."""
        layout, dtype = _layout(problem, machine.cache), problem.compute_dtype
        values = layout.points * layout.B * layout.C * layout.deep[1]
        written = values / lanes(dtype) * machine.seconds("winograd.pack", dtype)
        return written + _afar(bytes_of(problem, values), machine)

    def alone(self, problem: Problem, machine: Machine) -> tuple[float, int]:
        layout, dtype = _layout(problem, machine.cache), problem.compute_dtype
        width, (deep, wide) = lanes(dtype), layout.deep
        tiles, points = layout.B * layout.N * math.prod(layout.counts), layout.points
        rows = layout.pieces * -(-layout.chunk // 12) * 12
        products = points * rows * layout.C * wide / width * machine.seconds("indirect.fma", dtype)
        moved = points * tiles * (deep + wide) / width * machine.seconds("winograd.transform", dtype)
        s, g = problem.sizes, problem.grid
        values = s.B * s.N * (s.C * math.prod(g.n) + s.O * math.prod(g.m))
        return products + moved + _afar(bytes_of(problem, values), machine), layout.pieces

    def error(self, problem: Problem) -> float:
        """The amplification model, sqrt(2)·α^(D/2) roundoffs of one transformed value, with a margin, plus the channel sum."""
        spread_ = math.prod(
            _alpha(m, t) ** 0.5 for m, t in zip(_outputs(problem), problem.grid.t, strict=True) if t > 1
        )
        return 16.0 * ROUNDOFF[problem.compute_dtype] * spread_ + summation_error(problem)

    def scratch(self, problem: Problem, machine: Machine) -> int:
        layout, s, g = _layout(problem, machine.cache), problem.sizes, problem.grid
        filters = s.B * layout.points * s.C * layout.deep[1] + s.B * s.C * g.taps * (layout.deep[1] + s.O)
        turned = s.B * s.N * (s.C * math.prod(g.n) + s.O * math.prod(g.m))
        return machine.threads * (sum(layout.memory) + 64) + layout.table_bytes + bytes_of(problem, filters + turned)

    def kernels(self, problem: Problem, machine: Machine) -> tuple[tuple, ...]:
        shape = _layout(problem, machine.cache).shape
        return key(problem.compute_dtype, shape), filter_key(problem.compute_dtype, shape)

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> tuple[Minimal, np.ndarray]:
        layout = _layout(problem, context.machine.cache)
        return layout, layout.packed(k, context.threads, context.passing)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        layout, k = prepared
        y = layout.correlate(operands["x"], k, context.threads, passing=not problem.channels_last)
        return y if problem.channels_last else moved_out(y, context.threads)


def _afar(size: float, machine: Machine) -> float:
    """What bytes cost beyond the work on them, if they do not stay near the threads."""
    return size * machine.seconds("copy") if size > LARGE * machine.cache else 0.0


def _outputs(problem: Problem) -> tuple[int, ...]:
    """Results of one tile along each axis."""
    t = problem.grid.t
    active = sum(size > 1 for size in t)
    return tuple(OUTPUTS[size][active - 1] if size > 1 else 1 for size in t)


@lru_cache(maxsize=256)
def _layout(problem: Problem, cache: int) -> Minimal:
    g, s = problem.grid, problem.sizes

    def sources(axis: int, first: int, stop: int) -> np.ndarray:
        return g.boundary[axis].sources(g.n[axis], -first, stop - g.n[axis])

    return Minimal(
        problem.compute_dtype, s.B, s.N, s.C, s.O, g.n, g.t, g.m, g.stride, g.dilation, tuple(lo for lo, _ in g.pads), sources,
        g.fills(0.0), _outputs(problem), cache,
    )  # fmt: skip


@lru_cache(maxsize=256)
def _alpha(m: int, t: int) -> float:
    found = transforms(m, t)
    return float(amplification(found.AT, found.G, found.BT))


WINOGRAD = Winograd()
