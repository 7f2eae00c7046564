"""Finite sets of indices: two of them meet in a third, `u · v = w`, by a law that need not be a shift.

    y(w) = ⊕ over all u · v = w of  x(u) ⊗ k(v)

A domain says how indices meet (`product`); `Index` holds the facts of one convolution on it, as `Grid` does on the grid, and
answers the planner's questions in the same words. Its list of triples (u, v, w) is the finite definition: the result and both
gradients are sums over the same triples, with another of the three as the target.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from faltung.errors import ArgumentError

MOST = 1 << 27  # pairs of indices that are written down at most


class Triples(NamedTuple):
    """All u · v = w, sorted by v; `start[v]` is where those of v begin."""

    u: np.ndarray
    v: np.ndarray
    w: np.ndarray
    start: np.ndarray


class FiniteDomain(ABC):
    """How the indices 0 ... size − 1 of a finite set meet.

    Class fields: name, summary, source, for people; `laws` among `commutative`, `associative`, `group`, each tested.
    """

    name = ""
    summary = ""
    source = ""
    laws: frozenset[str] = frozenset({"associative", "commutative"})

    @property
    def text(self) -> str:
        """The domain in a problem's line: its name, with the parameters that the size of the arrays does not say."""
        return self.name

    def check(self, size: int) -> None:  # noqa: B027 - most domains come in every size
        """Raise ArgumentError where no such domain has that many indices."""

    @abstractmethod
    def product(self, u: np.ndarray, v: np.ndarray, size: int) -> np.ndarray:
        """u · v, element by element; −1 where two indices do not meet."""

    def neutral(self, size: int) -> int | None:
        """The index e with e · u = u · e = u; None where the set has none."""
        return 0

    def inverse(self, size: int) -> np.ndarray | None:
        """v⁻¹ of every index, where the domain is a group."""
        return None

    def triples(self, size: int) -> Triples:
        """All u · v = w; domains in which few indices meet write them down without looking at the others."""
        u = np.arange(size)
        lists = [(u, self.product(u, np.full(size, v), size)) for v in range(size)]
        kept = [(a[w >= 0], w[w >= 0]) for a, w in lists]
        counts = np.array([a.size for a, _ in kept])
        return Triples(
            np.concatenate([a for a, _ in kept]).astype(np.int32),
            np.repeat(np.arange(size, dtype=np.int32), counts),
            np.concatenate([w for _, w in kept]).astype(np.int32),
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        )

    def count(self, size: int) -> int:
        """How many pairs of indices meet, at most."""
        return size * size


@dataclass(frozen=True)
class Index:
    """The facts of one convolution on a finite set: `n` = `t` = (size,); without `flip` (correlation) v stands for v⁻¹."""

    domain: FiniteDomain
    n: tuple[int, ...]
    t: tuple[int, ...]
    flip: bool

    ndim = 1
    pads: tuple = ((0, 0),)
    stride: tuple = (1,)
    dilation: tuple = (1,)
    boundary: tuple = ()
    unpadded = True
    zero_padded = True

    @property
    def size(self) -> int:
        return self.n[0]

    @property
    def m(self) -> tuple[int, ...]:
        return self.n

    @property
    def padded(self) -> tuple[int, ...]:
        return self.n

    @property
    def reach(self) -> tuple[int, ...]:
        return self.t

    @property
    def taps(self) -> int:
        return self.t[0]

    @property
    def pairs(self) -> int:
        """How many products the definition has."""
        return self.domain.count(self.size)

    def fills(self, zero: Any) -> tuple:
        """Nothing lies beyond a finite set."""
        return ()

    @property
    def triples(self) -> Triples:
        return _triples(self.domain, self.size, self.flip)

    @cached_property
    def depths(self) -> dict[str, int]:
        """How many products meet in one value of each unknown, at most; the size of the set where the list would be too long."""
        if self.pairs > MOST:
            return dict.fromkeys(("out", "x", "k"), self.size)
        t = self.triples
        return {
            name: int(np.bincount(a, minlength=1).max(initial=1)) for name, a in (("out", t.w), ("x", t.u), ("k", t.v))
        }

    @cached_property
    def overlap(self) -> int:
        """How many u take the same v to the same w, at most: 1 in groups."""
        if "group" in self.domain.laws or self.pairs > MOST:
            return 1 if "group" in self.domain.laws else self.size
        t = self.triples
        return int(np.bincount(t.v.astype(np.int64) * self.size + t.w, minlength=1).max(initial=1))

    def roles(self, unknown: str) -> Triples:
        """The triples as (source, factor, target) of one unknown, sorted by the factor."""
        return _roles(self.domain, self.size, self.flip, unknown)

    def layers(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """The triples in pieces within which no w occurs twice."""
        t = self.triples
        order = np.argsort(t.w, kind="stable")
        u, v, w = t.u[order], t.v[order], t.w[order]
        first = np.searchsorted(w, np.arange(self.size))
        rank = np.arange(w.size) - first[w]
        for r in range(int(rank.max(initial=-1)) + 1):
            at = rank == r
            yield u[at], v[at], w[at]


@lru_cache(maxsize=16)
def _triples(domain: FiniteDomain, size: int, flip: bool) -> Triples:
    found = domain.triples(size)
    if flip:
        return found
    back = domain.inverse(size)
    assert back is not None
    return _sorted(found.u, back[found.v].astype(np.int32), found.w, size)


@lru_cache(maxsize=32)
def _roles(domain: FiniteDomain, size: int, flip: bool, unknown: str) -> Triples:
    t = _triples(domain, size, flip)
    if unknown == "out":
        return t
    return _sorted(t.w, t.v, t.u, size) if unknown == "x" else _sorted(t.u, t.w, t.v, size)


def _sorted(u: np.ndarray, v: np.ndarray, w: np.ndarray, size: int) -> Triples:
    order = np.argsort(v, kind="stable")
    return Triples(u[order], v[order], w[order], np.searchsorted(v[order], np.arange(size + 1)).astype(np.int64))


def of_size(name: str, expected: str, size: int, fits: bool) -> None:
    """Raise ArgumentError unless `fits`."""
    if not fits:
        raise ArgumentError.of(
            f"on={name!r}", expected, f"{size}", "pad the arrays with the algebra's zero, or cut them"
        )
