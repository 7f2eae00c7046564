"""Sums over any binary map of indices: convolution where the map is one nobody has named."""

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from faltung import algebras, arrays
from faltung.algebras import integer
from faltung.errors import ArgumentError, DtypeError

MOST = 1 << 27


def lift(op: Callable[..., Any], *xs: Any, size: int | None = None, over: Any = None) -> np.ndarray:
    """The values of one or several arrays, multiplied and added where a map of their indices says.

    Formula: `y(w) = ⊕ over all op(u₁, ..., u_r) = w of x₁(u₁) ⊗ ... ⊗ x_r(u_r)`. With one array a weighted histogram
        (push-forward); with two and op = u + v the plain convolution, u − v correlation, s·u + d·v with stride and dilation.

    Shapes: x_i (n_i,) gives (size,).

    Args:
        op: takes int64 arrays of indices, each along an axis of its own, and returns their results, broadcast together; negative
            ones are left out.   xs: one-dimensional NumPy arrays or lists.
        size: number of results. Default: one more than the largest index that op returns.
        over: the algebra; by dtype if left out.

    Returns:
        The sums in the dtype of the algebra's arithmetic (integers: int64, exact or refused).

    Raises:
        ArgumentError: arrays that are not one-dimensional, a map into other shapes, indices from `size` on, over 2^27 products.
        DtypeError: dtypes that the algebra does not compute with.

    Error: of sums one after the other.   Cost: one product for every tuple of indices; memory likewise.
    Source: Elliott, Generalized convolution and efficient language recognition (2019), lift0, lift1, lift2.

    Example:
        >>> lift(lambda u, v: u + v, [1, 2], [10, 20])
        array([10, 40, 40])
        >>> lift(lambda u: u // 2, [1, 2, 3, 4])
        array([3, 7])
    """
    if not xs:
        raise ArgumentError.of("lift", "at least one array", "none", "write lift(op, x) or lift(op, x, k)")
    given = [arrays.as_array(x, "lift") for x in xs]
    for a in given:
        if a.ndim != 1 or a.size == 0 or arrays.is_torch(a):
            came = f"shape {tuple(a.shape)}"
            raise ArgumentError.of("lift", "one-dimensional NumPy arrays with values", came, "flatten them")
    algebra, dtype = _arithmetic([arrays.dtype_name(a) for a in given], over)
    count = math.prod(a.size for a in given)
    if count > MOST:
        raise ArgumentError.of(
            "lift", f"at most {MOST} products", str(count), "use convolve on a domain that it plans for"
        )
    each = np.ix_(*[(a if algebra.admit is None else algebra.admit(a)).astype(dtype) for a in given])
    values = reduce(algebra.mul, each)
    target = np.asarray(op(*np.ix_(*[np.arange(a.size) for a in given])))
    if target.dtype.kind not in "iu" or np.broadcast_shapes(target.shape, values.shape) != values.shape:
        raise ArgumentError.of(
            "lift", f"a map into whole numbers of shape {values.shape}", f"{target.dtype} of shape {target.shape}",
            "return one index for every tuple",
        )  # fmt: skip
    target = np.broadcast_to(target, values.shape).ravel()
    kept = target >= 0
    flat, target = values.ravel()[kept], target[kept]
    length = int(target.max(initial=-1)) + 1 if size is None else size
    if target.size and int(target.max()) >= length:
        raise ArgumentError.of(
            "lift", f"indices below {length}", str(int(target.max())), "raise size, or map them to −1"
        )
    if algebra.name == "integer":
        deepest = int(np.bincount(target, minlength=1).max())
        factors = [np.full(1, integer.largest(a), dtype=object) for a in given]
        top = np.full((1, 1, 1), reduce(np.multiply, factors)[0], dtype=object)
        integer.proof(np.ones(1, dtype=np.int64), top, 0, (2,), dtype, deepest)
    return _scattered(algebra, flat, target, length)


def _arithmetic(names: list[str], over: Any) -> tuple[Any, str]:
    """The algebra, and the dtype in which it multiplies values of all these dtypes."""
    algebra = algebras.named(over) if over is not None else algebras.natural(names[0], names[-1])
    dtype = names[0] if algebra is not None else None
    for name in names:
        dtype = None if dtype is None or algebra is None else algebra.compute(dtype, name)
    if algebra is None or dtype is None:
        raise DtypeError.of(
            "lift", "dtypes that one algebra computes with", ", ".join(names), "cast, or name it by over="
        )
    return algebra, dtype


def _scattered(algebra: Any, values: np.ndarray, target: np.ndarray, length: int) -> np.ndarray:
    """⊕ of the values of every target, rank by rank within a target, so that no place is written twice at once."""
    y = np.full(length, algebra.zero(values.dtype), dtype=values.dtype)
    order = np.argsort(target, kind="stable")
    values, target = values[order], target[order]
    first = np.searchsorted(target, np.arange(length))
    if isinstance(algebra.add, np.ufunc) and values.size:
        filled = np.unique(target)
        y[filled] = algebra.add.reduceat(values, first[filled])
        return y
    rank = np.arange(target.size) - first[target] if target.size else target
    for r in range(int(rank.max(initial=-1)) + 1):
        at = rank == r
        y[target[at]] = algebra.add(y[target[at]], values[at])
    return y
