"""The definition itself: every product of it, in float64 or exactly. Slow; the judge of all other methods."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from faltung.domains import Index
from faltung.methods import on_sets
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
    arithmetics = ("machine", "residues", "objects", "own")
    places = ("grid", "index")

    def refuses(self, problem: Problem) -> str | None:
        over = problem.over
        if problem.unknown != "out" and not (over.ring or over.beats or over.share):
            return f"gradients over {problem.algebra} do not exist"
        return None

    def cost(self, problem: Problem, machine: Machine) -> float:
        python_objects = 20.0 if problem.algebra == "integer" or problem.over.arithmetic != "machine" else 1.0
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
        value = (
            80 if problem.algebra == "integer" or problem.over.arithmetic != "machine" else 16
        )  # a Python integer and its pointer; a complex number
        signal, result = s.B * s.N * s.C * (inputs + 2 * outputs), s.B * s.N * s.O * outputs
        if isinstance(g, Index):
            # Triples, and of the longest layer both factors, the terms and what they are added to.
            layer = 8 * s.B * s.N * s.O * inputs * value
            return value * 4 * (signal + result + s.B * s.O * s.C * taps) + layer + 160 * g.pairs + (1 << 14)
        tables = 48 * sum(g.padded) + 9 * outputs + (200 * taps * sum(g.m) if problem.over.ordered else 0)
        return value * (2 * signal + 8 * result + 3 * s.B * s.O * s.C * taps) + tables + (1 << 14)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        exact = problem.algebra == "integer" or (problem.over.arithmetic != "machine" and problem.unknown != "out")
        high = (
            "object"
            if exact and problem.over.arithmetic != "own"
            else _HIGH.get(problem.compute_dtype, problem.compute_dtype)
        )
        known = {name: a.astype(high) for name, a in {**operands, "k": prepared}.items() if a is not None}
        if isinstance(problem.grid, Index):
            result = on_sets.result(problem, known, high)
            result = result % problem.over.modulus if problem.over.modulus else result
            return result.astype(problem.compute_dtype) if problem.over.exact else result
        if problem.unknown != "out" and not problem.over.ring:
            return _smooth_gradient(problem, known) if problem.over.share else _ordered_gradient(problem, known)
        result = _linear(problem, known, high)
        result = result % problem.over.modulus if problem.over.modulus else result
        return result.astype(problem.compute_dtype) if problem.over.exact else result


def _linear(problem: Problem, known: dict[str, np.ndarray], high: str) -> np.ndarray:
    """The three maps that share the definition's terms: out, x and k from the two others, one tap at a time."""
    s, grid, over = problem.sizes, problem.grid, problem.over
    zero = over.zero(np.dtype(problem.compute_dtype)) if high != "object" else 0
    sizes = {"out": (s.B, s.N, s.O, *grid.m), "x": (s.B, s.N, s.C, *grid.n), "k": (s.B, s.O, s.C, *grid.t)}
    result = np.full(sizes[problem.unknown], zero, dtype=high)
    fills = grid.fills(zero) if over.arithmetic in ("machine", "own") else tuple(int(v.real) for v in grid.fills(zero))
    for tap, index in grid.terms():
        at: Any = (..., *np.ix_(*[np.maximum(i, 0) for i in index]))
        if problem.unknown == "out":
            window = known["x"][at]
            for a, (i, fill) in enumerate(zip(index, fills, strict=True)):
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
            for a, (i, fill) in enumerate(zip(index, fills, strict=True)):
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
    over = problem.over
    assert over.beats is not None
    s, grid = problem.sizes, problem.grid
    best = np.full((s.B, s.N, s.O, *grid.m), over.zero(np.dtype(problem.compute_dtype)), "float64")
    choice = np.full(best.shape, -1, dtype=np.int64)
    for number, value, *_ in _terms(problem, known):
        better = over.beats(value, best) | (choice < 0)
        best, choice = np.where(better, value, best), np.where(better, number, choice)
    return _passed_back(problem, known, lambda number, value: np.where(choice == number, known["y"], 0.0))


def _smooth_gradient(problem: Problem, known: dict[str, np.ndarray]) -> np.ndarray:
    """The gradient of a sum that is smooth: each term gets its share of the cotangent."""
    over, share = problem.over, problem.over.share
    assert share is not None
    total: Any = over.zero(np.dtype("float64"))
    for _, value, *_ in _terms(problem, known):
        total = over.add(total, value)
    return _passed_back(problem, known, lambda number, value: share(value, total) * known["y"])


def _terms(problem: Problem, known: dict[str, np.ndarray]) -> Iterator[tuple]:
    """The terms of every result, one at a time: number, value, tap, channel, index of the signal, and the two factors."""
    s, grid, over = problem.sizes, problem.grid, problem.over
    zero = over.zero(np.dtype(problem.compute_dtype))
    for number, (tap, index) in enumerate(grid.terms()):
        window = known["x"][(..., *np.ix_(*[np.maximum(i, 0) for i in index]))]
        for a, (i, fill) in enumerate(zip(index, grid.fills(zero), strict=True)):
            np.moveaxis(window, a - grid.ndim, 0)[i < 0] = fill
        for c in range(s.C):
            left = window[:, :, None, c]
            right = known["k"][_at(tap)][:, None, :, c][(..., *[None] * grid.ndim)]
            yield number * s.C + c, over.mul(left, right), tap, c, index, left, right


def _passed_back(problem: Problem, known: dict[str, np.ndarray], flow_of: Any) -> np.ndarray:
    """The sum over terms of (what a term is given) · (the derivative of its product)."""
    s, grid, partials = problem.sizes, problem.grid, problem.over.partials
    assert partials is not None
    wants_x = problem.unknown == "x"
    result = np.zeros((s.B, s.N, s.C, *grid.n) if wants_x else (s.B, s.O, s.C, *grid.t))
    for number, value, tap, c, index, left, right in _terms(problem, known):
        flow = flow_of(number, value)
        # Where nothing flows, nothing arrives, whatever the derivative (a factor may be infinite).
        flow = np.where(flow == 0.0, 0.0, flow * partials(left, right)[0 if wants_x else 1])
        if not wants_x:
            result[(slice(None), slice(None), c, *tap)] += flow.sum(axis=(1, *range(3, flow.ndim)))
            continue
        for a, i in enumerate(index):
            np.moveaxis(flow, a - grid.ndim, 0)[i < 0] = 0.0
        at = (slice(None), slice(None), *np.ix_(*[np.maximum(i, 0) for i in index]))
        np.add.at(result[:, :, c], at, flow.sum(axis=2))
    return result


DEFINITION = Definition()
