"""Overlap-save in lanes: one tile of the signal, or a pair of tiles as real and imaginary part, in each lane of the vectors.

A group of tiles is gathered from the signal (its boundary included), transformed along the last axes row by row, along the first
axis line by line with the product in between, transformed back and scattered into the result; rows and lines stay in the
first cache. A real filter multiplies two real tiles at once, because its convolution keeps real and imaginary parts apart.

All numbers that the kernels need beside arrays come in one int64 array; `Layout` names its places.
"""

from collections.abc import Callable

import numpy as np

from faltung.kernels import extend, native
from faltung.kernels.lane_transforms import transforms

# Places in the array of sizes; what belongs to an axis stands HEAD + AXIS·axis further on.
(DIMS, PAIRED, WIDE, SAMPLES, CHANNELS, OUTPUTS, PAIRS, GROUPS, BATCH, X_B, X_N, X_C, ELEMENT, COLUMNS, HEAD) = range(
    15
)
(F, VALID, COUNT, M, STRIDE, W_AT, STEP, TAPS, DILATION, AXIS) = range(10)


def build_tiles(dtype: str, width: int) -> tuple[Callable, str]:
    """The kernel that convolves groups [first, last) of tiles."""
    from faltung.kernels.simd import lanes

    v = lanes(dtype, width)
    load, store, splat, turn, turn_back = v.load, v.store, v.splat, v.turn, v.turn_back
    W, W2, ITEM = width, 2 * width, np.dtype(dtype).itemsize
    zero = getattr(np, dtype)(0)
    forward, inverse = transforms(dtype, width)
    locate, copy_row = extend.readers()
    jit = native.inner

    @jit
    def place(group, lane, s, org):
        """Batch, sample and tile origins of a lane: org holds for each half (x offset, y batch·samples, valid, origins...)."""
        D, paired = s[DIMS], s[PAIRED]
        if s[WIDE]:
            pairs = s[SAMPLES] * s[PAIRS]
            b, flat = group // pairs * W + lane, group % pairs
        else:
            b, flat = group // s[GROUPS], group % s[GROUPS] * W + lane
        n, pair = flat // s[PAIRS], flat % s[PAIRS]
        tiles = 1
        for d in range(D):
            tiles *= s[HEAD + AXIS * d + COUNT]
        for half in range(2):
            o = (2 * lane + half) * (D + 3)
            tile = 2 * pair + half if paired else pair
            org[o] = b * s[X_B] + n * s[X_N] + (0 if paired else half)
            org[o + 1] = b * s[SAMPLES] + n
            org[o + 2] = 1 if b < s[BATCH] and n < s[SAMPLES] and tile < tiles else 0
            for d in range(D - 1, -1, -1):
                count = s[HEAD + AXIS * d + COUNT]
                org[o + 3 + d] = tile % count * s[HEAD + AXIS * d + VALID]
                tile //= count
            if org[o + 2] == 0:  # nothing to do: gather what the first lane does, and never scatter it
                org[o] = org[0]
                for d in range(D):
                    org[o + 3 + d] = org[3 + d]

    @jit
    def row_of(x, x_at, temp, temp_at, r, c, lane, half, s, e, tables, fills, org):
        """Address of row r of one tile: in the signal where it lies inside, in working memory otherwise."""
        z = s[DIMS] - 1
        o = (2 * lane + half) * (z + 4)
        length, first = s[HEAD + AXIS * z + F], org[o + 3 + z]
        at, constant, rest = org[o] + c * s[X_C], -1, r
        for d in range(z - 1, -1, -1):
            source = locate(org[o + 3 + d] + rest % s[HEAD + AXIS * d + F], d, e, tables)
            rest //= s[HEAD + AXIS * d + F]
            if source >= 0:
                at += source * e[extend.AXIS * d + extend.STEP]
            elif constant < 0:
                constant = d
        h = extend.AXIS * z
        if constant < 0 and e[h + extend.STEP] == 1 and e[h + extend.INNER] <= first <= e[h + extend.OUTER] - length:
            return x_at + (at + first - e[h + extend.LO]) * ITEM
        part = 0 if s[PAIRED] else half
        edge = fills[2 * z + part]
        inner = edge if constant < 0 else fills[2 * constant + part]
        copy_row(x, at, temp, lane * length, first, length, z, e, tables, edge, constant >= 0, inner)
        return temp_at + lane * length * ITEM

    @jit
    def gather(x, x_at, buf, to, temp, temp_at, rows, r, c, s, e, tables, fills, org):
        """Row r of all tiles of the group, the boundary where they leave the signal."""
        length = s[HEAD + AXIS * (s[DIMS] - 1) + F]
        for half in range(2):
            for lane in range(W):
                rows[lane] = row_of(x, x_at, temp, temp_at, r, c, lane, half, s, e, tables, fills, org)
            j, put = 0, to + half * W
            while j + W <= length:
                turn(rows, j, buf, put + j * W2, W2)
                j += W
            if j < length:
                for lane in range(W):
                    if rows[lane] < temp_at or rows[lane] >= temp_at + W * length * ITEM:
                        p = (rows[lane] - x_at) // ITEM
                        for i in range(j, length):
                            buf[put + lane + i * W2] = x[p + i]
                    else:
                        p = (rows[lane] - temp_at) // ITEM
                        for i in range(j, length):
                            buf[put + lane + i * W2] = temp[p + i]

    @jit
    def scatter(y, buf, at, temp, temp_at, rows, r, o_, s, org):
        """The valid results of row r of all tiles into the result."""
        D, element = s[DIMS], s[ELEMENT]
        h = HEAD + AXIS * (D - 1)
        length, valid, m, stride = s[h + F], s[h + VALID], s[h + M], s[h + STRIDE]
        rest = r
        for d in range(D - 2, -1, -1):
            if rest % s[HEAD + AXIS * d + F] >= s[HEAD + AXIS * d + VALID]:
                return
            rest //= s[HEAD + AXIS * d + F]
        for half in range(2):
            for lane in range(W):
                rows[lane] = temp_at + lane * length * ITEM
            j, p = 0, at + half * W
            while j < valid and j + W <= length:
                turn_back(buf, p + j * W2, W2, rows, j)
                j += W
            while j < valid:
                for lane in range(W):
                    temp[lane * length + j] = buf[p + lane + j * W2]
                j += 1
            for lane in range(W):
                o = (2 * lane + half) * (D + 3)
                line, rest, size, wanted = 0, r, 1, org[o + 2] == 1
                for d in range(D - 2, -1, -1):
                    g = HEAD + AXIS * d
                    q = org[o + 3 + d] + rest % s[g + F]
                    rest //= s[g + F]
                    wanted = wanted and q % s[g + STRIDE] == 0 and q // s[g + STRIDE] < s[g + M]
                    line += q // s[g + STRIDE] * size
                    size *= s[g + M]
                if not wanted:
                    continue
                first = org[o + 2 + D]
                start, stop = (first + stride - 1) // stride, min((first + valid + stride - 1) // stride, m)
                to = ((org[o + 1] * s[OUTPUTS] + o_) * size + line) * m
                p_ = lane * length - first
                if element == 1 and stride == 1:
                    for j_ in range(start, stop):
                        y[to + j_] = temp[p_ + j_]
                else:
                    to = to * element + (0 if s[PAIRED] else half)
                    for j_ in range(start, stop):
                        y[to + j_ * element] = temp[p_ + j_ * stride]

    @jit
    def product(buf, line, k, kp, at, s, tile):
        """Transform one line of every channel, multiply, add channels, transform back."""
        C, O, n, step = s[CHANNELS], s[OUTPUTS], s[HEAD + F], s[HEAD + STEP]
        if s[WIDE]:
            for f in range(n):
                p = at + f * step
                xr, xi = load(buf, p), load(buf, p + W)
                for o in range(O - 1, -1, -1):
                    q = kp + (o * s[COLUMNS] * n + f) * W2
                    kr, ki = load(k, q), load(k, q + W)
                    store(buf, p + o * tile, xr * kr - xi * ki)
                    store(buf, p + o * tile + W, xr * ki + xi * kr)
            return
        if C == 1:
            for f in range(n):
                p = at + f * step
                xr, xi = load(buf, p), load(buf, p + W)
                for o in range(O - 1, -1, -1):
                    q = kp + 2 * (f * O + o)
                    kr, ki = splat(k[q]), splat(k[q + 1])
                    store(buf, p + o * tile, xr * kr - xi * ki)
                    store(buf, p + o * tile + W, xr * ki + xi * kr)
            return
        for f in range(n):
            o = 0
            while o < O:
                q, p, t = kp + 2 * (f * O + o) * C, at + f * step, o * W2
                if o + 4 <= O:
                    a = b = c = d = e = g = h = i = splat(zero)
                    for _ in range(C):
                        xr, xi = load(buf, p), load(buf, p + W)
                        kr, ki = splat(k[q]), splat(k[q + 1])
                        a, b = a + xr * kr, b + xi * kr
                        a, b = a - xi * ki, b + xr * ki
                        kr, ki = splat(k[q + 2 * C]), splat(k[q + 2 * C + 1])
                        c, d = c + xr * kr, d + xi * kr
                        c, d = c - xi * ki, d + xr * ki
                        kr, ki = splat(k[q + 4 * C]), splat(k[q + 4 * C + 1])
                        e, g = e + xr * kr, g + xi * kr
                        e, g = e - xi * ki, g + xr * ki
                        kr, ki = splat(k[q + 6 * C]), splat(k[q + 6 * C + 1])
                        h, i = h + xr * kr, i + xi * kr
                        h, i = h - xi * ki, i + xr * ki
                        p += tile
                        q += 2
                    store(line, t, a)
                    store(line, t + W, b)
                    store(line, t + W2, c)
                    store(line, t + W2 + W, d)
                    store(line, t + 2 * W2, e)
                    store(line, t + 2 * W2 + W, g)
                    store(line, t + 3 * W2, h)
                    store(line, t + 3 * W2 + W, i)
                    o += 4
                else:
                    a = b = splat(zero)
                    for _ in range(C):
                        xr, xi = load(buf, p), load(buf, p + W)
                        kr, ki = splat(k[q]), splat(k[q + 1])
                        a, b = a + xr * kr, b + xi * kr
                        a, b = a - xi * ki, b + xr * ki
                        p += tile
                        q += 2
                    store(line, t, a)
                    store(line, t + W, b)
                    o += 1
            for o in range(O):
                p = at + o * tile + f * step
                store(buf, p, load(line, o * W2))
                store(buf, p + W, load(line, o * W2 + W))

    @jit
    def across(buf, at, axis, s, w, back):
        """Transform all lines of an axis that is neither first nor last, for every index of the axes around it."""
        D = s[DIMS]
        h = HEAD + AXIS * axis
        lines = 1
        for d in range(D):
            lines *= 1 if d == axis else s[HEAD + AXIS * d + F]
        for line in range(lines):
            rest, p = line, at
            for d in range(D - 1, -1, -1):
                if d != axis:
                    p += rest % s[HEAD + AXIS * d + F] * s[HEAD + AXIS * d + STEP]
                    rest //= s[HEAD + AXIS * d + F]
            if back:
                inverse(buf, p, s[h + STEP], s[h + F], w, s[h + W_AT])
            else:
                forward(buf, p, s[h + STEP], s[h + F], w, s[h + W_AT])

    @jit
    def start_of(r, s):
        """Where row r begins in a tile."""
        p = 0
        for d in range(s[DIMS] - 2, -1, -1):
            p += r % s[HEAD + AXIS * d + F] * s[HEAD + AXIS * d + STEP]
            r //= s[HEAD + AXIS * d + F]
        return p

    def tiles(x, k, y, buf, line, temp, rows, w, tables, fills, s, e, org, x_at, temp_at, first, last):
        D, C, O = s[DIMS], s[CHANNELS], s[OUTPUTS]
        z = HEAD + AXIS * (D - 1)
        height = 1
        for d in range(D - 1):
            height *= s[HEAD + AXIS * d + F]
        tile = s[HEAD + F] * s[HEAD + STEP]
        n0, step0 = s[HEAD + F], s[HEAD + STEP]
        for group in range(first, last):
            for lane in range(W):
                place(group, lane, s, org)
            for c in range(C):
                for r in range(height):
                    at = c * tile + start_of(r, s)
                    gather(x, x_at, buf, at, temp, temp_at, rows, r, c, s, e, tables, fills, org)
                    if D > 1:
                        forward(buf, at, s[z + STEP], s[z + F], w, s[z + W_AT])
                for axis in range(D - 2, 0, -1):
                    across(buf, c * tile, axis, s, w, False)
            columns = s[COLUMNS]
            if s[WIDE]:
                kb = group // (s[SAMPLES] * s[PAIRS]) * O * columns * n0 * W2
            else:
                kb = group // s[GROUPS] * O * C * columns * n0 * 2
            for column in range(columns):
                rest, p = column, 0
                for d in range(D - 1, 0, -1):
                    p += rest % s[HEAD + AXIS * d + F] * s[HEAD + AXIS * d + STEP]
                    rest //= s[HEAD + AXIS * d + F]
                for c in range(C):
                    forward(buf, c * tile + p, step0, n0, w, s[HEAD + W_AT])
                kp = kb + column * n0 * (W2 if s[WIDE] else 2 * O * C)
                product(buf, line, k, kp, p, s, tile)
                for o in range(O):
                    inverse(buf, o * tile + p, step0, n0, w, s[HEAD + W_AT])
            for o in range(O):
                for axis in range(1, D - 1):
                    across(buf, o * tile, axis, s, w, True)
                for r in range(height):
                    at = o * tile + start_of(r, s)
                    if D > 1:
                        inverse(buf, at, s[z + STEP], s[z + F], w, s[z + W_AT])
                    scatter(y, buf, at, temp, temp_at, rows, r, o, s, org)

    pointer = f"p:{dtype}"
    return tiles, ",".join([*[pointer] * 6, "p:int64", pointer, "p:int64", pointer, *["p:int64"] * 3, *"iiii"])


