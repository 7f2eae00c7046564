"""Winograd convolution with channels innermost: tiles are transformed in the lanes of vectors, products run through the cache.

For a chunk of tiles: every tile's positions are found by address (beyond the edge stands a row of constants), a vector of channels
is transformed along one axis after the other; then, for each point, tiles times filters is a product of matrices in register
blocks; then results are transformed back and written. A chunk's points stay in the cache from one step to the next.
"""

from collections.abc import Callable

import numpy as np

from faltung.kernels import native
from faltung.kernels.winograd.transforms import transforms

# Places in the array of sizes; behind them, for each of three axes: tiles, results, positions.
(SAMPLES, CHANNELS, OUTPUTS, GROUPS, X_B, X_N, DEEP, WIDE_OUT, PARTS, CHUNK, CHUNKS, FILL, TILES, Y_P, Y_B, HEAD) = (
    range(16)
)
COUNT_OF, RESULTS, TABLE, AXIS = range(4)
DEPTH = 4
VECTORS = 2  # of outputs in a block
BAND = 64  # channels of a piece of work on filters


def apart(parts, channels, wide):
    """Values from one point of the filters to the next: one block more, or all would lie in the same few lines of the cache."""
    return (parts * channels + 1) * wide


def matrices(shape: tuple[tuple[int, int], ...], which: str) -> list[tuple[tuple[float, ...], ...]]:
    """The transforms of all axes as plain numbers; an axis with one tap has none."""
    found = []
    for m, t in shape:
        matrix = np.eye(m) if t == 1 else np.array(getattr(transforms(m, t), which), dtype=float)
        found.append(tuple(tuple(map(float, row)) for row in matrix))
    return found


