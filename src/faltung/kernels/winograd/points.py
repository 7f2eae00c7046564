"""Which interpolation points: the error that they cause, the condition number that others minimise, and a search for either.

Let the stored transforms of filter and data carry independent relative errors of variance ν². For independent inputs the
relative error variance of a D-dimensional result is 2·ν²·α^D with

    α = mean over outputs i of ( Σ_k AT[i,k]²·‖G_k‖²·‖BT_k‖² ) / r

so α is what good points minimise. It does not change when rows are scaled by powers of two. The condition number of the
Vandermonde matrix, the objective of NOVA (Lohia 2025), is a poor stand-in: it crowds points around ±1, and the products cancel.
"""

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import combinations

import numpy as np

from faltung.errors import ArgumentError
from faltung.kernels.winograd.table import TABLE
from faltung.kernels.winograd.transforms import Matrix, transforms

_NOVA = {5: "5/6 7/6", 7: "3/5 1 7/6", 9: "2/5 5/6 1 7/6"}


def amplification(AT: Matrix, G: Matrix, BT: Matrix) -> float:
    """α of one axis; a D-dimensional result is amplified by α^(D/2).

    Error: float64 rounding. Cost: O(n²). Invariant under scaling of rows (G ← sG, Bᵀ ← tBᵀ, Aᵀ ← Aᵀ/(st)).
    """
    at, g, bt = (np.array([[float(v) for v in row] for row in rows]) for rows in (AT, G, BT))
    weights = (g**2).sum(axis=1) * (bt**2).sum(axis=1)
    return float((at**2 @ weights).mean() / g.shape[1])


def kappa(points: tuple[Fraction, ...]) -> float:
    """2-norm condition number of the square Vandermonde matrix of the finite points."""
    values = np.array([float(p) for p in points])
    return float(np.linalg.cond(values[:, None] ** np.arange(values.size)))


def nova_points(m: int, r: int) -> tuple[Fraction, ...]:
    """The points that NOVA's objective yields, reconstructed by exhaustive search; offered for comparison.

    Raises:
        ArgumentError: for tile sizes for which none are known (n − 1 other than 5, 7, 9).
    """
    if m + r - 2 not in _NOVA:
        raise ArgumentError.of(
            "winograd.nova_points", "m + r − 2 among 5, 7, 9", f"{m + r - 2}", "use winograd.points(m, r)"
        )
    return (Fraction(0), *(s for v in _NOVA[m + r - 2].split() for s in (Fraction(v), -Fraction(v))))


def points(
    m: int, r: int, objective: str = "error", max_denominator: int = 5, *, search: bool = False
) -> tuple[Fraction, ...]:
    """Interpolation points for F(m, r): m + r − 2 rationals.

    Args:
        objective: "error" minimises α; "dyadic" does so among powers-of-two denominators (exact in binary floating point);
            "kappa" minimises the condition number of the Vandermonde matrix.
        max_denominator: largest numerator or denominator tried by a search (rounded down to a power of two for "dyadic").
        search: search although the table has an entry. "kappa" and "dyadic" always search.

    Raises:
        ArgumentError: an unknown objective, sizes outside 1 ≤ m + r − 2 ≤ 13.

    Cost: a table look-up, or a deterministic exhaustive search over symmetric sets: C(candidates, (n − 1)/2) small matrices.
    Source: the error model of this module; NOVA (2025) for "kappa".
    """
    count = m + r - 2
    if count == 0:
        return ()
    if objective not in ("error", "dyadic", "kappa") or not 1 <= count <= 13:
        raise ArgumentError.of(
            "winograd.points",
            "objective error, dyadic or kappa, and 1 ≤ m + r − 2 ≤ 13",
            f"{objective!r}, {count}",
            "correct one of them",
        )
    if objective == "error" and not search:
        return TABLE[count]
    return _search(m, r, objective, max_denominator)


@lru_cache(maxsize=64)
def _search(m: int, r: int, objective: str, largest: int) -> tuple[Fraction, ...]:
    def error(candidate: tuple[Fraction, ...]) -> float:
        return _fast_amplification(m, r, np.array([float(p) for p in candidate]))

    score: Callable[[tuple[Fraction, ...]], float] = kappa if objective == "kappa" else error
    candidates = list(_symmetric_sets(m + r - 2, objective, largest))
    return min(candidates, key=lambda c: (round(score(c), 9), sum(p.denominator + abs(p.numerator) for p in c), c))


def _symmetric_sets(count: int, objective: str, largest: int) -> Iterator[tuple[Fraction, ...]]:
    """Sets closed under sign. Sets of smallest error are nearly closed under inversion too, so that the product of their
    positive halves lies near 1: that keeps the search small."""
    if objective == "dyadic":
        steps = 1 << int(math.log2(largest))
        pool = sorted({Fraction(i, steps) for i in range(1, 4 * steps + 1)})
    else:
        pool = sorted({Fraction(a, b) for a in range(1, largest + 3) for b in range(1, largest + 1) if a <= 4 * b})
    half = count // 2
    for positive in combinations(pool, half):
        if objective != "kappa" and half > 1 and not 0.5 < float(math.prod(positive)) < 2.0:
            continue
        yield (*([Fraction(0)] if count % 2 else []), *(s for v in positive for s in (v, -v)))


def _fast_amplification(m: int, r: int, a: np.ndarray) -> float:
    """α straight from the points, in float64."""
    n = m + r - 1
    gaps = a[:, None] - a[None, :] + np.eye(a.size)
    f = gaps.prod(axis=1)
    g = (a[:, None] ** np.arange(r) / f[:, None]) ** 2
    at = np.concatenate([a[None, :] ** np.arange(m)[:, None], (np.arange(m) == m - 1)[:, None]], axis=1) ** 2
    bt = np.zeros((n, n))
    for i in range(n):
        rest = np.delete(a, i) if i < a.size else a
        poly = np.atleast_1d(np.poly(rest))[::-1]
        bt[i, : poly.size] = poly
    weights = np.append(g.sum(axis=1), 1.0) * (bt**2).sum(axis=1)
    return float((at @ weights).mean() / r)


def default_amplification(m: int, r: int) -> float:
    """α of the default points."""
    found = transforms(m, r)
    return amplification(found.AT, found.G, found.BT)
