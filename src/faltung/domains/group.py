"""Finite groups: by multiplication table, by generating permutations or matrices, and by name (symmetric, dihedral, cyclic).

    (x ∗ k)(g) = ⊕ over h of  x(h) ⊗ k(h⁻¹ g)

Elements are numbered 0 ... |G| − 1, the neutral one first. Permutations compose as functions, `(p · q)[i] = p[q[i]]`.
"""

import hashlib
import itertools
from collections.abc import Sequence
from functools import cached_property, lru_cache
from operator import mul
from typing import Any

import numpy as np

from faltung.domains.index import FiniteDomain, Triples, of_size
from faltung.errors import ArgumentError

MOST = 1 << 13  # elements of which a multiplication table is written down


class Group(FiniteDomain):
    """A finite group with its multiplication table; `elements` are what it was made of (permutations, matrices or numbers)."""

    name = "group"
    summary = "a finite group: a multiplication table, permutations, matrices, or symmetric(n), dihedral(n), cyclic(n)"
    source = "Frobenius (1896)"

    def __init__(self, table: np.ndarray, text: str, elements: Sequence[Any] = ()) -> None:
        self.table, self._text, self.elements = table, text, tuple(elements)
        self.table.flags.writeable = False
        commutes = bool((table == table.T).all())
        self.laws = frozenset({"associative", "group", *(("commutative",) if commutes else ())})

    @property
    def order(self) -> int:
        """|G|."""
        return len(self.table)

    @property
    def text(self) -> str:
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Group) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return f"<group {self._text} of order {self.order}>"

    def check(self, size: int) -> None:
        of_size(self._text, f"{self.order} values, one for each element", size, size == self.order)

    def product(self, u: np.ndarray, v: np.ndarray, size: int) -> np.ndarray:
        return self.table[u, v]

    def triples(self, size: int) -> Triples:
        each = np.arange(size, dtype=np.int32)
        start = np.arange(size + 1, dtype=np.int64) * size
        return Triples(np.tile(each, size), np.repeat(each, size), np.ascontiguousarray(self.table.T).ravel(), start)

    def inverse(self, size: int) -> np.ndarray:
        return self.inverses

    @cached_property
    def inverses(self) -> np.ndarray:
        """g⁻¹ of every element."""
        return np.argmax(self.table == 0, axis=1)

    def index(self, element: Any) -> int:
        """The number of an element, by what it was made of."""
        key = _key(element)
        try:
            return self._numbers[key]
        except KeyError:
            raise ArgumentError.of(
                repr(self), "an element of the group", repr(element), "look at its .elements"
            ) from None

    @cached_property
    def _numbers(self) -> dict[Any, int]:
        return {_key(e): i for i, e in enumerate(self.elements)}


def group(table: Any = None, *, permutations: Any = None, matrices: Any = None, modulus: int | None = None) -> Group:
    """The finite group of a multiplication table, or the one that permutations or matrices generate.

    Args:
        table: (n, n) whole numbers, `table[g, h]` the number of g·h; element 0 must be the neutral one.
        permutations: (generators, n), each row the images of 0 ... n − 1.
        matrices: (generators, n, n) of whole numbers, invertible; products are taken modulo `modulus`.
        modulus: from 2 on, for matrices.

    Raises:
        ArgumentError: a table that is no group's, rows that are no permutations, more than 8192 elements.

    Example:
        >>> group(permutations=[[1, 2, 0], [1, 0, 2]]).order
        6
    """
    given = [
        name for name, a in (("table", table), ("permutations", permutations), ("matrices", matrices)) if a is not None
    ]
    if len(given) != 1:
        raise ArgumentError.of(
            "group", "one of table, permutations and matrices", " and ".join(given) or "none", "give one"
        )
    if table is not None:
        return _registered(_checked(np.array(table)), range(len(table)))
    if permutations is not None:
        rows = np.atleast_2d(np.array(permutations))
        if rows.dtype.kind not in "iu" or not (np.sort(rows, axis=1) == np.arange(rows.shape[1])).all():
            raise ArgumentError.of(
                "group", "rows that each hold 0 ... n − 1 once", repr(permutations), "number the points from 0"
            )
        return _generated([tuple(map(int, r)) for r in rows], lambda p, q: tuple(p[i] for i in q))
    if modulus is None or modulus < 2:
        raise ArgumentError.of("group", "a modulus from 2 on for matrices", repr(modulus), "write modulus=p")
    squares = [tuple(tuple(int(v) % modulus for v in row) for row in m) for m in matrices]

    def times(a: Any, b: Any) -> Any:
        columns = list(zip(*b, strict=True))
        return tuple(tuple(sum(map(mul, row, column)) % modulus for column in columns) for row in a)

    return _generated(squares, times)


