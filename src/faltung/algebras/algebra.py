"""What an algebra is: the two operations that meet under a convolution, and the laws they keep."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from faltung.errors import ArgumentError


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

    `arithmetic` says what the values are to a machine: `machine` numbers whose + and × are its own, `residues` that are machine
    integers with a modulus, `objects` of Python, `own` what the caller's functions make of them. A method serves the kinds that it
    names. `modulus` is that of residues.

    `star(a)` is `one ⊕ a ⊕ a⊗a ⊕ ...` where that sum has a value in the algebra, else an ArgumentError. `admit` brings the values
    of an operand into the algebra's set (residues into 0 ... p − 1) or raises. `least` is the smallest value that it admits.
    `partials(a, b)` are the two derivatives of `mul`; `share(v, total)` is the weight of a term v in a sum, the derivative of
    `add`: for sums that are smooth. Ordered algebras pass their gradient to the term that they pick.
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
    notation: str = ""
    arithmetic: str = "machine"
    modulus: int = 0
    star: Callable[[Any], Any] | None = None
    admit: Callable[[np.ndarray], np.ndarray] | None = None
    least: float = -np.inf
    partials: Callable[[Any, Any], tuple[Any, Any]] | None = None
    share: Callable[[Any, Any], Any] | None = None

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
    def shifts(self) -> bool:
        """Whether `mul` adds numbers: then sizes of products are sums of sizes."""
        return self.mul is np.add

    @property
    def source(self) -> str:
        return self.source_note


FUNCTIONS: dict[
    str, Callable[[Any, Any], Any]
] = {}  # scalar functions of the caller's, by the mark that stands for them


def operation(expression: str) -> Callable[[Any, Any], Any]:
    """The scalar function of `a` and `b` that an expression of an algebra stands for, or the caller's own by its mark."""
    if expression.startswith("@"):
        return FUNCTIONS[expression]
    scope: dict[str, Any] = {"exp": math.exp, "log1p": math.log1p}
    exec(f"def operation(a, b): return {expression}", scope)
    return scope["operation"]


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


def no_star(algebra: str, expected: str, came: Any) -> ArgumentError:
    """The error for a value whose powers have no sum."""
    return ArgumentError.of(
        f"star over {algebra}", expected, repr(came), "scale the value, or use an algebra in which the sum exists"
    )


def at_least(least: float, algebra: str) -> Callable[[np.ndarray], np.ndarray]:
    """An `admit` for algebras of numbers from `least` on; NaN passes and stays visible."""

    def admit(values: np.ndarray) -> np.ndarray:
        if values.size and bool((values < least).any()):
            raise ArgumentError.of(
                f"over={algebra!r}", f"values of at least {least:g}", f"{values.min():g}", "clip or shift the values"
            )
        return values

    return admit


def ones(a: Any, b: Any) -> tuple[Any, Any]:
    """The derivatives of a + b."""
    return 1.0, 1.0
