"""Eigenvalues of Cayley graphs, from the Fourier transform of the generating set."""

import math
from collections import Counter
from itertools import groupby
from typing import Any

import numpy as np

from faltung.cayley.fourier import Transform, group_fourier, kind, order
from faltung.cayley.generators import Generators, permutations
from faltung.cayley.partitions import Partition, character, class_size, dimension, partitions
from faltung.domains.group import Group
from faltung.errors import ArgumentError

NEAR = 1e-8  # eigenvalues closer than this times the number of generators count as one
MOST_CLASSES = 40  # points up to which sums over conjugacy classes are taken: 37 338 partitions


def spectrum(G: Group | str, generators: Any) -> list[tuple[complex, int]]:
    """Eigenvalues of the Cayley graph with their multiplicities, the largest first.

    Formula: the eigenvalues of `Σ_s ρ(s)`, each d_ρ times, over all irreducible representations ρ; where the generators are whole
    conjugacy classes of a symmetric group, `Σ_s χ_λ(s) / d_λ`, whole numbers, d_λ² times.

    Args:
        G: a group or its name; "symmetric(n)" up to n = 9, up to n = 40 for whole conjugacy classes.
        generators: a set from `generator_set` or rows of permutations, for symmetric groups; else elements, as G names them.

    Returns:
        pairs (value, multiplicity); ints where they are proven whole, floats for sets with their inverses, else complex.

    Raises:
        ArgumentError: generators that are no elements of the group, a group too large.

    Error: 1e-8 of the number of generators tells two values apart; values are exact for whole conjugacy classes.
    Cost: a Fourier transform and the eigenvalues of its matrices.
    Source: Diaconis and Shahshahani (1981).

    Example:
        >>> from faltung.cayley import generator_set
        >>> spectrum("symmetric(4)", generator_set("all_transpositions(4)"))
        [(6, 1), (2, 9), (0, 4), (-2, 9), (-6, 1)]
    """
    family, n = kind(G)
    if family == "symmetric":
        rows = _rows(generators, n)
        if whole := _classes(rows, n):
            return _by_characters(n, whole)
        if n > 9:
            raise ArgumentError.of("spectrum", "n up to 9, or whole conjugacy classes", f"n = {n}", "use a smaller n")
        weights = np.zeros(math.factorial(n))
        weights[[_rank(r) for r in rows]] = 1
    else:
        if not isinstance(G, Group):
            raise ArgumentError.of(
                "spectrum", "the group itself for elements of it", repr(G), "make it by faltung.domains.group"
            )
        numbers = [G.index(s) for s in generators]
        weights = np.zeros(order(G))
        np.add.at(weights, numbers, 1.0)
        closed = Counter(numbers) == Counter(int(G.inverses[s]) for s in numbers)
        return _of(group_fourier(weights, G), closed, len(numbers))
    closed = Counter(map(tuple, rows)) == Counter(tuple(np.argsort(r).tolist()) for r in rows)
    return _of(group_fourier(weights, G), closed, len(rows))


def _of(F: Transform, closed: bool, size: int) -> list[tuple[complex, int]]:
    values: list[tuple[complex, int]] = []
    for m in F.values():
        found = np.linalg.eigvalsh((m + m.conj().T) / 2) if closed else np.linalg.eigvals(m)
        values += [(v, len(m)) for v in found.tolist()]
    if closed:
        return _joined(sorted(values, key=lambda v: -v[0].real), size)
    near = NEAR * size
    groups: list[tuple[complex, int]] = []
    for value, count in sorted(values, key=lambda v: (-round(v[0].real / near), -round(v[0].imag / near))):
        at = next((i for i, (v, _) in enumerate(groups) if abs(v - value) < near), None)
        if at is None:
            groups.append((value, count))
        else:
            groups[at] = groups[at][0], groups[at][1] + count
    return groups


def _joined(values: list[tuple[complex, int]], size: int) -> list[tuple[complex, int]]:
    """Sorted real values, those that are one put together."""
    joined: list[tuple[complex, int]] = []
    for value, count in values:
        if joined and abs(joined[-1][0] - value) < NEAR * size:
            joined[-1] = joined[-1][0], joined[-1][1] + count
        else:
            joined.append((value, count))
    return joined


def _by_characters(n: int, classes: list[Partition]) -> list[tuple[complex, int]]:
    pairs: list[tuple[int, int]] = []
    for shape in partitions(n):
        d = dimension(shape)
        pairs.append((sum(class_size(c) * character(shape, c) for c in classes) // d, d * d))
    pairs.sort(reverse=True)
    return [(value, sum(count for _, count in group)) for value, group in groupby(pairs, key=lambda p: p[0])]


def _classes(rows: list[list[int]], n: int) -> list[Partition] | None:
    """The conjugacy classes whose union the rows are, None where a class is there in part only."""
    if n > MOST_CLASSES:
        raise ArgumentError.of("spectrum", f"n up to {MOST_CLASSES}", f"n = {n}", "use a smaller n")
    counts = Counter(cycle_type(r) for r in rows)
    return list(counts) if all(class_size(c) == count for c, count in counts.items()) else None


def cycle_type(row: list[int]) -> Partition:
    """The lengths of a permutation's cycles, the longest first."""
    left, lengths = set(range(len(row))), []
    while left:
        i = left.pop()
        length, at = 1, row[i]
        while at != i:
            left.discard(at)
            length, at = length + 1, row[at]
        lengths.append(length)
    return tuple(sorted(lengths, reverse=True))


def _rows(generators: Any, n: int) -> list[list[int]]:
    g = generators if isinstance(generators, Generators) else permutations(generators)
    if g.modulus or g.size != n:
        raise ArgumentError.of("spectrum", f"permutations of {n} places", repr(g), "name the group that they generate")
    return g.rows.tolist()


def _rank(row: list[int]) -> int:
    return sum(sum(b < a for b in row[i + 1 :]) * math.factorial(len(row) - 1 - i) for i, a in enumerate(row))
