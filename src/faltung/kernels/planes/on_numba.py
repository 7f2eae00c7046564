"""Each channel filtered by its own few taps, compiled: a plane is extended in the cache, results are summed in registers.

Signal and results may be channels within larger tensors, and the same ones: a plane is read whole before its results are written.
"""

from collections.abc import Callable

import numpy as np

from faltung.kernels import native
from faltung.kernels.native import address, lanes
from faltung.kernels.planes.layout import Planes
from faltung.kernels.threads import Own, share

VECTORS = 4
GRAIN = 1 << 18
"""Products worth handing to another thread."""


def build(dtype: str, width: int, columns: int) -> tuple[Callable, str]:
    """The kernel whose block of results is `columns` vectors of `width` values of a row."""
    from faltung.kernels import simd

    tile, v = simd.tiles(dtype, width, 1, columns, "add", "mul"), simd.lanes(dtype, width)
    start, step, write, load, store = tile.start, tile.step(0, 1), tile.write, v.load, v.store
    WIDE, ITEM = columns * width, np.dtype(dtype).itemsize

    def planes(
        x, y, y_at, k, bias, starts, source, bases, offsets, sizes, steps, buf, temp, temp_at, zero, first, last
    ):
        rows, whole, lo, hi, R, M, T = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6]
        C, x_batch, x_channel, y_batch, y_channel = steps[0], steps[1], steps[2], steps[3], steps[4]
        nothing = zero[0]
        for item in range(first, last):
            b, c = item // C, item % C
            xp, yp = b * x_batch + c * x_channel, b * y_batch + c * y_channel
            for r in range(rows):
                at, to = starts[r], r * whole
                if at < 0:
                    for j in range(whole):
                        buf[to + j] = nothing
                    continue
                at += xp
                for j in range(lo):
                    buf[to + j] = x[at + source[j]] if source[j] >= 0 else nothing
                j = lo
                while j + width <= hi:
                    store(buf, to + j, load(x, at + j - lo))
                    j += width
                while j < hi:
                    buf[to + j] = x[at + j - lo]
                    j += 1
                for j in range(hi, whole):
                    buf[to + j] = x[at + source[j]] if source[j] >= 0 else nothing
            for r in range(R):
                for j in range(0, M, WIDE):
                    block, at = start(bias[c]), bases[r] + j
                    for t in range(T):
                        block = step(block, buf, at + offsets[t], k, c * T + t, 0)
                    to = yp + r * M + j
                    if j + WIDE <= M:
                        write(block, y_at + to * ITEM, 0, 1)
                    else:
                        write(block, temp_at, 0, 1)
                        for i in range(M - j):
                            y[to + i] = temp[i]

    pointer, table = f"p:{dtype}", "p:int64"
    kinds = [pointer, pointer, "i", pointer, pointer, *[table] * 6, pointer, pointer, "i", pointer, "i", "i"]
    return planes, ",".join(kinds)


def key(dtype: str, row: int) -> tuple:
    """What `native.load` takes for one scalar type and results of that many values a row."""
    width = lanes(dtype)
    columns = next((c for c in (1, 2, VECTORS) if row <= c * width), VECTORS)
    return f"planes-{dtype}-{columns}", build, dtype, width, columns


def planes(x: np.ndarray, k: np.ndarray, bias: np.ndarray, out: np.ndarray, layout: Planes, threads: int) -> None:
    """The contract's result for float32 or float64 planes that are contiguous within x and out; k and bias contiguous."""
    (B, C), item = x.shape[:2], x.dtype.itemsize
    if not out.size:
        return
    name, make, dtype, width, columns = key(str(x.dtype), layout.n[-1])
    work, wide = native.load(name, make, dtype, width, columns), columns * width
    steps = np.array([C, *(s // item for s in (*x.strides[:2], *out.strides[:2]))], np.int64)
    zero = np.zeros(1, x.dtype)
    tables = [address(t) for t in (layout.starts, layout.columns, layout.bases, layout.offsets, layout.sizes, steps)]
    at = address(x), address(out), address(out), address(k), address(bias), *tables
    plane = (len(layout.starts) * len(layout.columns) + wide) * item  # a block may read behind the last row
    plane = -(-plane // 64) * 64
    grain = max(1, GRAIN // (out[0, 0].size * (len(layout.offsets) + 4)))
    given = (*at, Own(0), Own(plane), Own(plane), address(zero))
    share(work, given, B * C, threads, grain, plane + wide * item)
