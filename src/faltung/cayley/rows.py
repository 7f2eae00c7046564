"""Rows of generators by what they do to places, `new[i] = old[row[i]]`: swaps, cycles, reversals, rotations."""

from collections.abc import Iterable, Iterator

import numpy as np

Row = list[int]


def identity(n: int) -> Row:
    """The row that moves nothing."""
    return list(range(n))


def swap(n: int, i: int, j: int) -> Row:
    """The row that swaps two places."""
    row = identity(n)
    row[i], row[j] = row[j], row[i]
    return row


def cycle(n: int, *places: int) -> Row:
    """The row in which each place takes what the next one had."""
    row = identity(n)
    for a, b in zip(places, (*places[1:], places[0]), strict=True):
        row[a] = b
    return row


def reversal(n: int, i: int, j: int) -> Row:
    """The row that reverses places i ... j − 1."""
    return [*range(i), *range(j - 1, i - 1, -1), *range(j, n)]


def inverse(row: Row) -> Row:
    """The row that undoes one."""
    return [int(i) for i in np.argsort(row)]


def with_inverses(rows: Iterable[Row]) -> Iterator[Row]:
    """Each row, and what undoes it."""
    for row in rows:
        yield row
        yield inverse(row)


def rotation(n: int, k: int = 1) -> Row:
    """The row that rotates everything k places to the left."""
    return [(i + k) % n for i in range(n)]
