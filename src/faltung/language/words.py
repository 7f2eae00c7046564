"""Counting, listing and drawing the words of a boolean language, letter class by letter class.

States are sets of residuals, so that every word is counted once, however often an expression says it: the number of words of a
length is a product of a vector with a sparse matrix a letter, over the natural numbers. Grammars have infinitely many states,
of which a length reaches finitely many; residuals that need more letters than there are left are dropped.
"""

import math
from collections.abc import Iterator
from typing import Any

from faltung.errors import ArgumentError, MemoryBudgetError
from faltung.language import charset, terms
from faltung.language.charset import Ranges
from faltung.language.residuals import END, Residuals, Set, lowered
from faltung.language.terms import EDGE, Term

MOST = 1_000_000  # moves between states that one question may make
State = tuple[Set, int]


class Words:
    """The words of a language over an alphabet."""

    def __init__(self, term: Term, binary: bool, alphabet: Ranges | None = None) -> None:
        self.binary = binary
        self.recursive = "ref" in term.has
        self.residuals = r = Residuals(lowered(term), charset.BYTES if binary else charset.UNICODE)
        every = ((0, r.size - 1),)
        allowed = every if alphabet is None else charset.intersection(alphabet, every)
        parts = [*r.parts, ((10, 10),)] if r.final >= 0 else r.parts
        self.parts = [charset.intersection(part, allowed) for part in parts]
        self.sizes = [charset.size(part) for part in self.parts]
        self.newline = int(r.table[10]) if r.final >= 0 else -1
        self._moves: dict[tuple[State, bool], list[tuple[int, State]]] = {}
        self._made = 0
        self._shortest: dict[int, float] = {}
        self._of_term: dict[int, float] = {}

    @property
    def start(self) -> State:
        """The state before the first letter."""
        return self.residuals.first, EDGE & self.residuals.needs

    def accepts(self, state: State) -> bool:
        """Whether a word may end here."""
        return self.residuals.ends(state[0], state[1], EDGE & self.residuals.needs)

    def moves(self, state: State, last: bool, left: float = math.inf) -> list[tuple[int, State]]:
        """(class of letters, next state) for every class that leads anywhere; `left` letters remain afterwards."""
        key = state, last and self.newline >= 0
        found = self._moves.get(key)
        if found is None:
            found = []
            for c, size in enumerate(self.sizes):
                if not size or (c == self.residuals.final and not last) or (c == self.newline and last):
                    continue
                after = self.residuals.step(state[0], c, state[1])
                if after:
                    found.append((c, (after, self.residuals.bits[c])))
            self._moves[key] = found
            self._made += len(found) + 1
            if self._made > MOST:
                raise MemoryBudgetError.of(
                    "language", f"a language of at most {MOST} moves between states", "more", "ask for shorter words"
                )
        if not self.recursive:
            return found
        kept = ((c, (frozenset(r for r in after if self.shortest(r) <= left), bits)) for c, (after, bits) in found)
        return [(c, after) for c, after in kept if after[0]]

    # -- shortest words, for grammars ---------------------------------------------------------------------------------------

    def shortest(self, residual: int) -> float:
        """A lower bound on the number of letters that a residual still reads."""
        total, r = 0.0, residual
        while r != END:
            head = self.residuals.heads[r]
            total += 0.0 if type(head) is tuple else self._least(head)
            r = self.residuals.tails[r]
        return total

    def _least(self, term: Term) -> float:
        if not self._of_term:
            bodies = {id(cell): cell for cell in terms.cells(self.residuals.root)}
            known = dict.fromkeys(bodies, math.inf)
            for _ in range(len(bodies) + 1):  # each round settles at least one more rule
                for key, cell in bodies.items():
                    known[key] = self._measured(cell.body, known)[id(cell.body)]
            self._of_term = known
            self._terms: dict[int, float] = {}
        if id(term) not in self._terms:
            self._terms |= self._measured(term, self._of_term)
        return self._terms[id(term)]

    def _measured(self, root: Term, cells: dict[int, float]) -> dict[int, float]:
        least: dict[int, float] = {}
        for node in terms.postorder(root):
            below = [least[id(p)] for p in node.parts]
            least[id(node)] = {
                "zero": lambda n, b: math.inf,
                "chars": lambda n, b: 1.0,
                "concat": lambda n, b: sum(b),
                "union": lambda n, b: min(b),
                "meet": lambda n, b: max(b),
                "repeat": lambda n, b: b[0] * n.data[0] if n.data[0] else 0.0,
                "ref": lambda n, b: cells[id(n.data)],
            }.get(node.kind, lambda n, b: 0.0)(node, below)
        return least

    # -- counting ---------------------------------------------------------------------------------------------------------

    def count(self, length: int) -> int:
        """How many words of a length there are."""
        now: dict[State, int] = {self.start: 1}
        for n in range(length):
            after: dict[State, int] = {}
            for state, ways in now.items():
                for c, to in self.moves(state, n == length - 1, length - 1 - n):
                    after[to] = after.get(to, 0) + ways * self.sizes[c]
            now = after
        return sum(ways for state, ways in now.items() if self.accepts(state))

    def total(self) -> int | float:
        """How many words there are, `math.inf` if without end."""
        if self.recursive:
            raise ArgumentError.of("count", "a length for a grammar", "none", "count(length)")
        if self.residuals.needs:
            raise ArgumentError.of("count", "a length where ^, $ or \\b occur", "none", "count(length)")
        order, into = self._reached()
        alive = {s for s in order if self.accepts(s)}
        waiting = list(alive)
        while waiting:
            for s in into.get(waiting.pop(), ()):
                if s not in alive:
                    alive.add(s)
                    waiting.append(s)
        ways: dict[State, int] = {}
        degree = {s: sum(to in alive for _, to in self.moves(s, False)) for s in alive}
        ready = [s for s in alive if not degree[s]]
        while ready:  # from the ends backwards; states on a loop are never ready
            s = ready.pop()
            ways[s] = self.accepts(s) + sum(self.sizes[c] * ways[to] for c, to in self.moves(s, False) if to in alive)
            for before in into.get(s, ()):
                if before in alive:
                    degree[before] -= 1
                    if not degree[before]:
                        ready.append(before)
        return math.inf if len(ways) < len(alive) else ways.get(self.start, 0)

    def _reached(self) -> tuple[list[State], dict[State, list[State]]]:
        """All states, and for each those that lead to it, once for each class."""
        order, into = [self.start], dict[State, list[State]]()
        seen = {self.start}
        for state in order:
            for _, to in self.moves(state, False):
                into.setdefault(to, []).append(state)
                if to not in seen:
                    seen.add(to)
                    order.append(to)
        return order, into

    def some(self) -> Any | None:
        """A shortest word, None if there is none."""
        if self.residuals.needs:
            raise ArgumentError.of("language", "a language without ^, $ and \\b", "one with", "leave them out")
        if self.recursive and self._least(self.residuals.root) == math.inf:
            return None
        seen, level = {self.start}, [(self.start, None)]
        while level:
            after: list[tuple[State, Any]] = []
            for state, path in level:
                if self.accepts(state):
                    letters: list[int] = []
                    while path is not None:
                        path, letter = path
                        letters.append(letter)
                    return self.written(reversed(letters))
                for c, to in self.moves(state, False):
                    if to not in seen:
                        seen.add(to)
                        after.append((to, (path, charset.nth(self.parts[c], 0))))
            level = after
        return None

    def written(self, letters: Any) -> Any:
        """Code points as a word."""
        return bytes(letters) if self.binary else "".join(map(chr, letters))

    # -- drawing and listing ----------------------------------------------------------------------------------------------

    def _ways(self, length: int) -> list[dict[State, int]]:
        """For every number of letters read, in how many ways each state leads to a word of the length."""
        levels: list[set[State]] = [{self.start}]
        for n in range(length):
            levels.append({to for s in levels[-1] for _, to in self.moves(s, n == length - 1, length - 1 - n)})
        ways = [{s: int(self.accepts(s)) for s in levels[-1]}]
        for n in range(length - 1, -1, -1):
            after, last = ways[-1], n == length - 1
            ways.append({
                s: sum(self.sizes[c] * after[to] for c, to in self.moves(s, last, length - 1 - n)) for s in levels[n]
            })  # fmt: skip
        return ways[::-1]

    def sample(self, length: int, rng: Any) -> Any:
        """A word of a length, all equally likely."""
        ways = self._ways(length)
        if not ways[0][self.start]:
            raise ArgumentError.of("sample", f"a language with words of length {length}", "one without", "try count(n)")
        state, letters = self.start, []
        for n in range(length):
            pick = _below(rng, ways[n][state])
            for c, to in self.moves(state, n == length - 1, length - 1 - n):
                share = self.sizes[c] * ways[n + 1][to]
                if pick < share:
                    letters.append(charset.nth(self.parts[c], pick // ways[n + 1][to]))
                    state = to
                    break
                pick -= share
        return self.written(letters)

    def listed(self, length: int) -> Iterator[Any]:
        """All words of a length, in order."""
        ways = self._ways(length)
        stack: list[tuple[State, tuple]] = [(self.start, ())] if ways[0][self.start] else []
        while stack:
            state, letters = stack.pop()
            n = len(letters)
            if n == length:
                yield self.written(letters)
                continue
            onward = [
                (letter, to)
                for c, to in self.moves(state, n == length - 1, length - 1 - n)
                if ways[n + 1][to]
                for first, last in self.parts[c]
                for letter in range(first, last + 1)
            ]
            stack += [(to, (*letters, letter)) for letter, to in sorted(onward, key=lambda pair: -pair[0])]


def _below(rng: Any, bound: int) -> int:
    """A whole number below a bound of any size, all equally likely, from NumPy's generator."""
    bits = bound.bit_length()
    while True:
        drawn = int.from_bytes(rng.bytes((bits + 7) // 8), "big") >> (-bits % 8)
        if drawn < bound:
            return drawn
