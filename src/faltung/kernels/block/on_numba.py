"""Residual blocks in one kernel, compiled: what lies between the first channels and the last exists for a band of rows only.

A strip of columns is gone through from its first row to its last, a few rows of results (a band) at a time. In an inverted
bottleneck the rows of the signal under a band are widened by blocks of products and kept in a ring of lines, so that the rows
which the next band shares are not widened again; the depthwise filter reads the ring and writes a panel, channel under channel,
whose sums over channels are the results. Where a grouped convolution comes first, its results are the panel that is widened.

Every value is the same sum in the same order whatever the bands, so the bits do not depend on how a result is cut.
"""

from collections.abc import Callable
from itertools import accumulate

import numpy as np

from faltung.kernels import native
from faltung.kernels.block.layout import FLOATS, Cut, cut, segments, vectors
from faltung.kernels.native import address, lanes
from faltung.kernels.threads import Own, share

DEPTH, VECTORS = 4, 2
OUTPUTS = 4  # of a group that are filtered together
# Places in the array of sizes.
(CHANNELS, WIDE, HEIGHT, WIDTH, TAPS_H, TAPS_W, GROUP, COLUMNS, STRIPS, ROWS, BANDS, SLOTS, PITCH, STAGED, HOP,
 SEGMENTS) = range(16)  # fmt: skip


def _parts(act: str, rows: int, width: int, columns: int, together: int) -> tuple[Callable, Callable, Callable]:
    """`product`, sums over the channels of a panel; `filtered`, taps over lines; `bent`, bias and activation of rows."""
    from faltung.kernels import simd
    from faltung.kernels.block.bends import bend

    block_of, line_of = (
        simd.tiles("float32", width, r, c, "add", "mul") for r, c in ((rows, VECTORS), (together, columns))
    )
    start, write, many, one = block_of.start, block_of.write, block_of.reach(DEPTH), block_of.reach(1)
    begin, step, put = line_of.start, line_of.step(0, together), line_of.write
    BLOCK, ACROSS = VECTORS * width, columns * width
    curve = bend(act)

    @native.inlined
    def product(panel, hop, deep, k_at, o0, good, count, to_at, to_hop, work, nothing):
        whole = deep - deep % DEPTH
        for r in range(rows):
            work[r] = k_at + (o0 + min(r, good - 1)) * deep * FLOATS
        for s in range(0, count, BLOCK):
            block = start(nothing)
            for c in range(0, whole, DEPTH):
                block = many(block, panel, c * hop + s, hop, work, c * FLOATS)
            for c in range(whole, deep):
                block = one(block, panel, c * hop + s, hop, work, c * FLOATS)
            write(block, to_at + s * FLOATS, to_hop, good)

    @native.inlined
    def filtered(lines, at, plane, slot, slots, pitch, KH, KW, depth, k, q, good, bias, wide, to_at, to_hop):
        """One row of results of `together` filters: sums over `depth` planes of lines and their taps."""
        for j in range(0, wide, ACROSS):
            block = begin(bias)
            for i in range(depth):
                for ky in range(KH):
                    line = slot + ky
                    line = at + i * plane + (line - slots if line >= slots else line) * pitch + j
                    for kx in range(KW):
                        block = step(block, lines, line + kx, k, q + (i * KH + ky) * KW + kx, depth * KH * KW)
            put(block, to_at + j * FLOATS, to_hop, good)

    @native.inlined
    def bent(rows_of, at, scale, bias, count):
        for j in range(at, at + count):
            rows_of[j] = curve(rows_of[j] * scale + bias)

    return product, filtered, bent