def build_filters(dtype: str, width: int) -> tuple[Callable, str]:
    """The kernel that transforms groups [first, last) of filters into the layout that `tiles` reads."""
    W, W2 = width, 2 * width
    zero = getattr(np, dtype)(0)
    forward, _ = transforms(dtype, width)
    jit = native.inner

    @jit
    def insert(k, buf, index, lane, s, scale):
        """One filter into its lane: tap u at −u·dilation, so that the product correlates."""
        D, element = s[DIMS], s[ELEMENT]
        taps = 1
        for d in range(D):
            taps *= s[HEAD + AXIS * d + TAPS]
        for u in range(taps):
            rest, p = u, lane
            for d in range(D - 1, -1, -1):
                h = HEAD + AXIS * d
                q = rest % s[h + TAPS] * s[h + DILATION]
                rest //= s[h + TAPS]
                p += (s[h + F] - q if q else 0) * s[h + STEP]
            buf[p] = k[(index * taps + u) * element] * scale
            buf[p + W] = k[(index * taps + u) * element + 1] * scale if element == 2 else zero

    def filters(k, y, buf, w, s, scale, first, last):
        D, C, O, columns, n0 = s[DIMS], s[CHANNELS], s[OUTPUTS], s[COLUMNS], s[HEAD + F]
        tile, pairs = n0 * s[HEAD + STEP], O * C
        for group in range(first, last):
            for p in range(tile):
                buf[p] = zero
            for lane in range(W):
                index = (group // O * W + lane) * O + group % O if s[WIDE] else group * W + lane
                if index < s[BATCH] * pairs:
                    insert(k, buf, index, lane, s, scale)
            for axis in range(D - 1, -1, -1):
                h = HEAD + AXIS * axis
                for line in range(n0 * columns // s[h + F]):
                    rest, p = line, 0
                    for d in range(D - 1, -1, -1):
                        if d != axis:
                            p += rest % s[HEAD + AXIS * d + F] * s[HEAD + AXIS * d + STEP]
                            rest //= s[HEAD + AXIS * d + F]
                    forward(buf, p, s[h + STEP], s[h + F], w, s[h + W_AT])
            for column in range(columns):
                rest, at = column, 0
                for d in range(D - 1, 0, -1):
                    at += rest % s[HEAD + AXIS * d + F] * s[HEAD + AXIS * d + STEP]
                    rest //= s[HEAD + AXIS * d + F]
                for f in range(n0):
                    p = at + f * s[HEAD + STEP]
                    if s[WIDE]:
                        q = ((group * columns + column) * n0 + f) * W2
                        for i in range(W2):
                            y[q + i] = buf[p + i]
                    else:
                        for lane in range(W):
                            index = group * W + lane
                            if index < s[BATCH] * pairs:
                                q = 2 * (((index // pairs * columns + column) * n0 + f) * pairs + index % pairs)
                                y[q] = buf[p + lane]
                                y[q + 1] = buf[p + W + lane]

    pointer = f"p:{dtype}"
    return filters, ",".join([*[pointer] * 4, "p:int64", "f" if dtype == "float32" else "d", "i", "i"])


def keys(dtype: str) -> tuple[tuple, tuple]:
    """What `native.load` takes for the two kernels, of tiles and of filters."""
    width = native.lanes(dtype)
    return (f"tiles-{dtype}", build_tiles, dtype, width), (f"filters-{dtype}", build_filters, dtype, width)


def tiles(dtype: str) -> Callable[..., None]:
    """The compiled convolution of tiles."""
    return native.load(*keys(dtype)[0])


def filters(dtype: str) -> Callable[..., None]:
    """The compiled transform of filters."""
    return native.load(*keys(dtype)[1])
