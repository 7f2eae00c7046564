"""The domains: where the indices live. One file each, one line each here."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from faltung.domains.boundary import KINDS, Boundary
from faltung.domains.chain import MAX, MIN
from faltung.domains.divisors import DIRICHLET, GCD, LCM
from faltung.domains.dyadic import DYADIC
from faltung.domains.grid import Grid, pads_of_mode
from faltung.domains.group import FAMILIES, Group, cyclic, dihedral, group, known, symmetric
from faltung.domains.index import FiniteDomain, Index
from faltung.domains.subsets import AND, OR, SUBSETS
from faltung.errors import ArgumentError

Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Domain:
    """A domain whose convolutions are those of a grid, as users name it.

    `reads` turns the reach of a filter, and whether it is flipped, into the pads and the boundary that stand for the domain.
    """

    name: str
    summary: str
    source: str
    facts: type = Grid
    reads: Callable[[tuple[int, ...], bool], tuple[Pads, str]] | None = None

    @property
    def text(self) -> str:
        return self.name


def _circle(reach: tuple[int, ...], flip: bool) -> tuple[Pads, str]:
    return tuple((r - 1, 0) if flip else (0, r - 1) for r in reach), "wrap"


def _series(reach: tuple[int, ...], flip: bool) -> tuple[Pads, str]:
    return tuple((r - 1, 0) if flip else (0, r - 1) for r in reach), "constant"


GRID = Domain("grid", "boxes of integer points in any number of dimensions, five boundaries", "sampled signals")
CIRCLE = Domain(
    "cyclic",
    "the circle Z/n, with more axes products of circles (all finite abelian groups)",
    "Gauss (1805)",
    reads=_circle,
)
SERIES = Domain(
    "series",
    "power series in any number of variables, cut after as many terms as the signal has",
    "Newton (1671)",
    reads=_series,
)
ALL: tuple[Domain | FiniteDomain | type[Group], ...] = (
    GRID,
    CIRCLE,
    SERIES,
    DYADIC,
    OR,
    AND,
    SUBSETS,
    MAX,
    MIN,
    DIRICHLET,
    GCD,
    LCM,
    Group,
)
BY_NAME: dict[str, Domain | FiniteDomain] = {d.name: d for d in ALL if not isinstance(d, type)}


def named(name: Any) -> Domain | FiniteDomain:
    """The domain of that name, or the domain itself; raises ArgumentError with the list of names."""
    if isinstance(name, (Domain, FiniteDomain)):
        return name
    if isinstance(name, str):
        if name in BY_NAME:
            return BY_NAME[name]
        found = re.fullmatch(r"([a-z]+)\((\d+)\)", name)
        if found and found[1] in FAMILIES:
            return FAMILIES[found[1]](int(found[2]))
        if made := known(name):
            return made
    families = ", ".join(f"{family}(n)" for family in FAMILIES)
    raise ArgumentError.of(
        "on", f"one of {', '.join(BY_NAME)}, {families}, or a group", repr(name), "choose a name, or make a group first"
    )


__all__ = [
    "ALL",
    "BY_NAME",
    "GRID",
    "KINDS",
    "SERIES",
    "Boundary",
    "Domain",
    "FiniteDomain",
    "Grid",
    "Group",
    "Index",
    "cyclic",
    "dihedral",
    "group",
    "named",
    "pads_of_mode",
    "symmetric",
]
