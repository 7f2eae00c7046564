"""Numbered permutations, compiled: ranks, their inverse, and breadth-first steps over one or two bits a permutation.

A step takes the members of a set in rank order, some hundred at a time, into the first cache; there they become permutations,
all their neighbours, and ranks again in loops over the batch that LLVM turns into vectors. Only the last act, marking a rank,
goes to far memory, once for each neighbour and without waiting for the one before.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from faltung.kernels import native
from faltung.kernels.native import address
from faltung.kernels.threads import available, scratch, spread

MOST = 15  # points: a rank times a radix stays below 2⁵³, where doubles are whole
BATCH = 1024
BLOCK = 64  # words that one thread takes before it leaves the next ones to the others


def shifts(generators: np.ndarray, bits: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Generators as rotations of masked words: symbols that move by the same distance move together.

    Returns:
        masks and left rotations of all steps, and where those of each generator begin.
    """
    masks: list[int] = []
    turns: list[int] = []
    starts = [0]
    for g in generators.tolist():
        by: dict[int, int] = {}
        for i, source in enumerate(g):
            by[(i - source) * bits % 64] = by.get((i - source) * bits % 64, 0) | ((1 << bits) - 1) << source * bits
        masks += by.values()
        turns += by
        starts.append(len(masks))
    return np.array(masks, np.uint64), np.array(turns, np.uint64), np.array(starts, np.int64)


def rank(states: np.ndarray, n: int) -> np.ndarray:
    """The contract's ranks of packed permutations."""
    N, k = _compiled(n)
    out = ((np.array(states, np.uint64) + _all(n, k)) << np.uint64(4 * k)) | _identity(k)
    native.load(f"rank-{N}", build_numbers, N, False)(address(out), len(out))
    return out


def unrank(ranks: np.ndarray, n: int) -> np.ndarray:
    """The contract's packed permutations of ranks."""
    N, k = _compiled(n)
    out = np.array(ranks, np.uint64)
    native.load(f"unrank-{N}", build_numbers, N, True)(address(out), len(out))
    return (out >> np.uint64(4 * k)) - _all(n, k)


