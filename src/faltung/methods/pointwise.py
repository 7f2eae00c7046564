"""Filters of one tap: sums over channels at every position, as a matrix product with channels first."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from faltung.kernels.pointwise import on_numba as kernel
from faltung.methods.method import Context, Machine, Method, awake, bytes_of, summation_error, together
from faltung.problem import Problem


class Pointwise(Method):
    """y[o, p] = Σ over c of k[o, c]·x[c, p]: nothing but channels is summed over, so signals are read where they lie.

    Our own product instead of a library's, whose threads wait for each other when the processor is busy.
    """

    name = "pointwise"
    summary = "filters of one tap: sums over channels in register blocks, channels first"
    source = "register blocking after Goto and van de Geijn (2008)"
    silent = True

    def refuses(self, problem: Problem) -> str | None:
        g = problem.grid
        if problem.unknown != "out":
            return "computes results, not gradients"
        if not problem.over.vector_add or problem.compute_dtype.startswith("complex"):
            return f"has no vectors of {problem.algebra} values"
        if g.taps > 1 or not g.unpadded or any(s > 1 for s in g.stride):
            return f"is for one tap, stride 1 and no margin; the filter is {g.t}, the stride {g.stride}"
        if problem.device != "cpu":
            return f"runs on the CPU, the arrays are on {problem.device}"
        return None

    def cost(self, problem: Problem, machine: Machine) -> float:
        return machine.seconds("call.blocks") + together(*self._alone(problem, machine), machine)

    def threads(self, problem: Problem, machine: Machine) -> int:
        return awake(*self._alone(problem, machine), machine)

    def _alone(self, problem: Problem, machine: Machine) -> tuple[float, int]:
        """Seconds on one thread, and the pieces that threads may share."""
        s, positions, dtype = problem.sizes, math.prod(problem.grid.m), problem.compute_dtype
        rows, wide = kernel.block(dtype)
        panels = s.B * s.N * -(-positions // wide)
        vectors = panels * s.C * (-(-s.O // rows) * rows + 6) * kernel.VECTORS
        return vectors * machine.seconds("indirect.fma", dtype), panels

    def error(self, problem: Problem) -> float:
        return summation_error(problem)

    def scratch(self, problem: Problem, machine: Machine) -> int:
        s, (rows, wide) = problem.sizes, kernel.block(problem.compute_dtype)
        operands = s.B * (s.N * s.C * math.prod(problem.grid.n) + s.O * s.C)
        return bytes_of(problem, operands + machine.threads * wide * (s.C + rows)) + machine.threads * 256 + (1 << 12)

    def kernels(self, problem: Problem, machine: Machine) -> tuple[tuple, ...]:
        return (kernel.key(problem.compute_dtype, problem.over),)

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> np.ndarray:
        return np.ascontiguousarray(k).reshape(k.shape[:3])

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        s, g = problem.sizes, problem.grid
        x = np.ascontiguousarray(operands["x"]).reshape(s.B, s.N, s.C, -1)
        return kernel.pointwise(x, prepared, problem.over, context.threads).reshape(s.B, s.N, s.O, *g.m)


POINTWISE = Pointwise()
