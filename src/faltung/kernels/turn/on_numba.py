"""Transposition of many matrices, by squares that turn in registers; compiled."""

import math
from collections.abc import Callable

import numpy as np

from faltung.kernels import native
from faltung.kernels.native import address
from faltung.kernels.threads import Own, kept, share

SMALL = 1 << 13  # values below which NumPy is as fast
BAND = 64  # columns of one piece of work: a band of the result's rows


def build(dtype: str, width: int) -> tuple[Callable, str]:
    """The kernel for values of one dtype, by squares of `width`."""
    from faltung.kernels.simd import lanes

    turn, ITEM = lanes(dtype, width).turn, np.dtype(dtype).itemsize

    def turned(x, x_at, y, rows, columns, bands, x_outer, x_row, y_outer, y_row, places, first, last):
        for item in range(first, last):
            n, band = item // bands, item % bands
            c0 = band * BAND
            c1 = min(columns, c0 + BAND)
            square = (c1 - c0) // width * width
            for r in range(0, rows - rows % width, width):
                for i in range(width):
                    places[i] = x_at + (n * x_outer + (r + i) * x_row) * ITEM
                for c in range(c0, c0 + square, width):
                    turn(places, c, y, n * y_outer + c * y_row + r, y_row)
                for c in range(c0 + square, c1):
                    for i in range(width):
                        y[n * y_outer + c * y_row + r + i] = x[n * x_outer + (r + i) * x_row + c]
            for r in range(rows - rows % width, rows):
                for c in range(c0, c1):
                    y[n * y_outer + c * y_row + r] = x[n * x_outer + r * x_row + c]

    return turned, f"p:{dtype},i,p:{dtype},i,i,i,i,i,i,i,p:int64,i,i"


def turned(x: np.ndarray, threads: int, out: np.ndarray | None = None) -> np.ndarray:
    """The contract's result for x (outer, rows, columns) whose rows are contiguous.

    Written to `out` (outer, columns, at least rows), rows contiguous as well, where it is given.
    """
    outer, rows, columns = x.shape
    y = np.empty((outer, columns, rows), x.dtype) if out is None else out
    kind = f"uint{8 * x.dtype.itemsize}"
    kernel, item = native.load(*key(kind)), x.dtype.itemsize
    bands = -(-columns // BAND)
    steps = (x.strides[0] // item, x.strides[1] // item, y.strides[0] // item, y.strides[1] // item)
    at = address(x), address(x), address(y), rows, columns, bands, *steps
    share(kernel, (*at, Own(0)), outer * bands, threads, max(1, (1 << 16) // (rows * min(columns, BAND) + 1)), 64 * 8)
    return y


def key(kind: str) -> tuple:
    """What `native.load` takes for values of that size."""
    return f"turn-{kind}", build, kind, min(16, native.lanes(kind))


def moved_out(x: np.ndarray, threads: int) -> np.ndarray:
    """`contiguous` in memory of its own, for values that lie in kept memory."""
    out = contiguous(x, threads)
    return out.copy() if np.may_share_memory(out, x) else out


def contiguous(x: np.ndarray, threads: int, purpose: str = "") -> np.ndarray:
    """`numpy.ascontiguousarray`, faster where two groups of axes have changed places in memory, as channels first and last do.

    With a `purpose` the copy lies in memory that is kept for it, see `threads.kept`.
    """
    order = sorted(range(x.ndim), key=lambda a: (-x.strides[a], a))
    lead = next((i for i, a in enumerate(order) if a != i), x.ndim)
    whole = x.transpose(order)
    if (
        x.size < SMALL
        or x.flags.c_contiguous
        or lead == x.ndim
        or not whole.flags.c_contiguous
        or x.itemsize > 8
        or x.dtype.hasobject
    ):
        return np.ascontiguousarray(x)
    behind = order.index(lead)  # memory: lead, second group, first group
    if order != [*range(lead), *range(x.ndim - (behind - lead), x.ndim), *range(lead, x.ndim - (behind - lead))]:
        return np.ascontiguousarray(x)
    rows = math.prod(whole.shape[lead:behind])
    whole = whole.reshape(math.prod(whole.shape[:lead]), rows, -1)
    out = kept(purpose, (whole.shape[0], whole.shape[2], rows), x.dtype) if purpose else None
    return turned(whole, threads, out).reshape(x.shape)
