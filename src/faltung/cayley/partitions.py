"""Partitions, standard tableaux, and characters of the symmetric groups by Murnaghan and Nakayama's rule."""

import math
from collections.abc import Iterator
from functools import lru_cache

Partition = tuple[int, ...]


@lru_cache(maxsize=64)
def partitions(n: int) -> tuple[Partition, ...]:
    """All partitions of n, the longest first part first.

    Example:
        >>> partitions(4)
        ((4,), (3, 1), (2, 2), (2, 1, 1), (1, 1, 1, 1))
    """

    def below(rest: int, most: int) -> Iterator[Partition]:
        if rest == 0:
            yield ()
        for first in range(min(rest, most), 0, -1):
            for others in below(rest - first, first):
                yield (first, *others)

    return tuple(below(n, n))


def conjugate(shape: Partition) -> Partition:
    """The partition with rows and columns exchanged."""
    return tuple(sum(row > c for row in shape) for c in range(shape[0])) if shape else ()


@lru_cache(maxsize=1 << 14)
def dimension(shape: Partition) -> int:
    """Standard tableaux of a shape, by hook lengths: the dimension of its irreducible representation."""
    columns = conjugate(shape)
    hooks = math.prod(row - j + columns[j] - i - 1 for i, row in enumerate(shape) for j in range(row))
    return math.factorial(sum(shape)) // hooks


def contents(shape: Partition) -> int:
    """The sum over boxes of column − row."""
    return sum(j - i for i, row in enumerate(shape) for j in range(row))


def smaller(shape: Partition) -> tuple[Partition, ...]:
    """The shapes with one box less, in the order in which Young's basis lists them: the box from the last row first."""
    rows = [i for i in range(len(shape)) if i + 1 == len(shape) or shape[i] > shape[i + 1]]
    return tuple(tuple(r - (k == i) for k, r in enumerate(shape) if r - (k == i)) for i in reversed(rows))


@lru_cache(maxsize=4096)
def tableaux(shape: Partition) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Standard tableaux, each the list of the places (row, column) of 1 ... n; those without n stand together, shape by shape.

    Example:
        >>> len(tableaux((3, 2)))
        5
    """
    if sum(shape) == 1:
        return (((0, 0),),)
    found = []
    for less in smaller(shape):
        row = next(i for i, r in enumerate(shape) if i >= len(less) or less[i] < r)
        found += [(*t, (row, shape[row] - 1)) for t in tableaux(less)]
    return tuple(found)


def class_size(cycles: Partition) -> int:
    """How many permutations have cycles of these lengths."""
    lengths = set(cycles)
    centre = math.prod(length ** cycles.count(length) * math.factorial(cycles.count(length)) for length in lengths)
    return math.factorial(sum(cycles)) // centre


@lru_cache(maxsize=1 << 18)
def character(shape: Partition, cycles: Partition) -> int:
    """χ of an irreducible representation at the permutations with cycles of these lengths, a whole number.

    Formula: `χ(λ, (c, rest)) = Σ (−1)^(rows − 1) χ(λ less a rim hook of c boxes, rest)` over all such rim hooks.

    Args:
        shape: a partition of n.   cycles: a partition of n.

    Source: Murnaghan (1937), Nakayama (1940).

    Example:
        >>> character((2, 1), (1, 1, 1)), character((2, 1), (3,)), character((2, 2), (2, 2))
        (2, -1, 2)
    """
    if not cycles:
        return 1
    # On beads at λᵢ + (rows − 1 − i), taking off a rim hook of c boxes moves a bead c places down to a free one; the hook's
    # height is the number of beads that it passes.
    beads = [row + len(shape) - 1 - i for i, row in enumerate(shape)]
    taken, total, c = set(beads), 0, cycles[0]
    for bead in beads:
        to = bead - c
        if to >= 0 and to not in taken:
            passed = sum(to < other < bead for other in beads)
            left = sorted((taken - {bead}) | {to}, reverse=True)
            rows = tuple(b - (len(left) - 1 - i) for i, b in enumerate(left))
            total += (-1) ** passed * character(tuple(r for r in rows if r), cycles[1:])
    return total
