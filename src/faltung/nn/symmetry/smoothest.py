"""The smoothest functions on a group that their values on a subgroup still tell apart: an eigenproblem, then an exact choice.

Roughness `Σ over g, s of (x(g) − x(g·s))²` is a quadratic form that commutes with left translations, so each of its eigenspaces is
a sum of irreducible pieces. What may be sampled on H is a sum of pieces on which restriction to H loses nothing. Of all such sums
the largest is taken, and of these the smoothest; pieces whose values on H are orthogonal do not touch each other's choice.
"""

import itertools
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from faltung.domains.group import Group

Piece = tuple[float, np.ndarray]
"""The roughness of a unit vector, and an orthonormal basis (|G|, d)."""

SAME, LOST = 1e-8, 1e-6
"""Eigenvalues nearer than this are one; a function of norm 1 that is shorter than this on H is lost there."""


def roughness(group: Group, steps: Iterable[int]) -> np.ndarray:
    """The matrix (|G|, |G|) of `Σ over g, s of (x(g) − x(g·s))²`: the Laplacian of a Cayley graph.

    Example:
        >>> from faltung.domains.group import cyclic
        >>> roughness(cyclic(4), (1,))[0].tolist()
        [2.0, -1.0, 0.0, -1.0]
    """
    found = np.zeros((group.order, group.order))
    for s in steps:
        moved = _right(group, s)
        found += 2 * np.eye(group.order) - moved - moved.T
    return found


def generating(group: Group) -> tuple[int, ...]:
    """The first elements, by number, of which each enlarges what those before it generate, until that is the group.

    Example:
        >>> from faltung.domains.group import dihedral
        >>> generating(dihedral(4))  # a turn and a mirror
        (1, 4)
    """
    chosen: list[int] = []
    known = {0}
    for g in range(1, group.order):
        if g not in known:
            chosen.append(g)
            fresh = set(known)
            while fresh:
                fresh = {int(group.table[a, s]) for a in fresh for s in chosen} - known
                known |= fresh
    return tuple(chosen)


@lru_cache(maxsize=64)
def smoothest(group: Group, subgroup: tuple[int, ...], steps: tuple[int, ...]) -> np.ndarray:
    """An orthonormal basis (|G|, rank) of the left-invariant space that H tells apart, largest, then of least roughness.

    Formula: `V = ⊕ of pieces`, restriction to H injective on V, dim V largest, then `tr(P L)` least; L is `roughness`, and pieces
    are irreducible under left translations within the eigenspaces of L. Within one eigenspace of several pieces of a kind the
    choice is by fixed numbers.

    Cost: one eigenproblem of size |G|, and a search with bounds among the few pieces that meet on H.

    Example:
        >>> from faltung.domains.group import cyclic
        >>> smoothest(cyclic(9), (0, 3, 6), (1,)).shape, smoothest(cyclic(8), (0, 2, 4, 6), (1,)).shape
        ((9, 3), (8, 3))
    """
    held = list(subgroup)
    found = [piece for piece in pieces(group, steps) if _kept(piece[1][held])]
    chosen = [basis for together in _meeting(found, held) for _, basis in _best(together, held)]
    return np.concatenate([np.zeros((group.order, 0)), *chosen], 1)


def pieces(group: Group, steps: Iterable[int]) -> list[Piece]:
    """Irreducible left-invariant spaces whose sum is all functions, on each of which roughness is one number; smooth ones first."""
    values, vectors = np.linalg.eigh(roughness(group, steps))
    draw = np.random.default_rng(0).normal(size=group.order)
    # What commutes with left translations and is drawn at random has no two pieces with one eigenvalue.
    other = sum(weight * _right(group, g) for g, weight in enumerate(draw + draw[group.inverses]))
    found = []
    for lo, hi in _runs(values):
        basis = vectors[:, lo:hi]
        inner, turned = np.linalg.eigh(basis.T @ other @ basis)
        found += [(max(float(values[lo:hi].mean()), 0.0), basis @ turned[:, a:b]) for a, b in _runs(inner)]
    return found


def _right(group: Group, s: int) -> np.ndarray:
    """The matrix of x(g) ↦ x(g·s)."""
    found = np.zeros((group.order, group.order))
    found[np.arange(group.order), group.table[:, s]] = 1
    return found


def _runs(values: np.ndarray) -> list[tuple[int, int]]:
    """Where equal ones among ascending values begin and end."""
    ends = [0, *(np.flatnonzero(np.diff(values) > SAME) + 1).tolist(), len(values)]
    return list(itertools.pairwise(ends))


def _kept(values: np.ndarray) -> bool:
    """Whether the columns, the values on H of an orthonormal basis, are independent."""
    rows, columns = values.shape
    return columns <= rows and float(np.linalg.svd(values, compute_uv=False).min(initial=1.0)) > LOST


def _meeting(found: list[Piece], held: list[int]) -> list[list[Piece]]:
    """The pieces in bunches: values on H of pieces of different bunches are orthogonal."""
    bunches: list[list[int]] = []
    for n, (_, basis) in enumerate(found):
        touching = [b for b in bunches if any(abs(found[k][1][held].T @ basis[held]).max() > SAME for k in b)]
        bunches = [b for b in bunches if b not in touching] + [[*(k for b in touching for k in b), n]]
    return [[found[k] for k in sorted(b)] for b in bunches]


def _best(bunch: list[Piece], held: list[int]) -> list[Piece]:
    """Of the sums on which restriction to H is injective the largest, and of these the smoothest."""
    most = int(np.linalg.matrix_rank(np.concatenate([basis[held] for _, basis in bunch], 1), tol=LOST))
    best: tuple[int, float, list[Piece]] = (0, 0.0, [])

    def walk(at: int, chosen: list[Piece], values: np.ndarray, rough: float) -> None:
        nonlocal best
        size = values.shape[1]
        if size > best[0] or (size == best[0] and rough < best[1] - SAME):
            best = (size, rough, chosen)
        room, least = most - size, rough
        for own, basis in bunch[at:]:  # what follows at its best: smooth pieces first, as if none met another
            least += own * min(room, basis.shape[1])
            room -= min(room, basis.shape[1])
        if at == len(bunch) or most - room < best[0] or (most - room == best[0] and least >= best[1] - SAME):
            return
        own, basis = bunch[at]
        joined = np.concatenate([values, basis[held]], 1)
        if _kept(joined):
            walk(at + 1, [*chosen, bunch[at]], joined, rough + own * basis.shape[1])
        walk(at + 1, chosen, values, rough)

    walk(0, [], np.zeros((len(held), 0)), 0.0)
    return best[2]
