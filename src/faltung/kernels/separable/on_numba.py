"""A filter in space for each channel and a mix of channels, without the array between the two; compiled.

A run of consecutive positions of the result is taken at a time. One channel after the other, the rows of the signal under it are
copied with their margins, and the filtered values are written into a panel, channel under channel; then blocks of outputs by
positions take their sums over channels from the panel, which has never left the cache.
"""

from collections.abc import Callable

import numpy as np

from faltung.kernels import native
from faltung.kernels.native import address, lanes
from faltung.kernels.threads import Own, share

DEPTH, VECTORS, PANELS = 4, 2, 2


def build(dtype: str, rows: int, width: int) -> tuple[Callable, str]:
    """The kernel whose block is `rows` outputs by two vectors of positions."""
    from faltung.kernels import simd

    tile, v = simd.tiles(dtype, width, rows, VECTORS, "add", "mul"), simd.lanes(dtype, width)
    start, write, many, one = tile.start, tile.write, tile.reach(DEPTH), tile.reach(1)
    load, store, splat = v.load, v.store, v.splat
    BLOCK, ITEM = VECTORS * width, np.dtype(dtype).itemsize
    RUN = PANELS * BLOCK
    HOP = RUN + width  # of the panel: a row's last vector may reach beyond the run

    def separable(
        x, d, k_at, y, y_at, zero, C, M, O, H, W, KH, KW, top, left, HO, WO, runs, stage, panel, temp, temp_at, work, first, last
    ):  # fmt: skip
        P, wide, deep = HO * WO, WO + KW - 1, C * M
        whole = deep - deep % DEPTH
        for item in range(first, last):
            n, p0 = item // runs, item % runs * RUN
            p1 = min(P, p0 + RUN)
            r0, r1 = p0 // WO, (p1 - 1) // WO
            lines = r1 - r0 + KH
            for i in range(lines * wide + width):  # margins stay zero while channels pass
                stage[i] = zero[0]
            for c in range(C):
                for line in range(lines):
                    h = r0 + line - top
                    if 0 <= h < H:
                        a, b = max(0, -left), min(W, wide - left)  # columns of the signal that are seen
                        src, put = ((n * C + c) * H + h) * W, line * wide + left
                        j = a
                        while j + width <= b:
                            store(stage, put + j, load(x, src + j))
                            j += width
                        while j < b:
                            stage[put + j] = x[src + j]
                            j += 1
                for m in range(M):
                    q = (c * M + m) * KH * KW
                    for r in range(r0, r1 + 1):
                        a, b = max(p0 - r * WO, 0), min(p1 - r * WO, WO)
                        put = (c * M + m) * HOP + r * WO - p0
                        for j in range(a, b, width):
                            total = splat(zero[0])
                            for ky in range(KH):
                                at = (r - r0 + ky) * wide + j
                                for kx in range(KW):
                                    total = load(stage, at + kx) * splat(d[q + ky * KW + kx]) + total
                            store(panel, put + j, total)
            for o0 in range(0, O, rows):
                good = min(rows, O - o0)
                for r in range(rows):
                    work[r] = k_at + (o0 + min(r, good - 1)) * deep * ITEM
                for s0 in range(0, p1 - p0, BLOCK):
                    size = min(BLOCK, p1 - p0 - s0)
                    block = start(zero[0])
                    for c in range(0, whole, DEPTH):
                        block = many(block, panel, c * HOP + s0, HOP, work, c * ITEM)
                    for c in range(whole, deep):
                        block = one(block, panel, c * HOP + s0, HOP, work, c * ITEM)
                    put = (n * O + o0) * P + p0 + s0
                    if size == BLOCK:
                        write(block, y_at + put * ITEM, P, good)
                    else:
                        write(block, temp_at, BLOCK, good)
                        for r in range(good):
                            for j in range(size):
                                y[put + r * P + j] = temp[r * BLOCK + j]

    pointer = f"p:{dtype}"
    kinds = [
        pointer,
        pointer,
        "i",
        pointer,
        "i",
        pointer,
        *"iiiiiiiiiiii",
        pointer,
        pointer,
        pointer,
        "i",
        "p:int64",
        "i",
        "i",
    ]
    return separable, ",".join(kinds)


def key(dtype: str) -> tuple:
    """What `native.load` takes for one scalar type."""
    return f"separable-{dtype}", build, dtype, _rows(dtype), lanes(dtype)


def _rows(dtype: str) -> int:
    return 12 if lanes(dtype) * np.dtype(dtype).itemsize == 64 else 4


def separable(
    x: np.ndarray, d: np.ndarray, k: np.ndarray, pads: tuple[tuple[int, int], tuple[int, int]], threads: int
) -> np.ndarray:
    """The contract's result for contiguous arrays of one floating dtype, margins of at least 0 and at least one result."""
    (N, C, H, W), (deep, KH, KW), O, item = x.shape, d.shape, k.shape[0], x.dtype.itemsize
    (top, bottom), (left, right) = pads
    HO, WO = H + top + bottom - KH + 1, W + left + right - KW + 1
    y = np.empty((N, O, HO, WO), x.dtype)
    width, rows = lanes(str(x.dtype)), _rows(str(x.dtype))
    block = VECTORS * width
    run = PANELS * block
    runs = -(-HO * WO // run)
    work, zero = native.load(*key(str(x.dtype))), np.zeros(1, x.dtype)
    at = address(x), address(d), address(k), address(y), address(y), address(zero)
    sizes = C, deep // C, O, H, W, KH, KW, top, left, HO, WO, runs
    lines = min(HO, -(-run // WO) + 1) + KH - 1
    stage, panel, temp = (
        -(-count * item // 64) * 64
        for count in (lines * (WO + KW - 1) + 2 * width, deep * (run + width) + width, rows * block)
    )
    spare = stage + panel
    own = Own(0), Own(stage), Own(spare), Own(spare), Own(spare + temp)
    share(work, (*at, *sizes, *own), N * runs, threads, own=spare + temp + 8 * 16)
    return y
