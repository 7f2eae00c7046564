"""Truth values with or and and: which positions can be reached at all."""

import numpy as np

from faltung.algebras.algebra import Algebra

BOOLEAN = Algebra(
    name="boolean",
    notation="or, and",
    summary="or of ands: binary dilation, reachability, supports of sums",
    source_note="Boolean semiring",
    add=np.logical_or,
    mul=np.logical_and,
    zero=lambda dtype: dtype.type(False),
    one=lambda dtype: dtype.type(True),
    scalar_add="a | b",
    scalar_mul="a & b",
    dtypes=("bool",),
    compute=lambda x, k: "bool" if (x, k) == ("bool", "bool") else None,
    laws=frozenset({"commutative", "exact", "idempotent", "ordered"}),
    star=lambda a: np.ones(np.shape(a), dtype=bool),
)
