"""A set of generators: permutations of places or matrices modulo m, and the state from which they start."""

from dataclasses import dataclass, field
from functools import cached_property
from math import gcd
from typing import Any

import numpy as np

from faltung.cayley.order import group_order
from faltung.errors import ArgumentError


@dataclass(frozen=True, eq=False)
class Generators:
    """What is applied to a state: `new[i] = old[g[i]]` for permutations, `new = old · g mod m` for matrices.

    Args:
        rows: (generators, n) permutations or (generators, d, d) matrices.   modulus: of matrices, 0 for permutations.
        start: the state from which growth starts: n symbols, or (r, d) residues; the neutral element by default. A word of
            repeated symbols makes the graph of cosets (Schreier graph) of the permutations that leave it as it is.
        text: what people call the set.   closed_form: the name of a known formula of its growth, or "".
    """

    rows: np.ndarray
    modulus: int = 0
    start: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    text: str = "generators"
    closed_form: str = ""

    def __post_init__(self) -> None:
        if self.start.size == 0:
            n = self.rows.shape[1]
            object.__setattr__(self, "start", np.eye(n, dtype=np.int64) if self.modulus else np.arange(n))
        self.rows.flags.writeable = self.start.flags.writeable = False

    def __repr__(self) -> str:
        kind = f"{self.size} × {self.size} matrices modulo {self.modulus}" if self.modulus else f"{self.size} places"
        return f"<{len(self)} generators {self.text} on {kind}>"

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size(self) -> int:
        """n: places that are permuted, rows of the matrices."""
        return self.rows.shape[1]

    @cached_property
    def inverses(self) -> tuple[int, ...] | None:
        """Which generator undoes each, None where one has no inverse among them: then the graph is directed."""
        keys = {r.tobytes(): i for i, r in reversed(list(enumerate(self.rows)))}
        neutral = np.eye(self.size, dtype=np.int64) if self.modulus else np.arange(self.size)
        found = []
        for r in self.rows:
            if not self.modulus:
                inverse = keys.get(np.argsort(r).tobytes())
            else:
                undone = (i for i, s in enumerate(self.rows) if np.array_equal(self.product(r, s), neutral))
                inverse = next(undone, None)
            if inverse is None:
                return None
            found.append(inverse)
        return tuple(found)

    @cached_property
    def order(self) -> int:
        """How many elements permutations generate.

        Raises:
            ArgumentError: matrices, whose group is not counted without listing it.
        """
        if self.modulus:
            raise ArgumentError.of(self.text, "permutations", "matrices", "grow the group: growth(...).order")
        return group_order(self.rows.tolist())

    @property
    def closed(self) -> bool:
        """Whether every generator's inverse is one too, so that neighbours are neighbours of each other."""
        return self.inverses is not None

    @property
    def regular(self) -> bool:
        """Whether growth starts from the neutral element: states are then elements of the group."""
        neutral = np.eye(self.size, dtype=np.int64) if self.modulus else np.arange(self.size)
        return np.array_equal(self.start, neutral)

    def product(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """First a, then b, as one generator."""
        if not self.modulus:
            return a[b]
        return ((a.astype(object) @ b.astype(object)) % self.modulus).astype(np.int64)

    def apply(self, state: np.ndarray, generator: int) -> np.ndarray:
        """The neighbour of a state."""
        return self.product(np.asarray(state), self.rows[generator])

    def closure(self) -> "Generators":
        """The same with the inverses that are missing."""
        rows = list(self.rows)
        for r in self.rows:
            undo = self.inverse(r)
            if not any(np.array_equal(undo, s) for s in rows):
                rows.append(undo)
        return Generators(np.array(rows), self.modulus, self.start, f"{self.text} and inverses")

    def inverse(self, row: np.ndarray) -> np.ndarray:
        """The generator that undoes one: by sorting, or by powers, for an invertible matrix modulo m has a finite order."""
        if not self.modulus:
            return np.argsort(row)
        neutral, power = np.eye(self.size, dtype=np.int64), row
        while not np.array_equal(step := self.product(power, row), neutral):
            power = step
        return neutral if np.array_equal(row, neutral) else power

    def starting(self, start: Any) -> "Generators":
        """The same from another state, which may be a coloured word.

        Raises:
            ArgumentError: a start of another size, symbols that are no whole numbers from 0 on.
        """
        a = np.array(list(start) if isinstance(start, str) else start)
        if a.dtype.kind == "U":  # letters are colours
            a = np.unique(a, return_inverse=True)[1]
        right = a.shape == (self.size,) if not self.modulus else a.ndim == 2 and a.shape[1] == self.size
        if not right or a.dtype.kind not in "iu" or a.size == 0 or a.min() < 0:
            wanted = f"{self.size} symbols" if not self.modulus else f"rows of {self.size} residues"
            raise ArgumentError.of(
                self.text, f"a start of {wanted}, whole numbers from 0 on", repr(start), "correct it"
            )
        a = a.astype(np.int64) % self.modulus if self.modulus else a.astype(np.int64)
        return Generators(self.rows, self.modulus, a, f"{self.text} from {a.ravel().tolist()}")


def permutations(rows: Any, text: str = "permutations", closed_form: str = "") -> Generators:
    """Generators that move places: each row the images of 0 ... n − 1, `new[i] = old[row[i]]`.

    Raises:
        ArgumentError: rows that are no permutations, no rows at all.

    Example:
        >>> permutations([[1, 2, 0], [1, 0, 2]]).closed
        False
    """
    a = np.atleast_2d(np.array(rows))
    if (
        a.ndim != 2
        or a.size == 0
        or a.dtype.kind not in "iu"
        or not (np.sort(a, axis=1) == np.arange(a.shape[1])).all()
    ):
        raise ArgumentError.of(text, "rows that each hold 0 ... n − 1 once", repr(rows), "number the places from 0")
    return Generators(_distinct(a.astype(np.int64)), 0, text=text, closed_form=closed_form)


def matrices(rows: Any, modulus: int, text: str = "matrices") -> Generators:
    """Generators that multiply from the right, modulo m; d·(m − 1)² must stay below 2⁶³.

    Raises:
        ArgumentError: matrices that are not square or not invertible modulo m, a modulus out of range.

    Example:
        >>> len(matrices([[[1, 1], [0, 1]]], 5).closure())
        2
    """
    a = np.array(rows)
    a = a[None] if a.ndim == 2 else a
    if a.ndim != 3 or a.shape[1] != a.shape[2] or a.size == 0 or a.dtype.kind not in "iu":
        raise ArgumentError.of(text, "square matrices of whole numbers", f"shape {a.shape}", "give (generators, d, d)")
    if modulus < 2 or a.shape[1] * (modulus - 1) ** 2 >= 1 << 63:
        raise ArgumentError.of(
            text, "a modulus m from 2 on with d·(m − 1)² below 2^63", repr(modulus), "choose another"
        )
    for m in a:
        if gcd(_determinant(m.tolist()), modulus) != 1:
            raise ArgumentError.of(
                text,
                f"matrices invertible modulo {modulus}",
                repr(m.tolist()),
                "its determinant shares a divisor with it",
            )
    return Generators(_distinct(a.astype(np.int64) % modulus), modulus, text=text)


def _distinct(rows: np.ndarray) -> np.ndarray:
    """Each row once, in the order of their first coming."""
    first = sorted(np.unique(rows.reshape(len(rows), -1), axis=0, return_index=True)[1])
    return np.ascontiguousarray(rows[first])


def _determinant(m: list[list[int]]) -> int:
    """Without fractions (Bareiss)."""
    m, sign, before = [list(r) for r in m], 1, 1
    for k in range(len(m) - 1):
        pivot = next((i for i in range(k, len(m)) if m[i][k]), None)
        if pivot is None:
            return 0
        if pivot != k:
            m[k], m[pivot], sign = m[pivot], m[k], -sign
        for i in range(k + 1, len(m)):
            for j in range(k + 1, len(m)):
                m[i][j] = (m[i][j] * m[k][k] - m[i][k] * m[k][j]) // before
        before = m[k][k]
    return sign * m[-1][-1]
