"""Wavelets, moduli, wavelets, moduli and averages in one pass: a signal with one first wavelet in each lane of the vectors.

A group of lanes takes the products of spectra and wavelets, folded to the grid on which the modulus is kept; transforms them,
takes moduli, averages these, transforms them back to a spectrum and goes on with every second wavelet, two at a time. All of it
stays in the cache, nothing is shuffled, and no spectrum is ever put in order: transforms out of frequency leave places in the
order of their digits, which moduli do not mind, the lists of the averages are told, and transforms back undo.

|z| is that of its conjugate, so all spectra are kept conjugate, and one pair of transforms does for both directions.

All whole numbers that the kernel needs come in one int64 array (the header, then the grids, their lists of places), all others
in one array of the signal's dtype. `layout` writes both.
"""

from collections.abc import Callable

import numpy as np

from faltung.kernels import native
from faltung.kernels.lane_transforms import transforms
from faltung.kernels.scattering.odd import stages

PRIME, STAGES_AT_MOST = 31, 4  # odd factors of a length: how large, how many
(SAMPLES, WAVES, PATHS, ROWS, COLUMNS, HEIGHT, WIDTH, GRID, SECONDS, ALL, ONES, TWOS, HEAD) = range(13)
"""The header: signals, first wavelets, features a signal, their sizes, the spectrum's sizes, the grid of the first moduli, how many
scales follow, how many second wavelets there are in all, where the tables of paths are."""
(COUNT, FILTERS, ON, WAVE, SECOND) = range(5)
"""A second scale: its wavelets, where their numbers are, their grid, the first's number."""
(N0, N1, STEP, LIST0, LIST1, KEPT0, KEPT1, WEIGHT0, WEIGHT1, AXES) = range(10)
"""A grid: its sizes, values between rows, and for the averages along each axis where places are, how many, where weights are."""
(LINE, POWER, W_AT, STAGES, STAGE_AT) = range(5)
(RADIX, T_AT, C_AT, STAGE) = range(4)
AXIS = STAGE_AT + STAGE * STAGES_AT_MOST
"""An axis of a grid: its length, the power of two in it and that one's twiddle factors, its odd factors each with its waves."""


