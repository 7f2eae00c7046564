"""Transforms over bit strings: Walsh–Hadamard for XOR, zeta and Möbius for OR and AND.

With `f = fwht`, `f(x ∗ k) = f(x) · f(k)` where ∗ is convolution over XOR; with `f = zeta(order="subset")` the same holds over OR,
and with `order="superset"` over AND. The inverse of `fwht` is `fwht` itself divided by n, that of `zeta` is `zeta(inverse=True)`.
"""

import sys
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.arrays import as_array, dtype_name, is_torch
from faltung.errors import ArgumentError, DtypeError, ExactnessError
from faltung.kernels.hadamard import on_numba as hadamard_kernel
from faltung.kernels.zeta import on_numba as zeta_kernel

ORDERS = ("natural", "sequency", "dyadic")
_FLOATING = {"float16": "float32"} | {name: name for name in ("float32", "float64", "complex64", "complex128")}


def fwht(x: Any, axis: int = -1, order: str = "natural", norm: str = "backward") -> Any:
    """The Walsh–Hadamard transform along one axis.

    Formula: natural order `y[w] = c Σ_u (-1)^|u & w| x[u]`, |·| the number of ones; dyadic (Paley) order has y[r(w)] in place w,
        r the reversal of the bits, and sequency (Walsh) order has y[r(w XOR w >> 1)]: rows by their number of sign changes.
        c = 1 ("backward"), 1/√n ("ortho"), 1/n ("forward"). In every order the matrix is symmetric and its square n·c².

    Shapes: x any, the axis of n = 2^m places; returns the same shape.

    Args:
        x: NumPy array, list or torch tensor. Default of axis: the last.   order: natural, sequency or dyadic. Default natural.
        norm: backward, ortho or forward, as in numpy.fft. Default backward.

    Returns:
        An array of x's kind. Floating and complex dtypes are kept (NumPy's float16 becomes float32); integers and booleans
        become int64 and are exact. Tensors carry gradients: the transform is its own adjoint.

    Raises:
        ArgumentError: a length that is no power of two, an unknown order or norm, a norm other than backward for integers.
        ExactnessError: integers whose sums could leave int64.   DtypeError: other dtypes.

    Error: at most m + 2 roundings of c Σ |x|; none for integers.
    Cost: n·m additions in about m/9 + 1 passes over memory; the orders other than natural take one pass more.
    Source: Fino and Algazi, Unified matrix treatment of the fast Walsh–Hadamard transform (1976).

    Example:
        >>> fwht([1, 2, 3, 4])
        array([10, -2, -4,  0])
        >>> fwht([1, 2, 3, 4], order="sequency")
        array([10, -4,  0, -2])
    """
    x = as_array(x, "fwht")
    n = _length(x, axis, "fwht")
    if order not in ORDERS:
        raise ArgumentError.of("order", f"one of {', '.join(ORDERS)}", repr(order), "rows have three usual orders")
    factors = {"backward": 1.0, "ortho": n**-0.5, "forward": 1.0 / n}
    if norm not in factors:
        raise ArgumentError.of("norm", f"one of {', '.join(factors)}", repr(norm), "say it as in numpy.fft")
    scale, name = factors[norm], dtype_name(x)
    if name not in (*_FLOATING, "bfloat16") and norm != "backward":
        raise ArgumentError.of(
            "fwht",
            'norm="backward" for integers',
            f"norm={norm!r} with {name}",
            "cast to float64, or divide afterwards",
        )
    if is_torch(x):
        y = _torch_room().pairs(_exact(x, name, n, "fwht"), axis, "hadamard", scale)
    else:
        y = hadamard_kernel.hadamard(_prepared(x, name, n, "fwht"), axis, scale)
    if order == "natural":
        return y
    rows = rows_of(order, n)
    if is_torch(y):
        return y.index_select(axis, sys.modules["torch"].tensor(rows).to(y.device))
    return np.take(y, rows, axis)