def build_inverted(act: str, rows: int, width: int, columns: int) -> tuple[Callable, str]:
    """The kernel of inverted bottlenecks; items are samples times strips times segments of their bands."""
    product, filtered, bent = _parts(act, rows, width, columns, 1)
    BLOCK = VECTORS * width

    def inverted(
        x, y, widen_at, p, a, mix, m, narrow_at, q, b, s, panel, temp, temp_at, lines, deep, deep_at, zero, work, first, last
    ):  # fmt: skip
        C, E, H, W, KH, KW = s[CHANNELS], s[WIDE], s[HEIGHT], s[WIDTH], s[TAPS_H], s[TAPS_W]
        strips, R, bands, slots, pitch = s[STRIPS], s[ROWS], s[BANDS], s[SLOTS], s[PITCH]
        staged, hop, parts, nothing, once = s[STAGED], s[HOP], s[SEGMENTS], zero[0], zero[1]
        top, left = KH // 2, KW // 2
        for item in range(first, last):
            n, strip, part = item // (strips * parts), item // parts % strips, item % parts
            c0 = strip * s[COLUMNS]
            c1 = min(W, c0 + s[COLUMNS])
            h0, h1 = max(0, c0 - left), min(W, c1 + left)  # columns that are widened
            wide, seen = c1 - c0, h1 - h0
            for i in range(E * slots * pitch):  # the margins stay zero
                lines[i] = nothing
            from_, to = part * bands // parts, (part + 1) * bands // parts
            have = from_ * R - top  # rows before this one have been widened
            for band in range(from_, to):
                r0, r1 = band * R, min(H, band * R + R)
                # Rows of the image that this band needs and the ring lacks.
                w0, w1 = max(have, 0), min(r1 + top, H)
                for c in range(C):
                    for h in range(w0, w1):
                        src, put = ((n * C + c) * H + h) * W + h0, c * staged + (h - w0) * seen
                        for j in range(seen):
                            panel[put + j] = x[src + j]
                positions = (w1 - w0) * seen
                many = -(-positions // BLOCK) * BLOCK
                for e0 in range(0, E, rows):
                    good = min(rows, E - e0)
                    if positions > 0:
                        product(panel, staged, C, widen_at, e0, good, many, temp_at, staged, work, nothing)
                    for r in range(good):
                        bent(temp, r * staged, p[e0 + r], a[e0 + r], many)
                        plane = (e0 + r) * slots * pitch
                        for h in range(w0, w1):
                            put, src = plane + (h + top) % slots * pitch + h0 - c0 + left, r * staged + (h - w0) * seen
                            for j in range(seen):
                                lines[put + j] = temp[src + j]
                        for h in range(max(have, H), r1 + top):  # below the image
                            put = plane + (h + top) % slots * pitch
                            for j in range(pitch):
                                lines[put + j] = nothing
                have = r1 + top
                many = -(-(r1 - r0) * wide // BLOCK) * BLOCK
                for e in range(E):
                    for r in range(r0, r1):
                        filtered(
                            lines, e * slots * pitch, 0, r % slots, slots, pitch, KH, KW, 1, mix, e * KH * KW, 1, m[e], wide,
                            deep_at + (e * hop + (r - r0) * wide) * FLOATS, 0,
                        )  # fmt: skip
                    bent(deep, e * hop, once, nothing, many)
                for o0 in range(0, C, rows):
                    good = min(rows, C - o0)
                    product(deep, hop, E, narrow_at, o0, good, many, temp_at, hop, work, nothing)
                    for o in range(good):
                        scale, bias = q[o0 + o], b[o0 + o]
                        for r in range(r0, r1):
                            put, src = ((n * C + o0 + o) * H + r) * W + c0, o * hop + (r - r0) * wide
                            for j in range(wide):
                                y[put + j] = x[put + j] + (temp[src + j] * scale + bias)

    return inverted, _KINDS["inverted"]


def build_first(act: str, rows: int, width: int, columns: int, together: int) -> tuple[Callable, str]:
    """The kernel of blocks whose grouped convolution comes first; items as above."""
    product, filtered, bent = _parts(act, rows, width, columns, together)
    BLOCK = VECTORS * width

    def first_(
        x, y, mix, m, widen_at, a, narrow_at, q, b, s, panel, panel_at, temp, temp_at, lines, deep, deep_at, zero, work, first, last
    ):  # fmt: skip
        C, E, H, W, KH, KW, G = s[CHANNELS], s[WIDE], s[HEIGHT], s[WIDTH], s[TAPS_H], s[TAPS_W], s[GROUP]
        strips, R, bands, slots, pitch = s[STRIPS], s[ROWS], s[BANDS], s[SLOTS], s[PITCH]
        hop, parts, nothing, once = s[HOP], s[SEGMENTS], zero[0], zero[1]
        top, left = KH // 2, KW // 2
        for item in range(first, last):
            n, strip, part = item // (strips * parts), item // parts % strips, item % parts
            c0 = strip * s[COLUMNS]
            c1 = min(W, c0 + s[COLUMNS])
            h0, h1, wide = max(0, c0 - left), min(W, c1 + left), c1 - c0
            for i in range(G * slots * pitch):  # margins at the sides stay zero
                lines[i] = nothing
            for band in range(part * bands // parts, (part + 1) * bands // parts):
                r0, r1 = band * R, min(H, band * R + R)
                many = -(-(r1 - r0) * wide // BLOCK) * BLOCK
                for g in range(0, C, G):
                    for i in range(G):
                        for line in range(r1 - r0 + 2 * top):
                            h, put = r0 + line - top, (i * slots + line) * pitch
                            if h < 0 or h >= H:
                                for j in range(pitch):
                                    lines[put + j] = nothing
                            else:
                                src = ((n * C + g + i) * H + h) * W + h0
                                put += h0 - c0 + left
                                for j in range(h1 - h0):
                                    lines[put + j] = x[src + j]
                    for o in range(0, G, together):
                        for r in range(r1 - r0):
                            filtered(
                                lines, 0, slots * pitch, r, slots, pitch, KH, KW, G, mix, (g + o) * G * KH * KW,
                                min(together, G - o), nothing, wide, panel_at + ((g + o) * hop + r * wide) * FLOATS, hop,
                            )  # fmt: skip
                for c in range(C):
                    bias = m[c]
                    for j in range(c * hop, c * hop + many):
                        panel[j] = panel[j] + bias
                for e0 in range(0, E, rows):
                    good = min(rows, E - e0)
                    product(panel, hop, C, widen_at, e0, good, many, deep_at + e0 * hop * FLOATS, hop, work, nothing)
                    for r in range(good):
                        bent(deep, (e0 + r) * hop, once, a[e0 + r], many)
                for o0 in range(0, C, rows):
                    good = min(rows, C - o0)
                    product(deep, hop, E, narrow_at, o0, good, many, temp_at, hop, work, nothing)
                    for o in range(good):
                        scale, bias = q[o0 + o], b[o0 + o]
                        for r in range(r0, r1):
                            put, src = ((n * C + o0 + o) * H + r) * W + c0, o * hop + (r - r0) * wide
                            for j in range(wide):
                                y[put + j] = x[put + j] + (temp[src + j] * scale + bias)

    return first_, _KINDS["first"]


_F, _L = "p:float32", "p:int64"
_KINDS = {
    "inverted": ",".join([_F, _F, "i", *[_F] * 4, "i", _F, _F, _L, _F, _F, "i", _F, _F, "i", _F, _L, "i", "i"]),
    "first": ",".join([*[_F] * 4, "i", _F, "i", _F, _F, _L, _F, "i", _F, "i", _F, _F, "i", _F, _L, "i", "i"]),
}


def inverted(
    x: np.ndarray, widen: np.ndarray, p: np.ndarray, a: np.ndarray, mix: np.ndarray, m: np.ndarray,
    narrow: np.ndarray, q: np.ndarray, b: np.ndarray, bend: str, threads: int,
) -> np.ndarray:  # fmt: skip
    """The contract's result for contiguous arrays of float32, odd numbers of taps, at least one result."""
    made = planned("inverted", x.shape, widen.shape[0], mix.shape[1:], 1)
    work = native.load(*key("inverted", bend, made.width))

    def places(panel: int, temp: int, lines: int, deep: int) -> tuple[int, ...]:
        return panel, temp, temp, lines, deep, deep

    return _run(work, (x, widen, p, a, mix, m, narrow, q, b), widen.shape[0], mix.shape[1:], 1, made, places, threads)


def first(
    x: np.ndarray, mix: np.ndarray, m: np.ndarray, widen: np.ndarray, a: np.ndarray, narrow: np.ndarray, q: np.ndarray,
    b: np.ndarray, bend: str, threads: int,
) -> np.ndarray:  # fmt: skip
    """The contract's result for contiguous arrays of float32, odd numbers of taps, at least one result."""
    group, taps = mix.shape[1], mix.shape[2:]
    made, together = planned("first", x.shape, widen.shape[0], taps, group), _together(group)
    work = native.load(*key("first", bend, made.width, together))
    if extra := -group % together:  # the last group's filters are read as a whole number of those that run together
        mix = np.concatenate([mix, np.zeros((extra, *mix.shape[1:]), mix.dtype)])

    def places(panel: int, temp: int, lines: int, deep: int) -> tuple[int, ...]:
        return panel, panel, temp, temp, lines, deep, deep

    return _run(work, (x, mix, m, widen, a, narrow, q, b), widen.shape[0], taps, group, made, places, threads)


def _run(
    work: Callable, arrays: tuple[np.ndarray, ...], wide: int, taps: tuple[int, ...], group: int, made: Cut, places: Callable,
    threads: int,
) -> np.ndarray:  # fmt: skip
    """The result of one kernel, its strips and their segments shared among threads."""
    x, *others = arrays
    N, C, H, W = x.shape
    y, numbers = np.empty_like(x), np.array([0, 1], np.float32)
    parts = segments(N * made.strips, made.bands, threads)
    cuts = (made.width, made.strips, made.rows, made.bands, made.slots, made.pitch, made.staged, made.hop, parts)
    sizes = np.array([C, wide, H, W, *taps, group, *cuts], np.int64)
    given = [address(v) for v in (x, y, *others, sizes)]

    at = list(accumulate((-(-size * FLOATS // 64) * 64 for size in made.sizes), initial=0))
    own = [Own(place) for place in places(*at[:4])]
    share(work, (*given, *own, address(numbers), Own(at[4])), N * made.strips * parts, threads, own=made.bytes + 8 * 16)
    return y


def planned(kind: str, shape: tuple[int, ...], wide: int, taps: tuple[int, ...], group: int) -> Cut:
    """How a result is cut on this machine."""
    width = lanes("float32")
    return cut(kind, shape[1], wide, shape[2], shape[3], taps, group, VECTORS * width, width, _rows())


def key(kind: str, bend: str, columns: int, together: int = 1) -> tuple:
    """What `native.load` takes for one activation and width of strips."""
    width = lanes("float32")
    across = vectors(columns, width)
    name = f"block-{kind}-{bend}-{across}-{together}"
    if kind == "inverted":
        return name, build_inverted, bend, _rows(), width, across
    return name, build_first, bend, _rows(), width, across, together


def _rows() -> int:
    return 12 if lanes("float32") == 16 else 4


def _together(group: int) -> int:
    return min(group, OUTPUTS if lanes("float32") == 16 else 2)
