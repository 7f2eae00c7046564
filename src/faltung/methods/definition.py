"""The definition itself: every product of it, in float64 or exactly. Slow; the judge of all other methods."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from faltung.methods.method import ROUNDOFF, Context, Machine, Method
from faltung.problem import Problem

_HIGH = {
    "float32": "float64",
    "float64": "float64",
    "complex64": "complex128",
    "complex128": "complex128",
    "bool": "bool",
}


class Definition(Method):
    """y(p) = ⊕ over taps t of x̃(p·stride + t·dilation) ⊗ k(t), tap by tap, and its two adjoints.

    Floating-point values are lifted to float64 (float64 stays); integers are computed without limit, as Python integers, and
    put back into the accumulator at the end; booleans and ordered algebras use their own operations.
    """

    name = "definition"
    summary = "every product of the definition in float64 or exact integers; slow, accepts everything"
    source = "the definition"

    def refuses(self, problem: Problem) -> str | None:
        if problem.unknown != "out" and not (problem.over.ring or problem.over.beats):
            return f"gradients over {problem.algebra} do not exist"
        return None

    def cost(self, problem: Problem, machine: Machine) -> float:
        python_objects = 20.0 if problem.algebra == "integer" else 1.0
        return (
            machine.seconds("call")
            + problem.grid.taps * 2e-5
            + problem.macs * machine.seconds("definition") * python_objects
        )

    def error(self, problem: Problem) -> float:
        if problem.over.exact:
            return 0.0
        return (min(problem.depth, 6.0 * problem.depth**0.5) + 4.0) * ROUNDOFF["float64"]

    def scratch(self, problem: Problem, machine: Machine) -> int:
        s, g = problem.sizes, problem.grid
        inputs, outputs, taps = math.prod(g.n), math.prod(g.m), g.taps
        value = 80 if problem.algebra == "integer" else 16  # a Python integer and its pointer; a complex number
        signal, result = s.B * s.N * s.C * (inputs + 2 * outputs), s.B * s.N * s.O * outputs
        tables = 48 * sum(g.padded) + 9 * outputs + (200 * taps * sum(g.m) if problem.over.ordered else 0)
        return value * (2 * signal + 8 * result + 3 * s.B * s.O * s.C * taps) + tables + (1 << 14)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        high = "object" if problem.algebra == "integer" else _HIGH[problem.compute_dtype]
        known = {name: a.astype(high) for name, a in {**operands, "k": prepared}.items() if a is not None}
        if problem.over.ordered and problem.unknown != "out":
            return _ordered_gradient(problem, known)
        result = _linear(problem, known, high)
        return result.astype(problem.compute_dtype) if problem.over.exact else result


def _linear(problem: Problem, known: dict[str, np.ndarray], high: str) -> np.ndarray:
    """The three maps that share the definition's terms: out, x and k from the two others, one tap at a time."""
    s, grid, over = problem.sizes, problem.grid, problem.over
    zero = over.zero(np.dtype(problem.compute_dtype)) if high != "object" else 0
    sizes = {"out": (s.B, s.N, s.O, *grid.m), "x": (s.B, s.N, s.C, *grid.n), "k": (s.B, s.O, s.C, *grid.t)}
    result = np.full(sizes[problem.unknown], zero, dtype=high)
    for tap, index in grid.terms():
        at: Any = (..., *np.ix_(*[np.maximum(i, 0) for i in index]))
        if problem.unknown == "out":
            window = known["x"][at]
            for a, (i, fill) in enumerate(zip(index, grid.fills(zero), strict=True)):
                np.moveaxis(window, a - grid.ndim, 0)[i < 0] = fill
            k = known["k"][_at(tap)]
            for c in range(s.C):
                left, right = window[:, :, None, c], k[:, None, :, c][(..., *[None] * grid.ndim)]
                result = over.add(result, over.mul(left, right))
            continue
        inside = np.ones(grid.m, dtype=bool)
        for a, i in enumerate(index):
            inside &= np.moveaxis(np.broadcast_to(i >= 0, (*grid.m[:a], *grid.m[a + 1 :], grid.m[a])), -1, a)
        if problem.unknown == "k":
            # A constant beyond the edge takes part in the filter's gradient: it is data, though not a variable.
            window = known["x"][at]
            for a, (i, fill) in enumerate(zip(index, grid.fills(zero), strict=True)):
                np.moveaxis(window, a - grid.ndim, 0)[i < 0] = fill
            flat_x, flat_y = window.reshape(s.B, s.N, s.C, -1), known["y"].reshape(s.B, s.N, s.O, -1)
            result[_at(tap)] = np.einsum("bncp,bnop->boc", flat_x, flat_y)
        else:
            flow = np.einsum("bno...,boc->bnc...", known["y"], known["k"][_at(tap)])
            np.add.at(result, at, np.where(inside, flow, 0))
    return result


def _at(tap: tuple[int, ...]) -> Any:
    """Index of one tap in the last axes."""
    return (..., *tap)


def _ordered_gradient(problem: Problem, known: dict[str, np.ndarray]) -> np.ndarray:
    """The subgradient of a maximum or minimum: each result passes its cotangent to the first tap that attains it."""
    s, grid, over = problem.sizes, problem.grid, problem.over
    assert over.beats is not None
    zero = over.zero(np.dtype(problem.compute_dtype))
    best = np.full((s.B, s.N, s.O, *grid.m), zero, "float64")
    choice = np.full(best.shape, -1, dtype=np.int64)
    taps = list(grid.terms())
    for number, (tap, index) in enumerate(taps):
        window = known["x"][(..., *np.ix_(*[np.maximum(i, 0) for i in index]))]
        for a, (i, fill) in enumerate(zip(index, grid.fills(zero), strict=True)):
            np.moveaxis(window, a - grid.ndim, 0)[i < 0] = fill
        for c in range(s.C):
            value = over.mul(window[:, :, None, c], known["k"][_at(tap)][:, None, :, c][(..., *[None] * grid.ndim)])
            better = over.beats(value, best) | (choice < 0)
            best, choice = np.where(better, value, best), np.where(better, number * s.C + c, choice)
    wants_x = problem.unknown == "x"
    result = np.zeros((s.B, s.N, s.C, *grid.n) if wants_x else (s.B, s.O, s.C, *grid.t))
    for number, (tap, index) in enumerate(taps):
        for c in range(s.C):
            flow = np.where(choice == number * s.C + c, known["y"], 0.0)
            if not wants_x:
                result[(slice(None), slice(None), c, *tap)] = flow.sum(axis=(1, *range(3, flow.ndim)))
                continue
            for a, i in enumerate(index):
                np.moveaxis(flow, a - grid.ndim, 0)[i < 0] = 0.0
            at = (slice(None), slice(None), *np.ix_(*[np.maximum(i, 0) for i in index]))
            np.add.at(result[:, :, c], at, flow.sum(axis=2))
    return result


DEFINITION = Definition()
