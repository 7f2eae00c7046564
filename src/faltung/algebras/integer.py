"""Integers with + and ×, exact: the result is right to the last bit or the call refuses.

The accumulator is int64 (uint64 where an operand is uint64). Where the operand types and the number of terms prove that no sum
can leave it, nothing is checked; otherwise `proof` bounds the sum from the values, in linear time, before anything is computed.
"""

import math
from typing import Any

import numpy as np

from faltung.algebras.algebra import INTEGERS, Algebra, no_star
from faltung.errors import ExactnessError


def _compute(x: str, k: str) -> str | None:
    if not all(t in INTEGERS or t == "bool" for t in (x, k)):
        return None
    return "uint64" if "uint64" in (x, k) and all(t[0] in "ub" for t in (x, k)) else "int64"


def _reach(dtype: str) -> int:
    if dtype == "bool":
        return 1
    info = np.iinfo(dtype)
    return max(abs(int(info.min)), int(info.max))


def result_dtype(x: str, k: str, terms: int, fill: int = 0) -> str:
    """The narrowest of NumPy's result type, int32 and the accumulator that provably holds `terms` products.

    `fill` is what stands beyond the edge, of either sign.

    Where the types prove nothing (int64 operands), it is the accumulator, and `proof` decides from the values.
    """
    top = terms * max(_reach(x), abs(fill)) * _reach(k)
    natural = "int64" if "bool" in (x, k) and x == k else str(np.result_type(x, k))
    for candidate in (natural, "int32"):
        if (
            candidate in INTEGERS
            and np.iinfo(candidate).min <= (min(fill, 0) if candidate[0] == "u" else -top)
            and top <= np.iinfo(candidate).max
        ):
            return candidate
    return _compute(x, k) or "int64"


def proven(x: str, k: str, terms: int, accumulator: str, fill: int = 0) -> bool:
    """Whether the operand types alone prove that no partial sum leaves the accumulator."""
    return terms * max(_reach(x), fill) * _reach(k) <= int(np.iinfo(accumulator).max)


def largest(a: np.ndarray) -> int:
    """The largest magnitude, as a Python integer."""
    return max(abs(int(a.max())), abs(int(a.min()))) if a.size else 0


def proof(
    x: np.ndarray, k: np.ndarray, fill: int, sums_over: tuple[int, ...], accumulator: str, times: int = 1
) -> None:
    """Raise `ExactnessError` unless `times · max|x| · max over filters of ‖k‖₁` fits the accumulator.

    Args:
        x: signal values.   k: filter values.   fill: largest magnitude that the boundary adds.
        sums_over: the axes of k that one result sums over.   accumulator: dtype of the arithmetic.
        times: how many such sums meet in one result.
    """
    top = max(largest(x), abs(fill)) * times
    count = math.prod(k.shape[a] for a in sums_over)
    limit = int(np.iinfo(accumulator).max)
    bound = top * largest(k) * count
    if (
        bound > limit and k.size
    ):  # the cheap bound failed: take the 1-norm itself, in Python integers where it might wrap
        magnitude = np.abs(k.astype(object)) if largest(k) * count > 2**62 else np.abs(k.astype(np.int64))
        bound = top * int(np.max(magnitude.sum(axis=sums_over)))
    if bound > limit:
        raise ExactnessError.of(
            "integer convolution",
            f"sums within ±{limit} ({accumulator})",
            f"values whose sums may reach {bound}",
            "scale the operands down, or pass float64 arrays to accept rounding",
        )


def _star(a: Any) -> Any:
    """1/(1 − a) where that is a whole number: of 0 and of 2."""
    a = np.asarray(a)
    if not ((a == 0) | (a == 2)).all():
        raise no_star("integer", "0 or 2", a)
    return np.where(a == 0, 1, -1)


INTEGER = Algebra(
    name="integer",
    notation="+, ×",
    summary="exact sums of products of integers; refuses where a sum could wrap around",
    source_note="two's complement, 64-bit accumulators with a proven bound",
    add=np.add,
    mul=np.multiply,
    zero=lambda dtype: dtype.type(0),
    one=lambda dtype: dtype.type(1),
    scalar_add="a + b",
    scalar_mul="a * b",
    dtypes=INTEGERS,
    compute=_compute,
    laws=frozenset({"ring", "commutative", "exact"}),
    vector_add="add",
    vector_mul="mul",
    star=_star,
)
