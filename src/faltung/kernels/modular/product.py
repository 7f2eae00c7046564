"""Full products of rows, the plain way in: residues, bits, integers in words, Python's integers."""

import numpy as np

from faltung.kernels.modular import binary as binary_
from faltung.kernels.modular import objects, short
from faltung.kernels.modular.transformed import Transform, words_for

# Terms of the shorter operand up to which products are not transformed, and bits of it (measured on one core).
SHORT = {True: 400, False: 200}
BITS = 30_000


def modular(x: np.ndarray, k: np.ndarray, modulus: int, threads: int = 1) -> np.ndarray:
    """`y[i] = Σ_u x[u] · k[i − u] mod m` of residues.

    Shapes: x (..., n), k (..., t) with the same leading axes, int64 -> (..., n + t − 1), int64 in 0 ... m − 1.

    Args:
        x, k: int64 in 0 ... m − 1.   modulus: m, from 2 to 2^63 − 1.   threads: how many to use.
    """
    n, t = x.shape[-1], k.shape[-1]
    lead, terms = x.shape[:-1], min(n, t)
    x, k = x.reshape(-1, n), k.reshape(-1, t)
    if terms <= SHORT[modulus < short.NARROW]:
        pair = (x, k) if n >= t else (k, x)
        return short.product(*pair, modulus, threads).view(np.int64).reshape(*lead, n + t - 1)
    way = Transform.of(n + t - 1, terms * (modulus - 1) ** 2, modulus)
    if modulus not in way.primes:
        smaller = Transform.of(n + t - 1, terms * (modulus // 2) ** 2, modulus)
        if len(smaller.primes) < len(way.primes):
            way, x, k = smaller, balanced(x, modulus), balanced(k, modulus)
    found = _found(way, x[None], k[None], threads)
    out = np.empty((len(x), n + t - 1), np.int64)
    return way.leave(found, 0, out, threads).reshape(*lead, n + t - 1)


def binary(x: np.ndarray, k: np.ndarray, threads: int = 1) -> np.ndarray:
    """`y[i] = Σ_u x[u] · k[i − u] mod 2` of rows of 0 and 1, uint8.

    Shapes: x (..., n), k (..., t) with the same leading axes -> (..., n + t − 1).

    Words of 64 bits by table and Karatsuba's splitting; long rows count by one transform and keep the parity.
    """
    n, t = x.shape[-1], k.shape[-1]
    lead = x.shape[:-1]
    x, k = x.reshape(-1, n), k.reshape(-1, t)
    if min(n, t) > BITS:
        way = Transform.of(n + t - 1, min(n, t))
        found = _found(way, x.astype(np.int64)[None], k.astype(np.int64)[None], threads)
        counts = way.leave(found, 0, np.empty((len(x), n + t - 1), np.int64), threads)
        return (counts & 1).astype(np.uint8).reshape(*lead, n + t - 1)
    pair = (x, k) if n >= t else (k, x)
    found = binary_.product(binary_.packed(pair[0]), binary_.packed(pair[1]), threads)
    return binary_.unpacked(found, n + t - 1).reshape(*lead, n + t - 1)


def balanced(residues: np.ndarray, modulus: int) -> np.ndarray:
    """The residues next to zero."""
    return residues - (residues > modulus // 2) * np.int64(modulus)


def words(x: np.ndarray, k: np.ndarray, threads: int = 1) -> np.ndarray:
    """Full products of int64 rows as words in two's complement.

    Shapes: x (..., n), k (..., t) -> (planes, ..., n + t − 1) uint64, the lowest word first: as many as the values' bound takes.
    """
    n, t = x.shape[-1], k.shape[-1]
    lead = x.shape[:-1]
    x, k = x.reshape(-1, n), k.reshape(-1, t)
    bound = min(n, t) * objects._largest(x) * objects._largest(k)
    way = Transform.of(n + t - 1, bound)
    found = _found(way, x[None], k[None], threads)
    out = np.empty((words_for(bound), len(x), n + t - 1), np.uint64)
    return way.leave(found, 0, out, threads).reshape(-1, *lead, n + t - 1)


def integers(x: np.ndarray, k: np.ndarray, threads: int = 1) -> np.ndarray:
    """Full products of rows of Python's integers (dtype object), of any size: (..., n), (..., t) -> (..., n + t − 1)."""
    n, t = x.shape[-1], k.shape[-1]
    lead = x.shape[:-1]
    x, k = x.reshape(-1, n), k.reshape(-1, t)
    found = objects.convolved(x, k, (len(x), 1, 1, 1), n + t - 1, 0, n + t - 1, threads)
    return found.reshape(*lead, n + t - 1)


def _found(way: Transform, x: np.ndarray, k: np.ndarray, threads: int) -> np.ndarray:
    # A square takes one transform less.
    same = x.shape == k.shape and x.__array_interface__ == k.__array_interface__
    return way.products(x, x if same else k, threads)
