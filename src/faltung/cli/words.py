"""Words of the command line as values: shapes, sizes in bytes, boundaries, lists of names."""

import re
from typing import Any

from faltung.errors import ArgumentError

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
UNITS |= {"k": 2**10, "m": 2**20, "g": 2**30}


def shape_of(who: str, text: str) -> tuple[int, ...]:
    """`2048x2048` as (2048, 2048); sizes of at least 1."""
    if not re.fullmatch(r"\d+(x\d+)*", text) or 0 in (sizes := tuple(map(int, text.split("x")))):
        raise ArgumentError.of(
            who, "sizes such as 2048x2048", repr(text), "write whole numbers of at least 1 with x between"
        )
    return sizes


def sides_of(who: str, text: str) -> int | tuple[int, ...]:
    """`2` as 2, `2x1` as (2, 1)."""
    sizes = shape_of(who, text)
    return sizes[0] if len(sizes) == 1 else sizes


def boundary_of(text: str | None) -> Any:
    """A word, a number, or one of these for each axis with commas between; None stays None."""
    if text is None:
        return None
    edges = [_edge(part.strip()) for part in text.split(",")]
    return edges[0] if len(edges) == 1 else tuple(edges)


def bytes_of(who: str, text: str) -> int:
    """`500MB` or `2GiB` as bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if found is None or found[2] not in UNITS or not float(found[1]):
        raise ArgumentError.of(who, "a size such as 500MB or 2GiB", repr(text), "write a number and a unit")
    return max(1, int(float(found[1]) * UNITS[found[2]]))


def names_of(text: str) -> tuple[str, ...]:
    """Names with commas between."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _edge(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
