"""Automata as data: the smallest deterministic one of a regular language, and the language of any weighted automaton.

From a language: residual sets are explored, states that lead nowhere are left out, and states that agree on all words are merged
(Moore's refinement). To a language: states are eliminated one by one, each by a star (Kleene; Brzozowski and McCluskey).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from faltung.errors import ArgumentError, MemoryBudgetError
from faltung.language import charset, terms
from faltung.language.charset import Ranges
from faltung.language.terms import Term
from faltung.language.words import Words


@dataclass(frozen=True)
class Graph:
    """A deterministic automaton: states 0 ... n−1, of which 0 is the start.

    `moves` holds (state, letters as ranges of code points, state), at most one for each pair of states. Letters without a move
    lead to no word.
    """

    states: int
    accepting: frozenset[int]
    moves: tuple[tuple[int, Ranges, int], ...]
    binary: bool = False

    def accepts(self, word: str | bytes) -> bool:
        """Whether a word leads from the start to an accepting state."""
        state = 0
        for c in word:
            letter = c if isinstance(c, int) else ord(c)
            onward = [to for at, letters, to in self.moves if at == state and charset.contains(letters, letter)]
            if not onward:
                return False
            state = onward[0]
        return state in self.accepting

    def term(self) -> Term:
        """An expression of the same words, each with one derivation."""
        return eliminated(
            self.states, [(a, terms.chars(letters), b) for a, letters, b in self.moves], {0: terms.ONE},
            dict.fromkeys(self.accepting, terms.ONE),
        )  # fmt: skip

    def label(self, letters: Ranges) -> str:
        """Letters for people: `a-z`, `not ,`, `any`."""
        size = charset.BYTES if self.binary else charset.UNICODE
        outside = charset.complement(letters, size)
        if not outside:
            return "any"
        if charset.size(outside) < charset.size(letters) and len(outside) <= len(letters):
            return "not " + _spelt(outside)
        return _spelt(letters)

    def dot(self) -> str:
        """The automaton in the language of Graphviz."""
        lines = ["digraph language {", "  rankdir=LR;", '  start [shape=point, label=""];', "  start -> 0;"]
        shapes = ("circle", "doublecircle")
        lines += [f"  {n} [shape={shapes[n in self.accepting]}];" for n in range(self.states)]
        for a, letters, b in self.moves:
            text = self.label(letters).replace("\\", "\\\\").replace('"', '\\"')
            lines.append(f'  {a} -> {b} [label="{text}"];')
        return "\n".join([*lines, "}"]) + "\n"

    def svg(self) -> str:
        """The automaton as a picture; see `picture.drawn`."""
        from faltung.language.picture import drawn

        return drawn(self)

    def _repr_svg_(self) -> str:
        return self.svg()


def _spelt(letters: Ranges) -> str:
    def one(c: int) -> str:
        return (
            chr(c)
            if chr(c).isprintable() and not chr(c).isspace()
            else {10: "\\n", 9: "\\t", 32: "␣"}.get(c, f"{c:#x}")
        )

    said = [one(a) if a == b else one(a) + one(b) if b == a + 1 else f"{one(a)}-{one(b)}" for a, b in letters[:6]]
    return " ".join(said) + (" …" if len(letters) > 6 else "")


def graph_of(term: Term, binary: bool, most: int) -> Graph:
    """The smallest automaton of a regular language without `^`, `$`, `\\b`."""
    if "ref" in term.has or "place" in term.has:
        raise ArgumentError.of(
            "graph", "a regular language without ^, $ and \\b", "a grammar" if "ref" in term.has else "one with",
            "leave them out",
        )  # fmt: skip
    words = Words(term, binary)
    order, number = [words.start], {words.start: 0}
    moves: list[dict[int, int]] = []  # by state: class -> state
    for state in order:
        row = {}
        for c, to in words.moves(state, False):
            if to not in number:
                number[to] = len(order)
                order.append(to)
                if len(order) > most:
                    raise MemoryBudgetError.of("graph", f"at most {most} states", "more", "pass a larger `most`")
            row[c] = number[to]
        moves.append(row)
    accepting = {n for n, state in enumerate(order) if words.accepts(state)}
    alive = _alive(moves, accepting)
    moves = [{c: to for c, to in row.items() if to in alive} for row in moves]
    block = _merged(moves, accepting, alive | {0})
    names: dict[int, int] = {}
    waiting = [0]
    for n in waiting:  # numbered in the order in which the start reaches them
        if block[n] not in names:
            names[block[n]] = len(names)
            waiting += moves[n].values()
    joined: dict[tuple[int, int], list[Ranges]] = {}
    for a, n in {names[block[n]]: n for n in reversed(waiting)}.items():
        for c, b in moves[n].items():
            joined.setdefault((a, names[block[b]]), []).append(words.parts[c])
    return Graph(
        len(names), frozenset(names[block[n]] for n in accepting if block[n] in names),
        tuple((a, charset.union(*sets), b) for (a, b), sets in sorted(joined.items())), binary,
    )  # fmt: skip


def _alive(moves: list[dict[int, int]], accepting: set[int]) -> set[int]:
    into: dict[int, list[int]] = {}
    for n, row in enumerate(moves):
        for to in row.values():
            into.setdefault(to, []).append(n)
    alive, waiting = set(accepting), list(accepting)
    while waiting:
        for n in into.get(waiting.pop(), ()):
            if n not in alive:
                alive.add(n)
                waiting.append(n)
    return alive


def _merged(moves: list[dict[int, int]], accepting: set[int], kept: set[int]) -> dict[int, int]:
    """Equal numbers for states that agree on all words."""
    block = {n: int(n in accepting) for n in kept}
    count = 0
    while True:
        signatures: dict[tuple, int] = {}
        after = {}
        for n in kept:
            key = block[n], tuple(sorted((c, block[to]) for c, to in moves[n].items()))
            after[n] = signatures.setdefault(key, len(signatures))
        block = after
        if len(signatures) == count:
            return block
        count = len(signatures)


def eliminated(
    states: int, moves: Iterable[tuple[int, Term, int]], start: dict[int, Term], accepting: dict[int, Term]
) -> Term:
    """The term of an automaton: `start` and `accepting` hold the weight with which a word begins or ends at a state.

    Cost: states³ terms at most; the term may be far larger than the automaton.
    """
    first, last = states, states + 1
    edges: dict[int, dict[int, Term]] = {n: {} for n in range(states + 2)}

    def add(a: int, p: Term, b: int) -> None:
        if p is not terms.ZERO:
            edges[a][b] = terms.union((edges[a].get(b, terms.ZERO), p))

    for a, p, b in moves:
        add(a, p, b)
    for b, p in start.items():
        add(first, p, b)
    for a, p in accepting.items():
        add(a, p, last)
    left = set(range(states))
    while left:
        into = {n: sum(n in row and a != n for a, row in edges.items()) for n in left}
        n = min(left, key=lambda s: into[s] * len(edges[s]))
        left.discard(n)
        row = edges.pop(n)
        loop = terms.star(row.pop(n, terms.ZERO))
        for a in list(edges):
            if n in edges[a]:
                p = edges[a].pop(n)
                for b, q in row.items():
                    add(a, terms.concat((p, loop, q)), b)
    return edges[first].get(last, terms.ZERO)


def from_moves(moves: Iterable[tuple], start: Any, accepting: Iterable[Any]) -> Term:
    """The term of an automaton given as (state, letters, state) or (state, letters, state, weight); states are any objects."""
    number: dict[Any, int] = {}
    made = []
    for move in moves:
        a, letters, b, *weight = move
        p = terms.chars(charset.of(letters if isinstance(letters, bytes) else map(ord, letters)))
        if weight:
            p = terms.scale(weight[0], p)
        made.append((number.setdefault(a, len(number)), p, number.setdefault(b, len(number))))
    begin = number.setdefault(start, len(number))
    ends = {number.setdefault(s, len(number)): terms.ONE for s in accepting}
    return eliminated(len(number), made, {begin: terms.ONE}, ends)
