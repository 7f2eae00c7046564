"""Logarithms of sums of exponentials, compiled.

Sums of positive numbers lose no relative accuracy, so most of the work is an ordinary sum of products of exponentials, each operand
below its own maximum: `raised` goes there, `lowered` comes back. A sum that is too small to trust (its terms lie hundreds below the
maxima) or not finite is computed again from its own terms, around its own maximum: `repaired`, and `handed` for gradients.
"""

from collections.abc import Callable

import numpy as np

from faltung.kernels import native
from faltung.kernels.exponential import functions
from faltung.kernels.native import address
from faltung.kernels.threads import Own, share, spread

LEAST = 2.0**-500  # what is lost below 2^-1021 is no unit in the last place of such a sum
STRIP, GRAIN, PIECES = 512, 1 << 15, 16
(TERMS, ROWS, LENGTH, STRIDE, SIZE, SAMPLES, OUTPUTS, COUNT) = range(8)


def build_raised(dtype: str) -> tuple[Callable, str]:
    """The kernel of exponentials."""
    exp, _ = functions()

    def raised(x, out, first, last, shift):
        for i in range(first, last):
            out[i] = exp(np.float64(x[i]) - shift)

    return raised, f"p:{dtype},p:float64,i,i,d"


def build_lowered(dtype: str) -> tuple[Callable, str]:
    """The kernel of logarithms; it counts the sums that are not to be trusted."""
    _, log = functions()
    least, inf, number = LEAST, np.inf, getattr(np, dtype)

    def lowered(s, y, doubtful, first, last, shift):
        count = 0
        for i in range(first, last):
            v = s[i]
            y[i] = number(log(v) + shift)
            count += 0 if (v >= least and v < inf) else 1
        doubtful[0] += count

    return lowered, f"p:float64,p:{dtype},p:int64,i,i,d"


