"""Running sums: box filters at a cost that does not depend on their size."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from faltung.kernels.scan.on_numba import running
from faltung.kernels.threads import spread
from faltung.methods.method import ROUNDOFF, Context, Machine, Method, padded_bytes
from faltung.problem import Problem

RESTART = 512


class Running(Method):
    """y[i+1] = y[i] + x̃[i+t] − x̃[i], along one axis after the other, sums kept in float64 (int64 for integers)."""

    name = "running"
    summary = "running sums for box filters (all taps equal), cost independent of the filter's size"
    source = "McDonnell, Box-filtering techniques (1981)"
    spreads = True
    structured = True

    def refuses(self, problem: Problem) -> str | None:
        s, g = problem.sizes, problem.grid
        if problem.unknown != "out":
            return "computes results, not gradients"
        if not problem.over.ring:
            return f"needs subtraction, which {problem.algebra} does not have"
        if problem.compute_dtype.startswith("complex") or problem.compute_dtype == "uint64":
            return f"has no kernel for {problem.compute_dtype}"
        if s.O != 1 or s.C != 1:
            return f"filters one channel at a time, the pattern has {s.O} outputs and sums over {s.C} inputs"
        if any(d != 1 for d in g.dilation):
            return f"needs neighbouring taps, the dilation is {g.dilation}"
        if problem.device != "cpu":
            return f"runs on the CPU, the arrays are on {problem.device}"
        return None

    def cost(self, problem: Problem, machine: Machine) -> float:
        s, g = problem.sizes, problem.grid
        values = s.B * s.N * math.prod(g.padded)
        work = values * (machine.seconds("running.row") + (g.ndim - 1) * machine.seconds("running.column"))
        share = machine.threads if work > 4 * machine.seconds("thread") else 1
        pad = 0.0 if g.unpadded else values * np.dtype(problem.compute_dtype).itemsize * machine.seconds("copy")
        return machine.seconds("call.direct") * (2 + 4 * g.ndim) + pad + work / share

    def error(self, problem: Problem) -> float:
        if problem.over.exact:
            return 0.0
        u, wide = ROUNDOFF[problem.compute_dtype], ROUNDOFF["float64"]
        return problem.grid.ndim * (u + (2 * RESTART + max(problem.grid.t)) * 2 * wide) + 2 * u

    def scratch(self, problem: Problem, machine: Machine) -> int:
        s, g = problem.sizes, problem.grid
        width = math.prod(g.padded[1:])
        passes = 2 * s.B * s.N * math.prod(g.padded) * np.dtype(problem.compute_dtype).itemsize
        return padded_bytes(problem) + passes + 8 * (machine.threads + 1) * (width + 64) + 4096

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> np.ndarray | None:
        """The common value of every filter's taps, or None where they differ."""
        flat = k.reshape(problem.sizes.B, -1)
        height = flat[:, 0]
        return height if np.array_equal(flat, np.broadcast_to(height[:, None], flat.shape)) else None

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        g, s = problem.grid, problem.sizes
        y = operands["x"] if g.unpadded else g.pad(operands["x"], 0)
        for a in range(g.ndim):
            y = _pass(np.ascontiguousarray(y), 3 + a, g.t[a], context.threads)
            y = y[(slice(None),) * (3 + a) + (slice(0, (g.m[a] - 1) * g.stride[a] + 1, g.stride[a]),)]
        return y * prepared.reshape(s.B, *[1] * (y.ndim - 1))


def _pass(x: np.ndarray, axis: int, taps: int, threads: int) -> np.ndarray:
    if taps == 1:
        return x
    lines, n, width = math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])
    m = n - taps + 1
    wide = np.dtype("float64" if x.dtype.kind == "f" else "int64")
    y = np.empty((*x.shape[:axis], m, *x.shape[axis + 1 :]), dtype=x.dtype)
    kernel, zero = running(str(x.dtype), str(wide)), np.zeros(1, wide)
    restart = max(RESTART, 2 * taps)
    items = lines * -(-m // restart)

    def task(first: int, last: int) -> None:
        sums = np.empty(max(width, 1), wide)
        at = (x.ctypes.data, y.ctypes.data, sums.ctypes.data, zero.ctypes.data)
        kernel(*at, first, last, taps, n, m, width, restart)

    spread(task, items, threads, max(1, 20_000 // max(1, restart * width)))
    return y


RUNNING = Running()
