"""The order of a permutation group from its generators, without listing it."""

import math

Permutation = tuple[int, ...]


class _Level:
    """A point, the generators of the group that keeps all points before it, and an element for each point of its orbit."""

    def __init__(self, point: int, n: int) -> None:
        self.point = point
        self.generators: list[Permutation] = []
        self.takes: dict[int, Permutation] = {point: tuple(range(n))}


def group_order(rows: list[list[int]]) -> int:
    """How many permutations the rows generate.

    Cost: polynomial in the number of points; milliseconds up to 16 of them.
    Source: Sims (1970).

    Example:
        >>> group_order([[1, 2, 3, 4, 0], [1, 0, 2, 3, 4]]), group_order([[1, 2, 0, 3], [0, 2, 3, 1]])
        (120, 12)
    """
    levels: list[_Level] = []
    for row in rows:
        p = _sifted(levels, 0, tuple(row))
        if not _neutral(p):
            _insert(levels, 0, p)
    return math.prod(len(level.takes) for level in levels)


def _insert(levels: list[_Level], at: int, p: Permutation) -> None:
    """One more generator for a level: its orbit grows, and what keeps its point goes on to the next level."""
    if at == len(levels):
        levels.append(_Level(next(i for i, image in enumerate(p) if image != i), len(p)))
    level = levels[at]
    level.generators.append(p)
    orbit = list(level.takes)
    for point in orbit:  # grows while it is read
        for g in level.generators:
            moved, image = _after(g, level.takes[point]), g[point]
            if image not in level.takes:
                level.takes[image] = moved
                orbit.append(image)
                continue
            rest = _sifted(levels, at + 1, _after(_inverse(level.takes[image]), moved))
            if not _neutral(rest):
                _insert(levels, at + 1, rest)


def _sifted(levels: list[_Level], at: int, p: Permutation) -> Permutation:
    """What is left of a permutation after the elements that take each point where it does; neutral if the levels contain it."""
    for level in levels[at:]:
        take = level.takes.get(p[level.point])
        if take is None:
            return p
        p = _after(_inverse(take), p)
    return p


def _after(p: Permutation, q: Permutation) -> Permutation:
    return tuple(p[i] for i in q)


def _inverse(p: Permutation) -> Permutation:
    return tuple(sorted(range(len(p)), key=p.__getitem__))


def _neutral(p: Permutation) -> bool:
    return all(i == image for i, image in enumerate(p))
