"""The matrix product over any algebra: best paths of two steps, sums of logarithms, reachability, counts."""

import math
from typing import Any

import numpy as np

from faltung import algebras
from faltung.algebras import Algebra
from faltung.algebras.algebra import REALS
from faltung.arrays import as_array, dtype_name, is_torch, rounded, to_numpy
from faltung.errors import ArgumentError, DtypeError, ExactnessError
from faltung.kernels.semiring_product import contract
from faltung.kernels.semiring_product import on_numba as kernel


def matmul(a: Any, b: Any, over: str | Algebra | None = None) -> Any:
    """Multiply matrices over an algebra; the tensor of all products is never made.

    Formula: `C[i, j] = ⊕ over k of a[i, k] ⊗ b[k, j]`; the zero of the algebra annihilates infinities, too: −∞ ⊗ +∞ = −∞ over
        max-plus and log, +∞ over min-plus, 0 ⊗ ∞ = 0 over max-times. NaN stays visible.

    Shapes: a (..., m, k), b (..., k, n) give (..., m, n), leading axes broadcast; vectors as in numpy.matmul.

    Args:
        a, b: NumPy arrays, nested lists, or torch tensors (then differentiable).
        over: the algebra, by name; by dtype if left out (boolean, integer, real or complex).

    Returns:
        The kind of array that came in. Reals keep their promoted dtype; integers are int64 (uint64), exact or refused.

    Gradients: over ordered algebras the cotangent goes to the first k that attains the result, and on to a or b by the derivative
        of ⊗; over log by shares exp(a + b − C), differentiable again; truth values and counts have none.

    Raises:
        ArgumentError: shapes that do not fit, values outside the algebra.   DtypeError: dtypes that it does not compute with.
        ExactnessError: integers whose sums could leave 64 bits.   RefusedError: a second derivative of a maximum.

    Error: none for exact algebras; one rounding for each product of an ordered algebra; log: within 4·k units in the last place
        of the largest |a| + |b|; real and complex: NumPy's.
    Cost: m·k·n products in vectors; log: (m + n)·k exponentials, m·n logarithms and a real product, and k exponentials for each
        result whose terms all lie far below the maxima of their row and column.
    Source: the definition; blocks after Goto and van de Geijn (2008).

    Example:
        >>> matmul([[0.0, 2.0], [1.0, 5.0]], [[1.0, 0.0], [3.0, 4.0]], over="min-plus")
        array([[1., 0.],
               [2., 1.]])
    """
    a, b = as_array(a, "matmul"), as_array(b, "matmul")
    if is_torch(a) != is_torch(b):
        raise ArgumentError.of("matmul", "two arrays of one kind", "a tensor and an array", "convert one of them")
    names = dtype_name(a), dtype_name(b)
    algebra = algebras.named(over) if over is not None else algebras.natural(*names)
    compute = algebra.compute(*names) if algebra is not None else None
    if algebra is None or compute is None:
        allowed = ", ".join(algebra.dtypes) if algebra is not None else "numbers"
        raise DtypeError.of("matmul", f"dtypes among {allowed}", " and ".join(names), "cast the operands")
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ArgumentError.of(
            "matmul", "a (..., m, k) and b (..., k, n)", f"{tuple(a.shape)} and {tuple(b.shape)}", "turn one of them"
        )
    if is_torch(a):
        from faltung.engine import matmul_torch

        return matmul_torch.matmul(a, b, algebra, compute)
    result = product(a if a.ndim > 1 else a[None], b if b.ndim > 1 else b[:, None], algebra, compute)
    result = result if a.ndim > 1 else result[..., 0, :]
    result = result if b.ndim > 1 else result[..., 0]
    return rounded(result, str(np.result_type(*names))) if all(name in REALS for name in names) else result


def product(a: np.ndarray, b: np.ndarray, algebra: Algebra, compute: str) -> np.ndarray:
    """The product of stacks of matrices in the dtype of the arithmetic."""
    a, b = (_entered(v, algebra, compute) for v in (a, b))
    try:
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ArgumentError.of(
            "matmul", "leading axes that broadcast", f"{a.shape[:-2]} and {b.shape[:-2]}", "repeat or drop an axis"
        ) from None
    if algebra.name in ("real", "complex"):
        with np.errstate(invalid="ignore", over="ignore"):
            return a @ b
    if algebra.name == "integer":
        _prove(a, b, compute)
    a, b = np.broadcast_to(a, (*lead, *a.shape[-2:])), np.broadcast_to(b, (*lead, *b.shape[-2:]))
    out = np.empty((*lead, a.shape[-2], b.shape[-1]), compute)
    for at in np.ndindex(*lead):
        out[at] = one_product(a[at], b[at], algebra)
    return out


def one_product(a: np.ndarray, b: np.ndarray, algebra: Algebra) -> np.ndarray:
    """The product of two matrices in the dtype of the arithmetic, values as they are."""
    if a.dtype == object or not algebra.scalar_mul:
        return contract.product(a, b, algebra)
    return kernel.product(a, b, algebra)


def _entered(values: np.ndarray, algebra: Algebra, compute: str) -> np.ndarray:
    if algebra.admit is None:
        return to_numpy(values, compute)
    return to_numpy(algebra.admit(values if values.dtype.kind != "f" else to_numpy(values, compute)), compute)


def _prove(a: np.ndarray, b: np.ndarray, compute: str) -> None:
    """ExactnessError where a sum of products could leave the accumulator."""
    largest = math.prod(max(abs(int(v.max(initial=0))), abs(int(v.min(initial=0)))) for v in (a, b)) * a.shape[-1]
    if largest > np.iinfo(compute).max:
        raise ExactnessError.of(
            "matmul", f"sums of at most {np.iinfo(compute).max}", f"possible sums of {largest}",
            'use over="count" (Python\'s integers), over="modular(p)", or floating-point values',
        )  # fmt: skip
