"""Sums over a few named channels at every position, channels first; compiled.

A panel of positions is copied into the cache, channel under channel; two outputs at a time then take their sums from there, in the
order of their lists, so the bits depend on nothing but the lists.
"""

from collections.abc import Callable

import numpy as np

from faltung.kernels import native
from faltung.kernels.native import address, lanes
from faltung.kernels.threads import Own, share

VECTORS = 4


def build(dtype: str, width: int) -> tuple[Callable, str]:
    """The kernel for panels of four vectors of positions."""
    from faltung.kernels import simd

    v = simd.lanes(dtype, width)
    load, store, splat = v.load, v.store, v.splat
    WIDE = VECTORS * width

    def mix(x, k, index, y, zero, C, O, J, P, panels, buf, temp, first, last):
        for item in range(first, last):
            p0, n = item % panels * WIDE, item // panels
            size = min(WIDE, P - p0)
            for c in range(C):
                at = (n * C + c) * P + p0
                if size == WIDE:
                    for j in range(0, WIDE, width):
                        store(buf, c * WIDE + j, load(x, at + j))
                else:
                    for j in range(WIDE):
                        buf[c * WIDE + j] = x[at + j] if j < size else zero[0]
            for o in range(0, O, 2):
                # The second of an odd last pair is the first once more.
                q, r = o * J, min(o + 1, O - 1) * J
                none = splat(zero[0])
                a0, a1, a2, a3 = none, none, none, none
                b0, b1, b2, b3 = none, none, none, none
                for j in range(J):
                    w, i = splat(k[q + j]), index[q + j] * WIDE
                    a0 = load(buf, i) * w + a0
                    a1 = load(buf, i + width) * w + a1
                    a2 = load(buf, i + 2 * width) * w + a2
                    a3 = load(buf, i + 3 * width) * w + a3
                    w, i = splat(k[r + j]), index[r + j] * WIDE
                    b0 = load(buf, i) * w + b0
                    b1 = load(buf, i + width) * w + b1
                    b2 = load(buf, i + 2 * width) * w + b2
                    b3 = load(buf, i + 3 * width) * w + b3
                store(temp, 0, a0)
                store(temp, width, a1)
                store(temp, 2 * width, a2)
                store(temp, 3 * width, a3)
                store(temp, 4 * width, b0)
                store(temp, 5 * width, b1)
                store(temp, 6 * width, b2)
                store(temp, 7 * width, b3)
                for row in range(min(2, O - o)):
                    put = (n * O + o + row) * P + p0
                    if size == WIDE:
                        for j in range(0, WIDE, width):
                            store(y, put + j, load(temp, row * WIDE + j))
                    else:
                        for j in range(size):
                            y[put + j] = temp[row * WIDE + j]

    pointer = f"p:{dtype}"
    kinds = [pointer, pointer, "p:int64", pointer, pointer, *"iiiii", pointer, pointer, "i", "i"]
    return mix, ",".join(kinds)


def key(dtype: str) -> tuple:
    """What `native.load` takes for one scalar type."""
    return f"mix-{dtype}", build, dtype, lanes(dtype)


def mix(x: np.ndarray, k: np.ndarray, index: np.ndarray, threads: int) -> np.ndarray:
    """The contract's result for contiguous arrays, x and k of one floating dtype, index of int64."""
    (N, C, P), (O, J), item = x.shape, k.shape, x.dtype.itemsize
    y = np.empty((N, O, P), x.dtype)
    wide = VECTORS * lanes(str(x.dtype))
    work, panels = native.load(*key(str(x.dtype))), -(-P // wide)
    zero = np.zeros(1, x.dtype)
    at = address(x), address(k), address(index), address(y), address(zero), C, O, J, P, panels
    panel = C * wide * item
    share(work, (*at, Own(0), Own(panel)), N * panels, threads, own=panel + 2 * wide * item)
    return y
