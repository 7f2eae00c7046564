"""Sums of delayed signals, compiled: one pass over a piece of the result for each signal, while that piece stays in the cache."""

from collections.abc import Callable

import numpy as np

from faltung.kernels import native
from faltung.kernels.native import address
from faltung.kernels.threads import available, spread

PIECE = 1 << 12  # results of one sum that are worked on together


def build(dtype: str) -> tuple[Callable, str]:
    """The kernel of one scalar type."""
    from numba import njit

    one = getattr(np, dtype)

    @njit(nogil=True, fastmath=False, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False)
    def rounded(total, a, b):
        """A product and a sum, each rounded: written without leave to contract, they are not fused."""
        return total + a * b

    def delayed(x, weight, start, y, first, last, I, O, n, length):
        pieces = (length + PIECE - 1) // PIECE
        for item in range(first, last):
            row, p0 = item // pieces, item % pieces * PIECE
            p1 = min(length, p0 + PIECE)
            b, o = row // O, row % O
            for t in range(p0, p1):
                y[row * length + t] = one(0.0)
            for i in range(I):
                w, at = weight[o * I + i], start[o * I + i]
                source = (b * I + i) * n + at
                for t in range(max(p0, -at), min(p1, n - at)):
                    y[row * length + t] = rounded(y[row * length + t], w, x[source + t])

    pointer = f"p:{dtype}"
    return delayed, f"{pointer},{pointer},p:int64,{pointer},i,i,i,i,i,i"


def delayed(
    x: np.ndarray, weight: np.ndarray, start: np.ndarray, length: int, threads: int | None = None
) -> np.ndarray:
    """The contract's result in the dtype of x; all contiguous, start of int64."""
    (B, I, n), O = x.shape, len(weight)
    y = np.empty((B, O, length), x.dtype)
    work = native.load(*key(str(x.dtype)))
    operands = [address(a) for a in (x, weight, start, y)]

    def task(first: int, last: int) -> None:
        work(*operands, first, last, I, O, n, length)

    items = B * O * -(-length // PIECE)
    spread(task, items, threads or available(), max(1, 40_000 // (I * min(length, PIECE) + 1)))
    return y


def key(dtype: str) -> tuple:
    """What `native.load` takes for one scalar type."""
    return f"delay-{dtype}", build, dtype
