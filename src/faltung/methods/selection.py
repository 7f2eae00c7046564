"""Gradients over ordered algebras: each result hands its cotangent to the first term that attains it."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.kernels.selection.on_numba import PIECES, SLOPES, key, selected
from faltung.methods.method import ROUNDOFF, Context, Machine, Method, bytes_of, padded_bytes
from faltung.problem import Problem


class Selection(Method):
    """The subgradient of a maximum or minimum, one choice a result; the same choice as the definition's, bit for bit.

    Formula: `gx[i·stride + t*·dilation] += y[i] · ∂(x ⊗ k)/∂x`, and the like for k; t* the first tap (of taps in their order,
    channels of one tap one after the other) whose product in float64 no other beats. What goes beyond a constant edge is lost.

    Error: that of a sum of `depth` cotangents in float64.
    Cost: a product, a comparison and two choices a tap; a threaded signal's gradient repeats the rows that two pieces share.
    """

    name = "selection"
    summary = "gradients of maxima and minima: each result's cotangent to the first tap that attains it"
    source = "subgradient of a maximum, Danskin (1967)"
    silent = False

    def refuses(self, problem: Problem) -> str | None:
        if problem.unknown == "out":
            return "computes gradients, not results"
        if problem.over.beats is None or problem.over.vector_mul not in SLOPES:
            return f"hands on what is picked, which {problem.algebra} does not"
        if problem.device != "cpu":
            return f"runs on the CPU, the arrays are on {problem.device}"
        return None

    def kernels(self, problem: Problem, machine: Machine) -> tuple[tuple, ...]:
        return (key(problem.compute_dtype, problem.over, problem.unknown, problem.grid.stride[-1] == 1),)

    def cost(self, problem: Problem, machine: Machine) -> float:
        g, s = problem.grid, problem.sizes
        strided = 4.0 if g.stride[-1] != 1 else 1.0
        work = problem.macs * strided * machine.seconds("selection.term")
        work += s.B * s.N * s.O * math.prod(g.m) * machine.seconds("selection.result")
        copies = bytes_of(problem, 6.0 * s.B * s.N * s.C * math.prod(g.padded)) * machine.seconds("copy")
        return machine.seconds("call.blocks") * 2 + copies + work / machine.threads

    def error(self, problem: Problem) -> float:
        return (min(problem.depth, 6.0 * problem.depth**0.5) + 2.0) * ROUNDOFF["float64"]

    def scratch(self, problem: Problem, machine: Machine) -> int:
        g, s = problem.grid, problem.sizes
        lead = s.B * s.N * s.C
        result = 8 * 3 * lead * math.prod(max(n, p) for n, p in zip(g.n, g.padded, strict=True))
        result += 8 * (PIECES + 2) * s.B * s.O * s.C * g.taps
        operands = bytes_of(problem, 2 * s.B * s.O * s.C * g.taps + s.B * s.N * s.O * math.prod(g.m))
        tables = 16 * math.prod(g.m[:-1]) + 48 * s.C * g.taps + 100 * sum(g.padded)
        return padded_bytes(problem) + result + operands + tables + machine.threads * (1 << 14) + (1 << 14)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        g, s = problem.grid, problem.sizes
        x = g.pad(operands["x"], problem.over.zero(np.dtype(problem.compute_dtype)))
        x = np.ascontiguousarray(x).reshape(s.B, s.N, s.C, -1)
        # Terms in the definition's order: taps outside, channels inside.
        k = np.ascontiguousarray(prepared.reshape(s.B, s.O, s.C, -1).swapaxes(2, 3)).reshape(s.B, s.O, -1)
        y = np.ascontiguousarray(operands["y"]).reshape(s.B, s.N, s.O, -1, g.m[-1])
        base, offset, channel = _tables(problem)
        out = selected(x, k, y, base, offset, channel, g.stride[-1], problem.over, problem.unknown, context.threads)
        if problem.unknown == "x":
            return g.fold(out.reshape(s.B, s.N, s.C, *g.padded))
        return out.reshape(s.B, s.O, g.taps, s.C).swapaxes(2, 3).reshape(s.B, s.O, s.C, *g.t)


def terms_of(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Where each row of results starts in a sample of x̃; of every tap, in the filter's own order, its place behind that."""
    base, offset, _ = _tables(problem)
    C = problem.sizes.C
    return base, (np.arange(C)[:, None] * math.prod(problem.grid.padded) + offset[::C]).ravel()


@lru_cache(maxsize=64)
def _tables(problem: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each row of results starts in a channel of x̃; of every term its place behind that, and its channel."""
    g, C = problem.grid, problem.sizes.C
    steps = [math.prod(g.padded[a + 1 :]) for a in range(g.ndim)]
    base, offset = np.zeros(1, np.int64), np.zeros(1, np.int64)
    for a, step in enumerate(steps):
        if a < g.ndim - 1:
            base = (base[:, None] + np.arange(g.m[a]) * (g.stride[a] * step)).ravel()
        offset = (offset[:, None] + np.arange(g.t[a]) * (g.dilation[a] * step)).ravel()
    return base, np.repeat(offset, C), np.tile(np.arange(C, dtype=np.int64), offset.size)


SELECTION = Selection()
