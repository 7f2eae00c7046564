"""What lies beyond the edge of a signal: five words, as in `numpy.pad`, one for each axis."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from faltung.errors import ArgumentError

KINDS = ("constant", "edge", "reflect", "symmetric", "wrap")


class Boundary(NamedTuple):
    """One axis' boundary: a kind, and for `constant` its value (None: the algebra's zero).

    | kind | ... continues | period |
    |---|---|---|
    | constant | `v v v | a b c d | v v v` | |
    | edge | `a a a | a b c d | d d d` | |
    | reflect | `d c b | a b c d | c b a` | 2n − 2 |
    | symmetric | `c b a | a b c d | d c b` | 2n |
    | wrap | `b c d | a b c d | a b c` | n |
    """

    kind: str
    value: float | complex | None = None

    @property
    def text(self) -> str:
        return self.kind if self.value is None else f"{self.kind}({str(self.value).strip('()')})"

    @classmethod
    def parse(cls, text: str) -> "Boundary":
        kind, _, rest = text.partition("(")
        if not rest:
            return cls.of(kind)
        try:
            return cls.of(complex(rest[:-1]) if "j" in rest else float(rest[:-1]))
        except ValueError:
            raise ArgumentError.of(
                "boundary", "constant(NUMBER)", repr(text), "write for example constant(2.5)"
            ) from None

    @classmethod
    def of(cls, given: Any) -> "Boundary":
        """Read one axis' boundary from a word, a number or a Boundary."""
        if isinstance(given, Boundary):
            return given
        if isinstance(given, str) and given in KINDS:
            return cls(given)
        if isinstance(given, (int, float, complex, np.number)) and not isinstance(given, bool):
            value = complex(given)
            number = value if isinstance(given, (complex, np.complexfloating)) else value.real
            # One object stands for all NaN, so that equal boundaries are equal.
            return cls("constant", math.nan if number != number and isinstance(number, float) else number)
        raise ArgumentError.of(
            "boundary",
            f"one of {', '.join(KINDS)}, or a number for a constant of that value",
            repr(given),
            "give one of these, or one for each spatial axis",
        )

    def sources(self, size: int, lo: int, hi: int) -> np.ndarray:
        """The index in the signal behind every position of the padded axis; -1 where the constant stands.

        Shapes: returns int64 of length `size + lo + hi` (a negative pad crops).
        """
        return self.standing(size, np.arange(-lo, size + hi))

    def standing(self, size: int, p: np.ndarray) -> np.ndarray:
        """The index in the signal behind positions p of the extended axis, the signal's first one being 0; -1 for the constant."""
        if self.kind == "constant":
            return np.where((p < 0) | (p >= size), -1, p)
        if self.kind == "edge":
            return np.clip(p, 0, size - 1)
        if self.kind == "wrap":
            return p % size
        if self.kind == "symmetric":
            p = p % (2 * size)
            return np.where(p < size, p, 2 * size - 1 - p)
        if size == 1:
            return np.zeros_like(p)
        p = p % (2 * size - 2)
        return np.where(p < size, p, 2 * size - 2 - p)


def read(given: Any, ndim: int) -> tuple[Boundary, ...]:
    """One Boundary for each of `ndim` axes from a single value or a sequence of that length."""
    if isinstance(given, (str, Boundary)) or not isinstance(given, Sequence):
        return (Boundary.of(given),) * ndim
    if len(given) != ndim:
        raise ArgumentError.of(
            "boundary", f"{ndim} values, one for each spatial axis", f"{len(given)} ({given!r})", "match the axes"
        )
    return tuple(Boundary.of(b) for b in given)
