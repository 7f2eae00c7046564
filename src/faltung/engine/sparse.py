"""Convolution of few terms far apart: polynomials in any number of variables as dictionaries from exponents to coefficients."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from faltung import algebras
from faltung.door import convolve
from faltung.errors import ArgumentError

Terms = Mapping[Any, Any]
DENSE = 4  # a dense product is taken where its box holds at most this many times the pairs of terms
MOST = 1 << 26  # pairs of terms that are multiplied at a time


def convolve_sparse(x: Terms, k: Terms, *, over: Any = None) -> dict[Any, Any]:
    """The product of two polynomials, or of any signals of few terms on an infinite grid.

    Formula: `y(w) = ⊕ over u + v = w of x(u) ⊗ k(v)`; exponents below zero are allowed (Laurent polynomials).

    Args:
        x, k: dictionaries from exponents, whole numbers or tuples of as many, to coefficients.
        over: the algebra; by the coefficients if left out: integers without limit and fractions are `rational`.

    Returns:
        A dictionary of the same kind without terms that are the algebra's zero, in ascending order of exponents.

    Raises:
        ArgumentError: exponents that are no whole numbers, or of different lengths, or further apart than 2^62 places.
        DtypeError: coefficients that the algebra does not have.

    Error: none over exact algebras; elsewhere of sums one after the other.
    Cost: sorting of |x|·|k| terms, 2^26 at a time; where the exponents fill their box, a planned dense product.
    Source: Kronecker (1882) for several variables in one; Johnson, Sparse polynomial arithmetic (1974).

    Example:
        >>> convolve_sparse({(1, 0): 1, (0, 1): 1}, {(1, 0): 1, (0, 1): -1})
        {(0, 2): -1, (2, 0): 1}
        >>> convolve_sparse({10**12: 1, 0: 1}, {10**12: 1, 0: -1})
        {0: -1, 2000000000000: 1}
    """
    one, plain = _places("x", x)
    other, also = _places("k", k)
    if not len(x) or not len(k):
        return {}
    if one.shape[1] != other.shape[1] or plain != also:
        came = f"{one.shape[1]} and {other.shape[1]} numbers"
        raise ArgumentError.of("convolve_sparse", "exponents of one kind", came, "match them")
    places = [one, other]
    values = [_coefficients(a, over) for a in (x, k)]
    algebra = algebras.named(over) if over is not None else _natural(values)
    low = [p.min(axis=0) for p in places]
    extent = [p.max(axis=0) - lo for p, lo in zip(places, low, strict=True)]
    sides = [int(a) + int(b) + 1 for a, b in zip(*extent, strict=True)]
    box = int(np.prod(np.array(sides, dtype=object)))
    if box >= 1 << 62:
        raise ArgumentError.of(
            "convolve_sparse", "exponents within 2^62 places", f"a box of {box}", "split the polynomial"
        )
    offset = low[0] + low[1]
    if box <= max(DENSE * len(x) * len(k), 64):
        dense = [_dense(algebra, p - lo, v, e) for p, v, lo, e in zip(places, values, low, extent, strict=True)]
        y = convolve(dense[0], dense[1], over=algebra)
        at = np.argwhere(y != algebra.zero(y.dtype))
        return _dictionary(at + offset, y[tuple(at.T)], plain)
    # Several exponents in one number, with room for the carry of no digit: their sums are then sums of numbers.
    weights = np.array(
        [int(np.prod(np.array(sides[a + 1 :], dtype=object))) for a in range(len(sides))], dtype=np.int64
    )
    codes = [(p - lo) @ weights for p, lo in zip(places, low, strict=True)]
    found, total = _merged(algebra, codes, values)
    kept = np.array([v != algebra.zero(total.dtype) for v in total], dtype=bool)
    exponents = np.stack([found // w % s for w, s in zip(weights, sides, strict=True)], axis=1)
    return _dictionary(exponents[kept] + offset, total[kept], plain)


def _places(name: str, terms: Terms) -> tuple[np.ndarray, bool]:
    """Exponents (terms, variables), and whether they were plain numbers."""
    if not isinstance(terms, Mapping):
        raise ArgumentError.of(
            "convolve_sparse", f"{name} as a dictionary from exponents", repr(terms)[:60], "write {0: 1.0}"
        )
    plain = all(isinstance(e, (int, np.integer)) for e in terms)
    rows: list[Any] = [(e,) if plain else e for e in terms]
    whole = all(
        isinstance(e, tuple) and e and all(isinstance(v, (int, np.integer)) and abs(int(v)) < 1 << 61 for v in e)
        for e in rows
    )
    if not whole or len({len(e) for e in rows}) > 1:
        raise ArgumentError.of(
            "convolve_sparse",
            "whole numbers, or tuples of as many, for exponents",
            repr(next(iter(terms), None)),
            "correct them",
        )
    return np.array(rows, dtype=np.int64).reshape(len(rows), -1 if rows else 1), plain


def _coefficients(terms: Terms, over: Any) -> np.ndarray:
    """The coefficients as an array; Python's integers and fractions stay what they are."""
    values = list(terms.values())
    array = np.array(values)
    exact = array.dtype == object or (array.dtype.kind in "iu" and over is None)
    if not exact:
        return array
    kept = np.empty(len(values), dtype=object)
    kept[:] = [int(v) if isinstance(v, np.integer) else v for v in values]
    return kept


def _natural(values: list[np.ndarray]) -> Any:
    if any(v.dtype == object for v in values):
        return algebras.named("rational")
    found = algebras.natural(*(str(v.dtype) for v in values))
    if found is None:
        raise ArgumentError.of(
            "convolve_sparse", "coefficients of one algebra", str([str(v.dtype) for v in values]), "name it"
        )
    return found


def _dense(algebra: Any, places: np.ndarray, values: np.ndarray, extent: np.ndarray) -> np.ndarray:
    box = np.full(tuple(int(e) + 1 for e in extent), algebra.zero(values.dtype), dtype=values.dtype)
    box[tuple(places.T)] = values
    return box


def _merged(algebra: Any, codes: list[np.ndarray], values: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """All sums of two codes with the ⊕ of their products, a part of the pairs at a time."""
    admit = algebra.admit or (lambda a: a)
    dtype = algebra.compute(*(str(v.dtype) for v in values))
    left, right = (admit(v).astype(dtype) for v in values)
    rows = max(1, MOST // len(right))
    found, total = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=dtype)
    for start in range(0, len(left), rows):
        part = slice(start, start + rows)
        keys = np.concatenate([found, (codes[0][part, None] + codes[1]).ravel()])
        each = np.concatenate([total, np.asarray(algebra.mul(left[part, None], right)).astype(dtype).ravel()])
        order = np.argsort(keys, kind="stable")
        keys, each = keys[order], each[order]
        first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
        found, total = keys[first], _sums(algebra, each, first)
    return found, total


def _sums(algebra: Any, values: np.ndarray, first: np.ndarray) -> np.ndarray:
    if isinstance(algebra.add, np.ufunc):
        return np.asarray(algebra.add.reduceat(values, first)).astype(values.dtype)
    stop, out = np.r_[first[1:], len(values)], values[first]
    for r in range(1, int((stop - first).max(initial=1))):
        some = first + r < stop
        out[some] = algebra.add(out[some], values[first[some] + r])
    return out


def _dictionary(exponents: np.ndarray, values: np.ndarray, plain: bool) -> dict[Any, Any]:
    order = np.lexsort(exponents.T[::-1])
    keys = [int(e[0]) if plain else tuple(map(int, e)) for e in exponents[order]]
    return dict(zip(keys, values[order].tolist(), strict=True))
