"""The algebras: how values meet. One file each, one line each here."""

from faltung.algebras.algebra import Algebra
from faltung.algebras.boolean import BOOLEAN
from faltung.algebras.complex import COMPLEX
from faltung.algebras.integer import INTEGER
from faltung.algebras.max_plus import MAX_PLUS
from faltung.algebras.min_plus import MIN_PLUS
from faltung.algebras.real import REAL
from faltung.errors import ArgumentError

ALL: tuple[Algebra, ...] = (
    REAL,
    COMPLEX,
    INTEGER,
    BOOLEAN,
    MAX_PLUS,
    MIN_PLUS,
)
BY_NAME = {algebra.name: algebra for algebra in ALL}


def named(name: str) -> Algebra:
    """The algebra of that name; raises ArgumentError with the list of names."""
    try:
        return BY_NAME[name]
    except (KeyError, TypeError):
        raise ArgumentError.of(
            "over", f"one of {', '.join(BY_NAME)}", repr(name), "choose a name from the list"
        ) from None


def natural(x_dtype: str, k_dtype: str) -> Algebra | None:
    """The algebra in which two dtypes are usually convolved: boolean, integer, complex or real."""
    for algebra in (BOOLEAN, INTEGER, REAL, COMPLEX):
        if algebra.compute(x_dtype, k_dtype) is not None:
            return algebra
    return None


__all__ = ["ALL", "BY_NAME", "Algebra", "named", "natural"]
