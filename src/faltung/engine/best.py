"""The several best terms of every result, and where they came from: k-best convolution and the traceback of a maximum."""

import itertools
from typing import Any, NamedTuple

import numpy as np

from faltung import algebras, arrays
from faltung.domains import Grid
from faltung.errors import ArgumentError
from faltung.problem import Spec
from faltung.request import problem_of


class Best(NamedTuple):
    """The best terms of every result, best first.

    Fields: values, (*m, count).   tap: the filter's flat index, −1 where there is no such term.   place: the signal's flat index,
        −1 beyond its edge.   x_rank, k_rank: which entries of the operands' lists, 0 for plain operands.
    """

    values: np.ndarray
    tap: np.ndarray
    place: np.ndarray
    x_rank: np.ndarray
    k_rank: np.ndarray


def best(
    x: Any, k: Any, count: int = 1, *, over: str = "max-plus", listed: bool = False, mode: Any = "full", boundary: Any = "constant",
) -> Best:  # fmt: skip
    """The `count` best terms x[p − u] ⊗ k[u] of every result, with their origin.

    Formula: over max-plus `values[p, 0] = max_u x[p − u] + k[u]`, `values[p, 1]` the second largest term, and so on; equal terms in
        the order of the taps. With `listed` the operands' last axes are such lists and all pairs of entries are terms: k-best
        values form a semiring themselves, and `best(best(x, k).values, k, listed=True)` are the best of three factors.

    Shapes: x (*n), k (*t) of one to five axes give (*m, count) as in `convolve`; with `listed` x (*n, i) and k (*t, j).

    Args:
        count: how many terms, from 1 to 64.   over: an algebra that picks: max-plus, min-plus, max-times, max-min, min-max.
        mode, boundary: as in `convolve`.

    Returns:
        A `Best`. Where a result has fewer terms than `count`, values are the algebra's zero and indices −1.

    Raises:
        ArgumentError: an algebra that does not pick, a count out of range, lists that are missing.

    Error: one rounding of ⊗.   Cost: count comparisons for every product.
    Source: Lawler (1972) for the k best; Viterbi (1967) for the traceback.

    Example:
        >>> came = best([1.0, 5.0, 2.0], [0.0, -1.0], count=2)
        >>> came.values[1].tolist(), came.tap[1].tolist(), came.place[1].tolist()
        ([5.0, 0.0], [0, 1], [1, 0])
    """
    algebra = algebras.named(over)
    if algebra.beats is None:
        raise ArgumentError.of(
            "best", "an algebra that picks one of its terms", algebra.name, "take 'max-plus' or the like"
        )
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= 64:
        raise ArgumentError.of("best", "a count from 1 to 64", repr(count), "sort all terms for more")
    lists = [arrays.to_numpy(arrays.as_array(a, "best"), "float64") for a in (x, k)]
    if not listed:
        lists = [a[..., None] for a in lists]
    elif any(a.ndim < 2 for a in lists):
        raise ArgumentError.of(
            "best", "lists along the last axes", str([a.shape for a in lists]), "leave out listed=True"
        )
    x, k = (a if algebra.admit is None else algebra.admit(a) for a in lists)
    signal, taps = (Spec(a.shape[:-1], "float64") for a in (x, k))
    grid = problem_of(True, signal, taps, mode=mode, boundary=boundary, over=over).grid
    return _picked(algebra, grid, x, k[(slice(None, None, -1),) * grid.ndim], count)


def _picked(algebra: Any, grid: Grid, x: np.ndarray, k: np.ndarray, count: int) -> Best:
    """Term after term into sorted lists; k in correlation order."""
    zero = algebra.zero(np.dtype("float64"))
    kept = [np.full((count, *grid.m), zero), *(np.full((count, *grid.m), -1, dtype=np.int64) for _ in range(4))]
    strides = np.cumprod((1, *grid.n[:0:-1]))[::-1]
    taps = int(np.prod(grid.t))
    # Taps of the convolution in ascending order are those of the correlation from behind.
    for tap, index in reversed(list(grid.terms())):
        outside = np.zeros(grid.m, dtype=bool)
        place = np.zeros(grid.m, dtype=np.int64)
        window: np.ndarray = x[np.ix_(*[np.maximum(i, 0) for i in index])]
        for a, (i, fill) in enumerate(zip(index, grid.fills(zero), strict=True)):
            shape = [-1 if b == a else 1 for b in range(grid.ndim)]
            np.moveaxis(window, a, 0)[i < 0] = fill
            outside |= (i < 0).reshape(shape)
            place = place + (i * int(strides[a])).reshape(shape)
        flat = taps - 1 - int(np.ravel_multi_index(tap, grid.t))
        for i, j in itertools.product(range(x.shape[-1]), range(k.shape[-1])):
            value = algebra.mul(window[..., i], k[(*tap, j)])
            _insert(
                algebra,
                kept,
                [value, np.full(grid.m, flat), np.where(outside, -1, place), np.full(grid.m, i), np.full(grid.m, j)],
            )
    return Best(*(np.moveaxis(a, 0, -1).copy() for a in kept))


def _insert(algebra: Any, kept: list[np.ndarray], new: list[np.ndarray]) -> None:
    """Push a term down each list to its rank; a term that is the algebra's zero is none."""
    pushed = np.zeros(new[0].shape, dtype=bool)  # from there on every term moves down by one
    some = new[0] != algebra.zero(np.dtype("float64"))
    for rank in range(len(kept[0])):
        pushed |= some & (algebra.beats(new[0], kept[0][rank]) | (kept[1][rank] < 0))
        for column, term in zip(kept, new, strict=True):
            column[rank], term[...] = np.where(pushed, term, column[rank]), np.where(pushed, column[rank], term)
