"""Sums over channels at every position, channels first: a matrix product in register blocks; compiled.

A panel of positions is copied into the cache, channel under channel; then blocks of outputs by positions take their sums from
there, channel after channel, so the bits depend on neither panel nor block.
"""

from collections.abc import Callable

import numpy as np

from faltung.algebras import Algebra
from faltung.kernels import native
from faltung.kernels.native import address, lanes
from faltung.kernels.threads import Own, share

DEPTH, VECTORS = 4, 2


def build(dtype: str, add: str, mul: str, rows: int, width: int) -> tuple[Callable, str]:
    """The kernel whose block is `rows` outputs by two vectors of positions."""
    from faltung.kernels import simd

    tile, v = simd.tiles(dtype, width, rows, VECTORS, add, mul), simd.lanes(dtype, width)
    start, write, many, one, load, store = tile.start, tile.write, tile.reach(DEPTH), tile.reach(1), v.load, v.store
    WIDE, ITEM = VECTORS * width, np.dtype(dtype).itemsize

    def pointwise(x, k_at, y, y_at, zero, N, C, O, P, panels, buf, temp, temp_at, work, first, last):
        whole = C - C % DEPTH
        for item in range(first, last):
            panel, rest = item % panels, item // panels
            p0, b = panel * WIDE, rest // N
            size = min(WIDE, P - p0)
            for c in range(C):
                at = (rest * C + c) * P + p0
                if size == WIDE:
                    for j in range(0, WIDE, width):
                        store(buf, c * WIDE + j, load(x, at + j))
                else:
                    for j in range(WIDE):
                        buf[c * WIDE + j] = x[at + j] if j < size else zero[0]
            for o0 in range(0, O, rows):
                good = min(rows, O - o0)
                for r in range(rows):
                    work[r] = k_at + (b * O + o0 + min(r, good - 1)) * C * ITEM
                block = start(zero[0])
                for c in range(0, whole, DEPTH):
                    block = many(block, buf, c * WIDE, WIDE, work, c * ITEM)
                for c in range(whole, C):
                    block = one(block, buf, c * WIDE, WIDE, work, c * ITEM)
                put = (rest * O + o0) * P + p0
                if size == WIDE:
                    write(block, y_at + put * ITEM, P, good)
                else:
                    write(block, temp_at, WIDE, good)
                    for r in range(good):
                        for j in range(size):
                            y[put + r * P + j] = temp[r * WIDE + j]

    pointer = f"p:{dtype}"
    kinds = [pointer, "i", pointer, "i", pointer, "i", "i", "i", "i", "i", pointer, pointer, "i", "p:int64", "i", "i"]
    return pointwise, ",".join(kinds)


def key(dtype: str, algebra: Algebra) -> tuple:
    """What `native.load` takes for one scalar type and algebra."""
    if dtype == "uint64" and not algebra.ordered:  # sums and products wrap alike: one kernel for both
        dtype = "int64"
    rows = block(dtype)[0]
    name = f"pointwise-{algebra.name}-{dtype}"
    return name, build, dtype, algebra.vector_add, algebra.vector_mul, rows, lanes(dtype)


def block(dtype: str) -> tuple[int, int]:
    """Outputs and positions of a block of results."""
    return 12 if lanes(dtype) * np.dtype(dtype).itemsize == 64 else 4, VECTORS * lanes(dtype)


def pointwise(x: np.ndarray, k: np.ndarray, algebra: Algebra, threads: int) -> np.ndarray:
    """The contract's result for contiguous arrays of one dtype."""
    (B, N, C, P), O, item = x.shape, k.shape[1], x.dtype.itemsize
    y = np.empty((B, N, O, P), x.dtype)
    rows, wide = block(str(x.dtype))
    work, panels = native.load(*key(str(x.dtype), algebra)), -(-P // wide)
    zero = np.array([algebra.zero(x.dtype)], x.dtype)
    at = address(x), address(k), address(y), address(y), address(zero), N, C, O, P, panels
    panel, temp = C * wide * item, rows * wide * item
    own = Own(0), Own(panel), Own(panel), Own(panel + temp)
    share(work, (*at, *own), B * N * panels, threads, own=panel + temp + 8 * 16)
    return y
