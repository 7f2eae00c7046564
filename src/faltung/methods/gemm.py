"""Convolution as matrix products: patches of a band of results times the filters, without a whole patch matrix."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from faltung.kernels.threads import spread
from faltung.methods.method import Context, Machine, Method, padded_bytes, summation_error
from faltung.problem import Problem

BAND = 2 << 20  # bytes of patches in one product: they stay in the cache between copy and use


class Gemm(Method):
    """Y = K · P with K (O, C·∏t) and P the patches (C·∏t, band of outputs); one-tap filters need no patches at all."""

    name = "gemm"
    summary = "matrix products of filters and patches, a band of results at a time"
    source = "Chellapilla, Puri and Simard (2006); band by band instead of one im2col matrix"

    def refuses(self, problem: Problem) -> str | None:
        if problem.unknown != "out":
            return "computes results, not gradients"
        if problem.algebra not in ("real", "complex"):
            return f"needs BLAS, which has no products over {problem.algebra}"
        if problem.device != "cpu":
            return f"runs on the CPU, the arrays are on {problem.device}"
        return None

    def _band(self, problem: Problem) -> int:
        g, s = problem.grid, problem.sizes
        row = s.C * g.taps * math.prod(g.m[1:]) * np.dtype(problem.compute_dtype).itemsize
        return max(1, min(g.m[0], BAND // max(row, 1)))

    def _pointwise(self, problem: Problem) -> bool:
        g = problem.grid
        return g.taps == 1 and g.unpadded and all(s == 1 for s in g.stride)

    def cost(self, problem: Problem, machine: Machine) -> float:
        g, s = problem.grid, problem.sizes
        outputs = s.B * s.N * math.prod(g.m)
        products = problem.macs * machine.seconds("gemm", problem.compute_dtype) * (1.0 + 8.0 / max(s.O, 1))
        calls = s.B * s.N * (1 if self._pointwise(problem) else math.ceil(g.m[0] / self._band(problem)))
        patches = (
            0 if self._pointwise(problem) else outputs * s.C * g.taps * machine.seconds("patch", problem.compute_dtype)
        )
        pad = (
            0.0
            if g.unpadded
            else s.B
            * s.N
            * s.C
            * math.prod(g.padded)
            * np.dtype(problem.compute_dtype).itemsize
            * machine.seconds("copy")
        )
        return (
            machine.seconds("call") + calls * machine.seconds("gemm.call") + products / machine.threads + patches + pad
        )

    def error(self, problem: Problem) -> float:
        return summation_error(problem)

    def scratch(self, problem: Problem, machine: Machine) -> int:
        g, s = problem.grid, problem.sizes
        item = np.dtype(problem.compute_dtype).itemsize
        patches = 0 if self._pointwise(problem) else 2 * s.C * g.taps * math.prod(g.m[1:]) * self._band(problem)
        band = s.O * math.prod(g.m[1:]) * self._band(problem)
        return padded_bytes(problem) + int(item * (patches + band + s.B * s.O * s.C * g.taps)) + 128 * g.taps + 8192

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> np.ndarray:
        s = problem.sizes
        return np.ascontiguousarray(k).reshape(s.B, s.O, s.C * problem.grid.taps)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        g, s, k = problem.grid, problem.sizes, prepared
        x = operands["x"]
        if self._pointwise(problem):
            return np.matmul(k[:, None], np.ascontiguousarray(x).reshape(s.B, s.N, s.C, -1)).reshape(
                s.B, s.N, s.O, *g.m
            )
        x = x if g.unpadded else g.pad(x, 0)
        y = np.empty((s.B, s.N, s.O, *g.m), dtype=x.dtype)
        band = self._band(problem)
        taps = list(np.ndindex(*g.t))
        patches = np.empty((s.C, g.taps, band, *g.m[1:]), dtype=x.dtype)
        for b, n, i in ((b, n, i) for b in range(s.B) for n in range(s.N) for i in range(0, g.m[0], band)):
            rows = min(band, g.m[0] - i)
            firsts, counts = (i, *[0] * (g.ndim - 1)), (rows, *g.m[1:])

            def copy(
                first: int, last: int, sample: np.ndarray = x[b, n], firsts: tuple = firsts, counts: tuple = counts
            ) -> None:
                for number in range(first, last):
                    starts = (
                        f * e + u * d for f, e, u, d in zip(firsts, g.stride, taps[number], g.dilation, strict=True)
                    )
                    window = (
                        slice(start, start + (m - 1) * e + 1, e)
                        for start, m, e in zip(starts, counts, g.stride, strict=True)
                    )
                    patches[:, number, : counts[0]] = sample[(slice(None), *window)]

            spread(copy, g.taps, context.threads, max(1, 100_000 // max(1, s.C * math.prod(counts))))
            matrix = patches[:, :, :rows].reshape(s.C * g.taps, -1)
            y[b, n, :, i : i + rows] = (k[b] @ matrix).reshape(s.O, rows, *g.m[1:])
        return y


GEMM = Gemm()
