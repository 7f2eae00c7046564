"""Real numbers with + and ×, in floating point."""

from typing import Any

import numpy as np

from faltung.algebras.algebra import REALS, Algebra, no_star, widest_real


def _star(a: Any) -> Any:
    """1/(1 − a), the sum 1 + a + a² + ... where |a| < 1 and its continuation elsewhere."""
    if (np.asarray(a) == 1).any():
        raise no_star("real", "a value other than 1", a)
    return 1.0 / (1.0 - np.asarray(a, dtype="float64"))


REAL = Algebra(
    name="real",
    notation="+, ×",
    summary="sums of products of floating-point numbers; halves are computed in float32",
    source_note="IEEE 754",
    add=np.add,
    mul=np.multiply,
    zero=lambda dtype: dtype.type(0),
    one=lambda dtype: dtype.type(1),
    scalar_add="a + b",
    scalar_mul="a * b",
    dtypes=REALS,
    compute=widest_real,
    laws=frozenset({"ring", "commutative"}),
    vector_add="add",
    vector_mul="mul",
    star=_star,
    partials=lambda a, b: (b, a),
)
