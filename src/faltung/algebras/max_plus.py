"""The max-plus (tropical) semiring: grey-scale dilation, best paths, Viterbi scores.

`zero` is -inf, so values are floating-point numbers; NaN wins over every number and therefore stays visible.
"""

from typing import Any

import numpy as np

from faltung.algebras.algebra import REALS, Algebra, no_star, ones, widest_real


def _star(a: Any) -> Any:
    """0 where going round costs nothing, +∞ where every round gains."""
    if np.isnan(a).any():
        raise no_star("max-plus", "a number", a)
    return np.where(np.asarray(a) <= 0, 0.0, np.inf)


MAX_PLUS = Algebra(
    name="max-plus",
    notation="max, +",
    summary="largest of sums: grey-scale dilation, longest paths, Viterbi scores",
    source_note="tropical semiring",
    add=np.maximum,
    mul=np.add,
    zero=lambda dtype: dtype.type(-np.inf),
    one=lambda dtype: dtype.type(0),
    scalar_add="a if (a > b or a != a) else b",
    scalar_mul="a + b",
    dtypes=REALS,
    compute=lambda x, k: widest_real(x, k) if x in REALS and k in REALS else None,
    laws=frozenset({"commutative", "idempotent", "ordered"}),
    vector_add="larger",
    vector_mul="add",
    star=_star,
    partials=ones,
)