@lru_cache(maxsize=32)
def symmetric(n: int) -> Group:
    """All permutations of n points, in lexicographic order; n up to 7 (5040 elements)."""
    of_size("symmetric", "from 1 to 7 points", n, 1 <= n <= 7)
    rows = np.array(list(itertools.permutations(range(n))))
    weights = n ** np.arange(n)[::-1]
    codes = rows @ weights  # ascending, as lexicographic order is
    table = np.empty((len(rows), len(rows)), dtype=np.int32)
    for g, p in enumerate(rows):
        table[g] = np.searchsorted(codes, p[rows] @ weights)
    return Group(table, f"symmetric({n})", [tuple(map(int, r)) for r in rows])


@lru_cache(maxsize=64)
def dihedral(n: int) -> Group:
    """The 2n symmetries of a regular n-gon: rotations r = 0 ... n − 1, then the same after a reflection."""
    of_size("dihedral", "a polygon of 1 to 4096 corners", n, 1 <= n <= MOST // 2)
    g = np.arange(2 * n)
    r, s = g % n, g // n  # the element (rotate by r) ∘ (reflect s times)
    turned = r[:, None] + np.where(s[:, None] == 1, -r[None], r[None])
    table = turned % n + n * ((s[:, None] + s[None]) % 2)
    return Group(table.astype(np.int32), f"dihedral({n})", [(int(a), int(b)) for a, b in zip(r, s, strict=True)])


@lru_cache(maxsize=64)
def cyclic(n: int) -> Group:
    """The numbers 0 ... n − 1 under addition modulo n, as a group among others; `on="cyclic"` is the circle, planned as a grid."""
    of_size("cyclic", "an order from 1 to 8192", n, 1 <= n <= MOST)
    g = np.arange(n)
    return Group(((g[:, None] + g) % n).astype(np.int32), f"cyclic({n})", range(n))


FAMILIES = {"symmetric": symmetric, "dihedral": dihedral, "cyclic": cyclic}
_known: dict[str, Group] = {}


def known(text: str) -> Group | None:
    """A group made in this process, by the text that its problems carry."""
    return _known.get(text)


def _registered(table: np.ndarray, elements: Sequence[Any]) -> Group:
    table = np.ascontiguousarray(table, dtype=np.int32)
    digest = hashlib.sha256(table.tobytes()).hexdigest()[:12]
    made = Group(table, f"group({len(table)}-{digest})", elements)
    return _known.setdefault(made.text, made)


def _checked(table: np.ndarray) -> np.ndarray:
    """The table, if it is a group's: every row and column a permutation, 0 neutral, products associative."""
    n = len(table)
    square = table.ndim == 2 and table.shape == (n, n) and table.dtype.kind in "iu" and 0 < n <= MOST
    whole = square and all(
        (np.sort(table, axis=a) == np.arange(n).reshape([-1, 1] if a == 0 else [1, -1])).all() for a in (0, 1)
    )
    if not whole or not (table[0] == np.arange(n)).all() or not (table[:, 0] == np.arange(n)).all():
        raise ArgumentError.of(
            "group", f"a square table of at most {MOST} elements, each once in every row and column, 0 neutral",
            f"an array of shape {table.shape}", "renumber the elements so that 0 is the neutral one",
        )  # fmt: skip
    for g in range(n):  # Light's test, one element in the middle at a time
        if not (table[table[:, g]] == table[:, table[g]]).all():
            raise ArgumentError.of(
                "group", "an associative table", f"(a·{g})·b ≠ a·({g}·b) for some a, b", "correct it"
            )
    return table


def _generated(generators: list[Any], times: Any) -> Group:
    """Breadth first from the neutral element; the table from products with generators only."""
    size = len(generators[0])
    matrix = isinstance(generators[0][0], tuple)
    neutral = tuple(tuple(int(i == j) for j in range(size)) for i in range(size)) if matrix else tuple(range(size))
    numbers, elements, parent = {neutral: 0}, [neutral], [(0, -1)]
    right = [[] for _ in generators]  # type: list[list[int]]
    at = 0
    while at < len(elements):
        for s, generator in enumerate(generators):
            to = times(elements[at], generator)
            if to not in numbers:
                numbers[to] = len(elements)
                elements.append(to)
                parent.append((at, s))
            right[s].append(numbers[to])
        at += 1
        if len(elements) > MOST:
            raise ArgumentError.of(
                "group",
                f"at most {MOST} elements",
                "more",
                "use a growth or a coset, which need no multiplication table",
            )
    steps = np.array(right, dtype=np.int32)
    table = np.empty((len(elements), len(elements)), dtype=np.int32)
    table[:, 0] = np.arange(len(elements))
    for h in range(1, len(elements)):  # g · (p · s) = (g · p) · s
        before, s = parent[h]
        table[:, h] = steps[s][table[:, before]]
    if not (np.sort(table[:, -1]) == np.arange(len(elements))).all():
        raise ArgumentError.of("group", "invertible generators", "one that is not", "check the matrices' determinants")
    return _registered(table, elements)


def _key(element: Any) -> Any:
    return tuple(_key(e) for e in element) if isinstance(element, (tuple, list, np.ndarray)) else int(element)
