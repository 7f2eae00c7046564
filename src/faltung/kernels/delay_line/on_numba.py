"""Sums of products of spectra along a line of past blocks; compiled.

Two vectors of frequencies at a time stay in registers while all partitions and channels pass by, so that a result is written
once. The four real products of a complex one have sums of their own, which are joined at the end: eight independent chains
hide the latency of the multiply-add.
"""

from collections.abc import Callable

import numpy as np

from faltung.kernels import native
from faltung.kernels.native import address, lanes
from faltung.kernels.threads import spread

VECTORS = 2
NAMES = {
    "f": "float32",
    "d": "float64",
}  # asked for by every block of a stream, where NumPy's own way takes microseconds


def build(dtype: str, width: int) -> tuple[Callable, str]:
    """The kernel for strips of two vectors of frequencies."""
    from faltung.kernels import simd

    v = simd.lanes(dtype, width)
    load, store, splat = v.load, v.store, v.splat

    W = VECTORS * width

    def delay_line(x, h, y, zero, N, C, O, G, S, P, start, count, first, last):
        none = splat(zero[0])
        for item in range(first, last):
            g, rest = item % G, item // G
            o, bn = rest % O, rest // O
            for j in range(count):
                rr0, rr1, ii0, ii1 = none, none, none, none
                ri0, ri1, ir0, ir1 = none, none, none, none
                least, most = max(0, start + j - S + 1), min(P, start + j + 1)
                for c in range(C):
                    at = (((bn * C + c) * G + g) * S + start + j - least) * 2 * W
                    to = ((((bn // N * O + o) * C + c) * G + g) * P + least) * 2 * W
                    for _ in range(least, most):
                        a, b = load(x, at), load(x, at + width)
                        p, q = load(h, to), load(h, to + width)
                        u, w = load(x, at + W), load(x, at + W + width)
                        s, t = load(h, to + W), load(h, to + W + width)
                        rr0, rr1 = a * p + rr0, b * q + rr1
                        ri0, ri1 = a * s + ri0, b * t + ri1
                        ii0, ii1 = u * s + ii0, w * t + ii1
                        ir0, ir1 = u * p + ir0, w * q + ir1
                        at -= 2 * W
                        to += 2 * W
                put = (((bn * O + o) * G + g) * count + j) * 2 * W
                store(y, put, rr0 - ii0)
                store(y, put + width, rr1 - ii1)
                store(y, put + W, ri0 + ir0)
                store(y, put + W + width, ri1 + ir1)

    pointer = f"p:{dtype}"
    return delay_line, ",".join([pointer] * 4 + ["i"] * 10)


def key(dtype: str) -> tuple:
    """What `native.load` takes for one scalar type."""
    return f"line-{dtype}", build, dtype, lanes(dtype)


def strip(dtype: str) -> int:
    """Frequencies in a strip."""
    return VECTORS * lanes(dtype)


def delay_line(
    x: np.ndarray, h: np.ndarray, start: int, count: int, threads: int, out: np.ndarray | None = None
) -> np.ndarray:
    """The contract's result for contiguous arrays of one floating dtype in strips, written into `out` where that is given."""
    B, N, C, G, S, _, W = x.shape
    O, P = h.shape[1], h.shape[4]
    y = np.empty((B, N, O, G, count, 2, W), x.dtype) if out is None else out
    name = NAMES[x.dtype.char]
    work, zero = native.load(*key(name)), np.zeros(1, x.dtype)
    at = address(x), address(h), address(y), address(zero), N, C, O, G, S, P, start, count

    def task(first: int, last: int) -> None:
        work(*at, first, last)

    spread(task, B * N * O * G, threads)
    return y
