"""Holds the kernels of Cayley graphs against their contracts: sets of packed states, and permutations by their ranks."""

import math
from typing import Any

import numpy as np

from faltung.kernels.cayley import contract as sets
from faltung.kernels.ranks import contract as ranks


def check_states(tool: Any, seed: int = 0) -> int:
    """States of one word and of several, with keys that collide; neighbours, what is new, unions.

    Raises:
        AssertionError: with the case.
    """
    cases = 0
    for n, bits, key_bits in ((5, 3, 64), (16, 4, 64), (64, 1, 64), (1, 64, 64), (17, 4, 64), (24, 5, 3), (48, 6, 1)):
        random = np.random.default_rng(seed + cases)
        x = sets.packed(random.integers(0, 2, (130, n)), bits, key_bits)
        used = key_bits if x.shape[1] > 1 else min(64, n * bits)
        generators = np.array([random.permutation(n) for _ in range(3)])
        text = f"{n} symbols of {bits} bits, keys of {key_bits} bits"
        near = sets.moved(x, generators, bits, key_bits)
        _same(tool.moved(x, generators, bits, key_bits), near, f"{text}: neighbours")
        a, b = sets.fresh(x[:50], []), sets.fresh(x[30:90], [])
        _same(tool.fresh(near.copy(), [a, b], used), sets.fresh(near, [a, b]), f"{text}: what is new")
        _same(tool.fresh(x[:0].copy(), [a], used), x[:0], f"{text}: nothing is new")
        for p, q in ((a, b), (a, a), (a, a[:0]), (a[:0], b)):
            _same(tool.united(p, q), sets.united(p, q), f"{text}: union")
        cases += 7
    for modulus, d, rows in ((2, 2, 2), (15, 3, 3), (7, 4, 4), (97, 3, 1), (1_073_741_789, 2, 2)):
        random = np.random.default_rng(seed + cases)
        bits = (modulus - 1).bit_length()
        x = sets.packed(random.integers(0, modulus, (40, rows * d)), bits)
        generators = random.integers(0, modulus, (3, d, d))
        came, wanted = (t.multiplied(x, generators, rows, modulus, bits) for t in (tool, sets))
        _same(came, wanted, f"{rows} × {d} matrices modulo {modulus}")
        cases += 1
    return cases


def check_ranks(tool: Any, seed: int = 0) -> int:
    """Ranks and back, neighbours of sets by several threads, layers of distances from both sides.

    Raises:
        AssertionError: with the case.
    """
    cases = 0
    for n in (1, 2, 5, 8, 15):
        random = np.random.default_rng(seed + n)
        order = math.factorial(n)
        r = np.unique(np.concatenate([[0, order - 1], random.integers(0, order, 400)])).astype(np.uint64)
        states = ranks.unrank(r, n)
        _same(tool.unrank(r, n), states, f"{n} points: permutations of ranks")
        _same(tool.rank(states, n), r, f"{n} points: ranks of permutations")
        cases += 2
    for n, count in ((1, 1), (3, 2), (6, 3), (8, 2)):
        random = np.random.default_rng(seed + n)
        order = math.factorial(n)
        generators = np.array([random.permutation(n) for _ in range(count)])
        frontier = _bits(random.random(order) < 0.3)
        wanted = ranks.painted(frontier, n, generators)
        for threads in (1, 3):
            following = [np.zeros_like(frontier) for _ in range(threads)]
            _same(
                tool.painted(frontier, n, generators, following), wanted, f"{n} points: neighbours, {threads} threads"
            )
            assert all(not f.any() for f in following[1:]), f"{n} points: a thread's set is left full"
            cases += 1
        closed = np.concatenate([generators, np.argsort(generators, axis=1)])
        table = np.full(-(-order // 32), np.uint64(0xFFFFFFFFFFFFFFFF))
        table[0] ^= np.uint64(3)
        for depth in range(4):
            after = ranks.deepened(table, n, closed, depth)
            for upwards in (False, True):
                came = table.copy()
                size, fresh = tool.deepened(came, n, closed, depth, upwards, 1 + depth % 2, 7)
                _same(came, after, f"{n} points: layer {depth + 1}, upwards: {upwards}")
                new = np.flatnonzero(_codes(table) != _codes(after))
                assert size == len(new), f"{n} points: {size} new, {len(new)} wanted"
                assert len(fresh) == min(7, size), f"{n} points: {len(fresh)} listed of {size}"
                assert set(fresh.tolist()) <= set(new.tolist()), f"{n} points: others listed"
                cases += 1
            table = after
    return cases


def _bits(members: np.ndarray) -> np.ndarray:
    whole = np.zeros(-(-len(members) // 64) * 64, np.uint8)
    whole[: len(members)] = members
    return np.packbits(whole, bitorder="little").view(np.uint64)


def _codes(table: np.ndarray) -> np.ndarray:
    return (table[:, None] >> (2 * np.arange(32, dtype=np.uint64))) & np.uint64(3)


def _same(came: np.ndarray, wanted: np.ndarray, text: str) -> None:
    assert (came.dtype, came.shape) == (wanted.dtype, wanted.shape), (
        f"{text}: {came.dtype} {came.shape} for {wanted.shape}"
    )
    assert np.array_equal(came, wanted), f"{text}: other values"
