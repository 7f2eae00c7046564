"""Convolution on finite sets of indices by their list of triples: every algebra, the result and both gradients alike."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from faltung.domains import Index
from faltung.domains.index import MOST
from faltung.kernels.scatter import on_numba as kernel
from faltung.methods.method import Context, Machine, Method, bytes_of, summation_error
from faltung.problem import Problem


class Scatter(Method):
    """y[w] ⊕= x[u] ⊗ k[v] over all triples u · v = w; a gradient is the same list with another of the three as the target.

    Cost: one product a triple: n² in groups, n^1.58 for disjoint unions, n·log n for products of numbers.
    """

    name = "scatter"
    summary = "every pair of indices from a list, compiled; any finite domain and algebra"
    source = "the definition"
    arithmetics = ("machine", "residues", "own")
    places = ("index",)
    silent = True

    def refuses(self, problem: Problem) -> str | None:
        index = cast(Index, problem.grid)
        if not problem.over.scalar_mul:
            return f"has no compiled product for {problem.algebra}"
        if problem.unknown != "out" and not (problem.over.ring and problem.over.arithmetic == "machine"):
            return f"computes gradients over rings only, not over {problem.algebra}"
        if problem.device != "cpu":
            return f"runs on the CPU, the arrays are on {problem.device}"
        if index.pairs > MOST:
            return f"lists {MOST} pairs at most, {problem.domain} has {index.pairs}"
        return None

    def cost(self, problem: Problem, machine: Machine) -> float:
        work = problem.macs * machine.seconds("scatter.pair", problem.compute_dtype)
        lines = problem.sizes.B * problem.sizes.N * problem.sizes.O
        share = min(machine.threads, lines) if work > 2 * machine.seconds("thread") else 1
        return machine.seconds("call") + work / max(1, share)

    def error(self, problem: Problem) -> float:
        """In sets where several u take one v to the same w, their sum is that many times larger than ‖k‖₁ says."""
        return summation_error(problem) * cast(Index, problem.grid).overlap

    def scratch(self, problem: Problem, machine: Machine) -> int:
        s, index = problem.sizes, cast(Index, problem.grid)
        values = s.B * (s.N * s.C + s.O * s.C + s.N * s.O) * index.size
        return 64 * index.pairs + 2 * bytes_of(problem, values) + (1 << 14)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        index = cast(Index, problem.grid)
        if problem.unknown == "out":
            x, k = operands["x"], prepared
        elif problem.unknown == "x":
            x, k = operands["y"], prepared.swapaxes(1, 2)
        else:
            x, k = operands["x"].swapaxes(1, 2), operands["y"].swapaxes(1, 2)
        u, _, w, start = index.roles(problem.unknown)
        x, k = np.ascontiguousarray(x), np.ascontiguousarray(k)
        y = kernel.paired(x, k, u, start, w, index.size, problem.over, context.threads)
        return y.swapaxes(1, 2) if problem.unknown == "k" else y


SCATTER = Scatter()
