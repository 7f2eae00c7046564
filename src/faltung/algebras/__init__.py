"""The algebras: how values meet. One file each, one line each here."""

import re
from collections.abc import Callable

from faltung.algebras.algebra import Algebra
from faltung.algebras.bilinear import Components, given, hypercomplex, matrix, truncated, with_components
from faltung.algebras.boolean import BOOLEAN
from faltung.algebras.complex import COMPLEX
from faltung.algebras.count import COUNT
from faltung.algebras.integer import INTEGER
from faltung.algebras.log import LOG
from faltung.algebras.max_min import MAX_MIN, MIN_MAX
from faltung.algebras.max_plus import MAX_PLUS
from faltung.algebras.max_times import MAX_TIMES
from faltung.algebras.min_plus import MIN_PLUS
from faltung.algebras.modular import modular
from faltung.algebras.own import own
from faltung.algebras.rational import RATIONAL
from faltung.algebras.real import REAL
from faltung.errors import ArgumentError

ALL: tuple[Algebra, ...] = (
    REAL,
    COMPLEX,
    INTEGER,
    BOOLEAN,
    MAX_PLUS,
    MIN_PLUS,
    MAX_TIMES,
    MAX_MIN,
    MIN_MAX,
    LOG,
    COUNT,
    RATIONAL,
)
# Algebras with a parameter: `modular(7)` is the algebra that the function named so makes of 7.
FAMILIES: dict[str, Callable[[int], Algebra]] = {"modular": modular}
BY_NAME = {algebra.name: algebra for algebra in ALL}


def named(name: str | Algebra) -> Algebra:
    """The algebra of that name, `modular(7)` and the like included; raises ArgumentError with the list of names.

    An algebra made by the caller is known by its name from then on.
    """
    if isinstance(name, Algebra):
        if name.name not in BY_NAME and not _parameterised(name.name):
            _own[name.name] = name
        return name
    try:
        return BY_NAME.get(name) or _own.get(name) or _parameterised(name) or _unknown(name)
    except TypeError:
        return _unknown(name)


_own: dict[str, Algebra] = {}


def _parameterised(name: str) -> Algebra | None:
    found = re.fullmatch(r"([a-z-]+)\((\d+)\)", name)
    return FAMILIES[found[1]](int(found[2])) if found and found[1] in FAMILIES else None


def _unknown(name: object) -> Algebra:
    families = ", ".join(f"{family}(p)" for family in FAMILIES)
    raise ArgumentError.of(
        "over", f"one of {', '.join(BY_NAME)}, {families}", repr(name), "choose a name from the list"
    )


def natural(x_dtype: str, k_dtype: str) -> Algebra | None:
    """The algebra in which two dtypes are usually convolved: boolean, integer, complex or real."""
    for algebra in (BOOLEAN, INTEGER, REAL, COMPLEX):
        if algebra.compute(x_dtype, k_dtype) is not None:
            return algebra
    return None


__all__ = [
    "ALL",
    "BY_NAME",
    "FAMILIES",
    "Algebra",
    "Components",
    "given",
    "hypercomplex",
    "matrix",
    "modular",
    "named",
    "natural",
    "own",
    "truncated",
    "with_components",
]
