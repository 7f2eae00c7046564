"""Gradients of ordered correlations, compiled: which term attains each result, then a cotangent for each of those.

The first pass goes along a strip of results, all terms one after the other, best value and number of the best term side by side in
the first cache; it has no dependence between its turns, so that LLVM makes vectors of it. The second hands the cotangents back.

No two threads write the same place. For the signal a piece owns a range of positions: it looks at all results that can reach
there and keeps what falls into its range. For the filter a piece owns a range of rows of results and sums of its own, which are
added in their order afterwards. Pieces depend on the sizes alone, so bits do not depend on the threads.
"""

from collections.abc import Callable

import numpy as np

from faltung.algebras import Algebra
from faltung.algebras.algebra import operation
from faltung.kernels import native
from faltung.kernels.native import address
from faltung.kernels.threads import Own, share

STRIP, PIECES, GRAIN = 1024, 16, 100_000
# The two derivatives of each product of the algebras, as scalar expressions.
SLOPES = {
    "add": ("1.0", "1.0"),
    "mul": ("b", "a"),
    "smaller": ("1.0 if a <= b else 0.0", "0.0 if a <= b else 1.0"),
    "larger": ("1.0 if a >= b else 0.0", "0.0 if a >= b else 1.0"),
}
(TERMS, ROWS, LENGTH, STRIDE, SIZE, CHANNELS, SAMPLES, OUTPUTS, SPLIT, REACH, COUNT) = range(11)


def build(dtype: str, larger: bool, times: str, slope: str, to_signal: bool, unit: bool) -> tuple[Callable, str]:
    """The kernel for one scalar type, one order, a product and its derivative, one of the two unknowns."""
    mul, partial = native.inner(operation(times)), native.inner(operation(slope))
    wide = np.float64
    beats = native.inner(operation("a > b" if larger else "a < b"))

    @native.inner
    def choose(x, xp, k, kp, place, T, s, w, best, choice):
        k0 = wide(k[kp])
        p0 = xp + place[0]
        for j in range(w):
            best[j] = mul(wide(x[p0 + j * s]), k0)
            choice[j] = 0
        t = 1
        while t + 4 <= T:
            k0, k1, k2, k3 = wide(k[kp + t]), wide(k[kp + t + 1]), wide(k[kp + t + 2]), wide(k[kp + t + 3])
            p0, p1, p2, p3 = xp + place[t], xp + place[t + 1], xp + place[t + 2], xp + place[t + 3]
            for j in range(w):
                b, c = best[j], choice[j]
                v = mul(wide(x[p0 + j * s]), k0)
                take = beats(v, b)
                b, c = v if take else b, t if take else c
                v = mul(wide(x[p1 + j * s]), k1)
                take = beats(v, b)
                b, c = v if take else b, t + 1 if take else c
                v = mul(wide(x[p2 + j * s]), k2)
                take = beats(v, b)
                b, c = v if take else b, t + 2 if take else c
                v = mul(wide(x[p3 + j * s]), k3)
                take = beats(v, b)
                best[j], choice[j] = v if take else b, t + 3 if take else c
            t += 4
        while t < T:
            k0 = wide(k[kp + t])
            p0 = xp + place[t]
            for j in range(w):
                b, c = best[j], choice[j]
                v = mul(wide(x[p0 + j * s]), k0)
                take = beats(v, b)
                best[j], choice[j] = v if take else b, t if take else c
            t += 1

    def selected(x, k, y, out, base, place, offset, best, choice, sizes, first, last):
        # place[t] is the term's place in a sample of the signal, channels included; offset[t] that within its channel.
        T, R, L, N, O = sizes[TERMS], sizes[ROWS], sizes[LENGTH], sizes[SAMPLES], sizes[OUTPUTS]
        s = 1 if unit else sizes[STRIDE]
        size, split, reach, sample = sizes[SIZE], sizes[SPLIT], sizes[REACH], sizes[SIZE] * sizes[CHANNELS]
        for item in range(first, last):
            piece, group = item % split, item // split
            if to_signal:
                lo, hi = piece * size // split, (piece + 1) * size // split
                b, o0, o1, row0, row1 = group // N, 0, O, group * R, (group + 1) * R
                for p in range(lo, hi):
                    for c in range(0, sample, size):
                        out[group * sample + c + p] = 0.0
            else:
                lo, hi = 0, size
                b, o0 = group // O, group % O
                o1, row0, row1 = o0 + 1, b * N * R + piece * N * R // split, b * N * R + (piece + 1) * N * R // split
                for t in range(T):
                    out[item * T + t] = 0.0
            for o in range(o0, o1):
                kp = (b * O + o) * T
                for row in range(row0, row1):
                    g, r = row // R, row % R
                    if base[r] >= hi or base[r] + (L - 1) * s + reach < lo:
                        continue
                    for j0 in range(0, L, STRIP):
                        w = min(STRIP, L - j0)
                        at = base[r] + j0 * s
                        if at >= hi or at + (w - 1) * s + reach < lo:
                            continue
                        choose(x, g * sample + at, k, kp, place, T, s, w, best, choice)
                        yp = ((g * O + o) * R + r) * L + j0
                        for j in range(w):
                            flow, t = wide(y[yp + j]), choice[j]
                            p = at + j * s + offset[t]
                            if flow != 0.0 and lo <= p and p < hi:
                                q = g * sample + at + j * s + place[t]
                                flow *= partial(wide(x[q]), wide(k[kp + t]))
                                if to_signal:
                                    out[q] += flow
                                else:
                                    out[item * T + t] += flow

    pointer, long, real = f"p:{dtype}", "p:int64", "p:float64"
    return selected, ",".join([pointer, pointer, pointer, real, long, long, long, real, long, long, "i", "i"])


def key(dtype: str, algebra: Algebra, unknown: str, unit: bool) -> tuple:
    """What `native.load` takes."""
    slope = SLOPES[algebra.vector_mul][0 if unknown == "x" else 1]
    name = f"selection-{algebra.name}-{unknown}-{dtype}"
    return name, build, dtype, algebra.vector_add == "larger", algebra.scalar_mul, slope, unknown == "x", unit


def selected(
    x: np.ndarray, k: np.ndarray, y: np.ndarray, base: np.ndarray, offset: np.ndarray, channel: np.ndarray, stride: int,
    algebra: Algebra, unknown: str, threads: int,
) -> np.ndarray:  # fmt: skip
    """The contract's result; all arrays contiguous, base ascending."""
    (B, N, C, size), (_, O, T), (*_, R, L) = x.shape, k.shape, y.shape
    place = offset + channel * size
    split = max(1, min(PIECES, B * N * O * R * L * T // GRAIN))
    sizes = np.array([T, R, L, stride, size, C, N, O, split, int(offset.max())], np.int64)
    work = native.load(*key(str(x.dtype), algebra, unknown, stride == 1))
    to_signal = unknown == "x"
    out = np.empty((B, N, C, size) if to_signal else (B, O, split, T))
    at = [address(a) for a in (x, k, y, out, base, place, offset)]
    given = (*at, Own(0), Own(8 * STRIP), address(sizes))
    share(work, given, (B * N if to_signal else B * O) * split, threads, own=16 * STRIP)
    return out if to_signal else out.sum(axis=2)
