"""The domains: where the indices live. One file each, one line each here."""

from dataclasses import dataclass

from faltung.domains.boundary import KINDS, Boundary
from faltung.domains.grid import Grid, pads_of_mode
from faltung.errors import ArgumentError


@dataclass(frozen=True)
class Domain:
    """A domain as users name it: its word, what it is, and the class that holds the facts of one convolution on it."""

    name: str
    summary: str
    source: str
    facts: type


ALL: tuple[Domain, ...] = (
    Domain("grid", "boxes of integer points in any number of dimensions, five boundaries", "sampled signals", Grid),
)
BY_NAME = {domain.name: domain for domain in ALL}


def named(name: str) -> Domain:
    """The domain of that name; raises ArgumentError with the list of names."""
    try:
        return BY_NAME[name]
    except (KeyError, TypeError):
        raise ArgumentError.of(
            "on", f"one of {', '.join(BY_NAME)}", repr(name), "choose a name from the list"
        ) from None


__all__ = ["ALL", "BY_NAME", "KINDS", "Boundary", "Domain", "Grid", "named", "pads_of_mode"]
