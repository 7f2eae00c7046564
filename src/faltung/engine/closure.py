"""The star of a matrix: all paths of any length at once."""

from typing import Any

import numpy as np

from faltung import algebras
from faltung.algebras import Algebra
from faltung.algebras.algebra import REALS, no_star
from faltung.arrays import as_array, dtype_name, is_torch, rounded, to_numpy
from faltung.engine.matmul import one_product
from faltung.errors import ArgumentError, DtypeError, ExactnessError
from faltung.kernels.semiring_product import on_numba as kernel
from faltung.kernels.semiring_product.contract import times

BLOCK, SMALL = 64, 24  # sizes at which recursion ends: compiled, and in NumPy


def closure(a: Any, over: str | Algebra | None = None) -> Any:
    """The sum of all powers of a square matrix over an algebra: lengths of shortest paths, reachability, geometric series.

    Formula: `a* = 1 ⊕ a ⊕ a² ⊕ a³ ⊕ …`, 1 the identity: one on the diagonal, zero elsewhere. Over min-plus the entry (i, j)
        is the length of the shortest path from i to j where a holds the lengths of edges and +∞ where there is none (−∞ where
        a circle of negative length lies on the way); over max-min the widest bottleneck; over max-times the most probable path;
        over log the logarithm of the sum over all paths; over boolean whether there is a path; over integer and count how many
        paths.

    Shapes: a (n, n); returns (n, n).

    Args:
        a: NumPy array or nested list, a tensor without a gradient.   over: the algebra, by name; by dtype if left out.

    Returns:
        The kind of array that came in; dtype as in `matmul`.

    Raises:
        ArgumentError: a matrix that is not square, NaN, or powers that have no sum (over max-times a circle above 1, over log one
            of total probability 1 or more, over the reals a spectral radius of 1 or more, over integers a circle).
        DtypeError, ExactnessError: as in `matmul`.

    Error: exact algebras none; ordered ones the rounding of a path's sum, one for each edge; log and real: a few roundings
        for each edge, times the condition of 1 − a.
    Cost: n³ products, in blocks: six products of half the size at every level of the recursion.
    Source: Kleene (1956); Floyd (1962) and Warshall (1962); Conway, Regular algebra and finite machines (1971), for the blocks.

    Example:
        >>> closure([[0.0, 5.0, 1.0], [5.0, 0.0, 2.0], [1.0, 2.0, 0.0]], over="min-plus")
        array([[0., 3., 1.],
               [3., 0., 2.],
               [1., 2., 0.]])
    """
    a = as_array(a, "closure")
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise ArgumentError.of(
            "closure", "a square matrix", f"shape {tuple(a.shape)}", "powers need as many columns as rows"
        )
    tensor, name = is_torch(a), dtype_name(a)
    if tensor and a.requires_grad:
        raise ArgumentError.of(
            "closure", "a tensor without a gradient", "requires_grad=True", "detach it; matmul carries gradients"
        )
    algebra = algebras.named(over) if over is not None else algebras.natural(name, name)
    compute = algebra.compute(name, name) if algebra is not None else None
    if algebra is None or compute is None:
        allowed = ", ".join(algebra.dtypes) if algebra is not None else "numbers"
        raise DtypeError.of("closure", f"a dtype among {allowed}", name, "cast the matrix")
    values = to_numpy(a, name if algebra.arithmetic == "objects" else compute)
    values = algebra.admit(values) if algebra.admit is not None else values
    if values.dtype.kind in "fc" and np.isnan(values).any():
        raise ArgumentError.of("closure", "numbers", "NaN", "mark what is missing with the algebra's zero")
    if algebra.name in ("real", "complex"):
        result = _series(values, algebra)
    elif algebra.name == "integer":
        result = _whole(_star(values.astype(object), algebra), compute)
    else:
        result = _star(values, algebra)
    result = rounded(result, name) if name in REALS and name != "bfloat16" else result
    if tensor:
        import torch

        return torch.from_numpy(np.ascontiguousarray(result)).to(a.dtype if name in REALS else None)
    return result


def _star(a: np.ndarray, algebra: Algebra) -> np.ndarray:
    """By quarters: the star of one corner, then that of the other with all ways through the first."""
    compiled = algebra.name in kernel.STARS
    n = a.shape[0]
    if n <= (BLOCK if compiled else SMALL):
        return _kleene(a, algebra) if compiled else _eliminated(a, algebra)

    def mul(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return one_product(np.ascontiguousarray(x), np.ascontiguousarray(y), algebra)

    half = n // 2
    first = _star(a[:half, :half], algebra)
    ahead, back = mul(first, a[:half, half:]), mul(a[half:, :half], first)
    last = _star(algebra.add(a[half:, half:], mul(a[half:, :half], ahead)), algebra)
    out = np.empty_like(a)
    out[:half, half:] = mul(ahead, last)
    out[half:, :half] = mul(last, back)
    out[half:, half:] = last
    out[:half, :half] = algebra.add(first, mul(out[:half, half:], back))
    return out


def _kleene(a: np.ndarray, algebra: Algebra) -> np.ndarray:
    result = kernel.kleene(a, algebra)
    if result is None:
        raise no_star(algebra.name, "no circle that gains", "a product above 1 on a circle")
    return result


def _eliminated(a: np.ndarray, algebra: Algebra) -> np.ndarray:
    """One index after the other, in NumPy: for algebras whose star is no constant."""
    assert algebra.star is not None
    a = a.copy()
    for k in range(a.shape[0]):
        star = algebra.star(a[k, k])
        star = star.item() if a.dtype == object and isinstance(star, np.ndarray) else star  # a number of Python's again
        around = times(a[:, k], star, algebra)
        a = algebra.add(a, times(around[:, None], a[None, k].copy(), algebra)).astype(a.dtype)
    at = np.arange(a.shape[0])
    a[at, at] = algebra.add(a[at, at], algebra.one(a.dtype))
    return a


def _series(a: np.ndarray, algebra: Algebra) -> np.ndarray:
    """(1 − a)⁻¹ where the powers die out."""
    radius = float(np.abs(np.linalg.eigvals(a)).max(initial=0.0)) if np.isfinite(a).all() else np.inf
    if not radius < 1.0:
        raise no_star(algebra.name, "a matrix of spectral radius below 1", f"one of {radius:.6g}")
    return np.linalg.inv(np.eye(len(a), dtype=a.dtype) - a)


def _whole(values: np.ndarray, compute: str) -> np.ndarray:
    """Python's integers in the accumulator, or ExactnessError."""
    info = np.iinfo(compute)
    if any(not info.min <= int(v) <= info.max for v in values.ravel()):
        raise ExactnessError.of(
            "closure", f"sums within {compute}", "larger ones", 'use over="count" or over="modular(p)"'
        )
    return values.astype(compute)
