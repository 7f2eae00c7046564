"""Fractions and integers without limit, with + and ×, exact: Python's `int` and `Fraction` in arrays of dtype object."""

from fractions import Fraction
from typing import Any

import numpy as np

from faltung.algebras.algebra import INTEGERS, Algebra, no_star
from faltung.errors import ArgumentError


def _admit(values: np.ndarray) -> np.ndarray:
    """Python integers and fractions."""
    out = values.astype(object)
    for v in out.ravel():
        if not isinstance(v, (int, np.integer, Fraction)):
            raise ArgumentError.of(
                "over='rational'",
                "integers and Fractions",
                repr(v),
                "write Fraction(v), which is exact for floats, too",
            )
    return out


def _star(a: Any) -> Any:
    def one(v: Any) -> Fraction:
        if v == 1:
            raise no_star("rational", "a value other than 1", v)
        return 1 / (1 - Fraction(v))

    return np.frompyfunc(one, 1, 1)(a)


RATIONAL = Algebra(
    name="rational",
    notation="+, ×",
    summary="fractions and integers without limit, exact",
    source_note="Python's integers and fractions",
    add=np.frompyfunc(lambda a, b: a + b, 2, 1),
    mul=np.frompyfunc(lambda a, b: a * b, 2, 1),
    zero=lambda dtype: 0,
    one=lambda dtype: 1,
    scalar_add="",
    scalar_mul="",
    dtypes=("object", "bool", *INTEGERS),
    compute=lambda x, k: "object" if all(t in ("object", "bool", *INTEGERS) for t in (x, k)) else None,
    laws=frozenset({"ring", "commutative", "exact"}),
    arithmetic="objects",
    star=_star,
    admit=_admit,
)
