"""Four ways to keep the layers of a search: a formula, a bit a permutation, two bits a permutation, sorted states.

All give the same layers. None identifies a state by less than all of it: ranks are exact, packed states are compared in full.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import permutations as all_permutations
from typing import NamedTuple

import numpy as np

from faltung.cayley.generators import Generators
from faltung.errors import MemoryBudgetError
from faltung.kernels.cayley import on_numba as sets
from faltung.kernels.ranks import on_numba as ranks
from faltung.kernels.threads import spread

MOST = 1000  # states of a layer that can be asked for


class Layer(NamedTuple):
    """How many states are at one distance, and a function that returns up to so many of them, one a row, 1000 at most.

    The function is good until the layer after the next is asked for.
    """

    size: int
    states: Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Limits:
    """What a search may use: bytes, threads, and how many layers after the start."""

    memory: int
    threads: int
    max_layers: int


class Storage(ABC):
    """One way to keep layers; `refuses` is true, `seconds` and `memory` are estimates, `search` yields layer after layer."""

    name = ""
    summary = ""

    @abstractmethod
    def refuses(self, g: Generators) -> str | None:
        """A sentence why not, or None."""

    @abstractmethod
    def seconds(self, g: Generators, limits: Limits) -> float:
        """Roughly how long a search takes."""

    @abstractmethod
    def memory(self, g: Generators, limits: Limits) -> int:
        """Bytes it needs at most, or what it begins with where nobody knows the order."""

    @abstractmethod
    def search(self, g: Generators, limits: Limits) -> Iterator[Layer]:
        """Layer 0, 1, ... until one is empty."""


def most_states(g: Generators, limits: Limits) -> float:
    """A bound on how many states the search meets: words in the generators, arrangements of the start, residues."""
    words = min(float(len(g)), 999.0) ** min(limits.max_layers, 99) * 2 if len(g) > 1 else float(limits.max_layers + 1)
    words = min(words, 1e300)
    if g.modulus:
        return min(words, float(g.modulus) ** min(g.start.size, 60))
    if g.regular and g.size <= ranks.MOST:
        return min(words, float(g.order))
    counts = np.unique(g.start, return_counts=True)[1]
    arrangements = math.factorial(g.size) // math.prod(math.factorial(int(c)) for c in counts)
    return min(words, float(min(arrangements, 10**300)))


class Formula(Storage):
    """Mahonian numbers for adjacent swaps, Stirling numbers of the first kind for all transpositions."""

    name = "closed form"
    summary = "a known formula, by the name of the set"

    def refuses(self, g: Generators) -> str | None:
        if not g.closed_form:
            return "knows coxeter(n) and all_transpositions(n), asked for by name"
        return None

    def seconds(self, g: Generators, limits: Limits) -> float:
        return 1e-6 * g.size**3

    def memory(self, g: Generators, limits: Limits) -> int:
        return 64 * g.size**2

    def search(self, g: Generators, limits: Limits) -> Iterator[Layer]:
        n, sizes = g.size, [1]
        for i in range(1, n):  # one more symbol goes to any of i + 1 places: 1 + q + ... + q^i, or 1 + i·q
            factor = [1] * (i + 1) if g.closed_form == "mahonian" else [1, i]
            sizes = [
                sum(factor[j] * sizes[k - j] for j in range(len(factor)) if 0 <= k - j < len(sizes))
                for k in range(len(sizes) + len(factor) - 1)
            ]
        measure = _inversions if g.closed_form == "mahonian" else _moves
        for depth, size in enumerate(sizes):
            yield Layer(size, partial(_listed, n, depth, size, measure))


class Bits(Storage):
    """One bit a permutation for all that were met, one for the last layer, and one a thread for the next."""

    name = "bits"
    summary = "a bit for each of n! permutations in three sets"

    def refuses(self, g: Generators) -> str | None:
        return _needs_ranks(g)

    def seconds(self, g: Generators, limits: Limits) -> float:
        states = most_states(g, limits)
        edge = 4e-9 if math.factorial(g.size) <= 1 << 23 else 9e-9
        passes = 4e-9 * (math.factorial(g.size) // 64)  # over all words, once a layer; layers are some sixty at most
        return 1e-4 + (60 * passes + states * (5e-9 + edge * len(g))) / min(limits.threads, 4)

    def memory(self, g: Generators, limits: Limits) -> int:
        return (2 + limits.threads) * (math.factorial(g.size) // 8 + 8) + (1 << 20)

    def search(self, g: Generators, limits: Limits) -> Iterator[Layer]:
        n, words = g.size, -(-math.factorial(g.size) // 64)
        threads = max(1, min(limits.threads, words // (1 << 10)))
        met, last = np.zeros(words, np.uint64), np.zeros(words, np.uint64)
        following = [np.zeros(words, np.uint64) for _ in range(threads)]
        met[0] = last[0] = 1
        size = 1
        while size:
            yield Layer(size, partial(_members, last, n))
            following[0][:] = 0  # only now: what was yielded before this layer could be asked for until here
            found = ranks.painted(last, n, g.rows, following)
            size = _news(found, met)
            last, following[0] = found, last


class Thirds(Storage):
    """Two bits a permutation: its distance modulo 3, which is enough where neighbours differ by one at most."""

    name = "thirds"
    summary = "two bits for each of n! permutations: the distance modulo 3; paths can be read off"

    def refuses(self, g: Generators) -> str | None:
        if not g.closed:
            return "needs every generator's inverse among them: on directed graphs neighbours may be any distance apart"
        return _needs_ranks(g)

    def seconds(self, g: Generators, limits: Limits) -> float:
        return 4 * limits.threads * BITS.seconds(g, limits)

    def memory(self, g: Generators, limits: Limits) -> int:
        return math.factorial(g.size) // 4 + (1 << 20)

    def search(self, g: Generators, limits: Limits) -> Iterator[Layer]:
        yield from self.tabled(g, limits, self.table(g))

    def table(self, g: Generators) -> np.ndarray:
        """Nobody has a distance but the first."""
        table = np.full(-(-math.factorial(g.size) // 32), np.uint64(0xFFFFFFFFFFFFFFFF))
        table[0] ^= np.uint64(3)
        return table

    def tabled(self, g: Generators, limits: Limits, table: np.ndarray) -> Iterator[Layer]:
        """The search, which fills the table."""
        n, order = g.size, math.factorial(g.size)
        sizes = [1]
        fresh = np.zeros(1, np.uint64)
        while sizes[-1]:
            yield Layer(sizes[-1], partial(_of_ranks, fresh, n))
            if sum(sizes) == order:
                return
            # The table cannot tell this layer from those three, six, ... before: look from whichever side has fewer.
            down, up = sum(sizes[::-3]), order - sum(sizes)
            size, fresh = ranks.deepened(table, n, g.rows, len(sizes) - 1, up < down, limits.threads, MOST)
            sizes.append(size)


class Sorted(Storage):
    """States packed into words of 64 bits, sorted; on undirected graphs the last two layers, on directed ones all."""

    name = "sorted"
    summary = "packed states, sorted, compared in full; any generators and any start"

    def __init__(self, key_bits: int = 64) -> None:
        self.key_bits = key_bits

    def refuses(self, g: Generators) -> str | None:
        return None

    def seconds(self, g: Generators, limits: Limits) -> float:
        return 1e-3 + most_states(g, limits) * len(g) * 2.5e-8 * self._width(g) / min(limits.threads, 4)

    def memory(self, g: Generators, limits: Limits) -> int:
        share = 0.5 if g.closed else 1.5  # of all states at once: the layers kept and the next with its repetitions
        return int(min(1e18, 8 * self._width(g) * share * most_states(g, limits))) + (1 << 20)

    def search(self, g: Generators, limits: Limits) -> Iterator[Layer]:
        bits, width = self._bits(g), self._width(g)
        used = self.key_bits if width > 1 else min(64, bits * g.start.size)
        last = sets.packed(g.start.reshape(1, -1), bits, self.key_bits)
        known = [last]
        while len(last):
            yield Layer(len(last), partial(self._states, g, last, bits))
            following = self._following(g, last, known, bits, used, limits)
            known = [last, following] if g.closed else _with(known, following)
            last = following

    def _following(
        self, g: Generators, last: np.ndarray, known: list[np.ndarray], bits: int, used: int, limits: Limits
    ) -> np.ndarray:
        """The next layer, from pieces of the last, each in a thread."""
        record = 8 * last.shape[1]
        held = sum(map(len, known)) * record
        room = max(limits.memory - held, 0) // 4  # neighbours, their sorted copy, what is new, unions
        # Pieces small enough for their neighbours to be sorted within the caches, few enough for the known to be read over again.
        small = max(1 << 14, len(last) // 64)
        piece = max(1 << 10, min(small, room // (2 * record * len(g) * limits.threads)))
        found: list[np.ndarray] = []

        def task(first: int, end: int) -> None:
            for p in range(first, end):
                part = last[p * piece : (p + 1) * piece]
                if g.modulus:
                    near = sets.multiplied(part, g.rows, len(g.start), g.modulus, bits, self.key_bits)
                else:
                    near = sets.moved(part, g.rows, bits, self.key_bits)
                if held + record * sum(map(len, found)) + 2 * near.nbytes > limits.memory:
                    raise MemoryBudgetError.of(
                        f"growth of {g.text}", f"layers that fit {limits.memory} bytes",
                        f"one of {len(last)} states with {len(g)} neighbours each", "give more memory or fewer max_layers",
                    )  # fmt: skip
                found.append(sets.fresh(near, known, used))

        spread(task, -(-len(last) // piece), limits.threads)
        while (
            len(found) > 1
        ):  # the smallest first, so that no record is moved more often than the logarithm of the pieces
            found.sort(key=len, reverse=True)
            found.append(sets.united(found.pop(), found.pop()))
        return found[0]

    @staticmethod
    def _bits(g: Generators) -> int:
        """Bits of a symbol."""
        return max(1, int((g.modulus or int(g.start.max()) + 1) - 1).bit_length())

    def _width(self, g: Generators) -> int:
        words = -(-g.start.size // (64 // self._bits(g)))
        return words if words == 1 else 1 + words

    @staticmethod
    def _states(g: Generators, records: np.ndarray, bits: int, most: int) -> np.ndarray:
        return sets.unpacked(records[:most], g.start.size, bits).reshape(-1, *g.start.shape)


def way(g: Generators, table: np.ndarray, state: np.ndarray) -> list[int]:
    """Generators that lead from the neutral element to a permutation, by the distances modulo 3 of a full table."""
    inverses = g.inverses
    assert inverses is not None
    back: list[int] = []
    code = _code(table, state)
    if code == 3:  # the search did not meet it
        return back
    while not np.array_equal(state, np.arange(g.size)):
        for s in range(len(g)):
            near = g.apply(state, s)
            if _code(table, near) == (code + 2) % 3:
                state, code = near, (code + 2) % 3
                back.append(inverses[s])
                break
        else:
            return []
    return back[::-1]


def _code(table: np.ndarray, state: np.ndarray) -> int:
    r = int(ranks.rank(sets.packed(state[None], 4)[:, 0], len(state))[0])
    return int(table[r >> 5]) >> (2 * (r & 31)) & 3


def _with(known: list[np.ndarray], new: np.ndarray) -> list[np.ndarray]:
    """One more set; two of like size become one, so that there are few and no record is moved often."""
    known = [*known, new]
    while len(known) > 1 and len(known[-2]) < 2 * len(known[-1]):
        known[-2:] = [sets.united(known[-2], known[-1])]
    return known


def _needs_ranks(g: Generators) -> str | None:
    if g.modulus:
        return "numbers permutations, not matrices"
    if not g.regular:
        return "numbers permutations, the start is a word with repeated or other symbols"
    if g.size > ranks.MOST:
        return f"numbers permutations of at most {ranks.MOST} points, these have {g.size}"
    return None


def _news(found: np.ndarray, met: np.ndarray, piece: int = 1 << 15) -> int:
    """Take those met from the found, add the rest to the met, and count them, piece by piece within the cache."""
    size = 0
    for at in range(0, len(found), piece):
        f, m = found[at : at + piece], met[at : at + piece]
        f &= ~m
        m |= f
        size += int(np.bitwise_count(f).sum())
    return size


def _members(bits: np.ndarray, n: int, most: int) -> np.ndarray:
    words = np.flatnonzero(bits)[:most]
    inside = np.unpackbits(bits[words].view(np.uint8), bitorder="little").reshape(-1, 64)
    rows, places = np.nonzero(inside)
    return _of_ranks((words[rows] * 64 + places).astype(np.uint64), n, most)


def _of_ranks(numbers: np.ndarray, n: int, most: int) -> np.ndarray:
    return sets.unpacked(ranks.unrank(numbers[:most], n)[:, None], n, 4)


def _inversions(p: tuple[int, ...]) -> int:
    return sum(p[j] < p[i] for i in range(len(p)) for j in range(i + 1, len(p)))


def _moves(p: tuple[int, ...]) -> int:
    """Points less cycles: how many transpositions make a permutation."""
    left, cycles = set(range(len(p))), 0
    while left:
        i, cycles = left.pop(), cycles + 1
        while p[i] in left:
            i = p[i]
            left.remove(i)
    return len(p) - cycles


def _listed(n: int, depth: int, size: int, measure: Callable[[tuple[int, ...]], int], most: int) -> np.ndarray:
    """The first permutations at a distance, from the end of the list where the farthest are."""
    found: list[tuple[int, ...]] = []
    for p in all_permutations(range(n - 1, -1, -1)):
        if measure(p) == depth:
            found.append(p)
            if len(found) == min(most, size):
                break
    return np.array(found).reshape(-1, n)


BITS = Bits()
ALL: tuple[Storage, ...] = (Formula(), BITS, Thirds(), Sorted())
