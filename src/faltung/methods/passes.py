"""Filters of low rank and boxes, as passes along one axis after the other inside each tile of the cache."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.kernels.native import lanes
from faltung.kernels.passes.layout import Passes
from faltung.kernels.passes.on_numba import key
from faltung.methods.method import ROUNDOFF, Context, Machine, bytes_of
from faltung.methods.pieced import VectorSums
from faltung.methods.separable import terms_of_filters
from faltung.problem import Problem

MOST = 64  # terms that a filter may be split into


class Tiled(VectorSums):
    """What both have in common: one channel, steps of one sample, and a kernel that keeps all passes in the cache."""

    structured = True
    window = False

    def refuses(self, problem: Problem) -> str | None:
        s, g = problem.sizes, problem.grid
        if refusal := super().refuses(problem):
            return refusal
        if s.O != 1 or s.C != 1:
            return f"filters one channel at a time, the pattern has {s.O} outputs and sums over {s.C} inputs"
        if sum(t > 1 for t in g.t) < 2:
            return f"needs taps along two axes at least, the filter is {g.t}"
        if any(step != 1 for step in (*g.stride, *g.dilation)):
            return f"takes every sample, the stride is {g.stride} and the dilation {g.dilation}"
        return None

    def kernels(self, problem: Problem, machine: Machine) -> tuple[tuple, ...]:
        return (key(problem.compute_dtype, problem.over),)

    def beside(self, problem: Problem, machine: Machine) -> float:
        """The look at the filter."""
        return 1e-4 if self.window else 1e-4 + 1e-7 * problem.sizes.B * problem.grid.taps

    def alone(self, problem: Problem, machine: Machine) -> tuple[float, int]:
        layout, dtype = _layout(problem, 1, self.window, machine.cache), problem.compute_dtype
        items = layout.items[0]
        staged = items * math.prod(layout.extents[:-1])
        work = staged * (layout.extents[-1] * machine.seconds("blocks.stage", dtype) + machine.seconds("rows.visit"))
        sizes = list(layout.extents)
        for a, t in enumerate(layout.t):
            sizes[a] = layout.tile[a]
            vectors = items * math.prod(sizes[:-1]) * -(-sizes[-1] // lanes(dtype))
            work += vectors * self.sums(t, t / layout.tile[a], a == len(sizes) - 1, machine, dtype)
        return work, items

    @abstractmethod
    def sums(self, t: int, halo: float, last: bool, machine: Machine, dtype: str) -> float:
        """Seconds for one vector of results of a pass; `halo` is the margin beside a tile."""

    def scratch(self, problem: Problem, machine: Machine) -> int:
        layout = _layout(problem, 1, self.window, machine.cache)
        s, g = problem.sizes, problem.grid
        operands = bytes_of(problem, s.B * MOST * layout.factor_taps)
        look = 64 * s.B * (g.taps + MOST * sum(g.t))
        return machine.threads * layout.thread_bytes + layout.table_bytes + operands + look + (1 << 16)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        layout, factors = prepared
        return layout.correlate(operands["x"], factors, context.threads)


class LowRank(Tiled):
    """k = Σ_r k_r1 ⊗ … ⊗ k_rD, found by singular values within the tolerance; y = Σ_r of passes with these rows of taps."""

    name = "passes"
    summary = "low-rank filters as passes along the axes, all within each tile of the cache"
    source = "Treitel and Shanks (1971); tensor-train splitting after Oseledets (2011)"
    spreads = True
    silent = False

    def refuses(self, problem: Problem) -> str | None:
        if problem.algebra != "real":
            return f"splits filters by singular values, which {problem.algebra} does not have"
        if not problem.grid.zero_padded and any(b.value not in (None, 0) for b in problem.grid.boundary):
            return "a constant other than zero beyond the edge does not pass through the single axes"
        return super().refuses(problem)

    def error(self, problem: Problem) -> float:
        return 2.0 * (6.0 * max(problem.grid.t) ** 0.5 + 2.0) * problem.grid.ndim * ROUNDOFF[problem.compute_dtype]

    def sums(self, t: int, halo: float, last: bool, machine: Machine, dtype: str) -> float:
        loads = 1.6 * t if last else (t + 3) / 4 + t / 4
        return t * machine.seconds("blocks.fma", dtype) + loads * machine.seconds("blocks.load", dtype)

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> tuple[Passes, np.ndarray] | None:
        """Rows of taps, term by term; None where the rank within the tolerance is too high to pay."""
        found = terms_of_filters(problem, k, context, self.error(problem))
        if found is None:
            return None
        layout = _layout(problem, max(map(len, found)), False, context.machine.cache)
        factors = np.zeros((len(found), layout.terms, layout.factor_taps), problem.compute_dtype)
        for b, terms in enumerate(found):
            for r, rows in enumerate(terms):
                lone = math.prod(float(row[0]) for row in rows[:-1] if row.size == 1)  # passes of one tap are left out
                factors[b, r] = np.concatenate([*rows[:-1], rows[-1] * lone])
        return layout, factors


class Window(Tiled):
    """All taps equal: sums (or maxima) over a window by doubling, about 2·log₂ t of them an axis; exact where sums are."""

    name = "window"
    summary = "boxes and flat elements (all taps equal) by doubling, 2·log2 t sums along each axis"
    source = "logarithmic decomposition, Pecht (1985)"
    window = True

    def error(self, problem: Problem) -> float:
        if problem.over.exact:
            return 0.0
        if problem.over.ordered:
            return ROUNDOFF[problem.compute_dtype]
        return (sum(2.0 * math.log2(t) + 2.0 for t in problem.grid.t) + 2.0) * ROUNDOFF[problem.compute_dtype]

    def sums(self, t: int, halo: float, last: bool, machine: Machine, dtype: str) -> float:
        doubled = (t.bit_length() - 1) * (1.0 + halo)  # along the margin, too
        return (doubled + t.bit_count() + 1.0) * machine.seconds("passes.sum", dtype)

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> tuple[Passes, np.ndarray] | None:
        flat = k.reshape(k.shape[0], -1)
        if not (flat == flat[:, :1]).all() or not np.isfinite(flat[:, 0]).all():
            return None
        layout = _layout(problem, 1, True, context.machine.cache)
        return layout, np.ascontiguousarray(np.repeat(flat[:, None, :1], layout.factor_taps, axis=2))


@lru_cache(maxsize=256)
def _layout(problem: Problem, terms: int, window: bool, cache: int) -> Passes:
    g, s = problem.grid, problem.sizes
    zero = problem.over.zero(np.dtype(problem.compute_dtype))

    def sources(axis: int, first: int, stop: int) -> np.ndarray:
        return g.boundary[axis].sources(g.n[axis], -first, stop - g.n[axis])

    return Passes(
        problem.compute_dtype, s.B, s.N, 1, 1, g.n, g.t, g.m, g.stride, g.dilation, tuple(lo for lo, _ in g.pads), sources,
        g.fills(zero), problem.over, cache, terms, window,
    )  # fmt: skip


PASSES, WINDOW = LowRank(), Window()
