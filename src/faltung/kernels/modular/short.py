"""Products of short polynomials modulo m < 2^63, compiled: sums of products reduced late, Karatsuba's splitting above them.

Below 2^31 products fit a 64-bit lane; sums stay below 2^63 by taking away the largest multiple of m² there as soon as they reach
it. Above, sums fill three words, which are reduced once for each result, with Shoup's product for the words' weights.

Source: Karatsuba and Ofman (1962); Shoup's product after NTL.
"""

from collections.abc import Callable

import numpy as np

from faltung.kernels import native
from faltung.kernels.modular.splitting import DEPTH, FRAME
from faltung.kernels.ntt.tables import width
from faltung.kernels.threads import spread

NARROW = 1 << 31
# Terms below which the plain product is faster than one more splitting (measured).
BASE = {True: 96, False: 40}


def build(lanes_: int, narrow: bool) -> tuple[Callable, str]:
    """Rows [first, last) of products of n by t residues, n >= t."""
    from faltung.kernels.modular.splitting import karatsuba
    from faltung.kernels.modular.wide import high
    from faltung.kernels.ntt.arithmetic import words
    from faltung.kernels.simd import combiner, lanes

    W, limit = lanes_, BASE[narrow]
    v, low, smaller = lanes("uint64", W), words(W).low_unsigned, combiner("uint64", W, "smaller")
    load, store, splat = v.load, v.store, v.splat
    jit = native.inner
    zero, one = np.uint64(0), np.uint64(1)

    @jit
    def plain_narrow(x, xa, n, k, ka, t, y, ya, s, sa, c):
        """s has room for n + 2·W values."""
        m = c[0]
        for i in range(W):
            s[sa + i] = zero
            s[sa + W + n + i] = zero
        for i in range(n):
            s[sa + W + i] = x[xa + i]
        much = splat(c[1])
        count = n + t - 1
        for i in range(0, count, W):
            total = splat(zero)
            for u in range(max(0, i - n + 1), min(t, i + W)):
                total = total + low(load(s, sa + W + i - u)) * low(splat(k[ka + u]))
                total = smaller(total, total - much)
            if i + W <= count:
                store(y, ya + i, total)
                for l in range(W):
                    y[ya + i + l] %= m
            else:
                store(s, sa, total)
                for l in range(count - i):
                    y[ya + i + l] = s[sa + l] % m

    @jit
    def shoup(a, w, quotient, m):
        """a·w modulo m for any word a, below m; quotient = 2^64·w // m."""
        r = a * w - high(a, quotient) * m
        return r - m if r >= m else r

    @jit
    def plain_wide(x, xa, n, k, ka, t, y, ya, s, sa, c):
        m = c[0]
        for i in range(n + t - 1):
            lowest, middle, top = zero, zero, zero
            for u in range(max(0, i - n + 1), min(t, i + 1)):
                a, b = x[xa + i - u], k[ka + u]
                below, above = a * b, high(a, b)
                lowest += below
                above += one if lowest < below else zero
                middle += above
                top += one if middle < above else zero
            r = lowest % m + shoup(middle, c[1], c[2], m)
            r = r - m if r >= m else r
            r += shoup(top, c[3], c[4], m)
            y[ya + i] = r - m if r >= m else r

    plain = plain_narrow if narrow else plain_wide

    @jit
    def inside(s, xa, n, ka, t, ya, sa, c):
        plain(s, xa, n, s, ka, t, s, ya, s, sa, c)

    @jit
    def add(a, b, c):
        total = a + b
        return total - c[0] if total >= c[0] else total

    @jit
    def subtract(a, b, c):
        return a - b if a >= b else a + (c[0] - b)

    split = karatsuba(inside, add, subtract, limit, 0)

    def product(x, k, y, s, stack, first, last, n, t, c):
        for row in range(first, last):
            xa, ka, ya = row * n, row * t, row * (n + t - 1)
            if t <= limit:
                plain(x, xa, n, k, ka, t, y, ya, s, 0, c)
                continue
            for i in range(n + t - 1):
                y[ya + i] = zero
            # The longer operand in pieces as long as the shorter; the last one filled up with zeros.
            for i in range(t):
                s[i] = k[ka + i]
            for at in range(0, n, t):
                some = min(t, n - at)
                for i in range(t):
                    s[t + i] = x[xa + at + i] if i < some else zero
                split(s, t, 0, t, 2 * t, 4 * t, c, stack)
                for i in range(some + t - 1):
                    y[ya + at + i] = add(y[ya + at + i], s[2 * t + i], c)

    return product, "p:uint64,p:uint64,p:uint64,p:uint64,p:int64,i,i,i,i,p:uint64"


def key(modulus: int) -> tuple:
    """What `native.load` takes for the kernel of a modulus."""
    return "short-product", build, width(), modulus < NARROW


def product(x: np.ndarray, k: np.ndarray, modulus: int, threads: int = 1) -> np.ndarray:
    """Products of rows of residues: int64 or uint64 (rows, n) and (rows, t), n >= t, in 0 ... m − 1 -> uint64 (rows, n + t − 1).

    Args:
        modulus: m, from 2 to 2^63 − 1.
    """
    (rows, n), t = x.shape, k.shape[1]
    narrow = modulus < NARROW
    if narrow:
        constants = [modulus, (1 << 63) // modulus**2 * modulus**2]
    else:
        r1, r2 = (1 << 64) % modulus, (1 << 128) % modulus
        constants = [modulus, r1, (r1 << 64) // modulus, r2, (r2 << 64) // modulus]
    c, y = np.array(constants, np.uint64), np.empty((rows, n + t - 1), np.uint64)
    kernel = native.load(*key(modulus))
    x, k = np.ascontiguousarray(x), np.ascontiguousarray(k)

    def task(first: int, last: int) -> None:
        scratch = np.empty(12 * t + n + 16 * DEPTH + BASE[narrow] + 2 * width(), np.uint64)
        stack = np.empty(DEPTH * FRAME, np.int64)
        kernel(*map(native.address, (x, k, y, scratch, stack)), first, last, n, t, native.address(c))

    spread(task, rows, threads, max(1, (1 << 16) // max(1, n * t)))
    return y
