"""Algebras as tables of products, and ways to multiply in them with fewer real products than the table has.

An algebra of dimension n is a tensor `table[i, p, q]`: the product of the units i and q holds that much of the unit p, so that the
matrix `table[i]` multiplies by the unit i from the left. `left`, `right` and `out` are a bilinear algorithm of R products,
`table[i, p, q] = Σ over r of out[p, r]·left[r, i]·right[r, q]`; R over n² is what it costs beside the table.
"""

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.errors import ArgumentError

LARGEST_SEARCH = 8


@dataclass(frozen=True, eq=False)
class Structure:
    """An algebra: its table (n, n, n) in float64 and, where one saves products, a bilinear algorithm for it.

    Fields:
        left, right: (R, n), what is multiplied.   out: (n, R), what the products are added up with. None, all three, for algebras
        that only have their table.
    """

    name: str
    table: np.ndarray
    left: np.ndarray | None = None
    right: np.ndarray | None = None
    out: np.ndarray | None = None

    @property
    def n(self) -> int:
        return self.table.shape[0]

    @property
    def rank(self) -> int:
        """Products of the algorithm, n² without one."""
        return self.n**2 if self.left is None else self.left.shape[0]

    def multiply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The product of elements (..., n) by the table."""
        return np.einsum("ipq,...i,...q->...p", self.table, a, b)


@lru_cache(maxsize=64)
def structure(name: str, n: int, field: str = "real") -> Structure:
    """The algebra of that name in n dimensions.

    Args:
        name: `real` (n = 1), `complex` (2), `quaternion` (4), `octonion` (8), `cyclic` (any n: circular convolution of the
            components), `dyadic` (a power of 2: the same with exclusive or for addition), or `Cl(p,q)` (2 ** (p + q)): the Clifford
            algebra of p units that square to 1 and q that square to -1.
        field: what the algorithm may compute in, `real` or `complex`. Cyclic and complex algebras are diagonal over the complex
            numbers: n products there, but 2·n − ⌊n / 2⌋ − 1 and 3 over the real ones.

    Raises:
        ArgumentError: no such algebra in that dimension.

    Example:
        >>> [structure(name, n).rank for name, n in (("complex", 2), ("quaternion", 4), ("octonion", 8), ("dyadic", 8))]
        [3, 8, 30, 8]
    """
    if clifford := re.fullmatch(r"Cl\((\d+),\s*(\d+)\)", name):
        p, q = map(int, clifford.groups())
        if 2 ** (p + q) != n:
            raise ArgumentError.of(name, f"{2 ** (p + q)} components", str(n), "give n that many")
        return _of_signs(name, n, lambda i, j: _clifford_sign(i, j, p))
    if name not in _NAMED or not _NAMED[name][0](n):
        fits = [known for known, (suits, _) in _NAMED.items() if suits(n)]
        raise ArgumentError.of(
            "algebra", f"for {n} components 'learned', {', '.join(fits)}, Cl(p,q) or a tensor ({n}, {n}, {n})", repr(name),
            "choose one of these or another n",
        )  # fmt: skip
    if field == "complex" and name in ("cyclic", "complex"):
        return _diagonal(name, n)
    return _NAMED[name][1](n)


def _of_signs(name: str, n: int, sign: Callable[[int, int], int]) -> Structure:
    """The algebra with e_i·e_q = ±e_(i xor q): complex numbers, quaternions, octonions, Clifford algebras."""
    table = np.zeros((n, n, n))
    for i, q in itertools.product(range(n), repeat=2):
        table[i, i ^ q, q] = sign(i, q)
    return Structure(name, table, *_by_hadamard(table))


def _by_hadamard(table: np.ndarray) -> tuple[np.ndarray, ...]:
    """An algorithm for a table of signs: one that is all of one pattern by n products, and one more for each sign that is not.

    With signs s, d, e the matrix `d_p·s_(p xor q)·e_q·f_(p xor q)` is diagonal after Hadamard transforms on both sides. The signs
    are chosen so that as many entries of the algebra as possible are of that kind; the others are twice their own product away.
    """
    n = table.shape[0]
    if n > LARGEST_SEARCH:
        return ()
    at = np.arange(n)
    xor = at[:, None] ^ at[None, :]
    signs = table[xor, at[:, None], at[None, :]]  # signs[p, q] is that of f_(p xor q)
    best: tuple[int, Any] = (-1, None)
    for start in itertools.product((1.0, -1.0), repeat=n - 1):
        s, d, e = np.ones(n), np.ones(n), np.array((1.0, *start))
        agreed = -1
        while True:  # each step chooses one of the three by majority, so agreement grows until it stops
            s = _majority(np.bincount(xor.ravel(), (signs * d[:, None] * e).ravel(), n))
            d = _majority((signs * s[xor] * e).sum(1))
            e = _majority((signs * s[xor] * d[:, None]).sum(0))
            now = int((signs == d[:, None] * s[xor] * e).sum())
            if now <= agreed:
                break
            agreed = now
        if agreed > best[0]:
            best = agreed, (s, d, e)
    s, d, e = best[1]
    other = np.argwhere(signs != d[:, None] * s[xor] * e)
    if n + len(other) >= n * n:
        return ()
    hadamard, unit = _hadamard(n), np.eye(n)
    p, q = other.T
    left = np.concatenate([hadamard * s / n, unit[p ^ q]])
    right = np.concatenate([hadamard * e, unit[q]])
    out = np.concatenate([d[:, None] * hadamard, 2 * unit[:, p] * signs[p, q]], 1)
    return left, right, out


def _majority(votes: np.ndarray) -> np.ndarray:
    return np.where(votes >= 0, 1.0, -1.0)


def _hadamard(n: int) -> np.ndarray:
    return np.array([[(-1.0) ** (a & b).bit_count() for a in range(n)] for b in range(n)])


def _clifford_sign(i: int, j: int, positive: int) -> int:
    """Of the product of two basis blades, bit b for the unit b: swaps that sort them, and squares of what both hold."""
    swaps = sum((i >> shift & j).bit_count() for shift in range(1, i.bit_length()))
    return (-1) ** (swaps + (i & j & ~((1 << positive) - 1)).bit_count())


def _doubled_sign(i: int, j: int, n: int) -> int:
    """Of e_i·e_j by Cayley and Dickson's doubling, (a, b)(c, d) = (ac − d*b, da + bc*), a star for the conjugate."""
    if n == 1:
        return 1
    half = n // 2
    a, c = i % half, j % half
    star = -1 if c else 1  # the conjugate negates all units but the first
    if i < half and j < half:
        return _doubled_sign(a, c, half)
    if i < half:
        return _doubled_sign(c, a, half)
    if j < half:
        return star * _doubled_sign(a, c, half)
    return -star * _doubled_sign(c, a, half)