def painted(frontier: np.ndarray, n: int, generators: np.ndarray, sets: list[np.ndarray] | None = None) -> np.ndarray:
    """The set of all neighbours of a set.

    Args:
        sets: where to, one set for each thread, all zero; they are united into the first, which is returned, and the others are
            zero again.
    """
    sets = [np.zeros_like(frontier)] if sets is None else sets
    N, _ = _compiled(n)
    work = native.load(f"paint-{N}", build_paint, N)
    steps = shifts(_embedded(generators))
    blocks = -(-len(frontier) // BLOCK)

    def task(first: int, last: int) -> None:
        for thread in range(first, last):
            work(
                address(frontier), address(sets[thread]), *map(address, steps), len(generators),
                thread, len(sets), blocks, len(frontier), scratch(3 * 8 * BATCH),
            )  # fmt: skip

    spread(task, len(sets), len(sets))
    for other in sets[1:]:
        np.bitwise_or(sets[0], other, out=sets[0])
        other[:] = 0
    return sets[0]


def deepened(
    table: np.ndarray, n: int, generators: np.ndarray, depth: int, upwards: bool = False, threads: int | None = None,
    most: int = 0,
) -> tuple[int, np.ndarray]:  # fmt: skip
    """Add one layer to a table of distances modulo 3, in place.

    Args:
        upwards: look from every permutation without a distance for a neighbour of this depth, instead of from those of this
            depth, of which a table modulo 3 cannot tell those of depth − 3, for neighbours without one. Either way the same
            table, where generators come with their inverses.

    Returns:
        how many permutations the layer has, and the ranks of up to `most` of them.
    """
    (N, _), steps = _compiled(n), shifts(_embedded(generators))
    found: dict[int, tuple[int, np.ndarray]] = {}

    def task(first: int, last: int) -> None:
        total, fresh = np.zeros(1, np.int64), np.empty(most, np.uint64)
        work(
            address(table), *map(address, steps), len(generators), depth % 3, first * BLOCK, min(last * BLOCK, len(table)),
            math.factorial(n), address(total), address(fresh), most, scratch(4 * 8 * BATCH),
        )  # fmt: skip
        found[first] = int(total[0]), fresh[: int(total[0])]

    if upwards:
        work = native.load(f"thirds-up-{N}", build_up, N)
        spread(task, -(-len(table) // BLOCK), threads or available(), 16)
    else:  # writes anywhere: one thread
        work = native.load(f"thirds-down-{N}", build_down, N)
        task(0, -(-len(table) // BLOCK))
    pieces = [found[first] for first in sorted(found)]
    return sum(size for size, _ in pieces), np.sort(np.concatenate([fresh for _, fresh in pieces])[:most])


def _compiled(n: int) -> tuple[int, int]:
    """The number of points N that kernels are compiled for, and the k = N − n that stay in place before the others.

    Permutations that keep the first k points have the ranks of those of the rest, so small n share one kernel.
    """
    return max(n, 8), max(n, 8) - n


def _embedded(generators: np.ndarray) -> np.ndarray:
    _, k = _compiled(generators.shape[1])
    before = np.broadcast_to(np.arange(k), (len(generators), k))
    return np.concatenate([before, generators + k], axis=1)


def _identity(n: int) -> np.uint64:
    return np.uint64(sum(i << 4 * i for i in range(n)))


def _all(n: int, value: int) -> np.uint64:
    """A word of n symbols that are all this value."""
    return np.uint64(sum(value << 4 * i for i in range(n)))


def build_numbers(n: int, back: bool) -> tuple[Callable, str]:
    """Ranks of permutations, or back, in place."""
    rank, unrank, _, _ = _pieces(n)

    def numbers(values, count):
        if back:
            unrank(values, 0, 0, count)
        else:
            rank(values, 0, 0, count)

    return numbers, "p:uint64,i"


def build_paint(n: int) -> tuple[Callable, str]:
    """Marks the neighbours of every member of the blocks first, first + step, ... of a set."""
    rank, unrank, move, trailing = _pieces(n)

    @native.inner
    def flush(following, masks, turns, starts, generators, s, count):
        unrank(s, 0, BATCH, count)
        for g in range(generators):
            move(s, BATCH, 2 * BATCH, masks, turns, starts[g], starts[g + 1], count)
            rank(s, 2 * BATCH, 2 * BATCH, count)
            for b in range(count):
                r = s[2 * BATCH + b]
                following[r >> np.uint64(6)] |= np.uint64(1) << (r & np.uint64(63))

    def paint(frontier, following, masks, turns, starts, generators, first, step, blocks, words, s):
        count = 0
        for block in range(first, blocks, step):
            for w in range(block * BLOCK, min(block * BLOCK + BLOCK, words)):
                bits = frontier[w]
                while bits != np.uint64(0):
                    s[count] = np.uint64(64 * w) + trailing(bits)
                    bits &= bits - np.uint64(1)
                    count += 1
                if count > BATCH - 64:
                    flush(following, masks, turns, starts, generators, s, count)
                    count = 0
        flush(following, masks, turns, starts, generators, s, count)

    return paint, "p:uint64,p:uint64,p:uint64,p:uint64,p:int64,i,i,i,i,i,p:uint64"


def build_down(n: int) -> tuple[Callable, str]:
    """From every permutation at the depth modulo 3 to neighbours without a distance."""
    rank, unrank, move, trailing = _pieces(n)

    @native.inner
    def flush(table, masks, turns, starts, generators, code, s, count, fresh, most, found):
        unrank(s, 0, BATCH, count)
        # Unseen is 3 = both bits; a new distance takes away the bits that its code lacks.
        away = np.uint64(3) ^ np.uint64((code + 1) % 3)
        for g in range(generators):
            move(s, BATCH, 2 * BATCH, masks, turns, starts[g], starts[g + 1], count)
            rank(s, 2 * BATCH, 2 * BATCH, count)
            for b in range(count):
                r = s[2 * BATCH + b]
                at, place = r >> np.uint64(5), (r & np.uint64(31)) << np.uint64(1)
                word = table[at]
                if (word >> place) & (word >> (place + np.uint64(1))) & np.uint64(1) != np.uint64(0):
                    table[at] = word ^ (away << place)
                    if found < most:
                        fresh[found] = r
                    found += 1
        return found

    def down(table, masks, turns, starts, generators, code, first, last, order, total, fresh, most, s):
        count = found = 0
        low = np.uint64(0x5555555555555555)
        differs = low * np.uint64(3 - code)  # xor with it gives 3 where the code stands
        for w in range(first, last):
            both = table[w] ^ differs
            bits = both & (both >> np.uint64(1)) & low
            while bits != np.uint64(0):
                s[count] = np.uint64(32 * w) + (trailing(bits) >> np.uint64(1))
                bits &= bits - np.uint64(1)
                count += 1
            if count > BATCH - 32:
                found = flush(table, masks, turns, starts, generators, code, s, count, fresh, most, found)
                count = 0
        total[0] = flush(table, masks, turns, starts, generators, code, s, count, fresh, most, found)

    return down, "p:uint64,p:uint64,p:uint64,p:int64,i,i,i,i,i,p:int64,p:uint64,i,p:uint64"


def build_up(n: int) -> tuple[Callable, str]:
    """From every permutation without a distance, of the words first ... last, to neighbours at the depth modulo 3."""
    rank, unrank, move, trailing = _pieces(n)

    @native.inner
    def flush(table, masks, turns, starts, generators, code, s, count, fresh, most, found):
        unrank(s, 0, BATCH, count)
        for b in range(count):
            s[3 * BATCH + b] = np.uint64(0)
        for g in range(generators):
            move(s, BATCH, 2 * BATCH, masks, turns, starts[g], starts[g + 1], count)
            rank(s, 2 * BATCH, 2 * BATCH, count)
            for b in range(count):
                r = s[2 * BATCH + b]
                near = (table[r >> np.uint64(5)] >> ((r & np.uint64(31)) << np.uint64(1))) & np.uint64(3)
                s[3 * BATCH + b] |= np.uint64(1) if near == np.uint64(code) else np.uint64(0)
        away = np.uint64(3) ^ np.uint64((code + 1) % 3)
        for b in range(count):
            if s[3 * BATCH + b] != np.uint64(0):
                r = s[b]
                table[r >> np.uint64(5)] ^= away << ((r & np.uint64(31)) << np.uint64(1))
                if found < most:
                    fresh[found] = r
                found += 1
        return found

    def up(table, masks, turns, starts, generators, code, first, last, order, total, fresh, most, s):
        count = found = 0
        low = np.uint64(0x5555555555555555)
        for w in range(first, last):
            bits = table[w] & (table[w] >> np.uint64(1)) & low
            while bits != np.uint64(0):
                r = np.uint64(32 * w) + (trailing(bits) >> np.uint64(1))
                bits &= bits - np.uint64(1)
                if r < np.uint64(order):  # what fills the last word is no permutation
                    s[count] = r
                    count += 1
            if count > BATCH - 32:
                found = flush(table, masks, turns, starts, generators, code, s, count, fresh, most, found)
                count = 0
        total[0] = flush(table, masks, turns, starts, generators, code, s, count, fresh, most, found)

    return up, "p:uint64,p:uint64,p:uint64,p:int64,i,i,i,i,i,p:int64,p:uint64,i,p:uint64"


def _pieces(n: int) -> tuple[Any, ...]:
    """What the steps are made of, for n points: unrank, rank and move a batch within scratch memory, the lowest bit of a word."""
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    @intrinsic
    def trailing(typingctx: Any, bits: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

        return types.uint64(types.uint64), code

    @intrinsic
    def ones(typingctx: Any, bits: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.ctpop(args[0])

        return types.uint64(types.uint64), code

    every = np.uint64((1 << n) - 1)
    points = _identity(n)
    first = float(math.factorial(n - 1))
    one, four, symbol = np.uint64(1), np.uint64(4), np.uint64(15)

    @native.inner
    def listed(r, f, left, x, i):
        digit = np.int64((r + 0.5) * (1.0 / f))  # half a unit more keeps the quotient off whole numbers
        at = np.uint64(4 * digit)
        low = (one << at) - one
        x |= ((left >> at) & symbol) << np.uint64(4 * i)
        return r - float(digit) * f, f / max(n - 1 - i, 1), (left & low) | ((left >> four) & ~low), x

    # Loops over four symbols at most: longer ones LLVM leaves loops, and then does not vectorise over the batch.
    c0, c1, c2, c3 = 0, min(4, n), min(8, n), min(12, n)

    @native.inner
    def rank(s, states, out, count):
        for b in range(count):
            x, left, r = s[states + b], every, np.uint64(0)
            for i in range(c0, c1):
                bit = one << ((x >> np.uint64(4 * i)) & symbol)
                r = r * np.uint64(n - i) + ones(left & (bit - one))
                left ^= bit
            for i in range(c1, c2):
                bit = one << ((x >> np.uint64(4 * i)) & symbol)
                r = r * np.uint64(n - i) + ones(left & (bit - one))
                left ^= bit
            for i in range(c2, c3):
                bit = one << ((x >> np.uint64(4 * i)) & symbol)
                r = r * np.uint64(n - i) + ones(left & (bit - one))
                left ^= bit
            for i in range(c3, n):
                bit = one << ((x >> np.uint64(4 * i)) & symbol)
                r = r * np.uint64(n - i) + ones(left & (bit - one))
                left ^= bit
            s[out + b] = r

    @native.inner
    def unrank(s, ranks, out, count):
        for b in range(count):
            r, f, left, x = float(np.int64(s[ranks + b])), first, points, np.uint64(0)
            for i in range(c0, c1):
                r, f, left, x = listed(r, f, left, x, i)
            for i in range(c1, c2):
                r, f, left, x = listed(r, f, left, x, i)
            for i in range(c2, c3):
                r, f, left, x = listed(r, f, left, x, i)
            for i in range(c3, n):
                r, f, left, x = listed(r, f, left, x, i)
            s[out + b] = x

    @native.inner
    def move(s, states, out, masks, turns, first, last, count):
        for b in range(count):
            s[out + b] = np.uint64(0)
        for t in range(first, last):
            mask, turn = masks[t], turns[t]
            back = (np.uint64(64) - turn) & np.uint64(63)
            for b in range(count):
                v = s[states + b] & mask
                s[out + b] |= (v << turn) | (v >> back)

    return rank, unrank, move, trailing
