"""Convolution on trees, where two nodes meet in their lowest common ancestor, by sums that go up: linear, in any semiring."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from faltung.domains import Index, Tree
from faltung.methods.method import Context, Machine, Method, summation_error
from faltung.problem import Problem


class Ancestors(Method):
    """From the leaves to the root: a child's sums X, K meet those of its earlier siblings and of the parent itself in the parent.

    y(w) = ⊕ over children c of  (X before c) ⊗ K(c) ⊕ X(c) ⊗ (K before c),  begun with x(w) ⊗ k(w) and X = x(w), K = k(w). Nothing
    is subtracted, so it serves every semiring.

    Cost: linear in the number of nodes.
    """

    name = "ancestors"
    summary = "sums that go up a tree, for nodes that meet in their lowest common ancestor, linear, any semiring"
    source = "from the definition"
    arithmetics = ("machine", "residues", "objects", "own")
    places = ("index",)

    def refuses(self, problem: Problem) -> str | None:
        if not isinstance(cast(Index, problem.grid).domain, Tree):
            return f"goes up trees, {problem.domain} is none"
        if problem.unknown != "out":
            return "computes results, not gradients"
        if problem.device != "cpu":
            return f"runs on the CPU, the arrays are on {problem.device}"
        return None

    def cost(self, problem: Problem, machine: Machine) -> float:
        s, n = problem.sizes, problem.grid.n[0]
        slow = 20.0 if problem.over.arithmetic != "machine" else 1.0
        values = 4.0 * s.B * s.N * s.O * s.C * slow * machine.seconds("definition")
        return machine.seconds("call.fft") + n * (values + 4 * machine.seconds("call"))

    def error(self, problem: Problem) -> float:
        return 3.0 * summation_error(problem)

    def scratch(self, problem: Problem, machine: Machine) -> int:
        s, n = problem.sizes, problem.grid.n[0]
        size = 80 if problem.compute_dtype == "object" else np.dtype(problem.compute_dtype).itemsize
        return 3 * size * n * s.B * (s.N * s.C + s.O * s.C + s.N * s.O) + 64 * n + (1 << 14)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        over, tree = problem.over, cast(Tree, cast(Index, problem.grid).domain)
        # Nodes first, so that a node's values lie together: (n, B, N, C) and (n, B, O, C).
        x, k = (np.moveaxis(a, -1, 0).copy() for a in (operands["x"], prepared))
        y = np.stack([_met(over, a, b) for a, b in zip(x, k, strict=True)])
        for node in tree.upwards:
            parent = tree.parents[node]
            if parent == node:
                continue
            met = over.add(_met(over, x[parent], k[node]), _met(over, x[node], k[parent]))
            y[parent] = over.add(y[parent], met)
            x[parent], k[parent] = over.add(x[parent], x[node]), over.add(k[parent], k[node])
        return np.moveaxis(y, 0, -1)


def _met(over: Any, x: np.ndarray, k: np.ndarray) -> np.ndarray:
    """⊕ over channels of x (B, N, C) ⊗ k (B, O, C)."""
    total = over.mul(x[:, :, None, 0], k[:, None, :, 0])
    for c in range(1, x.shape[-1]):
        total = over.add(total, over.mul(x[:, :, None, c], k[:, None, :, c]))
    return np.asarray(total)


ANCESTORS = Ancestors()
