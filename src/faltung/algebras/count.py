"""The natural numbers with infinity, + and ×, without limit: how many ways there are.

Values are Python integers in arrays of dtype object; `math.inf` is the one value that is no integer, and 0 · ∞ = 0.
"""

import math
from typing import Any

import numpy as np

from faltung.algebras.algebra import INTEGERS, Algebra
from faltung.errors import ArgumentError


def _times(a: Any, b: Any) -> Any:
    return a * b if a and b else 0


def _admit(values: np.ndarray) -> np.ndarray:
    """Python integers from 0 on, and infinity."""
    out = values.astype(object)
    for v in out.ravel():
        natural = isinstance(v, (int, np.integer)) and v >= 0
        if not natural and not (isinstance(v, float) and v == math.inf):
            raise ArgumentError.of(
                "over='count'", "whole numbers from 0 on, or math.inf", repr(v), "use over='rational' for other numbers"
            )
    return out


_star = np.frompyfunc(lambda a: math.inf if a else 1, 1, 1)

COUNT = Algebra(
    name="count",
    notation="+, ×",
    summary="natural numbers without limit, and infinity: in how many ways",
    source_note="Elliott, Generalized convolution and efficient language recognition (2019)",
    add=np.frompyfunc(lambda a, b: a + b, 2, 1),
    mul=np.frompyfunc(_times, 2, 1),
    zero=lambda dtype: 0,
    one=lambda dtype: 1,
    scalar_add="",
    scalar_mul="",
    dtypes=("object", "bool", *INTEGERS),
    compute=lambda x, k: "object" if all(t in ("object", "bool", *INTEGERS) for t in (x, k)) else None,
    laws=frozenset({"commutative", "exact"}),
    arithmetic="objects",
    star=_star,
    admit=_admit,
    least=0,
)