def build(dtype: str, width: int) -> tuple[Callable, str]:
    """The kernel that works on groups [first, last) of lanes."""
    from faltung.kernels.simd import lanes

    v = lanes(dtype, width)
    load, store, splat, root, turn, turn_back = v.load, v.store, v.splat, v.root, v.turn, v.turn_back
    W, W2, ITEM = width, 2 * width, np.dtype(dtype).itemsize
    zero = getattr(np, dtype)(0)
    number = getattr(np, dtype)
    forward, inverse = transforms(dtype, width)
    out_odd, back_odd = stages(dtype, width)
    jit = native.inner

    @jit
    def outward(x, at, step, i, a, f, line):
        """From the natural order to that of digits."""
        size, blocks = i[a + LINE], 1
        for stage in range(i[a + STAGES]):
            h = a + STAGE_AT + STAGE * stage
            radix = i[h + RADIX]
            q = size // radix
            for block in range(blocks):
                out_odd(x, at + block * size * step, step, q, radix, f, i[h + T_AT], i[h + C_AT], line)
            size, blocks = q, blocks * radix
        if size > 1:
            for block in range(blocks):
                forward(x, at + block * size * step, step, size, f, i[a + W_AT])

    @jit
    def inward(x, at, step, i, a, f, line):
        """From the order of digits to the natural one."""
        size = i[a + POWER]
        blocks = i[a + LINE] // size
        if size > 1:
            for block in range(blocks):
                inverse(x, at + block * size * step, step, size, f, i[a + W_AT])
        for stage in range(i[a + STAGES] - 1, -1, -1):
            h = a + STAGE_AT + STAGE * stage
            radix = i[h + RADIX]
            blocks //= radix
            for block in range(blocks):
                back_odd(x, at + block * size * radix * step, step, size, radix, f, i[h + T_AT], i[h + C_AT], line)
            size *= radix

    @jit
    def moduli(x, at, i, g, f, line):
        """Down the columns, and the modulus of what comes, with imaginary parts of 0."""
        n0, n1, step = i[g + N0], i[g + N1], i[g + STEP]
        for c in range(n1):
            p = at + c * W2
            if n0 > 1:
                outward(x, p, step, i, g + AXES, f, line)
            for _ in range(n0):
                re, im = load(x, p), load(x, p + W)
                store(x, p, root(re * re + im * im))
                store(x, p + W, splat(zero))
                p += step

    @jit
    def averaged(x, at, i, g, f, temp, out, gain):
        """Both averages, by lists of places and weights: along rows, four of them at a time, then along columns."""
        n0, step, k0, k1, across = i[g + N0], i[g + STEP], i[g + KEPT0], i[g + KEPT1], i[COLUMNS]
        hop = across * W
        for r in range(0, n0, 4):
            p, w, many = i[g + LIST1], i[g + WEIGHT1], min(4, n0 - r)
            # rows that are none repeat the last one
            s1, s2, s3 = min(1, many - 1) * step, min(2, many - 1) * step, min(3, many - 1) * step
            for c in range(across):
                a = b = d = e = splat(zero)
                for k in range(k1):
                    weight, q = splat(f[w + k]), at + r * step + i[p + k]
                    a, b = a + load(x, q) * weight, b + load(x, q + s1) * weight
                    d, e = d + load(x, q + s2) * weight, e + load(x, q + s3) * weight
                to = r * hop + c * W
                store(temp, to, a)
                store(temp, to + hop, b)
                store(temp, to + 2 * hop, d)
                store(temp, to + 3 * hop, e)
                p += k1
                w += k1
        p, w = i[g + LIST0], i[g + WEIGHT0]
        for r in range(i[ROWS]):
            for c in range(across):
                a = b = splat(zero)
                for k in range(0, k0 - 1, 2):
                    a = a + load(temp, i[p + k] * hop + c * W) * splat(f[w + k])
                    b = b + load(temp, i[p + k + 1] * hop + c * W) * splat(f[w + k + 1])
                if k0 % 2:
                    a = a + load(temp, i[p + k0 - 1] * hop + c * W) * splat(f[w + k0 - 1])
                store(out, (r * across + c) * W, (a + b) * splat(gain))
            p += k0
            w += k0

    @jit
    def put(out, y, y_at, i, at, table, column, rows):
        """The averages of all lanes to their paths: lane l has item rows[W + l]."""
        size = i[ROWS] * i[COLUMNS]
        for lane in range(W):
            sample, wave = rows[W + lane] // i[WAVES], rows[W + lane] % i[WAVES]
            rows[lane] = y_at + (sample * i[PATHS] + i[at + wave * table + column]) * size * ITEM
        whole = size // W * W
        for j in range(0, whole, W):
            turn_back(out, j * W, W, rows, j)
        for lane in range(W):
            p = (rows[lane] - y_at) // ITEM
            for j in range(whole, size):
                y[p + j] = out[j * W + lane]

    @jit
    def products(spectra, one, x, i, g, f, line, bands, bands_at, rows, scale):
        """Folded products of spectra and first wavelets and their transforms along rows, an item in each lane."""
        H, N, n0, n1, step = i[HEIGHT], i[WIDTH], i[g + N0], i[g + N1], i[g + STEP]
        whole = n1 // W * W
        for r in range(n0):
            for lane in range(W):
                sample, wave = rows[W + lane] // i[WAVES], rows[W + lane] % i[WAVES]
                to = lane * 2 * n1
                for c in range(0, whole, W):
                    re, im = splat(zero), splat(zero)
                    for a in range(r, H, n0):
                        p, w = (2 * sample * H + a) * N + c, (wave * H + a) * N + c
                        for _ in range(0, N, n1):
                            weight = load(one, w)
                            re, im = re + load(spectra, p) * weight, im - load(spectra, p + H * N) * weight
                            p += n1
                            w += n1
                    store(bands, to + c, re * splat(scale))
                    store(bands, to + n1 + c, im * splat(scale))
                for c in range(whole, n1):
                    sr = si = zero
                    for a in range(r, H, n0):
                        p, w = (2 * sample * H + a) * N + c, (wave * H + a) * N + c
                        for _ in range(0, N, n1):
                            sr += spectra[p] * one[w]
                            si -= spectra[p + H * N] * one[w]
                            p += n1
                            w += n1
                    bands[to + c] = sr * scale
                    bands[to + n1 + c] = si * scale
            for half in range(2):
                to = r * step + half * W
                for lane in range(W):
                    rows[lane] = bands_at + (2 * lane + half) * n1 * ITEM
                for c in range(0, whole, W):
                    turn(rows, c, x, to + c * W2, W2)
                for c in range(whole, n1):
                    for lane in range(W):
                        x[to + c * W2 + lane] = bands[(2 * lane + half) * n1 + c]
            outward(x, r * step, W2, i, g + AXES + AXIS, f, line)

    @jit
    def pair(x, two, deep, apart, i, g, d, f, line, k, other, many):
        """The same of a spectrum in lanes and two second wavelets, whose numbers begin at k and other; `many`: one or two count."""
        n0, n1, step = i[g + N0], i[g + N1], i[g + STEP]
        m0, m1, hop = i[d + N0], i[d + N1], i[d + STEP]
        for r in range(m0):
            for c in range(m1):
                re, im, se, sm = splat(zero), splat(zero), splat(zero), splat(zero)
                for a in range(r, n0, m0):
                    p, w = a * step + c * W2, a * n1 + c
                    for _ in range(0, n1, m1):
                        u, v_, b, e = load(x, p), load(x, p + W), splat(two[k + w]), splat(two[other + w])
                        re, im, se, sm = re + u * b, im + v_ * b, se + u * e, sm + v_ * e
                        p += m1 * W2
                        w += m1
                to = r * hop + c * W2
                store(deep, to, re)
                store(deep, to + W, im)
                store(deep, to + apart, se)
                store(deep, to + apart + W, sm)
            for n in range(many):
                outward(deep, n * apart + r * hop, W2, i, d + AXES + AXIS, f, line)

    def scattered(spectra, one, two, y, x, deep, line, temp, out, bands, f, i, rows, bands_at, y_at, first, last):
        items, g = i[SAMPLES] * i[WAVES], i[GRID]
        n0, n1, step = i[g + N0], i[g + N1], i[g + STEP]
        scale, back = number(1 / (i[HEIGHT] * i[WIDTH])), number(1 / (n0 * n1))
        for group in range(first, last):
            for lane in range(W):
                rows[W + lane] = min(group * W + lane, items - 1)
            products(spectra, one, x, i, g, f, line, bands, bands_at, rows, scale)
            moduli(x, 0, i, g, f, line)
            averaged(x, 0, i, g, f, temp, out, number(1))
            put(out, y, y_at, i, i[ONES], 1, 0, rows)
            if i[SECONDS] == 0:
                continue
            for c in range(n1):
                if n0 > 1:
                    inward(x, c * W2, step, i, g + AXES, f, line)
            for r in range(n0):
                inward(x, r * step, W2, i, g + AXES + AXIS, f, line)
            for n in range(i[SECONDS]):
                h = HEAD + SECOND * n
                d, count = i[h + ON], i[h + COUNT]
                apart = i[d + N0] * i[d + STEP]
                for wave in range(0, count, 2):
                    many = min(2, count - wave)
                    k = i[h + FILTERS] + wave * n0 * n1
                    pair(x, two, deep, apart, i, g, d, f, line, k, k + (many - 1) * n0 * n1, many)
                    for m in range(many):
                        moduli(deep, m * apart, i, d, f, line)
                        averaged(deep, m * apart, i, d, f, temp, out, back)
                        put(out, y, y_at, i, i[TWOS], i[ALL], i[h + WAVE] + wave + m, rows)

    pointer = f"p:{dtype}"
    return scattered, ",".join([*[pointer] * 11, "p:int64", "p:int64", *"iiii"])


def key(dtype: str) -> tuple:
    """What `native.load` takes."""
    width = native.lanes(dtype)
    return f"scattered-{dtype}", build, dtype, width
