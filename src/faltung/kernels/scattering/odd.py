"""Odd factors of transforms in lanes, radix 3 and 5 in registers, other primes by sums and differences of pairs.

Each stage works in place on n points, `step` values apart from x[at] on; a point is a vector of real parts and one of imaginary
parts. On the way out, stages decimate in frequency (twiddle factors behind them), on the way in, in time (before them).
"""

from collections.abc import Callable

import numpy as np

from faltung.kernels import native


def stages(dtype: str, width: int) -> tuple[Callable, Callable]:
    """Compiled `out(x, at, step, q, radix, f, t, c, line)` and `back(...)`: one stage over one block of radix·q points.

    f[t + 2(j·radix + k)] on hold cos and sin of 2πjk / (radix·q) for places j < q; f[c + 2(o·half + k)] on those of
    2π(o + 1)(k + 1) / radix for primes above 5; `line` has room for 2·radix vectors.
    """
    from faltung.kernels.simd import lanes

    v = lanes(dtype, width)
    load, store, splat = v.load, v.store, v.splat
    W, number = width, getattr(np, dtype)
    zero = number(0)
    HALF, ROOT = number(0.5), number(0.75**0.5)
    C1, C2, S1, S2 = (number(g(2 * np.pi * k / 5)) for g in (np.cos, np.sin) for k in (1, 2))
    jit = native.inner

    @jit
    def turned(x, p, r, i, f, w):
        """Store (r, i) times exp(−iθ)."""
        cos, sin = splat(f[w]), splat(f[w + 1])
        store(x, p, r * cos + i * sin)
        store(x, p + W, i * cos - r * sin)

    @jit
    def thirds(x, p, far, f, w):
        a, b = load(x, p), load(x, p + W)
        c, d, e, g = load(x, p + far), load(x, p + far + W), load(x, p + 2 * far), load(x, p + 2 * far + W)
        half, root = splat(HALF), splat(ROOT)
        tr, ti, vr, vi = c + e, d + g, (c - e) * root, (d - g) * root
        mr, mi = a - tr * half, b - ti * half
        store(x, p, a + tr)
        store(x, p + W, b + ti)
        turned(x, p + far, mr + vi, mi - vr, f, w + 2)
        turned(x, p + 2 * far, mr - vi, mi + vr, f, w + 4)

    @jit
    def fifths(x, p, far, f, w):
        a, b = load(x, p), load(x, p + W)
        q1, q2, q3, q4 = p + far, p + 2 * far, p + 3 * far, p + 4 * far
        c, d, e, g = load(x, q1), load(x, q1 + W), load(x, q4), load(x, q4 + W)
        sr, si, ur, ui = c + e, d + g, c - e, d - g
        c, d, e, g = load(x, q2), load(x, q2 + W), load(x, q3), load(x, q3 + W)
        tr, ti, vr, vi = c + e, d + g, c - e, d - g
        store(x, p, a + sr + tr)
        store(x, p + W, b + si + ti)
        c1, c2, s1, s2 = splat(C1), splat(C2), splat(S1), splat(S2)
        er, ei = a + sr * c1 + tr * c2, b + si * c1 + ti * c2
        dr, di = ur * s1 + vr * s2, ui * s1 + vi * s2
        turned(x, q1, er + di, ei - dr, f, w + 2)
        turned(x, q4, er - di, ei + dr, f, w + 8)
        er, ei = a + sr * c2 + tr * c1, b + si * c2 + ti * c1
        dr, di = ur * s2 - vr * s1, ui * s2 - vi * s1
        turned(x, q2, er + di, ei - dr, f, w + 4)
        turned(x, q3, er - di, ei + dr, f, w + 6)

    @jit
    def primes(x, p, far, m, f, c, line):
        """Without twiddle factors."""
        half = (m - 1) // 2
        ar, ai = load(x, p), load(x, p + W)
        tr, ti = ar, ai
        for k in range(half):
            one, two = p + (k + 1) * far, p + (m - 1 - k) * far
            br, bi, cr, ci = load(x, one), load(x, one + W), load(x, two), load(x, two + W)
            at = 4 * W * k
            store(line, at, br + cr)
            store(line, at + W, bi + ci)
            store(line, at + 2 * W, br - cr)
            store(line, at + 3 * W, bi - ci)
            tr, ti = tr + (br + cr), ti + (bi + ci)
        store(x, p, tr)
        store(x, p + W, ti)
        for o in range(half):
            er, ei, dr, di = ar, ai, splat(zero), splat(zero)
            w = c + 2 * o * half
            for k in range(half):
                cos, sin = splat(f[w + 2 * k]), splat(f[w + 2 * k + 1])
                at = 4 * W * k
                er, ei = er + load(line, at) * cos, ei + load(line, at + W) * cos
                dr, di = dr + load(line, at + 2 * W) * sin, di + load(line, at + 3 * W) * sin
            one, two = p + (o + 1) * far, p + (m - 1 - o) * far
            store(x, one, er + di)
            store(x, one + W, ei - dr)
            store(x, two, er - di)
            store(x, two + W, ei + dr)

    @jit
    def out(x, at, step, q, radix, f, t, c, line):
        far = q * step
        for j in range(q):
            p, w = at + j * step, t + 2 * j * radix
            if radix == 3:
                thirds(x, p, far, f, w)
            elif radix == 5:
                fifths(x, p, far, f, w)
            else:
                primes(x, p, far, radix, f, c, line)
                if j > 0:
                    for k in range(1, radix):
                        turned(x, p + k * far, load(x, p + k * far), load(x, p + k * far + W), f, w + 2 * k)

    @jit
    def back(x, at, step, q, radix, f, t, c, line):
        """The inverse of `out`, up to the number of points; exchanging real and imaginary parts turns a transform around."""
        far = q * step
        for j in range(q):
            p, w = at + j * step, t + 2 * j * radix
            for k in range(radix):
                r, i = load(x, p + k * far), load(x, p + k * far + W)
                cos, sin = splat(f[w + 2 * k]), splat(f[w + 2 * k + 1])
                store(x, p + k * far, r * sin + i * cos)
                store(x, p + k * far + W, r * cos - i * sin)
            primes(x, p, far, radix, f, c, line)
            for k in range(radix):
                i, r = load(x, p + k * far), load(x, p + k * far + W)
                store(x, p + k * far, r)
                store(x, p + k * far + W, i)

    return out, back
