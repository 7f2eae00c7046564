"""Structuring elements that are sums of rows, over max-plus and min-plus, as passes along one axis after the other in each tile."""

import numpy as np

from faltung.kernels.passes.layout import Passes
from faltung.methods.method import ROUNDOFF, Context, Machine
from faltung.methods.monotone import sum_rows
from faltung.methods.passes import Tiled, _layout
from faltung.problem import Problem


class SumPasses(Tiled):
    """k[u] = Σ over axes of kₐ[uₐ]; y = maxima of x̃ + k₁ along one axis, of these + k₂ along the next: Σ t products, not ∏ t.

    A filter is taken if each tap lies within 8 unit roundoffs of max|k| beside such a sum.

    Error: 12 unit roundoffs and 2 an axis, relative to max|x| + max|k|; none where all sums are exact (whole numbers).
    """

    name = "sum-passes"
    summary = "structuring elements that are sums of rows as passes along the axes, within each tile of the cache"
    source = "Shih and Mitchell, separable structuring elements (1991)"

    def refuses(self, problem: Problem) -> str | None:
        if problem.over.beats is None or not problem.over.shifts:
            return f"compares sums, which {problem.algebra} does not"
        return super().refuses(problem)

    def error(self, problem: Problem) -> float:
        return (12.0 + 2.0 * problem.grid.ndim) * ROUNDOFF[problem.compute_dtype]

    def sums(self, t: int, halo: float, last: bool, machine: Machine, dtype: str) -> float:
        loads = 1.6 * t if last else (t + 3) / 4 + t / 4
        return 4 * t * machine.seconds("blocks.fma", dtype) + (loads + t) * machine.seconds("blocks.load", dtype)

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> tuple[Passes, np.ndarray] | None:
        found = [sum_rows(f) for f in k[:, 0, 0]]
        if any(rows is None for rows in found):
            return None
        layout = _layout(problem, 1, False, context.machine.cache)
        factors = np.zeros((len(found), 1, layout.factor_taps), problem.compute_dtype)
        for b, rows in enumerate(found):
            assert rows is not None
            # Passes of one tap are left out, the last axis always passes: what lone rows hold goes there.
            lone = sum(float(row[0]) for row in rows[:-1] if row.size == 1)
            factors[b, 0] = np.concatenate([*rows[:-1], rows[-1] + lone])
        return layout, factors


SUM_PASSES = SumPasses()
