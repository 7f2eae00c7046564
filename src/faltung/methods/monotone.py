"""Filters that are convex (min-plus) or concave (max-plus) along every axis: the winner's place only moves forward."""

import math

import numpy as np

from faltung.kernels.monotone import on_numba as kernel
from faltung.methods.envelope import ROUNDINGS, Envelope, Line, _sizes
from faltung.methods.method import ROUNDOFF, Context, Machine, bytes_of, padded_bytes
from faltung.problem import Problem


class Monotone(Envelope):
    """k[u] = Σ over axes of kₐ[uₐ], every kₐ convex over min-plus and concave over max-plus; one pass along every axis.

    Formula: y[i] = min over u of x̃[i + u] + k[u], by monotone row minima; by merging slopes where a row of x̃ is convex, too.

    A filter is taken if each tap lies within 8 unit roundoffs of max|k| beside such a sum, and each row as near to its convex
    hull. Winners are found by comparing sums of samples and taps, and are such sums.

    Error: 16 unit roundoffs an axis, and one for each level of the search, relative to max|x| + max|k|.
    Cost: (n + m)·log2 m steps a row and axis; n + m for convex rows.
    """

    name = "monotone"
    summary = (
        "convex filters over min-plus and concave ones over max-plus by monotone row minima, whatever the filter's size"
    )
    source = "Aggarwal, Klawe, Moran, Shor and Wilber (1987)"

    def kernels(self, problem: Problem, machine: Machine) -> tuple[tuple, ...]:
        return (kernel.key(problem.compute_dtype, problem.over.beats is np.greater),)

    def cost(self, problem: Problem, machine: Machine) -> float:
        s, g = problem.sizes, problem.grid
        work = 0.0
        for (lines, n, m), t in zip(_sizes(problem), g.t, strict=True):
            levels = 2.0 + math.log2(m + 1)
            share = min(machine.threads, max(1, s.N * lines))  # a row is one thread's
            work += s.B * s.N * lines * (n + m) * levels * (t > 1) * machine.seconds("monotone.value") / share
        pad = 0.0 if g.zero_padded else s.B * s.N * math.prod(g.padded) * bytes_of(problem, 1) * machine.seconds("copy")
        return machine.seconds("call") * (1 + g.ndim) + 1e-4 + s.B * g.taps * 1e-8 + pad + work

    def error(self, problem: Problem) -> float:
        return sum(16.0 + math.log2(m + 1) for m in problem.grid.m) * ROUNDOFF[problem.compute_dtype]

    def scratch(self, problem: Problem, machine: Machine) -> int:
        s, g = problem.sizes, problem.grid
        largest = max(lines * max(n, m) for lines, n, m in _sizes(problem))
        one = max(kernel.scratch_bytes(n, m) + 24 * t for (_, n, m), t in zip(_sizes(problem), g.t, strict=True))
        pad = 0 if g.zero_padded else padded_bytes(problem)
        look = 48 * (g.taps // g.t[0]) + 200 * s.B * sum(g.t)
        return pad + bytes_of(problem, 3 * s.B * s.N * largest) + machine.threads * one + look + (1 << 16)

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> list[list[Line]] | None:
        """Of every filter and axis the taps; None where a filter is not a sum of convex rows."""
        found = [convex_rows(f, problem.over.beats is np.greater) for f in k[:, 0, 0]]
        return None if any(lines is None for lines in found) else [lines for lines in found if lines is not None]

    def along(
        self,
        x: np.ndarray,
        taps: np.ndarray,
        shape: tuple[float, float],
        lo: int,
        outputs: int,
        largest: bool,
        threads: int,
    ) -> np.ndarray:
        return kernel.monotone(x, taps, lo, outputs, largest, threads)


def sum_rows(k: np.ndarray) -> list[np.ndarray] | None:
    """Rows of taps in float64, one an axis, whose outer sum is k within 8 unit roundoffs of max|k|; None where there are none."""
    size = float(np.abs(k).max(initial=0.0))
    if not math.isfinite(size):
        return None
    corner, rows, rest = float(k.flat[0]), [], np.zeros((1,) * k.ndim)
    for a in range(k.ndim):
        row = k[tuple(slice(None) if b == a else 0 for b in range(k.ndim))].astype("float64")
        rows.append(row if a == 0 else row - corner)
        rest = rest + rows[-1].reshape([-1 if b == a else 1 for b in range(k.ndim)])
    return rows if np.abs(k - rest).max(initial=0.0) <= ROUNDINGS * ROUNDOFF[str(k.dtype)] * size else None


def convex_rows(k: np.ndarray, largest: bool) -> list[Line] | None:
    """The rows of `sum_rows` where each is convex (concave for the largest) within the same; shapes of single taps are None."""
    rows, size = sum_rows(k), float(np.abs(k).max(initial=0.0))
    if rows is None:
        return None
    allowed = ROUNDINGS * ROUNDOFF[str(k.dtype)] * size
    lines: list[Line] = []
    for row in rows:
        values = -row if largest else row
        bends = np.diff(values, 2)
        # A row this near to a convex one bends down by no more than twice as much, and roundings: most rows are turned away here.
        if bends.min(initial=0.0) < -4 * allowed:
            return None
        hull = values if bends.min(initial=0.0) >= 0 else kernel.hull(values)
        if (values - hull).max() > allowed:
            return None
        lines.append((-hull if largest else hull, (0.0, 0.0) if row.size > 1 else None))
    return lines


MONOTONE = Monotone()
