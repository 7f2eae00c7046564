"""Passes along one axis after the other, all of them while a tile and its margins are in the cache.

A pass with taps is a block correlation along one axis. A pass over a window, all of whose taps are equal, doubles: sums of two
neighbours, of four, of eight, until the binary digits of the window's size have all been met; so it takes about 2·log₂ t sums
instead of t, and rounds less than a running sum.

Source: separable filters, Treitel and Shanks (1971); windows by logarithmic decomposition, Pecht (1985).
"""

from collections.abc import Callable

import numpy as np

from faltung.algebras import Algebra
from faltung.kernels import native
from faltung.kernels.blocks.on_numba import COUNT, LINES, PITCH, SAMPLES, TILES, X_B, X_N, Z, blocker, stager

# Places in the array of sizes behind those of the block kernel; what belongs to an axis stands HEAD + AXIS·axis further on.
(TERMS, FACTORS, SPACE, WINDOW, PLANE, HEAD) = range(COUNT, COUNT + 6)
(TAPS, EXTENT, BLOCK, M, AT, AXIS) = range(6)
ROWS = 4


def build(dtype: str, add: str, mul: str, width: int) -> tuple[Callable, str]:
    """The kernel for one scalar type and two operations on vectors."""
    from faltung.kernels.simd import combiner, lanes

    v = lanes(dtype, width)
    load, store, splat = v.load, v.store, v.splat
    plus, times = combiner(dtype, width, add), combiner(dtype, width, mul)
    vectors = 4 if width * np.dtype(dtype).itemsize == 64 else 2
    W, WIDE, LONG, ITEM = width, width * vectors, 2 * width * vectors, np.dtype(dtype).itemsize
    stage = stager()
    column, line = (blocker(dtype, add, mul, r, c, False, width) for r, c in ((ROWS, vectors), (1, 2 * vectors)))
    jit = native.inner

    @jit
    def window(buf, at, to, count, step, hop, taps):
        """buf[to + i·step] = sum of buf[at + i·step + u·hop] over u < taps, for vectors i < count; destroys the source."""
        size, done, empty = 1, 0, True
        while True:
            if taps & size:
                for i in range(count):
                    a = load(buf, at + i * step + done * hop)
                    if not empty:
                        a = plus(load(buf, to + i * step), a)
                    store(buf, to + i * step, a)
                done += size
                empty = False
            if done == taps:
                return
            # As far as later digits read: the window less what one doubled sum covers.
            for i in range(count + ((taps - 2 * size) * hop + step - 1) // step):
                p = at + i * step
                store(buf, p, plus(load(buf, p), load(buf, p + size * hop)))
            size *= 2

    def passes(
        x, k, y, buf, temp, zero, tables, fills, s, e, chain, tap, origin, row, y_at, buf_at, temp_at, first, last
    ):
        z, pitch, space = s[Z], s[PITCH], s[SPACE]
        hz = HEAD + AXIS * z
        length, m, windows = s[hz + BLOCK], s[hz + M], s[WINDOW]
        for item in range(first, last):
            tile, rest = item % s[TILES], item // s[TILES]
            n, b = rest % s[SAMPLES], rest // s[SAMPLES]
            corner = tile * (z + 2)
            stage(x, b * s[X_B] + n * s[X_N], buf, 0, temp, corner, s, e, tables, fills, origin, row)
            if windows:  # first of all, so that no sum grows beyond what the filter makes of it
                factor = splat(k[b * s[FACTORS] + s[hz + AT]])
                for p in range(0, space, W):
                    store(buf, p, times(load(buf, p), factor))
            for term in range(s[TERMS]):
                kr, source, target = (b * s[TERMS] + term) * s[FACTORS], 0, space
                lines, outer = s[LINES], 1
                for a in range(z):
                    h = HEAD + AXIS * a
                    lines //= s[h + EXTENT]
                    taps, inner = s[h + TAPS], lines * pitch
                    if taps > 1:
                        for o in range(outer):
                            p, q = source + o * s[h + EXTENT] * inner, target + o * s[h + BLOCK] * inner
                            if windows:
                                for j in range(0, inner, W):
                                    window(buf, p + j, q + j, s[h + BLOCK], inner, inner, taps)
                            else:
                                for i in range(0, s[h + BLOCK], ROWS):
                                    good = min(ROWS, s[h + BLOCK] - i)
                                    for j in range(0, inner, WIDE):
                                        to = buf_at + (q + i * inner + j) * ITEM
                                        column(
                                            buf, p + i * inner + j, k, kr + s[h + AT], to, inner, good, zero, 1, inner, 1, 0,
                                            a, a + 1, chain, tap,
                                        )  # fmt: skip
                        source, target = target, 3 * space - target
                    outer *= s[h + BLOCK]
                for r in range(outer):
                    p, put, rest_, size = source + r * pitch, 0, r, m
                    for d in range(z - 1, -1, -1):
                        h = HEAD + AXIS * d
                        put += rest_ % s[h + BLOCK] * size
                        rest_ //= s[h + BLOCK]
                        size *= s[h + M]
                    put += rest * s[PLANE] + origin[corner + z + 1]
                    if windows:
                        window(buf, p, target, (length + W - 1) // W, W, 1, s[hz + TAPS])
                        done = length // W * W
                        for j in range(0, done, W):
                            store(y, put + j, load(buf, target + j))
                        if done < length:
                            store(temp, done, load(buf, target + done))
                    else:
                        done = length // LONG * LONG if s[TERMS] == 1 else 0
                        for j in range(0, length, LONG):
                            to = y_at + (put + j) * ITEM if j < done else temp_at + j * ITEM
                            line(
                                buf, p + j, k, kr + s[hz + AT], to, LONG, 1, zero, s[hz + TAPS], 0, 0, 0, z, z + 1,
                                chain, tap,
                            )  # fmt: skip
                    if s[TERMS] == 1:
                        for j in range(done, length):
                            y[put + j] = temp[j]
                    else:
                        # Sums grow beside the tile and come out whole: a neighbouring tile may write the same results.
                        sums = 3 * space + r * pitch
                        for j in range(length):
                            if term > 0:
                                temp[j] += buf[sums + j]
                            buf[sums + j] = temp[j]
                        if term + 1 == s[TERMS]:
                            for j in range(length):
                                y[put + j] = temp[j]

    pointer = f"p:{dtype}"
    return passes, ",".join([*[pointer] * 6, "p:int64", pointer, *["p:int64"] * 6, *"iiiii"])


def key(dtype: str, algebra: Algebra) -> tuple:
    """What `native.load` takes for one scalar type and algebra."""
    return f"passes-{algebra.name}-{dtype}", build, dtype, algebra.vector_add, algebra.vector_mul, native.lanes(dtype)


def passes(dtype: str, algebra: Algebra) -> Callable[..., None]:
    """The compiled kernel; see `contract.passes` for what it computes."""
    return native.load(*key(dtype, algebra))
