"""Numbers from 0 on with max and ×: the most probable way (Viterbi)."""

from typing import Any

import numpy as np

from faltung.algebras.algebra import REALS, Algebra, at_least, no_star, widest_real


def _star(a: Any) -> Any:
    """1 where no round gains; elsewhere the powers grow without bound."""
    if not (np.asarray(a) <= 1).all():
        raise no_star("max-times", "a value of at most 1", a)
    return np.ones_like(np.asarray(a, dtype="float64"))


MAX_TIMES = Algebra(
    name="max-times",
    notation="max, ×",
    summary="largest of products of numbers from 0 on: most probable paths (Viterbi)",
    source_note="Viterbi (1967)",
    add=np.maximum,
    mul=np.multiply,
    zero=lambda dtype: dtype.type(0),
    one=lambda dtype: dtype.type(1),
    scalar_add="a if (a > b or a != a) else b",
    scalar_mul="a * b",
    dtypes=REALS,
    compute=lambda x, k: widest_real(x, k) if x in REALS and k in REALS else None,
    laws=frozenset({"commutative", "idempotent", "ordered"}),
    vector_add="larger",
    vector_mul="mul",
    star=_star,
    admit=at_least(0.0, "max-times"),
    least=0.0,
    partials=lambda a, b: (b, a),
)
