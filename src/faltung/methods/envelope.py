"""Filters that are parabolas, over the ordered algebras: lower envelopes, in linear time whatever the filter's length."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from faltung.algebras.algebra import HALVES
from faltung.kernels.envelope import on_numba as kernel
from faltung.methods.method import ROUNDOFF, Context, Machine, Method, bytes_of, padded_bytes
from faltung.problem import Problem

PIECE = 1 << 11  # taps of a filter that are compared with its rows at a time
ROUNDINGS = 8  # how far taps may lie beside their parabola, in unit roundoffs of the largest tap
Line = tuple[np.ndarray, tuple[float, float] | None]  # taps along an axis, and their parabola's curvature and vertex


class Envelope(Method):
    """k[u] = Σ over axes of aₐ·(uₐ − cₐ)² + b, all aₐ > 0 over min-plus and < 0 over max-plus; one pass along every axis.

    Formula: y[i] = min over u of x̃[i + u] + k[u]. Windows end where the filter ends: k need not be longer than the signal.

    A filter is taken if each tap lies within 8 unit roundoffs of max|k| beside such a sum. The parabolas only say which sample
    wins; the values are sums of that sample and the taps. NaN, and the infinity that wins, reach the windows that meet them.

    Error: 64 unit roundoffs an axis, relative to max|x| + max|k|: the taps' distance from the parabola, once for the winner and
    once for the loser, and the rounding of the border between two parabolas.
    Cost: about 2·(n + m) steps a row and axis.
    """

    name = "envelope"
    summary = "parabolas over min-plus and max-plus (distance transforms) as lower envelopes, cost independent of the filter's size"
    source = "Felzenszwalb and Huttenlocher (2012); windows after van Herk (1992)"
    structured = True

    def refuses(self, problem: Problem) -> str | None:
        s, g = problem.sizes, problem.grid
        if problem.unknown != "out":
            return "computes results, not gradients"
        if problem.over.beats is None or not problem.over.shifts:
            return f"compares sums, which {problem.algebra} does not"
        if problem.k_dtype in HALVES:
            return f"needs parabolas of float32 or float64, {problem.k_dtype} rounds them too coarsely"
        if s.O != 1 or s.C != 1:
            return f"filters one channel at a time, the pattern has {s.O} outputs and compares {s.C} inputs"
        if all(t == 1 for t in g.t):
            return f"needs taps along an axis, the filter is {g.t}"
        if any(d != 1 for d in g.dilation):
            return f"needs neighbouring taps, the dilation is {g.dilation}"
        if problem.device != "cpu":
            return f"runs on the CPU, the arrays are on {problem.device}"
        return None

    def kernels(self, problem: Problem, machine: Machine) -> tuple[tuple, ...]:
        return (kernel.key(problem.compute_dtype, problem.over.beats is np.greater),)

    def cost(self, problem: Problem, machine: Machine) -> float:
        s, g, dtype = problem.sizes, problem.grid, problem.compute_dtype
        work = 0.0
        for (lines, n, m), t in zip(_sizes(problem), g.t, strict=True):
            passes = 3.0 if t < n + m - 1 else 1.0  # windows that end within the row: both ways, a sample at a time
            work += s.B * s.N * lines * (n + m) * passes * (t > 1) * machine.seconds("envelope.value", dtype)
        pad = 0.0 if g.zero_padded else s.B * s.N * math.prod(g.padded) * bytes_of(problem, 1) * machine.seconds("copy")
        looking = 1e-4 + s.B * g.taps * 1e-8
        return machine.seconds("call") * (1 + g.ndim) + looking + pad + work / machine.threads

    def error(self, problem: Problem) -> float:
        return 64.0 * problem.grid.ndim * ROUNDOFF[problem.compute_dtype]

    def scratch(self, problem: Problem, machine: Machine) -> int:
        s, g = problem.sizes, problem.grid
        largest = max(lines * max(n, m) for lines, n, m in _sizes(problem))
        one = max(kernel.scratch_bytes(n, m, t, 2) + 24 * t for (_, n, m), t in zip(_sizes(problem), g.t, strict=True))
        pad = 0 if g.zero_padded else padded_bytes(problem)
        look = 48 * (g.taps // g.t[0]) + 64 * s.B * sum(g.t)
        return pad + bytes_of(problem, 3 * s.B * s.N * largest) + machine.threads * one + look + (1 << 16)

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> list[list[Line]] | None:
        """Of every filter and axis the taps and their parabola; None where a filter is not a sum of such."""
        largest = problem.over.beats is np.greater
        found = [parabolas(f, largest) for f in k[:, 0, 0]]
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
        """The pass along the middle axis."""
        return kernel.envelope(x, taps, shape, lo, outputs, largest, threads)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        g, over = problem.grid, problem.over
        x = operands["x"] if g.zero_padded else g.pad(operands["x"], over.zero(np.dtype(problem.compute_dtype)))
        largest = over.beats is np.greater
        signals = []
        for b, lines in enumerate(prepared):
            y = x[b, :, 0]
            for a in reversed(range(g.ndim)):
                taps, parabola = lines[a]
                if parabola is None:
                    y = y if not taps[0] else y + taps[0].astype(y.dtype)
                    y = _kept(y, 1 + a, problem)
                else:
                    outputs = (g.m[a] - 1) * g.stride[a] + 1
                    lo = g.pads[a][0] if g.zero_padded else 0
                    flat = np.ascontiguousarray(y).reshape(math.prod(y.shape[: 1 + a]), y.shape[1 + a], -1)
                    flat = self.along(flat, taps, parabola, lo, outputs, largest, context.threads)
                    y = flat.reshape(*y.shape[: 1 + a], outputs, *y.shape[2 + a :])
                    y = y[(slice(None),) * (1 + a) + (slice(None, None, g.stride[a]),)]
            signals.append(y)
        return np.stack(signals)[:, :, None] if len(signals) > 1 else signals[0][None, :, None]


def _sizes(problem: Problem) -> list[tuple[int, int, int]]:
    """Of each axis' pass, the last axis first to be passed: lines, samples and results of one."""
    g = problem.grid
    n = list(g.n if g.zero_padded else g.padded)
    sizes = []
    for a in reversed(range(g.ndim)):
        m = (g.m[a] - 1) * g.stride[a] + 1
        sizes.append((math.prod(n[:a]) * math.prod(n[a + 1 :]), n[a], m))
        n[a] = g.m[a]
    return sizes[::-1]


