"""Fourier transforms of many signals side by side: lane l of every vector belongs to signal l, so nothing is ever shuffled.

A point is a vector of real parts followed by one of imaginary parts. `forward` decimates in frequency and leaves the spectrum in
digit-reversed order, `inverse` decimates in time and takes it in that order: convolutions multiply point by point and never
need the natural one. Lengths are 2^a and 3·2^a. Neither divides by the length.

Stages whose blocks outgrow the first cache go over the whole line; below that, a block runs through all its stages at once.

Source: Cooley and Tukey (1965); Gentleman and Sande (1966).
"""

from collections.abc import Callable

import numpy as np

from faltung.kernels import native

LEAF = 256


def transforms(dtype: str, width: int) -> tuple[Callable, Callable]:
    """Compiled `forward(x, at, step, n, w, wp)` and `inverse(...)`: in place on n points, `step` values apart from x[at] on.

    w[wp + 2k], w[wp + 2k + 1] hold cos and −sin of 2πk/n.
    """
    from faltung.kernels.simd import lanes

    v = lanes(dtype, width)
    load, store, splat = v.load, v.store, v.splat
    HALF, ROOT = getattr(np, dtype)(0.5), getattr(np, dtype)(0.75**0.5)
    I = width  # from a point's real to its imaginary parts
    jit = native.inner

    @jit
    def halves(x, p0, p1, w, wp):
        a, b, c, d = load(x, p0), load(x, p0 + I), load(x, p1), load(x, p1 + I)
        r, i, cos, sin = a - c, b - d, splat(w[wp]), splat(w[wp + 1])
        store(x, p0, a + c)
        store(x, p0 + I, b + d)
        store(x, p1, r * cos - i * sin)
        store(x, p1 + I, r * sin + i * cos)

    @jit
    def unhalves(x, p0, p1, w, wp):
        a, b, r, i = load(x, p0), load(x, p0 + I), load(x, p1), load(x, p1 + I)
        cos, sin = splat(w[wp]), splat(w[wp + 1])
        c, d = r * cos + i * sin, i * cos - r * sin
        store(x, p0, a + c)
        store(x, p0 + I, b + d)
        store(x, p1, a - c)
        store(x, p1 + I, b - d)

    @jit
    def thirds(x, p0, p1, p2, w, w1, w2):
        a, b = load(x, p0), load(x, p0 + I)
        c, d, e, f = load(x, p1), load(x, p1 + I), load(x, p2), load(x, p2 + I)
        half, root = splat(HALF), splat(ROOT)
        tr, ti = c + e, d + f
        vr, vi = (c - e) * root, (d - f) * root
        mr, mi = a - tr * half, b - ti * half
        store(x, p0, a + tr)
        store(x, p0 + I, b + ti)
        cos, sin, r, i = splat(w[w1]), splat(w[w1 + 1]), mr + vi, mi - vr
        store(x, p1, r * cos - i * sin)
        store(x, p1 + I, r * sin + i * cos)
        cos, sin, r, i = splat(w[w2]), splat(w[w2 + 1]), mr - vi, mi + vr
        store(x, p2, r * cos - i * sin)
        store(x, p2 + I, r * sin + i * cos)

    @jit
    def unthirds(x, p0, p1, p2, w, w1, w2):
        a, b = load(x, p0), load(x, p0 + I)
        r, i, cos, sin = load(x, p1), load(x, p1 + I), splat(w[w1]), splat(w[w1 + 1])
        c, d = r * cos + i * sin, i * cos - r * sin
        r, i, cos, sin = load(x, p2), load(x, p2 + I), splat(w[w2]), splat(w[w2 + 1])
        e, f = r * cos + i * sin, i * cos - r * sin
        half, root = splat(HALF), splat(ROOT)
        tr, ti = c + e, d + f
        vr, vi = (c - e) * root, (d - f) * root
        mr, mi = a - tr * half, b - ti * half
        store(x, p0, a + tr)
        store(x, p0 + I, b + ti)
        store(x, p1, mr - vi)
        store(x, p1 + I, mi + vr)
        store(x, p2, mr + vi)
        store(x, p2 + I, mi - vr)

    @jit
    def quarters(x, at, step, q, w, wp, ws):
        p0 = at
        for j in range(q):
            p1, p2, p3 = p0 + q * step, p0 + 2 * q * step, p0 + 3 * q * step
            ar, ai, br, bi = load(x, p0), load(x, p0 + I), load(x, p1), load(x, p1 + I)
            cr, ci, dr, di = load(x, p2), load(x, p2 + I), load(x, p3), load(x, p3 + I)
            sr, si, tr, ti = ar + cr, ai + ci, br + dr, bi + di
            ur, ui, er, ei = ar - cr, ai - ci, br - dr, bi - di
            store(x, p0, sr + tr)
            store(x, p0 + I, si + ti)
            fr, fi, gr, gi, hr, hi = ur + ei, ui - er, sr - tr, si - ti, ur - ei, ui + er
            if j == 0:
                store(x, p1, fr)
                store(x, p1 + I, fi)
                store(x, p2, gr)
                store(x, p2 + I, gi)
                store(x, p3, hr)
                store(x, p3 + I, hi)
            else:
                k = 2 * j * ws
                cos, sin = splat(w[wp + k]), splat(w[wp + k + 1])
                store(x, p1, fr * cos - fi * sin)
                store(x, p1 + I, fr * sin + fi * cos)
                cos, sin = splat(w[wp + 2 * k]), splat(w[wp + 2 * k + 1])
                store(x, p2, gr * cos - gi * sin)
                store(x, p2 + I, gr * sin + gi * cos)
                cos, sin = splat(w[wp + 3 * k]), splat(w[wp + 3 * k + 1])
                store(x, p3, hr * cos - hi * sin)
                store(x, p3 + I, hr * sin + hi * cos)
            p0 += step

    @jit
    def unquarters(x, at, step, q, w, wp, ws):
        p0 = at
        for j in range(q):
            p1, p2, p3 = p0 + q * step, p0 + 2 * q * step, p0 + 3 * q * step
            ar, ai, fr, fi = load(x, p0), load(x, p0 + I), load(x, p1), load(x, p1 + I)
            gr, gi, hr, hi = load(x, p2), load(x, p2 + I), load(x, p3), load(x, p3 + I)
            if j > 0:
                k = 2 * j * ws
                cos, sin = splat(w[wp + k]), splat(w[wp + k + 1])
                fr, fi = fr * cos + fi * sin, fi * cos - fr * sin
                cos, sin = splat(w[wp + 2 * k]), splat(w[wp + 2 * k + 1])
                gr, gi = gr * cos + gi * sin, gi * cos - gr * sin
                cos, sin = splat(w[wp + 3 * k]), splat(w[wp + 3 * k + 1])
                hr, hi = hr * cos + hi * sin, hi * cos - hr * sin
            sr, si, tr, ti = ar + gr, ai + gi, ar - gr, ai - gi
            ur, ui, er, ei = fr + hr, fi + hi, fr - hr, fi - hi
            store(x, p0, sr + ur)
            store(x, p0 + I, si + ui)
            store(x, p2, sr - ur)
            store(x, p2 + I, si - ui)
            store(x, p1, tr - ei)
            store(x, p1 + I, ti + er)
            store(x, p3, tr + ei)
            store(x, p3 + I, ti - er)
            p0 += step

    @jit
    def forward(x, at, step, n, w, wp):
        size = n
        if n % 3 == 0:
            size = n // 3
            for j in range(size):
                p = at + j * step
                thirds(x, p, p + size * step, p + 2 * size * step, w, wp + 2 * j, wp + 4 * j)
        power = size
        while power > 3:
            power //= 4
        if power == 2:
            ws, size = n // size, size // 2
            for b in range(0, n, 2 * size):
                for j in range(size):
                    p = at + (b + j) * step
                    halves(x, p, p + size * step, w, wp + 2 * j * ws)
        while size > LEAF:
            for b in range(0, n, size):
                quarters(x, at + b * step, step, size // 4, w, wp, n // size)
            size //= 4
        for b in range(0, n, size):
            s = size
            while s >= 4:
                for c in range(b, b + size, s):
                    quarters(x, at + c * step, step, s // 4, w, wp, n // s)
                s //= 4

    @jit
    def inverse(x, at, step, n, w, wp):
        odd = n // 3 if n % 3 == 0 else n
        power = odd
        while power > 3:
            power //= 4
        fours = odd // power
        size = fours
        while size > LEAF:
            size //= 4
        for b in range(0, n, size):
            s = 4
            while s <= size:
                for c in range(b, b + size, s):
                    unquarters(x, at + c * step, step, s // 4, w, wp, n // s)
                s *= 4
        while size < fours:
            size *= 4
            for b in range(0, n, size):
                unquarters(x, at + b * step, step, size // 4, w, wp, n // size)
        if power == 2:
            ws = n // (2 * size)
            for b in range(0, n, 2 * size):
                for j in range(size):
                    p = at + (b + j) * step
                    unhalves(x, p, p + size * step, w, wp + 2 * j * ws)
        if odd < n:
            for j in range(odd):
                p = at + j * step
                unthirds(x, p, p + odd * step, p + 2 * odd * step, w, wp + 2 * j, wp + 4 * j)

    return forward, inverse
