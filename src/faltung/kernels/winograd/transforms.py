"""The Cook–Toom matrices F(m, r): m outputs of an r-tap correlation by m + r − 1 products, in exact fractions.

    y = Aᵀ[(G g) ⊙ (Bᵀ d)]

with interpolation at n − 1 distinct rationals a₀ … a₍n₋₂₎ and at infinity, n = m + r − 1 (Cook; Toom; Winograd 1980; the
generator of Lavin and Gray 2016 yields the same matrices for the same points).
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import lcm, prod
from typing import Any

import numpy as np

from faltung.errors import ArgumentError
from faltung.kernels.winograd.table import TABLE

Matrix = tuple[tuple[Fraction, ...], ...]


@dataclass(frozen=True)
class Transforms:
    """The three exact matrices: Aᵀ (m × n) to the outputs, G (n × r) of the filter, Bᵀ (n × n) of the data."""

    AT: Matrix
    G: Matrix
    BT: Matrix

    def as_arrays(self, dtype: str = "float64") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Aᵀ, G, Bᵀ as arrays, each entry rounded once."""
        at, g, bt = (np.array([[float(v) for v in row] for row in rows]) for rows in (self.AT, self.G, self.BT))
        return at.astype(dtype), g.astype(dtype), bt.astype(dtype)

    def integral(self) -> tuple[int, "Transforms"]:
        """A factor q and matrices of whole numbers whose result is q times that of these: exact integer convolution.

        Apply the matrices to integers along D axes, divide by q^D: the division leaves no rest.
        """
        scales = [lcm(*(v.denominator for row in rows for v in row)) for rows in (self.AT, self.G, self.BT)]
        scaled = (
            tuple(tuple(v * q for v in row) for row in rows)
            for q, rows in zip(scales, (self.AT, self.G, self.BT), strict=True)
        )
        return prod(scales), Transforms(*scaled)


def transforms(m: int, r: int, points: Any = None, *, fractions_in: str = "G", balanced: bool = False) -> Transforms:
    """The matrices of F(m, r).

    Args:
        m: outputs of one tile, at least 1.   r: taps, at least 1.
        points: n − 1 = m + r − 2 distinct rationals (numbers, fractions or text such as "2/3"); default: those of smallest error.
        fractions_in: which matrix takes the denominators 1/fᵢ, "G", "A" or "B".
        balanced: scale rows by powers of two so that transformed values keep the size of the data. Changes no rounding error,
            keeps half precision out of its subnormal range.

    Raises:
        ArgumentError: sizes below 1, repeated points, a wrong number of points, another word for `fractions_in`.

    Error: exact. Cost: O(n³) rational operations, remembered.
    Source: Winograd (1980); Lavin and Gray (2016).

    Example:
        >>> transforms(2, 3, (0, 1, -1)).AT == ((1, 1, 1, 0), (0, 1, -1, 1))
        True
    """
    if not (isinstance(m, int) and isinstance(r, int) and m >= 1 and r >= 1):
        raise ArgumentError.of(
            "winograd.transforms",
            "m and r as whole numbers of at least 1",
            f"m={m!r}, r={r!r}",
            "use for example m=4, r=3",
        )
    if points is None:
        points = TABLE.get(m + r - 2, ())
    chosen = tuple(Fraction(p).limit_denominator(1 << 20) if isinstance(p, float) else Fraction(p) for p in points)
    if len(chosen) != m + r - 2 or len(set(chosen)) != len(chosen):
        raise ArgumentError.of(
            "winograd.transforms",
            f"{m + r - 2} distinct points",
            str([str(p) for p in chosen]),
            "leave points out for the best",
        )
    if fractions_in not in ("G", "A", "B"):
        raise ArgumentError.of(
            "winograd.transforms", "fractions_in 'G', 'A' or 'B'", repr(fractions_in), "leave it out for 'G'"
        )
    return _built(m, r, chosen, fractions_in, balanced)


@lru_cache(maxsize=512)
def _built(m: int, r: int, points: tuple[Fraction, ...], fractions_in: str, balanced: bool) -> Transforms:
    n = m + r - 1
    f = [prod((a - b for b in points if b != a), start=Fraction(1)) for a in points]
    g = [[a**j for j in range(r)] for a in points] + [[Fraction(int(j == r - 1)) for j in range(r)]]
    at = [[a**i for a in points] + [Fraction(int(i == m - 1))] for i in range(m)]
    bt = [_coefficients([b for b in points if b != a], n) for a in points] + [_coefficients(list(points), n)]
    if f and f[0] < 0:  # the sign that makes the classical matrices come out as they are printed
        f[0] = -f[0]
        bt[0] = [-v for v in bt[0]]
    for i, value in enumerate(f):
        if fractions_in == "G":
            g[i] = [v / value for v in g[i]]
        elif fractions_in == "B":
            bt[i] = [v / value for v in bt[i]]
        else:
            for row in at:
                row[i] /= value
    if balanced:
        for i in range(n):
            s, t = _power(g[i]), _power(bt[i])
            g[i], bt[i] = [v * s for v in g[i]], [v * t for v in bt[i]]
            for row in at:
                row[i] /= s * t
    return Transforms(*(tuple(map(tuple, rows)) for rows in (at, g, bt)))


def _coefficients(roots: list[Fraction], n: int) -> list[Fraction]:
    """Ascending coefficients of ∏(x − root), padded to n."""
    poly = [Fraction(1)]
    for root in roots:
        poly = [low - root * high for low, high in zip([Fraction(0), *poly], [*poly, Fraction(0)], strict=True)]
    return poly + [Fraction(0)] * (n - len(poly))


def _power(row: list[Fraction]) -> Fraction:
    """The power of two that brings the row's 2-norm next to 1."""
    norm = float(sum(v * v for v in row)) ** 0.5
    return Fraction(2) ** -round(np.log2(norm))


def certify(AT: Matrix, G: Matrix, BT: Matrix) -> bool:
    """Whether the matrices compute a correlation, exactly.

    Formula: `Σ_k AT[i,k]·G[k,j]·BT[k,l] = 1 if l = i + j else 0` for all i, j, l, in fractions with `==`.
    """
    for i, row in enumerate(AT):
        for j in range(len(G[0])):
            weights = [a * g[j] for a, g in zip(row, G, strict=True)]
            for l in range(len(BT[0])):
                if sum(w * b[l] for w, b in zip(weights, BT, strict=True)) != int(l == i + j):
                    return False
    return True
