"""Weighted sums of rows named by number, compiled: channels in the lanes of vectors, the rows as they come."""

from collections.abc import Callable

import numpy as np

from faltung.kernels import native
from faltung.kernels.native import address, lanes
from faltung.kernels.threads import Own, share

GRAIN = 1 << 16  # products of a piece of work that is worth another thread


def build_sums(dtype: str, width: int) -> tuple[Callable, str]:
    """y from x and w, over results [first, last) of all problems."""
    from faltung.kernels.simd import lanes

    v = lanes(dtype, width)
    load, store, splat = v.load, v.store, v.splat

    def kernel(x, index, w, y, zero, Q, R, J, C, first, last):
        whole = C - C % width
        for r in range(first, last):
            base, e = r // R * Q, r * J
            for c in range(0, whole, width):
                total = splat(zero[0])
                for j in range(J):
                    q = index[e + j]
                    if q >= 0:
                        total = total + splat(w[e + j]) * load(x, (base + q) * C + c)
                store(y, r * C + c, total)
            for c in range(whole, C):
                one = zero[0]
                for j in range(J):
                    q = index[e + j]
                    if q >= 0:
                        one += w[e + j] * x[(base + q) * C + c]
                y[r * C + c] = one

    p = f"p:{dtype}"
    return kernel, ",".join([p, "p:int64", p, p, p, "i", "i", "i", "i", "i", "i"])


def build_rows(dtype: str, width: int) -> tuple[Callable, str]:
    """x from w and y: an item is a problem with a range of channels, so that no two write the same values."""
    from faltung.kernels.simd import lanes

    v = lanes(dtype, width)
    load, store, splat = v.load, v.store, v.splat

    def kernel(x, index, w, y, zero, Q, R, J, C, wide, first, last):
        parts = (C + wide - 1) // wide
        for item in range(first, last):
            b, c0 = item // parts, item % parts * wide
            c1 = min(C, c0 + wide)
            whole = c0 + (c1 - c0) // width * width
            for q in range(b * Q, (b + 1) * Q):
                for c in range(c0, c1):
                    x[q * C + c] = zero[0]
            for r in range(b * R, (b + 1) * R):
                for j in range(J):
                    q = index[r * J + j]
                    if q >= 0:
                        one, at = w[r * J + j], (b * Q + q) * C
                        value = splat(one)
                        for c in range(c0, whole, width):
                            store(x, at + c, load(x, at + c) + value * load(y, r * C + c))
                        for c in range(whole, c1):
                            x[at + c] += one * y[r * C + c]

    p = f"p:{dtype}"
    return kernel, ",".join([p, "p:int64", p, p, p, "i", "i", "i", "i", "i", "i", "i"])


def build_weights(dtype: str, width: int) -> tuple[Callable, str]:
    """w from x and y: products summed in lanes, then over the lanes in order."""
    from faltung.kernels.simd import lanes

    v = lanes(dtype, width)
    load, store, splat = v.load, v.store, v.splat

    def kernel(x, index, w, y, zero, buf, Q, R, J, C, first, last):
        whole = C - C % width
        for r in range(first, last):
            base, e = r // R * Q, r * J
            for j in range(J):
                q, one = index[e + j], zero[0]
                if q >= 0:
                    at = (base + q) * C
                    if whole:
                        total = splat(zero[0])
                        for c in range(0, whole, width):
                            total = total + load(x, at + c) * load(y, r * C + c)
                        store(buf, 0, total)
                        for i in range(width):
                            one += buf[i]
                    for c in range(whole, C):
                        one += x[at + c] * y[r * C + c]
                w[e + j] = one

    p = f"p:{dtype}"
    return kernel, ",".join([p, "p:int64", p, p, p, p, "i", "i", "i", "i", "i", "i"])


def sums(x: np.ndarray, index: np.ndarray, w: np.ndarray, y: np.ndarray, threads: int) -> None:
    """The contract's result into y; all arrays contiguous."""
    (B, R, J), Q, C = index.shape, x.shape[1], x.shape[2]
    kernel, zero = _load("sums", build_sums, x.dtype), np.zeros(1, x.dtype)
    at = address(x), address(index), address(w), address(y), address(zero), Q, R, J, C
    share(kernel, at, B * R, threads, GRAIN // (J * C + 1))


def rows(index: np.ndarray, w: np.ndarray, y: np.ndarray, x: np.ndarray, threads: int) -> None:
    """The contract's result into x; all arrays contiguous."""
    (B, R, J), Q, C = index.shape, x.shape[1], x.shape[2]
    kernel, zero = _load("rows", build_rows, x.dtype), np.zeros(1, x.dtype)
    width = lanes(str(x.dtype))
    parts = 1 if 4 * threads <= B else -(-4 * threads // max(B, 1))
    wide = max(width, -(-C // (parts * width)) * width)
    at = address(x), address(index), address(w), address(y), address(zero), Q, R, J, C, wide
    share(kernel, at, B * -(-C // wide), threads, GRAIN // (R * J * min(wide, C) + 1))


def weights(x: np.ndarray, index: np.ndarray, y: np.ndarray, w: np.ndarray, threads: int) -> None:
    """The contract's result into w; all arrays contiguous."""
    (B, R, J), Q, C = index.shape, x.shape[1], x.shape[2]
    kernel, zero = _load("weights", build_weights, x.dtype), np.zeros(1, x.dtype)
    at = address(x), address(index), address(w), address(y), address(zero)
    share(kernel, (*at, Own(0), Q, R, J, C), B * R, threads, GRAIN // (J * C + 1), 64)


def _load(name: str, build: Callable, dtype: np.dtype) -> Callable:
    return native.load(f"gather-{name}-{dtype}", build, str(dtype), lanes(str(dtype)))
