"""Winograd convolution: small filters with the fewest products, by exact transforms at error-optimal points."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.kernels.threads import spread
from faltung.kernels.winograd import amplification, transforms
from faltung.methods.method import ROUNDOFF, Context, Machine, Method, padded_bytes, summation_error
from faltung.problem import Problem

# Outputs of one tile along an axis, by taps and number of spatial axes: the largest whose error stays small.
OUTPUTS = {2: (4, 2, 2), 3: (4, 4, 2), 4: (4, 2, 2), 5: (4, 2, 2), 6: (4, 2, 2), 7: (2, 2, 2)}
BLOCK = 4 << 20  # bytes of transformed tiles that go through one pass


class Winograd(Method):
    """Y = Aᵀ[ Σ over channels of (G k) ⊙ (Bᵀ x̃) ] with m + t − 1 products for m results of t taps along each axis.

    Tiles are transformed axis by axis, the sum over channels is one matrix product for each of the ∏(m + t − 1) points, and the
    filter's transform is kept by `prepare`. Interpolation points are those with the smallest error amplification.
    """

    name = "winograd"
    summary = "minimal products for small filters with many channels, at error-optimal points"
    source = "Winograd (1980); Lavin and Gray (2016); points after Lohia, NOVA (2025), with the error as objective"
    spreads = True

    def refuses(self, problem: Problem) -> str | None:
        g = problem.grid
        if problem.unknown != "out":
            return "computes results, not gradients"
        if problem.algebra not in ("real", "complex"):
            return f"divides by integers, which {problem.algebra} does not allow"
        if g.ndim > 3:
            return f"has one to three spatial axes, the signal has {g.ndim}"
        if max(g.t) > 7 or max(g.t) < 2:
            return f"has transforms for 2 to 7 taps along an axis, the filter is {g.t}"
        if any(s != 1 for s in g.stride) or any(d != 1 for d in g.dilation):
            return f"needs stride and dilation 1, they are {g.stride} and {g.dilation}"
        if problem.device != "cpu":
            return f"runs on the CPU, the arrays are on {problem.device}"
        return None

    def _shape(self, problem: Problem) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Outputs and points of a tile, and the number of tiles, along every axis."""
        g = problem.grid
        active = sum(t > 1 for t in g.t)
        outputs = tuple(OUTPUTS[t][active - 1] if t > 1 else 1 for t in g.t)
        return (
            outputs,
            tuple(m + t - 1 for m, t in zip(outputs, g.t, strict=True)),
            tuple(-(-n // m) for n, m in zip(g.m, outputs, strict=True)),
        )

    def _block(self, problem: Problem) -> tuple[int, int]:
        """How many samples, and how many rows of tiles along the first axis, go through one pass."""
        s, (_, points, counts) = problem.sizes, self._shape(problem)
        row = math.prod(points) * (s.C + s.O) * math.prod(counts[1:]) * np.dtype(problem.compute_dtype).itemsize
        fit = max(1, BLOCK // max(row, 1))
        return (min(s.N, max(1, fit // counts[0])), counts[0]) if fit >= counts[0] else (1, fit)

    def cost(self, problem: Problem, machine: Machine) -> float:
        s, (_, points, counts) = problem.sizes, self._shape(problem)
        tiles, size = s.B * s.N * math.prod(counts), math.prod(points)
        samples, rows = self._block(problem)
        columns = samples * rows * math.prod(counts[1:])
        # A product is efficient when all its three sizes are: few filters or few tiles leave the matrix units idle.
        idle = (1.0 + 8.0 / s.O) * (1.0 + 24.0 / columns)
        products = tiles * size * s.C * s.O * machine.seconds("gemm", problem.compute_dtype) * idle / machine.threads
        moved = tiles * size * (s.C + s.O) + s.B * s.O * s.C * size
        passes = s.B * math.ceil(s.N / samples) * math.ceil(counts[0] / rows)
        rest = moved * machine.seconds("winograd.transform", problem.compute_dtype)
        return machine.seconds("call") + passes * machine.seconds("pass.winograd") + products + rest

    def error(self, problem: Problem) -> float:
        """The amplification model, sqrt(2)·α^(D/2) roundoffs of one transformed value, with a margin, plus the channel sum."""
        spread_ = math.prod(
            _alpha(m, t) ** 0.5 for m, t in zip(self._shape(problem)[0], problem.grid.t, strict=True) if t > 1
        )
        return 16.0 * ROUNDOFF[problem.compute_dtype] * spread_ + summation_error(problem)

    def scratch(self, problem: Problem, machine: Machine) -> int:
        s, (outputs, points, counts) = problem.sizes, self._shape(problem)
        whole = math.prod(q * m + n for q, m, n in zip(counts, outputs, points, strict=True))
        block = math.prod(points) * math.prod(counts[1:]) * math.prod(self._block(problem)) * 3 * (s.C + s.O)
        values = s.B * s.N * s.C * whole + block + 3 * s.B * s.O * s.C * math.prod(points)
        return padded_bytes(problem) + int(values * np.dtype(problem.compute_dtype).itemsize) + (1 << 14)

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> np.ndarray:
        """The filter at all points, (B, points, O, C)."""
        s, g = problem.sizes, problem.grid
        u = np.moveaxis(k, (1, 2), (-2, -1))
        for a, (m, t) in enumerate(zip(self._shape(problem)[0], g.t, strict=True)):
            u = _along(_matrices(m, t, k.dtype)[1], np.ascontiguousarray(u), 1 + a)
        return np.ascontiguousarray(u).reshape(s.B, -1, s.O, s.C)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        g, s = problem.grid, problem.sizes
        outputs, points, counts = self._shape(problem)
        x = operands["x"] if g.unpadded else g.pad(operands["x"], 0)
        whole = tuple(q * m + t - 1 for q, m, t in zip(counts, outputs, g.t, strict=True))
        if x.shape[3:] != whole:
            extended = np.zeros((*x.shape[:3], *whole), dtype=x.dtype)
            cut: Any = (..., *(slice(min(w, p)) for w, p in zip(whole, x.shape[3:], strict=True)))
            extended[cut] = x[cut]
            x = extended
        y = np.empty((s.B, s.N, s.O, *g.m), dtype=x.dtype)
        samples, rows = self._block(problem)
        matrices = [_matrices(m, t, x.dtype) for m, t in zip(outputs, g.t, strict=True)]
        places = list(np.ndindex(*points))
        passes = ((b, n, q) for b in range(s.B) for n in range(0, s.N, samples) for q in range(0, counts[0], rows))
        for b, n, q in passes:
            many = x[b, n : n + samples].swapaxes(0, 1)
            tiles = (many.shape[1], min(rows, counts[0] - q), *counts[1:])
            v = np.empty((*points, s.C, *tiles), dtype=x.dtype)
            first = (q * outputs[0], *[0] * (g.ndim - 1))

            def gather(start: int, stop: int, many: np.ndarray = many, v: np.ndarray = v, first: tuple = first) -> None:
                for at in places[start:stop]:
                    corners = (f + p for f, p in zip(first, at, strict=True))
                    sizes = zip(corners, v.shape[g.ndim + 2 :], outputs, strict=True)
                    v[at] = many[(slice(None), slice(None), *(slice(c, c + (k - 1) * m + 1, m) for c, k, m in sizes))]

            # Matrix products below run on BLAS' own threads: nothing of ours may run beside them.
            spread(gather, len(places), context.threads, max(1, 50_000 // max(1, v[places[0]].size)))
            for a, (_, _, bt) in enumerate(matrices):
                v = _along(bt, v, a)
            mixed = (prepared[b] @ v.reshape(math.prod(points), s.C, -1)).reshape(*points, s.O, *tiles)
            for a, (at_, _, _) in enumerate(matrices):
                mixed = _along(at_, mixed, a)
            for i in range(tiles[0]):
                _place(mixed[(slice(None),) * (g.ndim + 1) + (i,)], y[b, n + i], q * outputs[0], outputs)
        return y


def _place(tiles: np.ndarray, y: np.ndarray, first: int, outputs: tuple[int, ...]) -> None:
    """Write (outputs, O, tiles) to the result, where neighbours of one tile lie side by side; the last tiles are cut."""
    ndim = len(outputs)
    interleaved = tiles.transpose(ndim, *(p for a in range(ndim) for p in (ndim + 1 + a, a)))
    merged = interleaved.reshape(y.shape[0], *(tiles.shape[ndim + 1 + a] * outputs[a] for a in range(ndim)))
    stop = min(first + merged.shape[1], y.shape[1])
    target = y[:, first:stop]
    target[...] = merged[tuple(slice(n) for n in target.shape)]


def _along(matrix: np.ndarray, a: np.ndarray, axis: int) -> np.ndarray:
    """Multiply by a matrix along one axis; everything behind it is one long row of a matrix product."""
    if matrix.shape == (1, 1):
        return a if matrix[0, 0] == 1 else a * matrix[0, 0]
    front = a.reshape(math.prod(a.shape[:axis]), a.shape[axis], -1)
    return np.matmul(matrix, front).reshape(*a.shape[:axis], matrix.shape[0], *a.shape[axis + 1 :])


@lru_cache(maxsize=256)
def _matrices(m: int, t: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if t == 1:
        one = np.eye(m, dtype=dtype)
        return one, np.ones((m, 1), dtype=dtype), one
    at, g, bt = transforms(m, t).as_arrays("float64")
    return at.astype(dtype), g.astype(dtype), bt.astype(dtype)


@lru_cache(maxsize=256)
def _alpha(m: int, t: int) -> float:
    found = transforms(m, t)
    return float(amplification(found.AT, found.G, found.BT))


WINOGRAD = Winograd()
