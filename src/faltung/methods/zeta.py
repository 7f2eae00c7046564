"""Convolution over unions, intersections and disjoint unions by sums over subsets and their inverse (zeta and Möbius)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from faltung.kernels.zeta import on_numba as kernel
from faltung.methods.method import ROUNDOFF, Context, Machine, Method
from faltung.methods.on_sets import mixed
from faltung.problem import Problem

_ORDER = {"or": "subset", "and": "superset", "subsets": "subset"}


class Zeta(Method):
    """y = μ(ζx · ζk), ζ the sums over all subsets (or supersets) of a set, μ their inverse.

    Disjoint unions: the same for each number of elements apart; two sets are disjoint exactly where the numbers of their
    elements add up, so products are those of polynomials in that number (ranked zeta transform).

    Integers are exact: nothing is divided, and sums modulo 2⁶⁴ are right where the result fits.
    Error: Σ over T ⊆ S of |ζx(T)|·|ζk(T)| is at most 3^m · max|x| · ‖k‖₁, times 3m + 3 roundings.
    Cost: n·m for unions and intersections, n·m² for disjoint unions, n = 2^m.
    """

    name = "zeta"
    summary = (
        "sums over subsets and their inverse, for unions, intersections and disjoint unions, cost n·log n or n·log² n"
    )
    source = "Yates (1937); Björklund, Husfeldt, Kaski and Koivisto, Fourier meets Möbius (2007)"
    places = ("index",)
    spreads = True

    def refuses(self, problem: Problem) -> str | None:
        if problem.domain not in _ORDER:
            return f"sums over subsets, {problem.domain} has none"
        if not problem.over.ring:
            return f"needs subtraction, which {problem.algebra} does not have"
        if problem.unknown != "out":
            return "computes results, not gradients"
        if problem.device != "cpu":
            return f"runs on the CPU, the arrays are on {problem.device}"
        return None

    def _ranks(self, problem: Problem) -> int:
        return problem.grid.n[0].bit_length() if problem.domain == "subsets" else 1

    def cost(self, problem: Problem, machine: Machine) -> float:
        s, n = problem.sizes, problem.grid.n[0]
        ranks, levels = self._ranks(problem), max(1, n.bit_length() - 1)
        transforms = s.B * (s.N * s.C + s.O * s.C + s.N * s.O) * n * levels * ranks
        products = s.B * s.N * s.O * s.C * n * ranks * (ranks + 1) / 2
        seconds = transforms * machine.seconds("walsh.level", problem.compute_dtype) + products * machine.seconds(
            "walsh.product"
        )
        return machine.seconds("call.fft") + seconds

    def error(self, problem: Problem) -> float:
        if problem.over.exact:
            return 0.0
        m = problem.grid.n[0].bit_length() - 1
        return 3.0**m * (3.0 * m + 3.0 + problem.sizes.C) * self._ranks(problem) * ROUNDOFF[problem.compute_dtype]

    def scratch(self, problem: Problem, machine: Machine) -> int:
        s, n = problem.sizes, problem.grid.n[0]
        values = s.B * (s.N * s.C + s.O * s.C + s.N * s.O) * n * self._ranks(problem)
        return 4 * values * np.dtype(problem.compute_dtype).itemsize + 64 * n + (1 << 14)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        order, threads = _ORDER[problem.domain], context.threads
        x, k = np.ascontiguousarray(operands["x"]), np.ascontiguousarray(prepared)
        if problem.domain != "subsets":
            product = mixed(kernel.zeta(x, order=order, threads=threads), kernel.zeta(k, order=order, threads=threads))
            return kernel.zeta(product, order=order, operation="sub", threads=threads)
        n = x.shape[-1]
        elements = np.array([int(i).bit_count() for i in range(n)])
        ranks = self._ranks(problem)
        # (rank, ..., n): what has `rank` elements, zeros elsewhere.
        left, right = (
            kernel.zeta(np.stack([np.where(elements == r, a, a.dtype.type(0)) for r in range(ranks)]), threads=threads)
            for a in (x, k)
        )
        y = np.zeros((*x.shape[:2], k.shape[1], n), dtype=x.dtype)
        for rank in range(ranks):
            total = sum(mixed(left[i], right[rank - i]) for i in range(rank + 1))
            back = kernel.zeta(np.ascontiguousarray(total), operation="sub", threads=threads)
            at = elements == rank
            y[..., at] = back[..., at]
        return y


ZETA = Zeta()
