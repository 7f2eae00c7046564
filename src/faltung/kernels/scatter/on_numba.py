"""Sums over listed pairs, compiled: the pairs of one factor after the other, so that it stays in a register."""

from collections.abc import Callable

import numpy as np

from faltung.algebras import Algebra
from faltung.algebras.algebra import operation
from faltung.kernels import native
from faltung.kernels.native import address
from faltung.kernels.threads import available, spread


def build(dtype: str, plus: str, times: str) -> tuple[Callable, str]:
    """The kernel of one scalar type and two scalar operations."""
    add, mul = native.inner(operation(plus)), native.inner(operation(times))

    def paired(x, k, y, u, w, start, zero, first, last, I, J, R, n, t, size):
        for item in range(first, last):
            b, i, j = item // (I * J), item // J % I, item % J
            yp = item * size
            for p in range(size):
                y[yp + p] = zero[0]
            for r in range(R):
                xp, kp = ((b * I + i) * R + r) * n, ((b * J + j) * R + r) * t
                for v in range(t):
                    factor = k[kp + v]
                    for p in range(start[v], start[v + 1]):
                        at = yp + w[p]
                        y[at] = add(y[at], mul(x[xp + u[p]], factor))

    pointer = f"p:{dtype}"
    return paired, f"{pointer},{pointer},{pointer},p:int32,p:int32,p:int64,{pointer},i,i,i,i,i,i,i,i"


def key(dtype: str, algebra: Algebra) -> tuple:
    """What `native.load` takes for one scalar type and algebra."""
    return f"paired-{algebra.name}-{dtype}", build, dtype, algebra.scalar_add, algebra.scalar_mul


def paired(
    x: np.ndarray, k: np.ndarray, u: np.ndarray, start: np.ndarray, w: np.ndarray, size: int, algebra: Algebra,
    threads: int | None = None,
) -> np.ndarray:  # fmt: skip
    """The contract's result; pairs sorted by the factor's index v, those of v from start[v] to start[v + 1]."""
    (B, I, R, n), (_, J, _, t) = x.shape, k.shape
    y = np.empty((B, I, J, size), x.dtype)
    zero = np.array([algebra.zero(x.dtype)], x.dtype)
    work = native.load(*key("uint8" if x.dtype == bool else str(x.dtype), algebra))
    operands = [address(a) for a in (x, k, y, u, w, start, zero)]

    def task(first: int, last: int) -> None:
        work(*operands, first, last, I, J, R, n, t, size)

    spread(task, B * I * J, threads or available(), max(1, 60_000 // (R * len(u) + 1)))
    return y
