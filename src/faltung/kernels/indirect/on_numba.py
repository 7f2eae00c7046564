"""Correlation with channels innermost, as a matrix product whose left rows are found by address.

A block holds some positions by a few vectors of outputs. For every tap, the address of each position's channels is looked up (in
the signal, or in a row of constants where the tap lies beyond the edge); then one value of each position and one row of filter
values meet, channel after channel. Nothing is padded and no patch is copied, whatever the boundary, stride and dilation.

Sums run over taps, then over channels, in order, whatever the block, so the bits do not depend on it.
"""

from collections.abc import Callable

import numpy as np

from faltung.algebras import Algebra
from faltung.kernels import native

# Places in the array of sizes.
(SAMPLES, CHANNELS, OUTPUTS, GROUPS, X_B, X_N, OUTER, INNER, OUTER_TAPS, INNER_TAPS, W_TAP, W_CHANNEL, W_PART, W_GROUP, PARTS,
 SHARE, SHARES, CHUNK, CHUNKS, FILL, Y_P, Y_B, COUNT) = range(23)  # fmt: skip
DEPTH = 4  # channels whose addresses are worked out together


def build(dtype: str, add: str, mul: str, rows: int, vectors: int, width: int) -> tuple[Callable, str]:
    """The kernel whose block is `rows` positions by `vectors` vectors of outputs."""
    from faltung.kernels.simd import tiles

    tile = tiles(dtype, width, rows, vectors, add, mul)
    start, write, many, one = tile.start, tile.write, tile.reach(DEPTH), tile.reach(1)
    R, WIDE, ITEM = rows, width * vectors, np.dtype(dtype).itemsize

    def indirect(x_at, w, y, y_at, zero, fill_at, outer, inner, s, temp, temp_at, work, first, last):
        C, O, parts, chunks = s[CHANNELS], s[OUTPUTS], s[PARTS], s[CHUNKS]
        P, total = s[OUTER] * s[INNER], s[SAMPLES] * s[OUTER] * s[INNER]
        deep = C - C % DEPTH
        for item in range(first, last):
            share, rest = item % s[SHARES], item // s[SHARES]
            chunk, b = rest % chunks, rest // chunks
            base, from_, to = x_at + b * s[X_B] * ITEM, chunk * s[CHUNK], min(total, (chunk + 1) * s[CHUNK])
            for part in range(share * s[SHARE], min(parts, (share + 1) * s[SHARE])):
                o0 = part * WIDE
                wide = O - o0
                for p0 in range(from_, to, R):
                    # Where each position of the block lies: its sample, its place along the outer axes, along the last.
                    n, o, i = p0 // P, p0 % P // s[INNER], p0 % s[INNER]
                    for r in range(R):
                        work[R + 3 * r] = base + n * s[X_N] * ITEM
                        work[R + 3 * r + 1] = o
                        work[R + 3 * r + 2] = i
                        if p0 + r + 1 < to:
                            i += 1
                            if i == s[INNER]:
                                i, o = 0, o + 1
                                if o == s[OUTER]:
                                    o, n = 0, n + 1
                    a = start(zero[0])
                    at = b * s[W_GROUP] + part * s[W_PART]
                    for t in range(s[OUTER_TAPS]):
                        for u in range(s[INNER_TAPS]):
                            for r in range(R):
                                far = outer[t * s[OUTER] + work[R + 3 * r + 1]]
                                near = inner[u * s[INNER] + work[R + 3 * r + 2]]
                                # Beyond the edge: the constant of the last axis that leaves the signal.
                                code = near if near < 0 else far
                                place = work[R + 3 * r] + far + near
                                work[r] = fill_at + (-1 - code) * s[FILL] * ITEM if code < 0 else place
                            q = at + (t * s[INNER_TAPS] + u) * s[W_TAP]
                            for c in range(0, deep, DEPTH):
                                a = many(a, w, q + c * s[W_CHANNEL], s[W_CHANNEL], work, c * ITEM)
                            for c in range(deep, C):
                                a = one(a, w, q + c * s[W_CHANNEL], s[W_CHANNEL], work, c * ITEM)
                    good = min(R, to - p0)
                    put = p0 * s[Y_P] + b * s[Y_B] + o0
                    if wide >= WIDE:
                        write(a, y_at + put * ITEM, s[Y_P], good)
                    else:
                        write(a, temp_at, WIDE, R)
                        for r in range(good):
                            for v in range(wide):
                                y[put + r * s[Y_P] + v] = temp[r * WIDE + v]

    pointer = f"p:{dtype}"
    kinds = [
        "i",
        pointer,
        pointer,
        "i",
        pointer,
        "i",
        "p:int64",
        "p:int64",
        "p:int64",
        pointer,
        "i",
        "p:int64",
        "i",
        "i",
    ]
    return indirect, ",".join(kinds)


def shapes(dtype: str) -> tuple[tuple[int, int], ...]:
    """Positions and vectors of the blocks that there are: as many sums as keep the processor busy and fit its registers."""
    wide = native.lanes(dtype) * np.dtype(dtype).itemsize == 64
    return ((12, 2), (8, 3), (12, 1)) if wide else ((4, 2), (4, 3), (8, 1))


def key(dtype: str, algebra: Algebra, rows: int, vectors: int) -> tuple:
    """What `native.load` takes for one shape of blocks."""
    if dtype == "uint64" and not algebra.ordered:  # sums and products wrap alike: one kernel for both
        dtype = "int64"
    name = f"indirect-{algebra.name}-{dtype}-{rows}x{vectors}"
    return name, build, dtype, algebra.vector_add, algebra.vector_mul, rows, vectors, native.lanes(dtype)


def indirect(dtype: str, algebra: Algebra, rows: int, vectors: int) -> Callable[..., None]:
    """The compiled kernel for blocks of that shape; see `contract.indirect` for what it computes."""
    return native.load(*key(dtype, algebra, rows, vectors))