def build_repaired(dtype: str) -> tuple[Callable, str]:
    """The kernel that goes along strips of results: their maxima, then their sums."""
    exp, log = functions()
    least, inf, number, wide = LEAST, np.inf, getattr(np, dtype), np.float64

    def repaired(x, k, s, y, base, place, top, total, sizes, first, last):
        T, R, L, step = sizes[TERMS], sizes[ROWS], sizes[LENGTH], sizes[STRIDE]
        size, N, O = sizes[SIZE], sizes[SAMPLES], sizes[OUTPUTS]
        for row in range(first, last):
            r, o, g = row % R, row // R % O, row // (R * O)
            kp = (g // N * O + o) * T
            for j0 in range(0, L, STRIP):
                w, yp = min(STRIP, L - j0), row * L + j0
                doubtful = 0
                for j in range(w):
                    doubtful += 0 if (s[yp + j] >= least and s[yp + j] < inf) else 1
                if doubtful == 0:
                    continue
                for j in range(w):
                    top[j], total[j] = -inf, 0.0
                xp = g * size + base[r] + j0 * step
                for t in range(T):
                    f, p = wide(k[kp + t]), xp + place[t]
                    for j in range(w):
                        v = wide(x[p + j * step]) + f
                        top[j] = v if v > top[j] else top[j]
                for j in range(w):
                    top[j] = top[j] if abs(top[j]) < inf else 0.0
                for t in range(T):
                    f, p = wide(k[kp + t]), xp + place[t]
                    for j in range(w):
                        total[j] += exp(wide(x[p + j * step]) + f - top[j])
                for j in range(w):
                    if not (s[yp + j] >= least and s[yp + j] < inf):
                        y[yp + j] = number(log(total[j]) + top[j])

    pointer, long, real = f"p:{dtype}", "p:int64", "p:float64"
    return repaired, ",".join([pointer, pointer, real, pointer, long, long, real, real, long, "i", "i"])


def build_handed(dtype: str, to_signal: bool) -> tuple[Callable, str]:
    """The kernel that hands cotangents back, one result after the other; items are samples, or filters."""
    exp, _ = functions()
    least, inf, wide = LEAST, np.inf, np.float64

    def handed(x, k, s, y, out, base, place, sizes, first, last):
        T, R, L, step = sizes[TERMS], sizes[ROWS], sizes[LENGTH], sizes[STRIDE]
        size, N, O = sizes[SIZE], sizes[SAMPLES], sizes[OUTPUTS]
        for item in range(first, last):
            for part in range(O if to_signal else N):
                g = item if to_signal else item // O * N + part
                o = part if to_signal else item % O
                kp = (g // N * O + o) * T
                for i in range(R * L):
                    at = (g * O + o) * R * L + i
                    flow = wide(y[at])
                    if (s[at] >= least and s[at] < inf) or flow == 0.0:
                        continue
                    xp = g * size + base[i // L] + i % L * step
                    top, total = -inf, 0.0
                    for t in range(T):
                        v = wide(x[xp + place[t]]) + wide(k[kp + t])
                        top = v if v > top else top
                    top = top if abs(top) < inf else 0.0
                    for t in range(T):
                        total += exp(wide(x[xp + place[t]]) + wide(k[kp + t]) - top)
                    if total == 0.0:
                        continue
                    for t in range(T):
                        e = exp(wide(x[xp + place[t]]) + wide(k[kp + t]) - top)
                        if e != 0.0:
                            out[xp + place[t] if to_signal else kp + t] += e / total * flow

    pointer, long, real = f"p:{dtype}", "p:int64", "p:float64"
    return handed, ",".join([pointer, pointer, real, pointer, real, long, long, long, "i", "i"])


def build_weights(dtype: str) -> tuple[Callable, str]:
    """The kernel of cotangents divided by sums."""
    least, inf, wide = LEAST, np.inf, np.float64

    def weights(y, s, w, doubtful, first, last):
        count = 0
        for i in range(first, last):
            v = s[i]
            good = v >= least and v < inf
            w[i] = wide(y[i]) / v if good else 0.0
            count += 0 if good else 1
        doubtful[0] += count

    return weights, f"p:{dtype},p:float64,p:float64,p:int64,i,i"


def build_dots(width: int) -> tuple[Callable, str]:
    """The kernel of a filter's gradient: of every row the products with each tap's row, in the lanes of two vectors."""
    from faltung.kernels.simd import lanes

    v = lanes("float64", width)
    load, store, splat, W = v.load, v.store, v.splat, width

    def dots(x, w, out, base, place, temp, sizes, first, last):
        T, R, L, step = sizes[TERMS], sizes[ROWS], sizes[LENGTH], sizes[STRIDE]
        size, N, O, split = sizes[SIZE], sizes[SAMPLES], sizes[OUTPUTS], sizes[COUNT]
        for item in range(first, last):
            piece, o, b = item % split, item // split % O, item // (split * O)
            for t in range(T):
                out[item * T + t] = 0.0
            for row in range(piece * N * R // split, (piece + 1) * N * R // split):
                n, r = row // R, row % R
                xp, wp = (b * N + n) * size + base[r], (((b * N + n) * O + o) * R + r) * L
                whole = L // (2 * W) * (2 * W) if step == 1 else 0
                for t in range(T):
                    p, total = xp + place[t], 0.0
                    if whole:
                        a, c = splat(total), splat(total)
                        for j in range(0, whole, 2 * W):
                            a = a + load(x, p + j) * load(w, wp + j)
                            c = c + load(x, p + j + W) * load(w, wp + j + W)
                        store(temp, 0, a + c)
                        for i in range(W):
                            total += temp[i]
                    for j in range(whole, L):
                        total += x[p + j * step] * w[wp + j]
                    out[item * T + t] += total

    return dots, "p:float64,p:float64,p:float64,p:int64,p:int64,p:float64,p:int64,i,i"


def raised(x: np.ndarray, shift: np.ndarray, threads: int) -> np.ndarray:
    """The contract's result; x contiguous."""
    out = np.empty(x.shape)
    work = native.load(f"log-raised-{x.dtype}", build_raised, str(x.dtype))
    at, size = (address(x), address(out)), x.shape[1]
    for g in range(x.shape[0]):

        def task(first: int, last: int, g: int = g) -> None:
            work(*at, g * size + first, g * size + last, float(shift[g]))

        spread(task, size, threads, GRAIN)
    return out


def lowered(s: np.ndarray, shift: np.ndarray, dtype: str, threads: int) -> tuple[np.ndarray, int]:
    """The contract's result; s contiguous."""
    y, counts = np.empty(s.shape, dtype), []
    work, size = native.load(f"log-lowered-{dtype}", build_lowered, dtype), s.shape[1]

    for g in range(s.shape[0]):

        def task(first: int, last: int, g: int = g) -> None:
            doubtful = np.zeros(1, np.int64)
            work(address(s), address(y), address(doubtful), g * size + first, g * size + last, float(shift[g]))
            counts.append(int(doubtful[0]))

        spread(task, size, threads, GRAIN)
    return y, sum(counts)


def weights(y: np.ndarray, s: np.ndarray, threads: int) -> tuple[np.ndarray, int]:
    """The contract's result; both contiguous."""
    w, counts = np.empty(s.shape), []
    work = native.load(f"log-weights-{y.dtype}", build_weights, str(y.dtype))

    def task(first: int, last: int) -> None:
        doubtful = np.zeros(1, np.int64)
        work(address(y), address(s), address(w), address(doubtful), first, last)
        counts.append(int(doubtful[0]))

    spread(task, s.size, threads, GRAIN)
    return w, sum(counts)


def dots(x: np.ndarray, w: np.ndarray, base: np.ndarray, place: np.ndarray, stride: int, threads: int) -> np.ndarray:
    """The contract's result; all arrays contiguous. Rows are summed in pieces that depend on the sizes alone."""
    (B, N, size), (_, _, O, R, L), T = x.shape, w.shape, place.size
    split = max(1, min(PIECES, B * O * N * R * L * T >> 18, N * R))
    work = native.load("log-dots", build_dots, native.lanes("float64"))
    sizes = np.array([T, R, L, stride, size, N, O, split], np.int64)
    out = np.empty((B, O, split, T))
    at = [address(a) for a in (x, w, out, base, place)]
    share(work, (*at, Own(0), address(sizes)), B * O * split, threads, own=64 * 8)
    return out.sum(axis=2)


def repaired(
    x: np.ndarray, k: np.ndarray, s: np.ndarray, y: np.ndarray, base: np.ndarray, place: np.ndarray, stride: int,
    threads: int,
) -> np.ndarray:  # fmt: skip
    """The contract's result, in the memory of y; all arrays contiguous."""
    (B, N, size), (_, O, T), (*_, R, L) = x.shape, k.shape, y.shape
    work = native.load(f"log-repaired-{x.dtype}", build_repaired, str(x.dtype))
    sizes = np.array([T, R, L, stride, size, N, O], np.int64)
    at = [address(a) for a in (x, k, s, y, base, place)]
    given = (*at, Own(0), Own(8 * STRIP), address(sizes))
    share(work, given, B * N * O * R, threads, max(1, GRAIN // (L * T + 1)), 16 * STRIP)
    return y


def handed(
    x: np.ndarray, k: np.ndarray, s: np.ndarray, y: np.ndarray, base: np.ndarray, place: np.ndarray, stride: int,
    unknown: str, threads: int,
) -> np.ndarray:  # fmt: skip
    """The contract's result; all arrays contiguous."""
    (B, N, size), (_, O, T), (*_, R, L) = x.shape, k.shape, y.shape
    to_signal = unknown == "x"
    out = np.zeros(x.shape if to_signal else k.shape)
    work = native.load(f"log-handed-{unknown}-{x.dtype}", build_handed, str(x.dtype), to_signal)
    sizes = np.array([T, R, L, stride, size, N, O], np.int64)
    at = [address(a) for a in (x, k, s, y, out, base, place, sizes)]
    share(work, at, B * N if to_signal else B * O, threads)
    return out
