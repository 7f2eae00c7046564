"""Sets of packed states, compiled: all neighbours by masks and shifts, radix sort, what is new, unions.

The order of records is that of their words, compared in full: a key only brings records of several words near their place.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from faltung.kernels import native
from faltung.kernels.cayley.contract import ODD, packed, unpacked
from faltung.kernels.native import address

__all__ = ["fresh", "moved", "multiplied", "packed", "united", "unpacked"]

DIGIT = 11  # bits of a pass of the radix sort: its counters and the lines that it writes fit the first cache
TILE = 512  # states that are moved together


def moved(records: np.ndarray, generators: np.ndarray, bits: int, key_bits: int = 64) -> np.ndarray:
    """The contract's neighbours under permutations of the symbols."""
    m, width = records.shape
    steps = _steps(generators, bits, width)
    out = np.empty((len(generators) * m, width), np.uint64)
    native.load(f"moved-{width}", build_moved, width)(
        address(records), address(out), *map(address, steps), len(generators), m, key_bits
    )
    return out


def multiplied(
    records: np.ndarray, generators: np.ndarray, rows: int, modulus: int, bits: int, key_bits: int = 64
) -> np.ndarray:
    """The contract's neighbours under products modulo m."""
    (m, width), d = records.shape, generators.shape[1]
    factors = np.ascontiguousarray(generators % modulus, np.int64)
    out = np.empty((len(generators) * m, width), np.uint64)
    spare = np.empty(rows * d, np.int64)
    native.load(f"multiplied-{width}", build_multiplied, width)(
        address(records), address(out), address(factors), address(spare), len(generators), m, rows, d, modulus, bits, key_bits
    )  # fmt: skip
    return out


