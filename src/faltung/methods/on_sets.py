"""What methods on finite sets share: the definition by triples u · v = w with its gradients, and products of spectra."""

from collections.abc import Iterator
from typing import Any, cast

import numpy as np

from faltung.domains import Index
from faltung.problem import Problem

Known = dict[str, np.ndarray]


def result(problem: Problem, known: Known, high: str) -> np.ndarray:
    """The unknown from operands in the dtype `high`."""
    s, index, over = problem.sizes, cast(Index, problem.grid), problem.over
    sizes = {"out": (s.B, s.N, s.O), "x": (s.B, s.N, s.C), "k": (s.B, s.O, s.C)}[problem.unknown]
    if problem.unknown == "out":
        zero = over.zero(np.dtype(problem.compute_dtype)) if high != "object" else 0
        y = np.full((*sizes, index.size), zero, dtype=high)
        for _, value, (_, _, w), *_ in _terms(problem, known):
            y[..., w] = over.add(y[..., w], value)
        return y
    if over.ring:
        flow = known["y"]
        total = np.zeros(
            (*sizes, index.size), dtype=np.result_type(flow, known["x" if problem.unknown == "k" else "k"])
        )
        for u, v, w in index.layers():
            if problem.unknown == "x":
                np.add.at(total, at(u), np.einsum("bnop,bocp->bncp", flow[..., w], known["k"][..., v]))
            else:
                np.add.at(total, at(v), np.einsum("bncp,bnop->bocp", known["x"][..., u], flow[..., w]))
        return total
    return _curved_gradient(problem, known, (*sizes, index.size))


def mixed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Σ over channels of two spectra's products, place by place: a (B, N, C, n), b (B, O, C, n) to (B, N, O, n)."""
    if a.shape[2] == 1:
        return a[:, :, 0, None] * b[:, None, :, 0]
    return np.ascontiguousarray(np.einsum("bncp,bocp->bnop", a, b))


def at(indices: np.ndarray) -> Any:
    """Those indices along the last axis."""
    return (..., indices)


def _terms(problem: Problem, known: Known) -> Iterator[tuple]:
    """One term at most of every result at a time: number, value, triples, channel, and the two factors."""
    s, index, over = problem.sizes, cast(Index, problem.grid), problem.over
    for number, triple in enumerate(index.layers()):
        u, v, _ = triple
        for c in range(s.C):
            left, right = known["x"][:, :, None, c, u], known["k"][:, None, :, c, v]
            yield number * s.C + c, over.mul(left, right), triple, c, left, right


def _curved_gradient(problem: Problem, known: Known, shape: tuple[int, ...]) -> np.ndarray:
    """Each result passes its cotangent to the first term that attains it, or to all by their shares of a smooth sum."""
    over, flow = problem.over, known["y"]
    total = np.full(flow.shape, over.zero(np.dtype(problem.compute_dtype)), "float64")
    choice = np.full(flow.shape, -1, dtype=np.int64)
    for number, value, (_, _, w), *_ in _terms(problem, known):
        if over.share:
            total[..., w] = over.add(total[..., w], value)
        else:
            assert over.beats is not None
            better = over.beats(value, total[..., w]) | (choice[..., w] < 0)
            total[..., w] = np.where(better, value, total[..., w])
            choice[..., w] = np.where(better, number, choice[..., w])
    assert over.partials is not None
    gradient, wants_x = np.zeros(shape), problem.unknown == "x"
    for number, value, (u, v, w), c, left, right in _terms(problem, known):
        weight: Any = over.share(value, total[..., w]) if over.share else choice[..., w] == number
        part = np.where(weight != 0, weight * flow[..., w] * over.partials(left, right)[0 if wants_x else 1], 0.0)
        # part is (B, N, O, pairs); an index may occur in several pairs
        np.add.at(gradient[:, :, c], at(u if wants_x else v), part.sum(axis=2 if wants_x else 1))
    return gradient
