"""The min-plus (tropical) semiring: grey-scale erosion, shortest paths, distance transforms.

`zero` is +inf, so values are floating-point numbers; NaN wins over every number and therefore stays visible.
"""

import numpy as np

from faltung.algebras.algebra import REALS, Algebra, widest_real

MIN_PLUS = Algebra(
    name="min-plus",
    summary="smallest of sums: grey-scale erosion, shortest paths, distance transforms",
    source_note="tropical semiring",
    add=np.minimum,
    mul=np.add,
    zero=lambda dtype: dtype.type(np.inf),
    one=lambda dtype: dtype.type(0),
    scalar_add="a if (a < b or a != a) else b",
    scalar_mul="a + b",
    dtypes=REALS,
    compute=lambda x, k: widest_real(x, k) if x in REALS and k in REALS else None,
    laws=frozenset({"commutative", "idempotent", "ordered"}),
    vector_add="smaller",
    vector_mul="add",
)
