"""Complex numbers with + and ×, in floating point."""

import numpy as np

from faltung.algebras.algebra import COMPLEXES, Algebra, widest_real


def _compute(x: str, k: str) -> str | None:
    reals = [{"complex64": "float32", "complex128": "float64"}.get(t, t) for t in (x, k)]
    real = widest_real(*reals)
    return None if real is None else str(np.result_type(real, "complex64"))


COMPLEX = Algebra(
    name="complex",
    summary="sums of products of complex floating-point numbers; a real operand is lifted",
    source_note="IEEE 754",
    add=np.add,
    mul=np.multiply,
    zero=lambda dtype: dtype.type(0),
    one=lambda dtype: dtype.type(1),
    scalar_add="a + b",
    scalar_mul="a * b",
    dtypes=COMPLEXES,
    compute=_compute,
    laws=frozenset({"ring", "commutative"}),
)