def _shifts(n: int) -> np.ndarray:
    """The table of circular convolution."""
    table, at = np.zeros((n, n, n)), np.arange(n)
    table[at[:, None], (at[:, None] + at) % n, at[None, :]] = 1
    return table


def _dyadic(n: int, name: str = "dyadic") -> Structure:
    """By the Walsh-Hadamard transform, which is real."""
    table, at, hadamard = np.zeros((n, n, n)), np.arange(n), _hadamard(n)
    table[at[:, None], at[:, None] ^ at, at[None, :]] = 1
    return Structure(name, table, hadamard / n, hadamard, hadamard)


def _cyclic(n: int) -> Structure:
    """By the discrete Fourier transform: real frequencies take one product, pairs of complex ones three."""
    at = np.arange(n)
    left: list[np.ndarray] = []
    right: list[np.ndarray] = []
    out: list[np.ndarray] = []
    for k in range(n // 2 + 1):
        angle = 2 * math.pi / n * ((k * at) % n)
        cos, sin = np.cos(angle), -np.sin(angle)
        if 2 * k % n == 0:
            left, right, out = [*left, cos / n], [*right, cos], [*out, cos]
            continue
        left += [cos * 2 / n, (sin - cos) * 2 / n, (cos + sin) * 2 / n]  # t1, t2, t3 of the three-product form
        right += [cos + sin, cos, sin]
        out += [cos + sin, sin, -cos]  # cos·(t1 − t3) + sin·(t1 + t2)
    return Structure("cyclic", _shifts(n), np.stack(left), np.stack(right), np.stack(out, 1))


def _diagonal(name: str, n: int) -> Structure:
    """Cyclic and complex algebras by n complex products."""
    if name == "complex":
        rows = np.array([[1, 1j], [1, -1j]])
        return Structure(name, structure("complex", 2).table, rows, rows, np.linalg.inv(rows))
    at = np.arange(n)
    rows = np.exp(-2j * math.pi / n * (at[:, None] * at % n))
    return Structure(name, _shifts(n), rows, rows, rows.conj().T / n)


_NAMED: dict[str, tuple[Callable[[int], bool], Callable[[int], Structure]]] = {
    "real": (lambda n: n == 1, lambda n: _dyadic(1, "real")),
    "complex": (lambda n: n == 2, lambda n: _of_signs("complex", 2, lambda i, j: _clifford_sign(i, j, 0))),
    "quaternion": (lambda n: n == 4, lambda n: _of_signs("quaternion", 4, lambda i, j: _clifford_sign(i, j, 0))),
    "octonion": (lambda n: n == 8, lambda n: _of_signs("octonion", 8, lambda i, j: _doubled_sign(i, j, 8))),
    "cyclic": (lambda n: n >= 1, _cyclic),
    "dyadic": (lambda n: n & (n - 1) == 0, _dyadic),
}