def fresh(records: np.ndarray, known: list[np.ndarray], used_bits: int = 64) -> np.ndarray:
    """The contract's set of new records; `records` is working memory afterwards.

    Args:
        used_bits: how many bits of the first word are used at most.
    """
    m, width = records.shape
    spare = np.empty_like(records)
    first = 0
    if width > 1:  # keys are spread evenly: a few digits from the top, the rest by insertion
        first = max(0, used_bits - DIGIT * -(-(max(m, 2).bit_length() + 6) // DIGIT))
    counters = np.empty(1 << DIGIT, np.int64)
    where = np.zeros(1, np.int64)
    native.load(f"sorted-{width}", build_sorted, width)(
        address(records), address(spare), m, first, used_bits, address(counters), address(where)
    )
    done = spare if where[0] else records
    count = np.array([m], np.int64)
    for a in known or [records[:0]]:
        native.load(f"fresh-{width}", build_fresh, width)(
            address(done), int(count[0]), address(a), len(a), address(count)
        )
    return done[: int(count[0])].copy()


def united(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The contract's union."""
    width = a.shape[1]
    out, count = np.empty((len(a) + len(b), width), np.uint64), np.zeros(1, np.int64)
    native.load(f"united-{width}", build_united, width)(
        address(a), len(a), address(b), len(b), address(out), address(count)
    )
    return out[: int(count[0])]


def _steps(generators: np.ndarray, bits: int, width: int) -> tuple[np.ndarray, ...]:
    """Generators as rotations of masked words: symbols that move alike between the same words move together."""
    per, shift = 64 // bits, int(width > 1)
    masks, turns, sources, targets, starts = [], [], [], [], [0]
    for g in generators.tolist():
        together: dict[tuple[int, int, int], int] = {}
        for i, source in enumerate(g):
            move = (source // per + shift, i // per + shift, (i % per - source % per) * bits % 64)
            together[move] = together.get(move, 0) | ((1 << bits) - 1) << source % per * bits
        for (source, target, turn), mask in together.items():
            masks.append(mask)
            turns.append(turn)
            sources.append(source)
            targets.append(target)
        starts.append(len(masks))
    whole = (np.array(a, np.int64) for a in (sources, targets, starts))
    return np.array(masks, np.uint64), np.array(turns, np.uint64), *whole


def build_moved(width: int) -> tuple[Callable, str]:
    """Permutations of symbols, a tile of states after the other."""
    keyed = _keyed(width)

    def moved(x, y, masks, turns, sources, targets, starts, generators, m, key_bits):
        for tile in range(0, m, TILE):
            last = min(tile + TILE, m)
            for g in range(generators):
                base = g * m * width
                for p in range(base + tile * width, base + last * width):
                    y[p] = np.uint64(0)
                for t in range(starts[g], starts[g + 1]):
                    mask, turn, source, target = masks[t], turns[t], sources[t], base + targets[t]
                    back = (np.uint64(64) - turn) & np.uint64(63)
                    for b in range(tile, last):
                        v = x[b * width + source] & mask
                        y[b * width + target] |= (v << turn) | (v >> back)
                if width > 1:
                    for b in range(tile, last):
                        keyed(y, base + b * width, key_bits)

    return moved, "p:uint64,p:uint64,p:uint64,p:uint64,p:int64,p:int64,p:int64,i,i,i"


def build_multiplied(width: int) -> tuple[Callable, str]:
    """Products of matrices modulo m; sums stay below d·m², within 64 bits for what fits symbols of 31 bits."""
    keyed = _keyed(width)
    shift = int(width > 1)

    def multiplied(x, y, factors, s, generators, m, rows, d, modulus, bits, key_bits):
        per = 64 // bits
        symbol = (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
        for b in range(m):
            for i in range(rows * d):
                word = x[b * width + shift + i // per]
                s[i] = np.int64((word >> np.uint64(i % per * bits)) & symbol)
            for g in range(generators):
                to = (g * m + b) * width
                for w in range(width):
                    y[to + w] = np.uint64(0)
                for r in range(rows):
                    for c in range(d):
                        total = 0
                        for j in range(d):
                            total += s[r * d + j] * factors[(g * d + j) * d + c]
                        i = r * d + c
                        y[to + shift + i // per] |= np.uint64(total % modulus) << np.uint64(i % per * bits)
                keyed(y, to, key_bits)

    return multiplied, "p:uint64,p:uint64,p:int64,p:int64,i,i,i,i,i,i,i"


def build_sorted(width: int) -> tuple[Callable, str]:
    """Records in order: digits of the first word from bit `first` on, the lowest first, then what is still out of place."""
    less = _less(width)

    def ordered(x, spare, m, first, last, counters, where):
        a, b, side = x, spare, 0
        for digit in range(first, last, DIGIT):
            for c in range(1 << DIGIT):
                counters[c] = 0
            mask, place = np.uint64((1 << min(DIGIT, last - digit)) - 1), np.uint64(digit)
            for i in range(m):
                counters[(a[i * width] >> place) & mask] += 1
            if m == 0 or counters[(a[0] >> place) & mask] == m:
                continue  # all have this digit
            total = 0
            for c in range(1 << DIGIT):
                count = counters[c]
                counters[c] = total
                total += count
            for i in range(m):
                c = (a[i * width] >> place) & mask
                to = counters[c]
                counters[c] = to + 1
                for w in range(width):
                    b[to * width + w] = a[i * width + w]
            a, b, side = b, a, 1 - side
        if width > 1:
            for i in range(1, m):
                j = i
                while j > 0 and less(a, j * width, a, (j - 1) * width):
                    for w in range(width):
                        p = j * width + w
                        a[p], a[p - width] = a[p - width], a[p]
                    j -= 1
        where[0] = side

    return ordered, "p:uint64,p:uint64,i,i,i,p:int64,p:int64"


def build_fresh(width: int) -> tuple[Callable, str]:
    """Sorted records without repetitions and without those of a set, moved together in place."""
    less = _less(width)

    def fresh(x, m, known, k, count):
        at = kept = 0
        for i in range(m):
            if kept > 0 and not less(x, (kept - 1) * width, x, i * width):
                continue
            while at < k and less(known, at * width, x, i * width):
                at += 1
            if at < k and not less(x, i * width, known, at * width):
                continue
            for w in range(width):
                x[kept * width + w] = x[i * width + w]
            kept += 1
        count[0] = kept

    return fresh, "p:uint64,i,p:uint64,i,p:int64"


def build_united(width: int) -> tuple[Callable, str]:
    """Two sets merged."""
    less = _less(width)

    def united(a, m, b, k, out, count):
        i = j = kept = 0
        while i < m or j < k:
            first = j == k or (i < m and not less(b, j * width, a, i * width))
            if first and j < k and not less(a, i * width, b, j * width):
                j += 1  # in both
            for w in range(width):
                out[kept * width + w] = a[i * width + w] if first else b[j * width + w]
            i, j, kept = i + first, j + (not first), kept + 1
        count[0] = kept

    return united, "p:uint64,i,p:uint64,i,p:uint64,p:int64"


def _less(width: int) -> Any:
    """Whether the record of x at p comes before that of y at q."""

    @native.inner
    def less(x, p, y, q):
        if width == 1:
            return x[p] < y[q]
        for w in range(width):
            if x[p + w] != y[q + w]:
                return x[p + w] < y[q + w]
        return False

    return less


def _keyed(width: int) -> Any:
    """Writes the key of the record at p, where records have one."""
    first, second = np.uint64(ODD[0]), np.uint64(ODD[1])

    @native.inner
    def keyed(y, p, key_bits):
        if width > 1:
            key = np.uint64(0)
            for w in range(1, width):
                key = (key ^ y[p + w]) * first
                key = (key ^ (key >> np.uint64(32))) * second
                key ^= key >> np.uint64(29)
            y[p] = key & (np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - key_bits))

    return keyed
