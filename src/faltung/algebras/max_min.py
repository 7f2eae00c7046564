"""The bottleneck semirings: max and min of the same numbers, either as the sum."""

from typing import Any

import numpy as np

from faltung.algebras.algebra import REALS, Algebra, widest_real


def _first(a: Any, b: Any) -> tuple[Any, Any]:
    """The derivatives of min(a, b): all of it to a where the two are equal."""
    return np.where(a <= b, 1.0, 0.0), np.where(a <= b, 0.0, 1.0)


def _last(a: Any, b: Any) -> tuple[Any, Any]:
    return np.where(a >= b, 1.0, 0.0), np.where(a >= b, 0.0, 1.0)


_LARGER, _SMALLER = "a if (a > b or a != a) else b", "a if (a < b or a != a) else b"

MAX_MIN = Algebra(
    name="max-min",
    notation="max, min",
    summary="largest of smallest: widest bottleneck on a way, fuzzy dilation",
    source_note="Pollack (1960)",
    add=np.maximum,
    mul=np.minimum,
    zero=lambda dtype: dtype.type(-np.inf),
    one=lambda dtype: dtype.type(np.inf),
    scalar_add=_LARGER,
    scalar_mul=_SMALLER,
    dtypes=REALS,
    compute=lambda x, k: widest_real(x, k) if x in REALS and k in REALS else None,
    laws=frozenset({"commutative", "idempotent", "ordered"}),
    vector_add="larger",
    vector_mul="smaller",
    star=lambda a: np.full(np.shape(a), np.inf),
    partials=_first,
)
MIN_MAX = Algebra(
    name="min-max",
    notation="min, max",
    summary="smallest of largest: lowest pass on a way, fuzzy erosion",
    source_note="Pollack (1960)",
    add=np.minimum,
    mul=np.maximum,
    zero=lambda dtype: dtype.type(np.inf),
    one=lambda dtype: dtype.type(-np.inf),
    scalar_add=_SMALLER,
    scalar_mul=_LARGER,
    dtypes=REALS,
    compute=lambda x, k: widest_real(x, k) if x in REALS and k in REALS else None,
    laws=frozenset({"commutative", "idempotent", "ordered"}),
    vector_add="smaller",
    vector_mul="larger",
    star=lambda a: np.full(np.shape(a), -np.inf),
    partials=_last,
)
