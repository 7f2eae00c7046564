"""Convolution on a chain, where two indices meet in the larger or the smaller one, by running sums: linear, in any semiring."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from faltung.methods.method import Context, Machine, Method, summation_error
from faltung.problem import Problem


class Prefix(Method):
    """y(w) = x(w) ⊗ K(w) ⊕ X(w − 1) ⊗ k(w), X and K the ⊕-sums of all up to w: what meets in w has w on one side at least.

    Nothing is subtracted, so it serves every semiring, and no value is lost to cancellation.
    Cost: linear in the number of indices.
    """

    name = "prefix"
    summary = "running sums for indices that meet in the larger or smaller one, linear, any semiring"
    source = "from the definition"
    arithmetics = ("machine", "objects")
    places = ("index",)

    def refuses(self, problem: Problem) -> str | None:
        if problem.domain not in ("max", "min"):
            return f"serves chains, not {problem.domain}"
        if not isinstance(problem.over.add, np.ufunc):
            return f"has no running sum over {problem.algebra}"
        if problem.unknown != "out":
            return "computes results, not gradients"
        if problem.device != "cpu":
            return f"runs on the CPU, the arrays are on {problem.device}"
        return None

    def cost(self, problem: Problem, machine: Machine) -> float:
        s, n = problem.sizes, problem.grid.n[0]
        slow = 20.0 if problem.over.arithmetic == "objects" else 1.0
        values = s.B * n * (s.N * s.C + s.O * s.C + 3 * s.N * s.O * s.C) * slow
        return machine.seconds("call.fft") + values * machine.seconds("definition")

    def error(self, problem: Problem) -> float:
        return summation_error(problem) * 2 * problem.grid.n[0]

    def scratch(self, problem: Problem, machine: Machine) -> int:
        s, n = problem.sizes, problem.grid.n[0]
        size = 80 if problem.compute_dtype == "object" else np.dtype(problem.compute_dtype).itemsize
        return 4 * size * n * s.B * (s.N * s.C + s.O * s.C + 2 * s.N * s.O) + (1 << 14)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        over, x, k = problem.over, operands["x"], prepared
        if problem.domain == "min":
            x, k = x[..., ::-1], k[..., ::-1]
        s, n = problem.sizes, problem.grid.n[0]
        zero = over.zero(np.dtype(problem.compute_dtype))
        add = over.add
        assert isinstance(add, np.ufunc)
        all_x, all_k = (add.accumulate(a, axis=-1, dtype=a.dtype) for a in (x, k))
        y = np.full((s.B, s.N, s.O, n), zero, dtype=x.dtype)
        for c in range(s.C):
            y = over.add(y, over.mul(x[:, :, None, c], all_k[:, None, :, c]))
            y[..., 1:] = over.add(y[..., 1:], over.mul(all_x[:, :, None, c, :-1], k[:, None, :, c, 1:]))
        return y[..., ::-1] if problem.domain == "min" else y


PREFIX = Prefix()
