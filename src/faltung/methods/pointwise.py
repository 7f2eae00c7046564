"""Filters of one tap: sums over channels at every position, as a matrix product with channels first."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from faltung.kernels.pointwise import on_numba as kernel
from faltung.methods.method import Context, Machine, bytes_of, padded_bytes, summation_error
from faltung.methods.pieced import VectorSums
from faltung.problem import Problem


class Pointwise(VectorSums):
    """y[o, p] = Σ over c of k[o, c]·x[c, p]: nothing but channels is summed over, so signals are read where they lie.

    Our own product instead of a library's, whose threads wait for each other when the processor is busy.
    """

    name = "pointwise"
    summary = "filters of one tap: sums over channels in register blocks, channels first"
    source = "register blocking after Goto and van de Geijn (2008)"

    def refuses(self, problem: Problem) -> str | None:
        if refusal := super().refuses(problem):
            return refusal
        return f"is for one tap, the filter is {problem.grid.t}" if problem.grid.taps > 1 else None

    def beside(self, problem: Problem, machine: Machine) -> float:
        """The copy of the samples that are results' positions."""
        s, g = problem.sizes, problem.grid
        spots = 0 if _plain(problem) else 3 * math.prod(g.m) + 2 * math.prod(g.padded) * (not g.unpadded)
        rows = 0 if _plain(problem) else s.B * s.N * s.C * math.prod(g.m[:-1])
        copies = bytes_of(problem, s.B * s.N * s.C * spots) * machine.seconds("copy")
        return copies + rows * machine.seconds("rows.visit")

    def alone(self, problem: Problem, machine: Machine) -> tuple[float, int]:
        s, positions, dtype = problem.sizes, math.prod(problem.grid.m), problem.compute_dtype
        rows, wide = kernel.block(dtype)
        panels = s.B * s.N * -(-positions // wide)
        vectors = panels * s.C * (-(-s.O // rows) * rows + 6) * kernel.VECTORS
        return vectors * machine.seconds("indirect.fma", dtype), panels

    def error(self, problem: Problem) -> float:
        return summation_error(problem)

    def scratch(self, problem: Problem, machine: Machine) -> int:
        s, (rows, wide) = problem.sizes, kernel.block(problem.compute_dtype)
        signal = s.N * s.C * max(math.prod(problem.grid.n), math.prod(problem.grid.m))
        operands = s.B * (signal + s.O * s.C)
        own = bytes_of(problem, wide * (s.C + rows)) + 256
        return padded_bytes(problem) + bytes_of(problem, operands) + machine.threads * own + (1 << 12)

    def kernels(self, problem: Problem, machine: Machine) -> tuple[tuple, ...]:
        return (kernel.key(problem.compute_dtype, problem.over),)

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> np.ndarray:
        return np.ascontiguousarray(k).reshape(k.shape[:3])

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        s, g = problem.sizes, problem.grid
        x = operands["x"]
        if not _plain(problem):
            x = x if g.unpadded else g.pad(x, problem.over.zero(x.dtype))
            spots: Any = (..., *(slice(0, (m - 1) * e + 1, e) for m, e in zip(g.m, g.stride, strict=True)))
            x = x[spots]
        x = np.ascontiguousarray(x).reshape(s.B, s.N, s.C, -1)
        return kernel.pointwise(x, prepared, problem.over, context.threads).reshape(s.B, s.N, s.O, *g.m)


def _plain(problem: Problem) -> bool:
    """Whether every sample is a result's position, so that the signal is read where it lies."""
    return problem.grid.unpadded and all(step == 1 for step in problem.grid.stride)


POINTWISE = Pointwise()
