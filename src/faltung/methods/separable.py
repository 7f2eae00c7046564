"""Separable filters: a filter of low rank as a few passes along one axis at a time."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from faltung.domains import Boundary
from faltung.methods.method import ROUNDOFF, Context, Machine, Method, bytes_of
from faltung.problem import Problem

CANONICAL = "b n c *s, b o c *s -> b n o *s"


class Separable(Method):
    """k = Σ_r u_r ⊗ v_r ⊗ ...: each term is one pass along every axis, Σ tᵢ products a value instead of ∏ tᵢ.

    The rank is found once for each prepared filter, by singular values of the filter unfolded along one axis after the other;
    the filter is taken if what is cut off stays within the tolerance and the passes are predicted to be faster than the next
    method. The passes are problems of their own, planned like any other.
    """

    name = "separable"
    summary = "low-rank filters as passes along one axis at a time"
    source = "Treitel and Shanks (1971); tensor-train splitting after Oseledets (2011)"
    spreads = True
    structured = True

    def refuses(self, problem: Problem) -> str | None:
        s, g = problem.sizes, problem.grid
        if problem.unknown != "out":
            return "computes results, not gradients"
        if problem.algebra not in ("real", "complex"):
            return f"splits filters by singular values, which {problem.algebra} does not have"
        if s.O != 1 or s.C != 1:
            return f"filters one channel at a time, the pattern has {s.O} outputs and sums over {s.C} inputs"
        if sum(t > 1 for t in g.t) < 2:
            return f"needs taps along two axes at least, the filter is {g.t}"
        if not g.zero_padded and any(b.kind == "constant" and b.value not in (None, 0) for b in g.boundary):
            return "a constant other than zero beyond the edge does not pass through the single axes"
        if problem.device != "cpu":
            return f"runs on the CPU, the arrays are on {problem.device}"
        return None

    def parts(self, problem: Problem) -> tuple[Problem, ...]:
        """One problem an axis, in order; the first sees the signal, each later one the result of the one before."""
        s, g = problem.sizes, problem.grid
        parts, n = [], list(g.n)
        for a in range(g.ndim):
            t = tuple(g.t[b] if b == a else 1 for b in range(g.ndim))
            pads = tuple(g.pads[b] if b == a else (0, 0) for b in range(g.ndim))
            stride = tuple(g.stride[b] if b == a else 1 for b in range(g.ndim))
            dtype = problem.compute_dtype
            part = replace(
                problem,
                flip=False,
                pattern=CANONICAL,
                x_shape=(s.B, s.N, 1, *n),
                k_shape=(s.B, 1, 1, *t),
                x_dtype=dtype,
                k_dtype=dtype,
                out_dtype=dtype,
                pads=pads,
                stride=stride,
                boundary=tuple(g.boundary[b] if b == a else Boundary("constant") for b in range(g.ndim)),
                host="numpy",
            )
            parts.append(part)
            n[a] = part.grid.m[a]
        return tuple(parts)

    def cost(self, problem: Problem, machine: Machine) -> float:
        """The price of looking for the rank; the planner adds that of the parts, for rank one."""
        return machine.seconds("call") * 2 + problem.sizes.B * problem.grid.taps * 1e-7 + 1e-4

    def error(self, problem: Problem) -> float:
        return 2.0 * (6.0 * max(problem.grid.t) ** 0.5 + 2.0) * problem.grid.ndim * ROUNDOFF[problem.compute_dtype]

    def scratch(self, problem: Problem, machine: Machine) -> int:
        largest = max(math.prod(p.out_shape) for p in self.parts(problem))
        factors = 64 * problem.sizes.B * (problem.grid.taps + 64 * sum(problem.grid.t)) + (
            1 << 15
        )  # kept by up to 64 terms
        return bytes_of(problem, 3 * largest + math.prod(problem.grid.m)) + factors

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> list | None:
        """Terms, each a list of prepared passes; None where the rank within the tolerance is too high to pay."""
        splits = terms_of_filters(problem, k, context, self.error(problem))
        if splits is None:
            return None
        rank = max(len(s) for s in splits)
        grid, terms = problem.grid, []
        for r in range(rank):
            passes = []
            for a, part in enumerate(context.parts):
                rows = np.zeros(
                    (problem.sizes.B, 1, 1, *(grid.t[b] if b == a else 1 for b in range(grid.ndim))), dtype=k.dtype
                )
                for b, split in enumerate(splits):
                    if r < len(split):
                        rows[b].reshape(-1)[:] = split[r][a]
                passes.append(part.prepare(rows))
            terms.append(passes)
        return terms

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        total: np.ndarray | None = None
        for passes in prepared:
            y = operands["x"]
            for one in passes:
                y = one(y)
            total = y if total is None else total + y
        assert total is not None
        return total


def terms_of_filters(problem: Problem, k: np.ndarray, context: Context, error: float) -> list | None:
    """The rank-one terms of every filter (B, 1, 1, *t) within the tolerance that is left; None where one has too many."""
    allowed = max(context.tolerance - error, 0.0) / 4 if context.tolerance else 0.0
    allowed = min(allowed, 32 * ROUNDOFF[problem.compute_dtype])
    found = []
    for f in k[:, 0, 0].astype("complex128" if np.iscomplexobj(k) else "float64"):
        terms = rank_one_terms(f, allowed * float(np.abs(f).sum()), context.budget)
        if terms is None:  # most are turned away by their first filter
            return None
        found.append(terms)
    return found


def rank_one_terms(k: np.ndarray, cut: float, budget: int) -> list[list[np.ndarray]] | None:
    """Factors of at most `budget` rank-one terms whose sum differs from k by at most `cut` in the 1-norm; None if it takes more."""
    if k.ndim == 1:
        return [[k]] if np.isfinite(k).all() else None
    matrix = k.reshape(k.shape[0], -1)
    allowed = max(cut, k.size * 4 * ROUNDOFF["float64"] * float(np.abs(k).max(initial=0.0)))
    if budget == 1 and _second(matrix) * k.size**0.5 > allowed:
        return None
    if not np.isfinite(k).all():
        return None
    # No singular value of a matrix is below that of a part of it: most filters are turned away by a few rows and columns.
    some = np.ix_(*(np.linspace(0, n - 1, min(n, 2 * budget + 2)).astype(int) for n in matrix.shape))
    few = matrix[some]
    smaller = few.size < matrix.size and min(few.shape) > budget
    if smaller and np.linalg.svd(few, compute_uv=False)[budget] * k.size**0.5 > allowed:
        return None
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    # What is dropped has 1-norm at most sqrt(size)·(Frobenius norm of the dropped singular values).
    top = values[0] or 1.0  # squares of small values would be 0
    tails = top * np.sqrt(np.cumsum((values[::-1] / top) ** 2))[::-1] * k.size**0.5
    rank = max(1, int(np.sum(tails > allowed)))
    if rank > budget:
        return None
    terms: list[list[np.ndarray]] = []
    for r in range(rank):
        rest = rank_one_terms((values[r] * right[r]).reshape(k.shape[1:]), cut / rank, budget)
        if rest is None:
            return None
        terms += [[left[:, r], *factors] for factors in rest]
    return terms if len(terms) <= budget else None


def _second(matrix: np.ndarray) -> float:
    """A bound from below on the second singular value, from the corners alone: |ad − bc| over the root of their squares."""
    if min(matrix.shape) < 2:
        return 0.0
    a, b, c, d = (matrix[i, j].item() for i in (0, -1) for j in (0, -1))
    size = math.hypot(*(part for v in (a, b, c, d) for part in (v.real, v.imag)))
    if not 0 < size < math.inf:
        return 0.0
    cross = a / size * d - b / size * c
    return math.hypot(cross.real, cross.imag)


SEPARABLE = Separable()
