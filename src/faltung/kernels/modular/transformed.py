"""Exact sums of products by number-theoretic transforms: integers in, residues modulo enough primes, integers out.

What the primes must hold is known beforehand: |y| ≤ C · taps · max|x| · max|k|. As many primes are taken as make their product more
than four times that bound, and then the mixed-radix digits are the integer itself (see `residues`). A modulus that is itself a
prime below 2^49 with the roots that the length takes needs no other: the transform runs modulo it.
"""

from dataclasses import dataclass

import numpy as np

from faltung.kernels.modular import residues
from faltung.kernels.ntt import on_numba as ntt
from faltung.kernels.ntt.layout import length_for, order
from faltung.kernels.ntt.primes import BITS, primes, two_order
from faltung.kernels.threads import kept, spread

MOST = 64  # primes: integers of up to 3000 bits
SHORT = 1 << 13  # points of a transform below which threads do not pay
FLOAT = np.dtype(np.float64)


@dataclass(frozen=True)
class Transform:
    """Length and primes of one exact convolution; `modulus` 0 for the integers themselves."""

    length: int
    primes: tuple[int, ...]
    modulus: int = 0

    @classmethod
    def of(cls, count: int, bound: int, modulus: int = 0, circle: int | None = None) -> "Transform":
        """For products of `count` points, integers of at most `bound` in magnitude before they are taken modulo anything.

        Where only some of these points are wanted, a `circle` of fewer may do: what wraps around it must not meet them.
        """
        length = length_for(count, ntt.leaf(), circle)
        if modulus > 2 and two_order(modulus) >= order(length):
            return cls(length, (modulus,), modulus)
        return cls(length, primes(needed(bound)), modulus)

    def spectra(self, values: np.ndarray, threads: int, purpose: str = "") -> np.ndarray:
        """Integers (planes, rows, n) as spectra (primes, rows, length); in this thread's memory where a purpose is named.

        The planes of an integer are its 64-bit words, the lowest first, of which the last is signed if the dtype is.
        """
        rows = values.shape[1]
        shape = (len(self.primes), rows, self.length)
        found = kept(purpose, shape, FLOAT) if purpose else np.empty(shape)
        values = _readable(values)

        def task(first: int, last: int) -> None:
            for number, p in enumerate(self.primes):
                start, stop = max(0, first - number * rows), min(rows, last - number * rows)
                for row in range(start, stop):  # a row is transformed while it is in the cache
                    ntt.enter(values, found[number], p, row, row + 1)
                    ntt.forward(found[number], p, row, row + 1)

        spread(task, rows * len(self.primes), self._threads(threads))
        return found

    def products(self, x: np.ndarray, k: np.ndarray, threads: int) -> np.ndarray:
        """Residues (primes, rows, length) of the products of rows (planes, rows, n) and (planes, rows, t), in this thread's memory.

        The same array twice is squared, which takes one transform less.
        """
        rows, square = x.shape[1], x is k
        x = _readable(x)
        k = x if square else _readable(k)
        y = kept("ntt x", (len(self.primes), rows, self.length), FLOAT)

        def task(first: int, last: int) -> None:
            ntt.products(x, k, self.primes, y, kept("ntt k", (self.length,), FLOAT), first, last)

        spread(task, rows * len(self.primes), self._threads(threads))
        return y

    def scaled(self, spectra: np.ndarray) -> np.ndarray:
        """Spectra of a filter, in place, divided by what the way back multiplies with."""
        for number, p in enumerate(self.primes):
            ntt.scaled(spectra[number], p)
        return spectra

    def mixed(self, x: np.ndarray, k: np.ndarray, shape: tuple[int, int, int, int], threads: int) -> np.ndarray:
        """Residues (primes, B·N·O, length) of y[b, n, o] = Σ over c of x[b, n, c] ∗ k[b, o, c]; x may be overwritten.

        x: spectra (primes, B·N·C, length).   k: scaled spectra (primes, B·O·C, length).   shape: B, N, O, C.
        """
        B, N, O, C = shape
        K, length = len(self.primes), self.length
        x, k = x.reshape(K, B, N, C, length), k.reshape(K, B, O, C, length)
        y = x if C == O == 1 else np.empty((K, B, N, O, length))
        flat = y.reshape(K, B * N * O, length)

        def task(first: int, last: int) -> None:
            for item in range(first, last):
                number, b = divmod(item, B)
                ntt.mix(x[number, b], k[number, b], y[number, b], self.primes[number])
                ntt.backward(flat[number], self.primes[number], b * N * O, (b + 1) * N * O)

        def rows(first: int, last: int) -> None:
            for item in range(first, last):
                number, row = divmod(item, B * N * O)
                ntt.backward(flat[number], self.primes[number], row, row + 1)

        if threads <= B * K or N * O == 1:
            spread(task, B * K, self._threads(threads))
        else:
            for item in range(B * K):
                number, b = divmod(item, B)
                ntt.mix(x[number, b], k[number, b], y[number, b], self.primes[number])
            spread(rows, K * B * N * O, self._threads(threads))
        return flat

    def leave(self, found: np.ndarray, offset: int, out: np.ndarray, threads: int) -> np.ndarray:
        """The integers (or residues) from residues: int64 (rows, count), or uint64 (planes, rows, count)."""

        def task(first: int, last: int) -> None:
            residues.leave(found, out, self.primes, offset, 0 if out.ndim == 3 else self.modulus, first, last)

        rows = found.shape[1]
        spread(task, rows, self._threads(threads))
        return out

    def _threads(self, threads: int) -> int:
        return threads if self.length >= SHORT else 1


def _readable(values: np.ndarray) -> np.ndarray:
    """Rows one behind the other, of at least a vector each: so much is read at a time."""
    n = values.shape[-1]
    if n >= ntt.width():
        return np.ascontiguousarray(values)
    wide = np.zeros((*values.shape[:2], ntt.width()), values.dtype)
    wide[..., :n] = values
    return wide


def needed(bound: int) -> int:
    """How many primes hold integers of that magnitude."""
    count = 1
    while count <= MOST:
        product = 1
        for p in primes(count):
            product *= p
        if product > 4 * bound:
            return count
        count += 1
    raise OverflowError(f"integers of {bound.bit_length()} bits, the transforms hold {MOST * (BITS - 1)}")


def words_for(bound: int) -> int:
    """64-bit words of two's complement that hold ± bound."""
    return -(-(bound.bit_length() + 1) // 64)
