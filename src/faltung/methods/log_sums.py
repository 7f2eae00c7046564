"""Convolution over the log semiring and its gradients: sums of exponentials below their maxima, checked, and back by logarithms."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.domains import Boundary
from faltung.kernels.log_sums.on_numba import PIECES, dots, handed, lowered, raised, repaired, weights
from faltung.methods.method import ROUNDOFF, Context, Machine, Method, padded_bytes
from faltung.methods.selection import terms_of
from faltung.problem import Problem


class LogSums(Method):
    """y = log(exp(x̃ − a) ⋆ exp(k − b)) + a + b in float64; a, b the largest finite values of a sample and of a filter.

    All terms are positive, so a sum has the relative accuracy of its terms as long as they do not vanish below 2⁻¹⁰²¹. A sum below
    2⁻⁵⁰⁰ (its terms lie some 346 below a + b), or one that is not finite, is therefore computed again around its own maximum:
    what depends on the values is the time, never the accuracy. Gradients are shares `exp(x̃ + k − y)`: with w = ȳ / sum these are
    `exp(x̃ − a) · (w ⋆ᵀ exp(k − b))` and `exp(k − b) · Σ exp(x̃ − a) w`: an adjoint that is
    planned like any other, and dot products of rows.

    Error: that of the sum of products in float64, 8 roundings of |x| + |k| around it, and one into the dtype of the arithmetic.
    Cost: one exponential a sample and tap, one logarithm a result, the products; one exponential a term where sums are repeated.
    """

    name = "log-sums"
    summary = "the log semiring as sums of exponentials below their maxima; sums that are too small are repeated around their own"
    source = "log-sum-exp; Blanchard, Higham and Higham (2021) for its rounding"
    # Methods whose sums of positive products are accurate each for itself.
    part_methods = ("definition", "direct", "blocks", "indirect", "pointwise")

    def refuses(self, problem: Problem) -> str | None:
        if problem.algebra != "log":
            return f"takes logarithms of sums, which {problem.algebra} does not"
        if problem.device != "cpu":
            return f"runs on the CPU, the arrays are on {problem.device}"
        return None

    def parts(self, problem: Problem) -> tuple[Problem, ...]:
        ring = _ring(problem)
        return (ring, ring.gradient("x")) if problem.unknown == "x" else (ring,)

    def cost(self, problem: Problem, machine: Machine) -> float:
        g, s = problem.grid, problem.sizes
        samples, results = s.B * s.N * s.C * math.prod(g.padded), s.B * s.N * s.O * math.prod(g.m)
        values = samples + results + s.B * s.O * s.C * g.taps
        passes = 1.0 if problem.unknown == "out" else 3.0
        dot = problem.macs * machine.seconds("log.dot") / machine.threads * (problem.unknown == "k")
        work = dot + passes * values * (machine.seconds("log.value") / machine.threads + 24 * machine.seconds("copy"))
        return 6 * machine.seconds("call.blocks") + (s.B * s.N + s.B * s.O) * 2e-6 + work

    def error(self, problem: Problem) -> float:
        bound = 16.0 * ROUNDOFF["float64"] + ROUNDOFF[problem.compute_dtype] * (problem.unknown == "out")
        if problem.unknown == "k":  # along a row in the lanes of vectors, row by row, piece by piece
            g, s = problem.grid, problem.sizes
            lane = 1 if g.stride[-1] > 1 else 8
            depth = g.m[-1] / lane + 16 + s.N * math.prod(g.m[:-1])
            bound += min(depth, 6.0 * depth**0.5) * ROUNDOFF["float64"]
        return bound

    def scratch(self, problem: Problem, machine: Machine) -> int:
        g, s = problem.grid, problem.sizes
        samples = s.B * s.N * s.C * math.prod(max(n, p) for n, p in zip(g.n, g.padded, strict=True))
        results, taps = s.B * s.N * s.O * math.prod(g.m), s.B * s.O * s.C * g.taps
        values = 2 * samples + 3 * results + 4 * taps
        if problem.unknown != "out":
            values += 5 * samples + 4 * results + (5 + PIECES) * taps
        tables = 24 * math.prod(g.m[:-1]) + 64 * s.C * g.taps + 100 * sum(g.padded)
        return padded_bytes(problem) + 8 * values + tables + machine.threads * (1 << 14) + (1 << 15)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        g, s, threads = problem.grid, problem.sizes, context.threads
        x = np.ascontiguousarray(g.pad(operands["x"], -np.inf)).reshape(s.B * s.N, -1)
        k = np.ascontiguousarray(prepared).reshape(s.B * s.O, -1)
        a, b = _tops(x), _tops(k)
        ex, ek = raised(x, a, threads), raised(k, b, threads)
        shapes = (s.B, s.N, s.C, *g.padded), (s.B, s.O, s.C, *g.t), (s.B, s.N, s.O, *g.m)
        sums = np.ascontiguousarray(context.parts[0](ex.reshape(shapes[0]), ek.reshape(shapes[1])))
        whole = x.reshape(s.B, s.N, -1), k.reshape(s.B, s.O, -1)
        base, place = terms_of(problem)
        if problem.unknown == "out":
            shift = (a.reshape(s.B, s.N, 1) + b.reshape(s.B, 1, s.O)).ravel()
            y, doubtful = lowered(sums.reshape(shift.size, -1), shift, problem.compute_dtype, threads)
            if doubtful:
                rows = (s.B, s.N, s.O, base.size, g.m[-1])
                repaired(*whole, sums.reshape(rows), y.reshape(rows), base, place, g.stride[-1], threads)
            return y.reshape(shapes[2])
        y, rows = np.ascontiguousarray(operands["y"]), (s.B, s.N, s.O, base.size, g.m[-1])
        w, doubtful = weights(y, sums, threads)
        for e in (ex, ek):  # what is not finite belongs to sums that are repeated, or to none
            if not np.isfinite(e.sum()):
                np.copyto(e, 0.0, where=~np.isfinite(e))
        if problem.unknown == "x":
            out = context.parts[1](k=ek.reshape(shapes[1]), y=w)
            out *= ex.reshape(shapes[0])
        else:
            out = dots(ex.reshape(whole[0].shape), w.reshape(rows), base, place, g.stride[-1], threads)
            out = out.reshape(shapes[1]) * ek.reshape(shapes[1])
        if doubtful:
            rest = handed(
                *whole, sums.reshape(rows), y.reshape(rows), base, place, g.stride[-1], problem.unknown, threads
            )
            out += rest.reshape(out.shape)
        return g.fold(out) if problem.unknown == "x" else out


def _tops(values: np.ndarray) -> np.ndarray:
    """The largest finite value of each row, 0 where there is none."""
    top = values.max(axis=1, initial=-np.inf).astype("float64")
    for row in np.flatnonzero(~np.isfinite(top)):
        finite = values[row][np.isfinite(values[row])]
        top[row] = float(finite.max()) if finite.size else 0.0
    return top


@lru_cache(maxsize=256)
def _ring(problem: Problem) -> Problem:
    """The same correlation of canonical arrays over the reals, of a signal that is padded already."""
    g, s = problem.grid, problem.sizes
    return replace(
        problem, flip=False, pattern="b n c *s, b o c *s -> b n o *s", x_shape=(s.B, s.N, s.C, *g.padded),
        k_shape=(s.B, s.O, s.C, *g.t), x_dtype="float64", k_dtype="float64", out_dtype="float64",
        pads=((0, 0),) * g.ndim, boundary=(Boundary("constant"),) * g.ndim, algebra="real", unknown="out", host="numpy",
    )  # fmt: skip


LOG_SUMS = LogSums()
