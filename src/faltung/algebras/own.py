"""Algebras made by the caller from two scalar functions, compiled as they stand."""

import hashlib
import re
import sys
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from faltung.algebras.algebra import FUNCTIONS, Algebra
from faltung.errors import ArgumentError

LAWS = ("commutative", "idempotent", "exact")
DTYPES = ("float32", "float64", "complex64", "complex128", "int64", "uint64")


def own(
    add: Callable[[Any, Any], Any], mul: Callable[[Any, Any], Any], zero: Any, one: Any, *, name: str = "own",
    dtype: str = "float64", laws: Iterable[str] = (), star: Callable[[Any], Any] | None = None,
) -> Algebra:  # fmt: skip
    """The algebra of two scalar functions: convolutions over it are compiled loops at once.

    Formula: `y(p) = add over u·v = p of mul(x(u), k(v))`, begun with `zero`, in the order of the taps.

    Args:
        add, mul: Python functions of two numbers that Numba compiles (arithmetic, comparisons, `math`, their own constants).
        zero, one: the neutral values: add(zero, a) = a, mul(one, a) = a, mul(zero, a) = zero.
        name: for people; what the functions do becomes part of it, so that two algebras of one name stay apart.
        dtype: of all values, one of float32, float64, complex64, complex128, int64, uint64.   laws: promises among commutative,
            idempotent and exact; `faltung.testing.laws.check_algebra(algebra, dtype)` tests them and those of every semiring.
        star: `star(a) = one ⊕ a ⊗ star(a)`, where there is one.

    Returns:
        An `Algebra` for `over=`. Other arrays than those of its dtype are refused.

    Raises:
        ArgumentError: no functions of two arguments, an unknown dtype or law, neutral values that are not neutral for themselves.

    Error: the plan's bound is that of sums of products, which says nothing about other functions.

    Example:
        >>> from faltung import convolve
        >>> steepest = own(lambda a, b: a if abs(a) > abs(b) else b, lambda a, b: a * b, 0.0, 1.0, name="steepest")
        >>> convolve([1.0, -5.0, 2.0], [1.0, 1.0], over=steepest)
        array([ 1., -5., -5.,  2.])
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        raise ArgumentError.of("Algebra", "a name of letters, digits, - and _", repr(name), "rename it")
    for what, function in (("add", add), ("mul", mul)):
        if not isinstance(function, FunctionType) or function.__code__.co_argcount != 2:
            raise ArgumentError.of(
                "Algebra", f"{what} as a Python function of two numbers", repr(function), "write a def"
            )
    if dtype not in DTYPES:
        raise ArgumentError.of("Algebra", f"a dtype among {', '.join(DTYPES)}", repr(dtype), "choose the nearest")
    if unknown := set(laws) - set(LAWS):
        raise ArgumentError.of(
            "Algebra", f"laws among {', '.join(LAWS)}", ", ".join(sorted(unknown)),
            "for fast methods over rings take 'real', 'integer' or 'modular(p)'",
        )  # fmt: skip
    kind = np.dtype(dtype).type
    nothing, unit = kind(zero), kind(one)
    if not (_equal(add(nothing, unit), unit) and _equal(mul(unit, unit), unit) and _equal(mul(nothing, unit), nothing)):
        raise ArgumentError.of(
            "Algebra", "add(zero, one) = one, mul(one, one) = one, mul(zero, one) = zero",
            f"{add(nothing, unit)}, {mul(unit, unit)}, {mul(nothing, unit)}", "correct zero and one",
        )  # fmt: skip
    marks = [_mark(function) for function in (add, mul)]
    FUNCTIONS.update(zip(marks, (add, mul), strict=True))
    digest = hashlib.sha256(repr((marks, zero, one, dtype)).encode()).hexdigest()[:8]
    return Algebra(
        name=f"{name}-{digest}",
        notation="the caller's",
        summary=f"an algebra of the caller's, {name}",
        source_note="given by the caller",
        add=_lifted(add, dtype),
        mul=_lifted(mul, dtype),
        zero=lambda _: nothing,
        one=lambda _: unit,
        scalar_add=marks[0],
        scalar_mul=marks[1],
        dtypes=(dtype,),
        compute=lambda x, k: dtype if (x, k) == (dtype, dtype) else None,
        laws=frozenset(laws),
        arithmetic="own",
        star=None if star is None else _lifted_one(star, dtype),
    )


def _equal(a: Any, b: Any) -> bool:
    return bool(a == b) or bool(a != a and b != b)


def _lifted(function: Callable[[Any, Any], Any], dtype: str) -> Callable[[Any, Any], Any]:
    """The function element by element, slowly: for the judge and for small sums."""
    each = np.frompyfunc(function, 2, 1)

    def lifted(a: Any, b: Any) -> Any:
        return np.asarray(each(a, b)).astype(dtype)[()]

    return lifted


def _lifted_one(function: Callable[[Any], Any], dtype: str) -> Callable[[Any], Any]:
    each = np.frompyfunc(function, 1, 1)
    return lambda a: np.asarray(each(a)).astype(dtype)[()]


def _mark(function: Any) -> str:
    """A name for what a function does: the same in every process, another for every other code or constant.

    Values that the code takes from around it are part of it, as far as they are numbers or functions of Python.
    """
    inner = inspected(function.__code__)
    around = [cell.cell_contents for cell in function.__closure__ or ()]
    around += [function.__globals__.get(name) for name in function.__code__.co_names]
    kept = [v for v in around if isinstance(v, (int, float, complex, str, FunctionType)) and v is not function]
    seen = [_mark(v) if isinstance(v, FunctionType) else repr(v) for v in kept]
    text = repr((inner, seen, function.__defaults__, sys.version_info[:2]))
    return f"@{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def inspected(code: CodeType) -> tuple:
    """Code as plain values, addresses and line numbers left out."""
    constants = tuple(inspected(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts)
    return code.co_code, constants, code.co_names, code.co_varnames
