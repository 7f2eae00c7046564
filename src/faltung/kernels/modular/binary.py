"""Products of polynomials over GF(2), 64 coefficients to a word, compiled: a comb with windows of four bits, Karatsuba above.

The comb holds the sixteen multiples of one operand by polynomials of degree below four. For each of the sixteen windows of a word,
from the top, the result moves up by four bits and every word of the other operand adds the multiple that its window names: all of
it shifts and exclusive ors along vectors.

Source: López and Dahab, High-speed software multiplication in F₂ᵐ (2000); Karatsuba and Ofman (1962).
"""

from collections.abc import Callable

import numpy as np

from faltung.kernels import native
from faltung.kernels.modular.splitting import DEPTH, FRAME
from faltung.kernels.threads import spread

BASE = 48  # words below which the comb is faster than one more splitting (measured)


def build(limit: int) -> tuple[Callable, str]:
    """Rows [first, last) of products of n by t words, n >= t."""
    from faltung.kernels.modular.splitting import karatsuba

    jit = native.inner
    zero, sixty = np.uint64(0), np.uint64(60)
    four, fifteen, one, top = np.uint64(4), np.uint64(15), np.uint64(1), np.uint64(63)

    @jit
    def comb(x, xa, n, k, ka, t, y, ya, s, sa):
        """n + t words from n by t; s has room for 16·(t + 1) words."""
        hop = t + 1
        for i in range(hop):
            s[sa + i] = zero
        for i in range(t):
            s[sa + hop + i] = k[ka + i]
        s[sa + hop + t] = zero
        for b in range(2, 16):
            to, half = sa + b * hop, sa + (b // 2) * hop
            carry = zero
            for i in range(hop):
                v = s[half + i]
                s[to + i] = v << one | carry
                carry = v >> top
            if b % 2 == 1:
                for i in range(hop):
                    s[to + i] ^= s[sa + hop + i]
        for i in range(n + t):
            y[ya + i] = zero
        for window in range(15, -1, -1):
            if window < 15:
                for i in range(n + t - 1, 0, -1):
                    y[ya + i] = y[ya + i] << four | y[ya + i - 1] >> sixty
                y[ya] <<= four
            shift = np.uint64(4 * window)
            for j in range(n):
                at = sa + np.int64((x[xa + j] >> shift) & fifteen) * hop
                if j + hop <= n + t:
                    for i in range(hop):
                        y[ya + j + i] ^= s[at + i]

    @jit
    def inside(s, xa, n, ka, t, ya, sa, c):
        comb(s, xa, n, s, ka, t, s, ya, s, sa)

    @jit
    def either(a, b, c):
        return a ^ b

    split = karatsuba(inside, either, either, limit, 1)

    def product(x, k, y, s, stack, first, last, n, t):
        for row in range(first, last):
            xa, ka, ya = row * n, row * t, row * (n + t)
            if t <= limit:
                comb(x, xa, n, k, ka, t, y, ya, s, 0)
                continue
            for i in range(n + t):
                y[ya + i] = zero
            for i in range(t):
                s[i] = k[ka + i]
            for at in range(0, n, t):
                some = min(t, n - at)
                for i in range(t):
                    s[t + i] = x[xa + at + i] if i < some else zero
                split(s, t, 0, t, 2 * t, 4 * t, s, stack)
                for i in range(some + t):
                    y[ya + at + i] ^= s[2 * t + i]

    return product, "p:uint64,p:uint64,p:uint64,p:uint64,p:int64,i,i,i,i"


def product(x: np.ndarray, k: np.ndarray, threads: int = 1) -> np.ndarray:
    """Products of rows of words: uint64 (rows, n) and (rows, t), n >= t -> (rows, n + t); bit i of word j counts X^(64j + i)."""
    (rows, n), t = x.shape, k.shape[1]
    x, k, y = np.ascontiguousarray(x), np.ascontiguousarray(k), np.empty((rows, n + t), np.uint64)
    kernel = native.load("binary-product", build, BASE)

    def task(first: int, last: int) -> None:
        scratch = np.empty(12 * t + 16 * DEPTH + 16 * (BASE + 1), np.uint64)
        stack = np.empty(DEPTH * FRAME, np.int64)
        kernel(*map(native.address, (x, k, y, scratch, stack)), first, last, n, t)

    spread(task, rows, threads, max(1, (1 << 14) // max(1, n * t)))
    return y


def packed(bits: np.ndarray) -> np.ndarray:
    """Coefficients 0 and 1 (..., n) as words (..., ⌈n/64⌉), the lowest in the lowest bit."""
    n = bits.shape[-1]
    wide = np.zeros((*bits.shape[:-1], -(-n // 64) * 8), np.uint8)
    wide[..., : -(-n // 8)] = np.packbits(bits.astype(bool), axis=-1, bitorder="little")
    return wide.view("<u8").astype(np.uint64, copy=False)


def unpacked(words: np.ndarray, n: int) -> np.ndarray:
    """The first n coefficients of words, uint8."""
    return np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=-1, count=n, bitorder="little")
