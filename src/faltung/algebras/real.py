"""Real numbers with + and ×, in floating point."""

import numpy as np

from faltung.algebras.algebra import REALS, Algebra, widest_real

REAL = Algebra(
    name="real",
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
)
