"""Unions of shifted rows of bits, compiled: 64 positions a word, a vector of words at a time, four taps for each store."""

from collections.abc import Callable

import numpy as np

from faltung.kernels import native
from faltung.kernels.native import address
from faltung.kernels.threads import spread

GRAIN = 1 << 15


def build() -> tuple[Callable, str]:
    """The kernel."""
    one, most = np.uint64(1), np.uint64(63)

    @native.inner
    def moved(low, high, by):
        return (low >> by) | ((high << one) << (most - by))

    def united(x, y, base, start, place, shift, first, last, N, O, R, size, words):
        for item in range(first, last):
            r, o, g = item % R, item // R % O, item // (R * O)
            xp, yp, f = g * size + base[r], item * words, g // N * O + o
            for w in range(words):
                y[yp + w] = np.uint64(0)
            i, stop = start[f], start[f + 1]
            while i + 4 <= stop:
                p0, p1, p2, p3 = xp + place[i], xp + place[i + 1], xp + place[i + 2], xp + place[i + 3]
                s0, s1, s2, s3 = shift[i], shift[i + 1], shift[i + 2], shift[i + 3]
                for w in range(words):
                    a = moved(x[p0 + w], x[p0 + w + 1], s0) | moved(x[p1 + w], x[p1 + w + 1], s1)
                    b = moved(x[p2 + w], x[p2 + w + 1], s2) | moved(x[p3 + w], x[p3 + w + 1], s3)
                    y[yp + w] |= a | b
                i += 4
            while i < stop:
                p0, s0 = xp + place[i], shift[i]
                for w in range(words):
                    y[yp + w] |= moved(x[p0 + w], x[p0 + w + 1], s0)
                i += 1

    return united, "p:uint64,p:uint64,p:int64,p:int64,p:int64,p:uint64,i,i,i,i,i,i,i"


KEY = ("bits-united", build)


def united(
    x: np.ndarray, base: np.ndarray, start: np.ndarray, place: np.ndarray, shift: np.ndarray, words: int, outputs: int,
    threads: int,
) -> np.ndarray:  # fmt: skip
    """The contract's result; all arrays contiguous."""
    B, N, size = x.shape
    y = np.empty((B, N, outputs, base.size, words), np.uint64)
    work = native.load(*KEY)
    at = [address(a) for a in (x, y, base, start, place, shift)]

    def task(first: int, last: int) -> None:
        work(*at, first, last, N, outputs, base.size, size, words)

    taps = 1 + place.size // max(1, B * outputs)
    spread(task, B * N * outputs * base.size, threads, max(1, GRAIN // (words * taps)))
    return y
