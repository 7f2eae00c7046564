"""Nodes of a tree, of which two meet in their lowest common ancestor.

    y(w) = ⊕ over all u, v whose lowest common ancestor is w of  x(u) ⊗ k(v)

Over min-plus with depths for values these are shortest ways between nodes by the node where they turn; over count, pairs.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from faltung.domains.index import FiniteDomain, Triples, of_size
from faltung.errors import ArgumentError

_known: dict[str, "Tree"] = {}


class Tree(FiniteDomain):
    """A rooted tree on the nodes 0 ... n − 1; the root is its own parent and, as the ancestor of all, absorbs every node."""

    name = "tree"
    summary = "nodes of a rooted tree, of which two meet in their lowest common ancestor"
    source = "meet semilattices, Rota (1964); Harel and Tarjan (1984)"

    def __init__(self, parents: np.ndarray, text: str) -> None:
        self.parents, self._text = parents, text
        self.depth = np.zeros(parents.size, dtype=np.int64)
        up, here = parents.copy(), np.arange(parents.size)
        while (moving := here != up).any():
            self.depth += moving
            here, up = up, parents[up]
        self.root = int(np.flatnonzero(parents == np.arange(parents.size))[0])
        # Children before parents: what methods that go up the tree follow.
        self.upwards = np.argsort(-self.depth, kind="stable")

    @property
    def text(self) -> str:
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tree) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def check(self, size: int) -> None:
        of_size(self._text, f"{self.parents.size} values, one for each node", size, size == self.parents.size)

    def deepest(self, size: int) -> int:
        below = np.ones(size, dtype=np.int64)
        met = np.zeros(size, dtype=np.int64)
        for node in self.upwards:
            if (parent := self.parents[node]) != node:
                below[parent] += below[node]
                met[parent] += below[node] ** 2
        return int((below**2 - met).max())

    def neutral(self, size: int) -> int | None:
        """A node below which all others lie upwards: only the end of a tree that is a single path."""
        deepest = int(np.argmax(self.depth))
        return deepest if self.depth[deepest] == size - 1 else None

    def product(self, u: np.ndarray, v: np.ndarray, size: int) -> np.ndarray:
        u, v = np.broadcast_arrays(u, v)
        u, v = u.copy(), v.copy()
        while (apart := u != v).any():
            lower_u = apart & (self.depth[u] >= self.depth[v])
            lower_v = apart & (self.depth[v] >= self.depth[u])
            u, v = np.where(lower_u, self.parents[u], u), np.where(lower_v, self.parents[v], v)
        return u

    def triples(self, size: int) -> Triples:
        """Row by row from the root: a node meets those below it in itself, all others where its parent meets them."""
        below = np.zeros((size, size), dtype=bool)
        met = np.empty((size, size), dtype=np.int32)
        for node in self.upwards:
            below[node, node] = True
            below[self.parents[node]] |= below[node]
        for node in self.upwards[::-1]:
            met[node] = np.where(below[node], node, met[self.parents[node]])
        u = np.tile(np.arange(size, dtype=np.int32), size)
        start = np.arange(size + 1, dtype=np.int64) * size
        return Triples(u, np.repeat(np.arange(size, dtype=np.int32), size), met.T.ravel(), start)


def tree(parents: Sequence[int] | Any) -> Tree:
    """The domain of a rooted tree.

    Args:
        parents: of every node 0 ... n − 1 its parent; the root's is the root itself.

    Raises:
        ArgumentError: no root or several, numbers that are no nodes, circles.

    Example:
        >>> tree([0, 0, 0, 1]).product(np.array([3]), np.array([2]), 4)
        array([0])
    """
    given = np.array(parents)
    nodes = np.arange(given.size)
    right = (
        given.ndim == 1
        and given.size > 0
        and given.dtype.kind in "iu"
        and bool(((given >= 0) & (given < given.size)).all())
    )
    if not right or int((given == nodes).sum()) != 1:
        raise ArgumentError.of(
            "tree",
            "a parent among 0 ... n − 1 for every node, the root alone its own",
            repr(parents)[:80],
            "correct the list",
        )
    reached = given.astype(np.int64)
    for _ in range(given.size.bit_length() + 1):  # twice as far up with every step
        reached = reached[reached]
    if not (given[reached] == reached).all():
        raise ArgumentError.of(
            "tree", "ways from every node to the root", "nodes that go round in a circle", "correct the list"
        )
    text = f"tree({given.size}-{hashlib.sha256(given.astype(np.int64).tobytes()).hexdigest()[:12]})"
    return _known.setdefault(text, Tree(given.astype(np.int64), text))


def known(text: str) -> Tree | None:
    """A tree made in this process, by the text that its problems carry."""
    return _known.get(text)