def zeta(x: Any, axis: int = -1, order: str = "subset", inverse: bool = False, operation: str = "add") -> Any:
    """Sums over all subsets (or supersets) of every set, or their inverse, the Möbius transform.

    Formula: places are sets, bit i of a place says whether i is in. subset `y[S] = Σ over T ⊆ S of x[T]`, superset
        `y[S] = Σ over T ⊇ S of x[T]`; inverse `y[S] = Σ (-1)^|S - T| x[T]` over the same sets.

    Shapes: x any, the axis of n = 2^m places; returns the same shape.

    Args:
        x: NumPy array, list or torch tensor. Default of axis: the last.   order: subset or superset. Default subset.
        inverse: whether to undo the sums. Default False.   operation: add, max or min in place of the sum. Default add.

    Returns:
        An array of x's kind and dtype (NumPy's float16 becomes float32); sums of integers and booleans are exact and int64, maxima
        and minima keep every real dtype. Tensors carry gradients; the adjoint of subset sums are superset sums.

    Raises:
        ArgumentError: a length that is no power of two, an unknown order or operation, the inverse of a maximum.
        ExactnessError: integers whose sums could leave int64.   DtypeError: other dtypes, maxima of complex numbers.

    Error: at most m + 1 roundings of Σ |x|; none for integers, maxima and minima.
    Cost: n·m/2 additions in about m/9 + 1 passes over memory.
    Source: Yates, The design and analysis of factorial experiments (1937).

    Example:
        >>> zeta([1, 2, 3, 4])
        array([ 1,  3,  4, 10])
        >>> zeta([1, 3, 4, 10], inverse=True)
        array([1, 2, 3, 4])
    """
    x = as_array(x, "zeta")
    n = _length(x, axis, "zeta")
    if order not in ("subset", "superset"):
        raise ArgumentError.of("order", "subset or superset", repr(order), "say which sets are summed")
    if operation not in ("add", "max", "min"):
        raise ArgumentError.of("operation", "add, max or min", repr(operation), "say what joins the sets")
    name = dtype_name(x)
    if operation == "add":
        sums = "sub" if inverse else "add"
        if is_torch(x):
            return _torch_room().pairs(_exact(x, name, n, "zeta"), axis, f"{order}-{sums}", 1.0)
        return zeta_kernel.zeta(_prepared(x, name, n, "zeta"), axis, order, sums)
    if inverse:
        raise ArgumentError.of(
            "zeta", "no inverse of a maximum or minimum", f"operation={operation!r}", "they forget what was smaller"
        )
    if name.startswith("complex"):
        raise DtypeError.of("zeta", "a real dtype for max and min", name, "complex numbers have no order")
    if is_torch(x):
        return _torch_room().extremes(x, axis, f"{order}-{operation}")
    if name == "bool":
        return zeta_kernel.zeta(np.ascontiguousarray(x).view(np.uint8), axis, order, operation).view(bool)
    wide = x.astype(_FLOATING.get(name, name), copy=False)
    return zeta_kernel.zeta(np.ascontiguousarray(wide), axis, order, operation)


@lru_cache(maxsize=16)
def rows_of(order: str, n: int) -> np.ndarray:
    """Which row of the natural order stands in each place of another order."""
    place = np.arange(n)
    if order == "sequency":
        place ^= place >> 1
    rows = np.zeros(n, np.int64)
    for bit in range(n.bit_length() - 1):
        rows = 2 * rows + (place >> bit & 1)
    rows.setflags(write=False)
    return rows if order != "natural" else np.arange(n)


def _length(x: Any, axis: int, who: str) -> int:
    """The axis' length; ArgumentError where it is no power of two."""
    if not -x.ndim <= axis < x.ndim:
        raise ArgumentError.of(who, f"an axis of {x.ndim} dimensions", repr(axis), "count from 0, or from -1 backwards")
    n = int(x.shape[axis])
    if n < 1 or n & (n - 1):
        raise ArgumentError.of(
            who,
            "an axis of 2^m places",
            f"{n} places",
            f"pad with zeros to {1 << n.bit_length()}" if n else "pass values",
        )
    return n


def _exact(x: Any, name: str, n: int, who: str) -> Any:
    """Integers as int64 whose sums fit, of an array or a tensor of that dtype; other dtypes as they are."""
    if name in _FLOATING or name == "bfloat16":
        return x
    if x.shape and 0 not in x.shape and name in ("int64", "uint64"):
        low, high = int(x.min()), int(x.max())
        if n * max(-low, high) >= 1 << 63:
            raise ExactnessError.of(
                who,
                f"integers of at most {((1 << 63) - 1) // n}, so that {n} of them fit int64",
                f"values from {low} to {high}",
                "cast to float64, or use faltung.kernels.hadamard and zeta, which wrap",
            )
    return x.to(sys.modules["torch"].int64) if is_torch(x) else x.astype(np.int64, copy=False)


def _prepared(x: np.ndarray, name: str, n: int, who: str) -> np.ndarray:
    """What the kernels take: contiguous, in a dtype of theirs."""
    wide = x.astype(np.float32) if name == "float16" else x
    return np.ascontiguousarray(_exact(wide, name, n, who))


def _torch_room() -> Any:
    from faltung.engine import walsh_torch

    return walsh_torch
