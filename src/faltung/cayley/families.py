"""Generating sets by name: `generator_set("lrx(7)")`; every family is one function of n and sometimes k or m.

Permutations move places, `new[i] = old[g[i]]`. L rotates everything to the left, R to the right, X swaps two places.
"""

import ast
import itertools
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from faltung.cayley.generators import Generators, permutations
from faltung.cayley.rows import Row, cycle, identity, reversal, rotation, swap, with_inverses
from faltung.errors import ArgumentError


class Family(NamedTuple):
    """One parameterised family: how to make a member, and the members that are listed by name."""

    make: Callable[..., Generators]
    summary: str
    listed: tuple[tuple[int, ...], ...]


FAMILIES: dict[str, Family] = {}


def family(listed: Iterable[int | tuple[int, ...]], closed_form: str = "") -> Callable:
    """Register a function of whole numbers that returns rows of permutations; its docstring's first line is the summary."""

    def register(rows: Callable[..., Iterable[Row]]) -> Callable[..., Generators]:
        name = rows.__name__

        def make(*parameters: int) -> Generators:
            text = f"{name}({', '.join(map(str, parameters))})"
            try:
                made = list(rows(*parameters))
            except TypeError as error:
                raise ArgumentError.of(name, "whole numbers as its docstring says", text, str(error)) from error
            if not made or not made[0]:
                raise ArgumentError.of(name, "parameters that give generators", text, "choose larger ones")
            return permutations(made, text, closed_form)

        make.__name__, make.__doc__ = name, rows.__doc__
        members = tuple((p,) if isinstance(p, int) else p for p in listed)
        FAMILIES[name] = Family(make, (rows.__doc__ or "").partition("\n")[0], members)
        return make

    return register


def generator_set(text: str) -> Generators:
    """The generators of a name such as "lrx(7)", "top_spin(8, 4)" or "heisenberg(3, 5)".

    Raises:
        ArgumentError: a name that no family has, parameters that are no whole numbers or too small.

    Example:
        >>> generator_set("pancake(4)").rows.tolist()
        [[1, 0, 2, 3], [2, 1, 0, 3], [3, 2, 1, 0]]
    """
    found = re.fullmatch(r"\s*(\w+)\s*\(([-\d\s,]*)\)\s*", text)
    if not found or found[1] not in FAMILIES:
        raise ArgumentError.of("generator_set", f"a family among {', '.join(FAMILIES)}", repr(text), 'write "lrx(7)"')
    parameters = ast.literal_eval(f"({found[2]},)") if found[2].strip() else ()
    return FAMILIES[found[1]].make(*parameters)


def names() -> list[str]:
    """The names of all listed members of all families, a few sizes of each."""
    return [f"{name}({', '.join(map(str, p))})" for name, f in FAMILIES.items() for p in f.listed]


# -- rotations and one small change ------------------------------------------------------------------------------------------


@family(range(4, 11))
def lrx(n: int, k: int = 1) -> Iterable[Row]:
    """L, R and the swap of places 0 and k."""
    return [rotation(n), rotation(n, -1), swap(n, 0, k)]


@family(range(4, 10))
def lx(n: int) -> Iterable[Row]:
    """L and the swap of places 0 and 1: directed."""
    return [rotation(n), swap(n, 0, 1)]


@family([(6, 4), (7, 4), (8, 4), (9, 4), (7, 3)])
def top_spin(n: int, k: int = 4) -> Iterable[Row]:
    """L, R and the reversal of the first k places: the TopSpin puzzle."""
    return [rotation(n), rotation(n, -1), reversal(n, 0, k)]


@family(range(5, 8))
def larx(n: int) -> Iterable[Row]:
    """The rotation of all places but the first, both ways, and the swap of the first two."""
    return [*with_inverses([cycle(n, *range(1, n))]), swap(n, 0, 1)]


@family(range(5, 8))
def lsl(n: int) -> Iterable[Row]:
    """The rotation of all places and of all but the first, both ways."""
    return [*with_inverses([rotation(n), cycle(n, *range(1, n))])]


