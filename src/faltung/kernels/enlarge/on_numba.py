"""Interpolation added to another signal, and its transpose, a row at a time in the cache; compiled."""

from collections.abc import Callable

import numpy as np

from faltung.kernels import native
from faltung.kernels.native import address
from faltung.kernels.threads import scratch, spread

NEAREST, LINEAR, DOUBLE = 0, 1, 2
GRAIN = 1 << 15  # values of a result worth handing to another thread


def build(dtype: str) -> tuple[Callable, str]:
    """The kernel that interpolates and adds."""

    def enlarged(x, base, y, row, row_w, column, column_w, t, n, k, m, l, way, first, last):
        for p in range(first, last):
            for i in range(m):
                above, below = (p * n + row[i]) * k, (p * n + row[m + i]) * k
                put = (p * m + i) * l
                if way == 0:
                    for j in range(l):
                        y[put + j] = base[put + j] + x[above + column[j]]
                    continue
                one, two = row_w[i], row_w[m + i]
                for j in range(k):
                    t[1 + j] = one * x[above + j] + two * x[below + j]
                if way == 2:
                    # Twice as many: both neighbours lie at fixed places, so a vector of results needs no gathering.
                    t[0], t[k + 1] = t[1], t[k]
                    near, far = column_w[2], column_w[l + 2]
                    for j in range(k):
                        y[put + 2 * j] = base[put + 2 * j] + (near * t[j] + far * t[j + 1])
                        y[put + 2 * j + 1] = base[put + 2 * j + 1] + (far * t[j + 1] + near * t[j + 2])
                else:
                    for j in range(l):
                        between = column_w[j] * t[1 + column[j]] + column_w[l + j] * t[1 + column[l + j]]
                        y[put + j] = base[put + j] + between

    pointer, table = f"p:{dtype}", "p:int64"
    kinds = [pointer, pointer, pointer, table, pointer, table, pointer, pointer, *["i"] * 7]
    return enlarged, ",".join(kinds)


def build_transpose(dtype: str) -> tuple[Callable, str]:
    """The kernel of the transpose."""

    def gathered(y, x, row, row_w, column, column_w, t, n, k, m, l, way, first, last):
        for p in range(first, last):
            for j in range(p * n * k, (p + 1) * n * k):
                x[j] = 0
            for i in range(m):
                above, below = (p * n + row[i]) * k, (p * n + row[m + i]) * k
                at = (p * m + i) * l
                if way == 0:
                    for j in range(l):
                        x[above + column[j]] += y[at + j]
                    continue
                if way == 2 and k > 1:
                    near, far = column_w[2], column_w[l + 2]
                    t[0] = (near + far) * y[at] + (far * y[at + 1] + near * y[at + 2])
                    for j in range(1, k - 1):
                        inner = far * y[at + 2 * j] + far * y[at + 2 * j + 1]
                        t[j] = inner + (near * y[at + 2 * j - 1] + near * y[at + 2 * j + 2])
                    end = at + 2 * k - 1
                    t[k - 1] = (near + far) * y[end] + (far * y[end - 1] + near * y[end - 2])
                else:
                    for j in range(k):
                        t[j] = 0
                    for j in range(l):
                        t[column[j]] += column_w[j] * y[at + j]
                        t[column[l + j]] += column_w[l + j] * y[at + j]
                one, two = row_w[i], row_w[m + i]
                for j in range(k):
                    x[above + j] += one * t[j]
                for j in range(k):
                    x[below + j] += two * t[j]

    pointer, table = f"p:{dtype}", "p:int64"
    return gathered, ",".join([pointer, pointer, table, pointer, table, pointer, pointer, *["i"] * 7])


def enlarged(x: np.ndarray, base: np.ndarray, linear: bool, threads: int) -> np.ndarray:
    """The contract's result for contiguous arrays of one dtype, float32 or float64."""
    y = np.empty_like(base)
    _run(f"enlarged-{x.dtype}", build, (x, base, y), x.shape, base.shape, linear, threads)
    return y


def gathered(y: np.ndarray, sizes: tuple[int, int], linear: bool, threads: int) -> np.ndarray:
    """The contract's result for a contiguous array of float32 or float64."""
    x = np.empty((len(y), *sizes), y.dtype)
    _run(f"gathered-{y.dtype}", build_transpose, (y, x), x.shape, y.shape, linear, threads)
    return x


def _run(
    name: str,
    build: Callable,
    arrays: tuple,
    small: tuple[int, ...],
    large: tuple[int, ...],
    linear: bool,
    threads: int,
) -> None:
    """One of the kernels on all planes, spread over threads."""
    (P, n, k), (_, m, l), dtype = small, large, arrays[0].dtype
    if not P * m * l:
        return
    kernel = native.load(name, build, str(dtype))
    row, row_w = _table(n, m, linear, dtype)
    column, column_w = _table(k, l, linear, dtype)
    way = NEAREST if not linear else DOUBLE if l == 2 * k and k > 1 else LINEAR
    at = [address(a) for a in (*arrays, row, row_w, column, column_w)]

    def task(first: int, last: int) -> None:
        kernel(*at, scratch((k + 2) * dtype.itemsize), n, k, m, l, way, first, last)

    spread(task, P, threads, max(1, GRAIN // (m * l)))


def _table(n: int, m: int, linear: bool, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Which two samples every result lies between (2, m), and their weights (2, m)."""
    i = np.arange(m)
    if not linear:
        before = i * n // m
        return np.stack([before, before]), np.stack([np.ones(m, dtype), np.zeros(m, dtype)])
    place = np.clip((i + 0.5) * n / m - 0.5, 0, n - 1)
    before = np.minimum(place.astype(np.int64), n - 1)
    weight = place - before
    return np.stack([before, np.minimum(before + 1, n - 1)]), np.stack([1 - weight, weight]).astype(dtype)
