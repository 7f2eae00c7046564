"""Direct convolution: the taps are multiplied and summed row by row, by one compiled kernel for every dimension and algebra."""

import math
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.kernels.correlate.on_numba import STRIP, rows
from faltung.kernels.native import address
from faltung.kernels.threads import share
from faltung.kernels.turn.on_numba import contiguous
from faltung.methods.method import Context, Machine, Method, bytes_of, padded_bytes, summation_error
from faltung.problem import Problem

QUICK = 1 << 14  # values of a signal below which the way to the kernel is what takes the time


class Direct(Method):
    """y = Σ over tap rows of (row of x̃) ⋆ (row of k), the last axis contiguous, other axes by a table of row addresses."""

    name = "direct"
    summary = "compiled loops over rows of taps, any dimension and algebra"
    source = "the definition"
    silent = True
    arithmetics = ("machine", "residues", "own")

    def refuses(self, problem: Problem) -> str | None:
        if not problem.over.scalar_mul:
            return f"has no compiled product for {problem.algebra}"
        if problem.unknown != "out":
            return "computes results, not gradients"
        if problem.device != "cpu":
            return f"runs on the CPU, the arrays are on {problem.device}"
        return None

    def cost(self, problem: Problem, machine: Machine) -> float:
        g, s = problem.grid, problem.sizes
        strided = any(a != 1 for a in (g.stride[-1], g.dilation[-1]))
        plain = "rows.strided" if strided else "rows"
        unit = machine.seconds("rows.ordered" if problem.over.ordered and not strided else plain, problem.compute_dtype)
        # Each sweep over a strip loads and stores the results besides what it does for its taps.
        sweep = 1.5 * s.B * s.N * s.O * math.prod(g.m) * machine.seconds(plain, problem.compute_dtype)
        if problem.over.ordered and strided:
            unit *= 1.5
        if problem.over.modulus:
            unit *= 18.0  # a division for each product, which vectors do not have
        if problem.over.share:  # sums that are functions of the library, one a product
            unit = machine.seconds("rows.smooth")
        lines = s.B * s.N * s.O * math.prod(g.m[:-1]) * max(1, -(-g.m[-1] // STRIP))
        visits = lines * s.C * math.prod(g.t[:-1]) * max(1, g.t[-1] / 4)
        work = problem.macs * unit + _sweeps(problem) * sweep + visits * machine.seconds("rows.visit")
        share = min(machine.threads, max(1, lines))
        pad = 0.0
        if not g.unpadded:
            pad = 2.0 * bytes_of(problem, s.B * s.N * s.C * math.prod(g.padded)) * machine.seconds("copy")
        apart = problem.channels_last and s.N > 1 and s.B * s.C * s.O == 1
        if apart:  # signals whose samples lie between each other's are copied, and so is the result
            pad += 1.5 * bytes_of(problem, s.N * (math.prod(g.n) + math.prod(g.m))) * machine.seconds("copy")
        if not _small(problem):
            pad += machine.seconds("call.direct") * (1 if g.unpadded else 2)
        start = machine.seconds("thread") if share > 1 and work > 2 * machine.seconds("thread") else 0.0
        return machine.seconds("call") + pad + (work / share + start if start else work)

    def error(self, problem: Problem) -> float:
        return summation_error(problem)

    def scratch(self, problem: Problem, machine: Machine) -> int:
        g, s = problem.grid, problem.sizes
        tables = 8 * (math.prod(g.m[:-1]) + s.C * math.prod(g.t[:-1]))
        return padded_bytes(problem) + bytes_of(problem, s.B * s.O * s.C * g.taps) + 4 * tables + 4096

    def quick(self, problem: Problem) -> Any:
        if not _small(problem):
            return None
        loops = _loops(problem)
        buffers, kernel, tables, items = _Buffers(problem, loops.zero[0]), loops.kernel, loops.tables, loops.items
        shape, dtype = problem.out_shape, np.dtype(problem.compute_dtype)

        # The closure holds the loops, whose tables the kernel reads by address.
        def call(x: np.ndarray, k: np.ndarray, _alive: Any = loops) -> np.ndarray:
            buffers.inside[...] = x
            buffers.taps[...] = k
            y = np.empty(shape, dtype)
            kernel(*buffers.at, y.__array_interface__["data"][0], *tables, 0, items)
            return y

        return call

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> np.ndarray:
        return np.ascontiguousarray(k)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        g, s = problem.grid, problem.sizes
        loops = _loops(problem)
        x = contiguous(operands["x"] if g.unpadded else g.pad(operands["x"], loops.zero[0]), context.threads)
        y = np.empty((s.B, s.N, s.O, *g.m), dtype=x.dtype)
        kernel, tables = loops.kernel, loops.tables
        at = address(x), address(prepared), address(y)
        share(kernel, (*at, *tables), loops.items, context.threads, loops.grain)
        return y


def _sweeps(problem: Problem) -> int:
    """How often the kernel goes over a strip of results: for eight taps of a row, three or one at a time, for six of a column."""
    g = problem.grid
    rows = problem.sizes.C * math.prod(g.t[:-1])
    if g.t[-1] == 1:
        return rows // 6 + rows % 6
    rest = g.t[-1] % 8
    return rows * (g.t[-1] // 8 + rest // 3 + rest % 3)


def _small(problem: Problem) -> bool:
    """Whether a call is one small signal with a constant or nothing beyond its edge: the padded copy is kept, filled in place."""
    g, s = problem.grid, problem.sizes
    fits = (
        0 < math.prod(g.padded) <= QUICK
        and problem.macs <= 4 * QUICK
        and problem.algebra != "integer"
        and problem.over.admit is None
    )
    beyond = g.unpadded or ({b.kind for b in g.boundary} == {"constant"} and len(set(g.boundary)) == 1)
    plain = s.B == s.N == s.C == s.O == 1 and beyond
    return fits and plain and problem.host == "numpy" and all(lo >= 0 and hi >= 0 for lo, hi in g.pads)


class _Buffers(threading.local):
    """What a small call needs besides its result, kept by every thread: the padded signal and the filter in a row."""

    def __init__(self, problem: Problem, zero: Any) -> None:
        g = problem.grid
        value = g.boundary[0].value if g.boundary else None
        padded = np.full(g.padded, zero if value is None else value, problem.compute_dtype)
        taps = np.empty(g.t, problem.compute_dtype)
        self.inside = padded[tuple(slice(lo, lo + n) for n, (lo, _) in zip(g.n, g.pads, strict=True))]
        self.taps = taps[(slice(None, None, -1),) * g.ndim] if problem.flip else taps
        self.at = address(padded), address(taps)


class _Loops:
    """What the kernel needs besides the arrays: where every output row and every tap row starts in one sample of x̃."""

    def __init__(self, problem: Problem) -> None:
        g, s = problem.grid, problem.sizes
        steps = np.cumprod((1, *g.padded[:0:-1]), dtype=np.int64)[::-1]  # elements between neighbours along each axis
        base = np.zeros(1, dtype=np.int64)
        offset = np.arange(s.C, dtype=np.int64) * math.prod(g.padded)
        for m, t, stride, dilation, step in zip(
            g.m[:-1], g.t[:-1], g.stride[:-1], g.dilation[:-1], steps[:-1], strict=True
        ):
            base = (base[:, None] + np.arange(m) * (stride * step)).ravel()
            offset = (offset[:, None] + np.arange(t) * (dilation * step)).ravel()
        dtype = np.dtype(problem.compute_dtype)
        self.zero = np.array([problem.over.zero(dtype)], dtype=dtype)
        length, taps = g.m[-1], g.t[-1]
        self.items = s.B * s.N * s.O * base.size * -(-length // STRIP)
        self.grain = max(1, int(100_000 / max(1, min(length, STRIP) * offset.size * taps)))
        sizes = (
            base.size,
            offset.size,
            taps,
            length,
            g.stride[-1],
            g.dilation[-1],
            s.C * math.prod(g.padded),
            s.N,
            s.O,
        )
        # Kept alive: the kernel sees their addresses.
        self.arrays = base, offset, self.zero, np.array(sizes, dtype=np.int64)
        self.tables = tuple(address(a) for a in self.arrays)
        scalar = "uint8" if problem.compute_dtype == "bool" else problem.compute_dtype
        self.kernel = rows(scalar, problem.over, g.stride[-1] == 1 and g.dilation[-1] == 1)


_loops = lru_cache(maxsize=256)(_Loops)


DIRECT = Direct()
