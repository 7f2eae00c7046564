"""What the kernels of numbered permutations compute, in NumPy: the reference that every tool's version equals.

A permutation of n ≤ 15 points is one word of 64 bits, its image of i in bits 4i ... 4i + 3; its rank is its place among all in
lexicographic order. A generator moves places, `new[i] = old[g[i]]`. Sets of permutations are one bit a rank; tables of distances
modulo 3 are two bits a rank, both in words of 64 bits, the lowest first.
"""

import math

import numpy as np


def rank(states: np.ndarray, n: int) -> np.ndarray:
    """The place of every permutation among all n! of them."""
    p = _images(states, n)
    smaller = (p[:, None, :] < p[:, :, None]) & np.triu(np.ones((n, n), bool), 1)
    return (smaller.sum(axis=2) @ _weights(n)).astype(np.uint64)


def unrank(ranks: np.ndarray, n: int) -> np.ndarray:
    """The permutation at every place."""
    out = np.zeros(len(ranks), np.uint64)
    for at, r in enumerate(ranks.tolist()):
        left = list(range(n))
        for i in range(n):
            digit, r = divmod(r, math.factorial(n - 1 - i))
            out[at] |= np.uint64(left.pop(digit) << 4 * i)
    return out


def painted(frontier: np.ndarray, n: int, generators: np.ndarray) -> np.ndarray:
    """The set of all neighbours of a set."""
    found = np.unique(_neighbours(_members(frontier), n, generators)).astype(np.int64)
    out = np.zeros(64 * len(frontier), np.uint8)
    out[found] = 1
    return np.packbits(out, bitorder="little").view(np.uint64)


def deepened(table: np.ndarray, n: int, generators: np.ndarray, depth: int) -> np.ndarray:
    """The table after one more layer: neighbours of distance `depth` that had none, 3, get `depth` + 1 modulo 3."""
    codes = _codes(table)
    near = _neighbours(np.flatnonzero(codes == depth % 3), n, generators).astype(np.int64)
    fresh = np.unique(near[codes[near] == 3])
    codes[fresh] = (depth + 1) % 3
    pairs = codes.reshape(-1, 32).astype(np.uint64) << (2 * np.arange(32, dtype=np.uint64))
    return np.bitwise_or.reduce(pairs, axis=1)


def _images(states: np.ndarray, n: int) -> np.ndarray:
    return ((states[:, None] >> (4 * np.arange(n, dtype=np.uint64))) & np.uint64(15)).astype(np.int64)


def _weights(n: int) -> np.ndarray:
    return np.array([math.factorial(n - 1 - i) for i in range(n)], np.int64)


def _members(bits: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.unpackbits(bits.view(np.uint8), bitorder="little"))


def _codes(table: np.ndarray) -> np.ndarray:
    return ((table[:, None] >> (2 * np.arange(32, dtype=np.uint64))) & np.uint64(3)).astype(np.uint8).ravel()


def _neighbours(ranks: np.ndarray, n: int, generators: np.ndarray) -> np.ndarray:
    p = _images(unrank(ranks, n), n)
    moved = np.concatenate([p[:, g] for g in generators]) if len(p) else np.zeros((0, n), np.int64)
    words = (moved.astype(np.uint64) << (4 * np.arange(n, dtype=np.uint64))).sum(axis=1, dtype=np.uint64)
    return rank(words, n)
