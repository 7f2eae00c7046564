"""What an algebra is: the two operations that meet under a convolution, and the laws they keep."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Algebra:
    """A semiring (values, add, mul, zero, one) with its dtypes and declared laws.

    Formula: `y(p) = add over u·v = p of mul(x(u), k(v))`.

    `add` and `mul` work element by element on NumPy arrays and are the judge's operations. `source` holds the same two
    operations as scalar Python expressions in `a` and `b`, from which the compiled kernels are made; the kernel suite checks
    that both agree. `vector_add` and `vector_mul` name the same two among the operations on vectors (`add`, `mul`,
    `larger`, `smaller`); empty where kernels have none. `laws` are promises that `faltung.testing.laws` tests:

    - `ring`: add has inverses, so fast bilinear algorithms (FFT, Winograd, GEMM, running sums) are right;
    - `exact`: no rounding, results are equal bit for bit whatever the method;
    - `idempotent`: add(a, a) = a;   `ordered`: add picks one of its operands;   `commutative`: mul(a, b) = mul(b, a).

    `compute` maps a pair of operand dtypes to the dtype of the arithmetic, or None where the algebra has no such values.
    """

    name: str
    summary: str
    source_note: str
    add: Callable[[Any, Any], Any]
    mul: Callable[[Any, Any], Any]
    zero: Callable[[np.dtype], Any]
    one: Callable[[np.dtype], Any]
    scalar_add: str
    scalar_mul: str
    dtypes: tuple[str, ...]
    compute: Callable[[str, str], str | None]
    laws: frozenset[str]
    vector_add: str = ""
    vector_mul: str = ""

    @property
    def ring(self) -> bool:
        return "ring" in self.laws

    @property
    def exact(self) -> bool:
        return "exact" in self.laws

    @property
    def ordered(self) -> bool:
        return "ordered" in self.laws

    @property
    def beats(self) -> Callable[[Any, Any], Any] | None:
        """For algebras whose add picks the largest or smallest of numbers: whether the first is picked before the second."""
        return {"larger": np.greater, "smaller": np.less}.get(self.vector_add)

    @property
    def source(self) -> str:
        return self.source_note


# bfloat16 has no NumPy dtype of its own: it arrives as torch tensors and is computed in float32.
HALVES = ("float16", "bfloat16")
REALS = (*HALVES, "float32", "float64")
COMPLEXES = ("complex64", "complex128")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def widest_real(x: str, k: str) -> str | None:
    """The float type of the arithmetic for two operand dtypes: never below float32, float64 beside wide integers."""
    if not all(t in REALS or t in INTEGERS or t == "bool" for t in (x, k)):
        return None
    plain = ["float32" if t in HALVES else t for t in (x, k)]
    return str(np.result_type(*plain, "float32"))