def build(dtype: str, shape: tuple[tuple[int, int], ...], width: int, rows: int) -> tuple[Callable, str]:
    """The kernel for (results, taps) of a tile along each of one to three axes; `rows` tiles meet in a block of products."""
    from faltung.kernels.simd import lanes, mixer, tiles

    tile, v = tiles(dtype, width, rows, VECTORS, "add", "mul"), lanes(dtype, width)
    start, write, many, one, load, store = tile.start, tile.write, tile.reach(DEPTH), tile.reach(1), v.load, v.store
    W, ITEM, WIDE, scalar = width, np.dtype(dtype).itemsize, VECTORS * width, getattr(np, dtype)
    between = native.inner(apart)
    padded = (*[(1, 1)] * (3 - len(shape)), *shape)
    (M0, M1, M2), (A0, A1, A2) = [m for m, _ in padded], [m + t - 1 for m, t in padded]
    A, M = A0 * A1 * A2, M0 * M1 * M2
    in0, in1, in2 = (mixer(dtype, width, matrix) for matrix in matrices(padded, "BT"))
    out0, out1, out2 = (mixer(dtype, width, matrix) for matrix in matrices(padded, "AT"))
    # Working memory: three tiles at 0, U and R, then points of the signal, then points of the result.
    U, R = A * W, 2 * A * W

    @native.inner
    def transform(buf, p, far):
        """The tile's positions at 0 → its points at p, `far` apart; axes with one tap need nothing."""
        at = 0
        if A0 > 1:
            for i in range(A1 * A2):
                in0(buf, i * W, A1 * A2 * W, buf, U + i * W, A1 * A2 * W)
            at = U
        if A1 > 1:
            for o in range(A0):
                for i in range(A2):
                    q = (o * A1 * A2 + i) * W
                    in1(buf, at + q, A2 * W, buf, R + q, A2 * W)
            at = R
        for o in range(A0 * A1):
            in2(buf, at + o * A2 * W, W, buf, p + o * A2 * far, far)

    @native.inner
    def transform_back(buf, p, far):
        """The points at p, `far` apart → the tile's results at 0."""
        if A0 > 1:
            for i in range(A1 * A2):
                out0(buf, p + i * far, A1 * A2 * far, buf, U + i * W, A1 * A2 * W)
            p, far = U, W
        if A1 > 1:
            for o in range(M0):
                for i in range(A2):
                    out1(buf, p + (o * A1 * A2 + i) * far, A2 * far, buf, R + (o * M1 * A2 + i) * W, A2 * W)
            p, far = R, W
        for o in range(M0 * M1):
            out2(buf, p + o * A2 * far, far, buf, o * M2 * W, W)

    def minimal(x, w, y, zero, fills, offsets, s, buf, buf_at, work, first, last):
        C, O, deep, wide, chunk = s[CHANNELS], s[OUTPUTS], s[DEEP], s[WIDE_OUT], s[CHUNK]
        n0, m0, t0 = s[HEAD + COUNT_OF], s[HEAD + RESULTS], s[HEAD + TABLE]
        n1, m1, t1 = s[HEAD + AXIS + COUNT_OF], s[HEAD + AXIS + RESULTS], s[HEAD + AXIS + TABLE]
        n2, m2, t2 = s[HEAD + 2 * AXIS + COUNT_OF], s[HEAD + 2 * AXIS + RESULTS], s[HEAD + 2 * AXIS + TABLE]
        # One vector more between points: else they would all lie in the same few lines of the cache.
        near_v, near_p = chunk * deep + W, chunk * wide + W
        V, whole, even = 3 * U, C - C % DEPTH, C - C % W
        P = V + A * near_v
        for item in range(first, last):
            b, c0 = item // s[CHUNKS], item % s[CHUNKS] * chunk
            count = min(chunk, s[TILES] - c0)
            for r in range(count):  # the signal's tiles to points
                q = c0 + r
                i2, i1, i0, n = q % n2, q // n2 % n1, q // (n2 * n1) % n0, q // (n2 * n1 * n0)
                base = b * s[X_B] + n * s[X_N]
                for a in range(A):
                    far = offsets[t0 + i0 * M0 + a // (A1 * A2)]
                    mid = offsets[t1 + i1 * M1 + a // A2 % A1]
                    near = offsets[t2 + i2 * M2 + a % A2]
                    # Beyond the edge: the constant of the last axis that leaves the signal.
                    code = near if near < 0 else (mid if mid < 0 else far)
                    work[A + a] = code
                    work[a] = (-1 - code) * s[FILL] if code < 0 else base + far + mid + near
                for c in range(0, deep, W):
                    for a in range(A):
                        p = work[a] + c
                        if c < even:
                            store(buf, a * W, load(fills, p) if work[A + a] < 0 else load(x, p))
                        else:
                            for j in range(W):
                                buf[a * W + j] = scalar(0)
                            for j in range(C - c):
                                buf[a * W + j] = fills[p + j] if work[A + a] < 0 else x[p + j]
                    transform(buf, V + r * deep + c, near_v)
            for a in range(A):  # products, point by point
                for part in range(s[PARTS]):
                    q = (b * A + a) * between(s[PARTS], C, WIDE) + part * C * WIDE
                    for r0 in range(0, count, rows):
                        for r in range(rows):
                            work[r] = buf_at + (V + a * near_v + min(r0 + r, count - 1) * deep) * ITEM
                        block = start(zero[0])
                        for c in range(0, whole, DEPTH):
                            block = many(block, w, q + c * WIDE, WIDE, work, c * ITEM)
                        for c in range(whole, C):
                            block = one(block, w, q + c * WIDE, WIDE, work, c * ITEM)
                        put = P + a * near_p + r0 * wide + part * WIDE
                        write(block, buf_at + put * ITEM, wide, min(rows, count - r0))
            for r in range(count):  # points to results
                q = c0 + r
                i2, i1, i0, n = q % n2, q // n2 % n1, q // (n2 * n1) % n0, q // (n2 * n1 * n0)
                for o in range(0, O, W):
                    transform_back(buf, P + r * wide + o, near_p)
                    for a in range(M):
                        p0, p1, p2 = i0 * M0 + a // (M1 * M2), i1 * M1 + a // M2 % M1, i2 * M2 + a % M2
                        if p0 < m0 and p1 < m1 and p2 < m2:
                            put = (((n * m0 + p0) * m1 + p1) * m2 + p2) * s[Y_P] + b * s[Y_B] + o
                            if O - o >= W:
                                store(y, put, load(buf, a * W))
                            else:
                                for j in range(O - o):
                                    y[put + j] = buf[a * W + j]

    pointer = f"p:{dtype}"
    return minimal, ",".join([*[pointer] * 5, "p:int64", "p:int64", pointer, "i", "p:int64", "i", "i"])


def build_filters(dtype: str, shape: tuple[tuple[int, int], ...], width: int) -> tuple[Callable, str]:
    """The kernel for filters: w[point, part, c] = (G ⊗ ... ⊗ G) k[c], vectors of outputs at a time."""
    from faltung.kernels.simd import mixer

    W, WIDE, between = width, VECTORS * width, native.inner(apart)
    padded = (*[(1, 1)] * (3 - len(shape)), *shape)
    (_, T1, T2), (A0, A1, A2) = [t for _, t in padded], [m + t - 1 for m, t in padded]
    g0, g1, g2 = (mixer(dtype, width, matrix) for matrix in matrices(padded, "G"))
    U = A0 * A1 * A2 * W

    def filters(k, w, buf, C, wide, channel, step, first, last):
        far, bands = between(wide // WIDE, C, WIDE), -(-C // BAND)
        for item in range(first, last):
            part, c0 = item // bands, item % bands * BAND
            for c in range(c0, min(C, c0 + BAND)):  # innermost: every point's memory is written in order
                for o in range(part * WIDE, (part + 1) * WIDE, W):
                    at = c * channel + o
                    for i in range(T1 * T2):
                        g0(k, at + i * step, T1 * T2 * step, buf, i * W, T1 * T2 * W)
                    for q in range(A0):
                        for i in range(T2):
                            g1(buf, (q * T1 * T2 + i) * W, T2 * W, buf, U + (q * A1 * T2 + i) * W, T2 * W)
                    put = (part * C + c) * WIDE + o % WIDE
                    for q in range(A0 * A1):
                        g2(buf, U + q * T2 * W, W, w, put + q * A2 * far, far)

    pointer = f"p:{dtype}"
    return filters, f"{pointer},{pointer},{pointer},i,i,i,i,i,i"


def key(dtype: str, shape: tuple[tuple[int, int], ...]) -> tuple:
    """What `native.load` takes for tiles of that shape."""
    width = native.lanes(dtype)
    rows = 12 if width * np.dtype(dtype).itemsize == 64 else 4
    sizes = "x".join(f"{m}.{t}" for m, t in shape)
    return f"minimal-{dtype}-{sizes}", build, dtype, shape, width, rows


def filter_key(dtype: str, shape: tuple[tuple[int, int], ...]) -> tuple:
    """What `native.load` takes for filters of that shape."""
    sizes = "x".join(f"{m}.{t}" for m, t in shape)
    return f"points-{dtype}-{sizes}", build_filters, dtype, shape, native.lanes(dtype)


def minimal(dtype: str, shape: tuple[tuple[int, int], ...]) -> Callable[..., None]:
    """The compiled kernel; see `contract.minimal` for what it computes."""
    return native.load(*key(dtype, shape))


def filters(dtype: str, shape: tuple[tuple[int, int], ...]) -> Callable[..., None]:
    """The compiled kernel that brings filters to all points."""
    return native.load(*filter_key(dtype, shape))