@family([6, 8])
def shuffles(n: int) -> Iterable[Row]:
    """Both perfect shuffles of an even number of cards, and what undoes them."""
    if n % 2:
        raise ArgumentError.of("shuffles", "an even number of cards", repr(n), "add one")
    half = n // 2
    out = [i // 2 + half * (i % 2) for i in range(n)]
    return [*with_inverses([out, [i // 2 + half * (1 - i % 2) for i in range(n)]])]


# -- transpositions ----------------------------------------------------------------------------------------------------------


@family(range(4, 10), "mahonian")
def coxeter(n: int) -> Iterable[Row]:
    """Swaps of neighbours: bubble sort."""
    return [swap(n, i, i + 1) for i in range(n - 1)]


@family(range(4, 9))
def cyclic_coxeter(n: int) -> Iterable[Row]:
    """Swaps of neighbours on a circle."""
    return [*(swap(n, i, i + 1) for i in range(n - 1)), swap(n, 0, n - 1)]


@family(range(4, 9), "stirling")
def all_transpositions(n: int) -> Iterable[Row]:
    """Every swap of two places."""
    return [swap(n, i, j) for i, j in itertools.combinations(range(n), 2)]


@family(range(4, 9))
def stars(n: int) -> Iterable[Row]:
    """Swaps of the first place with any other."""
    return [swap(n, 0, i) for i in range(1, n)]


@family([(6, 2), (6, 3), (7, 3)])
def bipartite(n: int, k: int) -> Iterable[Row]:
    """Swaps of one of the first k places with one of the others."""
    return [swap(n, i, j) for i in range(k) for j in range(k, n)]


@family(range(5, 8))
def binary_tree(n: int) -> Iterable[Row]:
    """Swaps along the edges of a binary heap."""
    return [swap(n, (i - 1) // 2, i) for i in range(1, n)]


@family(range(3, 7))
def hypercube(n: int) -> Iterable[Row]:
    """n switches, each a swap of two places of its own: bit strings."""
    return [swap(2 * n, 2 * i, 2 * i + 1) for i in range(n)]


@family(range(4, 8))
def double_transpositions(n: int) -> Iterable[Row]:
    """Every pair of swaps of four different places: even permutations."""
    return [
        swap(n, *a)[:] if not b else [swap(n, *b)[i] for i in swap(n, *a)]
        for a, b in itertools.combinations(itertools.combinations(range(n), 2), 2)
        if not set(a) & set(b)
    ]


# -- reversals and blocks ----------------------------------------------------------------------------------------------------


@family(range(4, 10))
def pancake(n: int) -> Iterable[Row]:
    """Reversals of the first 2 ... n places."""
    return [reversal(n, 0, k) for k in range(2, n + 1)]


@family(range(4, 8))
def full_reversals(n: int) -> Iterable[Row]:
    """Reversals of all intervals."""
    return [reversal(n, i, j) for i in range(n) for j in range(i + 2, n + 1)]


@family([(6, 3), (7, 4)])
def reversals(n: int, k: int) -> Iterable[Row]:
    """Reversals of k neighbouring places on a circle."""
    rows = []
    for i in range(n):
        row = identity(n)
        for a in range(k):
            row[(i + a) % n] = (i + k - 1 - a) % n
        rows.append(row)
    return rows


@family(range(4, 8))
def transposons(n: int) -> Iterable[Row]:
    """Exchanges of two blocks that touch."""
    return [
        [*range(i), *range(j, k), *range(i, j), *range(k, n)] for i, j, k in itertools.combinations(range(n + 1), 3)
    ]


@family(range(4, 7))
def block_interchange(n: int) -> Iterable[Row]:
    """Exchanges of any two blocks."""
    ends = itertools.combinations_with_replacement(range(n + 1), 4)
    return [
        [*range(a), *range(c, d), *range(b, c), *range(a, b), *range(d, n)] for a, b, c, d in ends if a < b <= c < d
    ]


@family(range(4, 7))
def insertions(n: int) -> Iterable[Row]:
    """Any place's symbol taken out and put in anywhere else."""
    return [*with_inverses(cycle(n, *range(i, j)) for i in range(n) for j in range(i + 2, n + 1))]


# -- signed permutations: symbol i is place i, turned over it is place i + n -------------------------------------------------------


def _signed(n: int, i: int, j: int, turned: bool) -> Row:
    one = reversal(n, i, j)
    if not turned:
        return [*one, *(p + n for p in one)]
    return [(p + n if i <= a < j else p) for a, p in enumerate(one)] + [
        (p if i <= a < j else p + n) for a, p in enumerate(one)
    ]


@family(range(2, 7))
def burnt_pancake(n: int) -> Iterable[Row]:
    """Reversals of the first 1 ... n symbols, which turn them over."""
    return [_signed(n, 0, k, True) for k in range(1, n + 1)]


@family(range(3, 6))
def signed_reversals(n: int) -> Iterable[Row]:
    """Reversals of all intervals, which turn their symbols over."""
    return [_signed(n, i, j, True) for i in range(n) for j in range(i + 1, n + 1)]


@family(range(3, 6))
def coxeter_b(n: int) -> Iterable[Row]:
    """Swaps of neighbours and one change of sign: the symmetries of the cube in n dimensions."""
    return [*(_signed(n, i, i + 2, False) for i in range(n - 1)), _signed(n, 0, 1, True)]


@family(range(3, 6))
def coxeter_d(n: int) -> Iterable[Row]:
    """Swaps of neighbours and the swap of the first two that changes both signs."""
    return [*(_signed(n, i, i + 2, False) for i in range(n - 1)), _signed(n, 0, 2, True)]


# -- cycles ------------------------------------------------------------------------------------------------------------------


@family(range(4, 8))
def three_cycles(n: int) -> Iterable[Row]:
    """All cycles of three places."""
    return [cycle(n, *p) for a in itertools.combinations(range(n), 3) for p in (a, a[::-1])]


@family(range(5, 9))
def alternating(n: int) -> Iterable[Row]:
    """Cycles of the first two places and any third, both ways: even permutations."""
    return [*with_inverses(cycle(n, 0, 1, i) for i in range(2, n))]


@family(range(5, 8))
def zero_cycles(n: int) -> Iterable[Row]:
    """Cycles of the first place and any two others."""
    return [cycle(n, 0, i, j) for i, j in itertools.permutations(range(1, n), 2)]


@family(range(4, 7))
def all_cycles(n: int) -> Iterable[Row]:
    """All cycles of two or more places."""
    return [
        cycle(n, a[0], *rest)
        for k in range(2, n + 1)
        for a in itertools.combinations(range(n), k)
        for rest in itertools.permutations(a[1:])
    ]


@family([(6, 3), (7, 4)])
def consecutive_cycles(n: int, k: int) -> Iterable[Row]:
    """Rotations of k neighbouring places, both ways."""
    return [*with_inverses(cycle(n, *range(i, i + k)) for i in range(n - k + 1))]


@family([(6, 3), (7, 4)])
def wrapped_cycles(n: int, k: int) -> Iterable[Row]:
    """Rotations of k neighbouring places on a circle, both ways."""
    return [*with_inverses(cycle(n, *((i + a) % n for a in range(k))) for i in range(n))]


@family([(6, 3), (6, 4)])
def increasing_cycles(n: int, k: int) -> Iterable[Row]:
    """Cycles of k places that are named in rising order."""
    return [cycle(n, *a) for a in itertools.combinations(range(n), k)]


@family(range(4, 8))
def prefix_cycles(n: int) -> Iterable[Row]:
    """Rotations of the first 2 ... n places, both ways: the top card goes in anywhere, or any card on top."""
    return [*with_inverses(cycle(n, *range(k)) for k in range(2, n + 1))]


@family(range(4, 8))
def down_cycles(n: int) -> Iterable[Row]:
    """Rotations of i ... j − 1 to the left: directed."""
    return [cycle(n, *range(i, j)) for i in range(n) for j in range(i + 2, n + 1)]


@family(range(4, 7))
def derangements(n: int) -> Iterable[Row]:
    """All permutations that keep no place."""
    return [list(p) for p in itertools.permutations(range(n)) if all(a != b for a, b in enumerate(p))]


@family([4, 6])
def matchings(n: int) -> Iterable[Row]:
    """All ways to swap every place with another one."""
    return [list(p) for p in itertools.permutations(range(n)) if all(p[b] == a != b for a, b in enumerate(p))]


# -- groups of little growth -------------------------------------------------------------------------------------------------


@family([5, 12, 101])
def circle(n: int) -> Iterable[Row]:
    """Steps by one, both ways, around n places: the cyclic group."""
    return [rotation(n), rotation(n, -1)]


@family([(12, 5), (101, 10)])
def circulant(n: int, k: int) -> Iterable[Row]:
    """Steps by one and by k, both ways, around n places."""
    return [*with_inverses([rotation(n), rotation(n, k)])]


@family([5, 12])
def dihedral(n: int) -> Iterable[Row]:
    """Rotations by one and a reflection of the regular n-gon."""
    return [rotation(n), rotation(n, -1), [(-i) % n for i in range(n)]]


@family([(3, 4), (4, 3)])
def torus(n: int, m: int) -> Iterable[Row]:
    """Steps, both ways, along each of n circles of m places."""
    return [*with_inverses(cycle(n * m, *range(i * m, (i + 1) * m)) for i in range(n))]
