"""Complex numbers with + and ×, in floating point."""

from typing import Any

import numpy as np

from faltung.algebras.algebra import COMPLEXES, Algebra, no_star, widest_real


def _compute(x: str, k: str) -> str | None:
    reals = [{"complex64": "float32", "complex128": "float64"}.get(t, t) for t in (x, k)]
    real = widest_real(*reals)
    return None if real is None else str(np.result_type(real, "complex64"))


def _star(a: Any) -> Any:
    """1/(1 − a)."""
    if (np.asarray(a) == 1).any():
        raise no_star("complex", "a value other than 1", a)
    return 1.0 / (1.0 - np.asarray(a, dtype="complex128"))


COMPLEX = Algebra(
    name="complex",
    notation="+, ×",
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
    star=_star,
    partials=lambda a, b: (b, a),
)