def _kept(y: np.ndarray, axis: int, problem: Problem) -> np.ndarray:
    """An axis without taps, padded or cropped and strided."""
    g, a = problem.grid, axis - 1
    lo, hi = g.pads[a] if g.zero_padded else (0, 0)
    if lo or hi:
        zero = problem.over.zero(y.dtype)
        wide = np.full((*y.shape[:axis], max(y.shape[axis] + lo + hi, 0), *y.shape[axis + 1 :]), zero, y.dtype)
        to, at = np.moveaxis(wide, axis, 0), np.moveaxis(y, axis, 0)
        first, stop = max(-lo, 0), at.shape[0] - max(-hi, 0)
        if first < stop:
            to[first + lo : stop + lo] = at[first:stop]
        y = wide
    return y[(slice(None),) * axis + (slice(None, None, g.stride[a]),)]


def parabolas(k: np.ndarray, largest: bool) -> list[Line] | None:
    """Rows of taps, one an axis, whose outer sum is k, each with its parabola (None for a single tap).

    Returns None where k is no such sum: where a tap lies further than 8 unit roundoffs of max|k| beside it, where a row bends
    the other way or not at all, or where a tap is not finite.
    """
    size = float(np.abs(k).max(initial=0.0))
    if not math.isfinite(size):
        return None
    allowed, corner = ROUNDINGS * ROUNDOFF[str(k.dtype)] * size, float(k.flat[0])
    lines: list[Line] = []
    for a in range(k.ndim):
        row = k[tuple(slice(None) if b == a else 0 for b in range(k.ndim))].astype("float64")
        row = row if a == 0 else row - corner
        found = _parabola(-row if largest else row, allowed)
        if found is None and row.size > 1:
            return None
        lines.append((row, found))
    rest = np.zeros((1,) * (k.ndim - 1))
    for a in range(1, k.ndim):
        rest = rest + lines[a][0].reshape([-1 if b == a else 1 for b in range(1, k.ndim)])
    first, some = lines[0][0].reshape(-1, *[1] * (k.ndim - 1)), max(1, PIECE // max(1, rest.size))
    for start in range(0, len(k), some):  # a sum as large as k at once would be the most memory of all
        if np.abs(k[start : start + some] - (rest + first[start : start + some])).max() > allowed:
            return None
    return lines


def _parabola(row: np.ndarray, allowed: float) -> tuple[float, float] | None:
    """Curvature and vertex of the upward parabola through a row of taps; None where there is none within `allowed`."""
    last = row.size - 1
    if last < 1:
        return None
    if last == 1:  # one of many; any of them orders two samples rightly
        slope = float(row[1] - row[0])
        curvature = max(abs(slope), 1.0)
        return curvature, (1.0 - slope / curvature) / 2
    middle = last // 2
    first, second = (row[middle] - row[0]) / middle, (row[last] - row[middle]) / (last - middle)
    curvature = float(second - first) / last
    # A bend of the size of the roundings is no parabola that could be told from a line.
    if not curvature * last * last > 8 * allowed or not math.isfinite(0.5 / curvature):
        return None
    u = np.arange(row.size, dtype="float64")
    if np.abs(row - (row[0] + first * u + curvature * u * (u - middle))).max() > allowed:
        return None
    return curvature, float(middle * curvature - first) / (2 * curvature)


ENVELOPE = Envelope()
