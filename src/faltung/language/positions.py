"""The position automaton of an expression: one state for each letter in it and one for the start, exact over any semiring.

A fragment knows the weight of the empty word, the letters that can come first and last, and which letter can follow which, each
with a weight in which every empty round is already summed (the star of an ε-weight). Sequences multiply, alternatives add:

    star p:   e = (weight of empty in p)*;  first = e ⊗ first,  last = last ⊗ e,  follow ⊕= last ⊗ e ⊗ first

Source: Glushkov (1961); Caron and Flouret (2003) for weights.
"""

from collections.abc import Iterator
from typing import Any

from faltung.errors import ArgumentError, MemoryBudgetError
from faltung.language import charset, terms
from faltung.language.charset import Ranges
from faltung.language.semirings import Semiring
from faltung.language.terms import EDGE, FINAL, NEEDS, NEWLINE, Term

STATES, MOVES = 200_000, 1_000_000
Weighted = list[tuple[int, Any]]


class Positions:
    """States 0 ... m−1, one for each letter of the expression, and the weights between them.

    Attributes:
        letters: what each state reads.   bits: what stands there for `^`, `$`, `\\b`: 0 without these.
        empty: the weight of the empty word.   first, last: the weight with which a word begins or ends at a state.
        follow: for each state the weights of those that may come next.
    """

    def __init__(self, root: Term, semiring: Semiring, size: int) -> None:
        self.semiring, self.size, self._moves = semiring, size, 0
        for kind, name in (("ref", "a grammar"), ("lack", "a complement")):
            if kind in root.has:
                raise ArgumentError.of(
                    f"weights over {semiring.name}", "a regular expression without complements", name,
                    "use over='boolean', or `support`" if kind == "lack" else "ask for weights of words",
                )  # fmt: skip
        self.needs = 0
        for node in terms.postorder(root):
            self.needs |= NEEDS[node.data] if node.kind == "place" else 0
        self.kinds = _kinds(self.needs, size)
        self.letters: list[Ranges] = []
        self.bits: list[int] = []
        self.follow: list[dict[int, Any]] = []
        if not self.needs:
            self.empty, first, last = self._fragment(root, None)
            self.first, self.last = dict(first), dict(last)
            return
        # With places, each weight holds between symbols of two kinds: one pass for each pair, from which its own moves are kept.
        self.empty, self.first, self.last = semiring.zero, {}, {}
        kept: list[dict[int, Any]] = []
        sides = sorted({EDGE, *self.kinds})
        for before in sides:
            for behind in sides:
                self.letters, self.bits, self.follow = [], [], []
                empty, first, last = self._fragment(root, (before, behind))
                kept = kept or [{} for _ in self.letters]
                if before == behind == EDGE:
                    self.empty = empty
                if before == EDGE != behind:
                    self.first |= {j: w for j, w in first if self.bits[j] == behind}
                if before != EDGE == behind:
                    self.last |= {i: w for i, w in last if self.bits[i] == before}
                for i, row in enumerate(self.follow):
                    if self.bits[i] == before:
                        kept[i] |= {j: w for j, w in row.items() if self.bits[j] == behind}
        self.follow = kept

    @property
    def states(self) -> int:
        """How many states there are, the start included."""
        return len(self.letters) + 1

    @property
    def moves(self) -> int:
        """How many weighted moves there are between letters."""
        return sum(map(len, self.follow))

    # -- building -----------------------------------------------------------------------------------------------------------

    def _fragment(self, root: Term, place: tuple[int, int] | None) -> tuple[Any, Weighted, Weighted]:
        """(weight of the empty word, first, last) of a term; its letters and moves are added to this automaton."""
        s = self.semiring
        stack: list[tuple[Any, Weighted, Weighted]] = []
        for node, count in _occurrences(root):
            kind = node.kind
            if kind == "chars":
                stack.append(self._letter(node.data))
            elif kind == "zero":
                stack.append((s.zero, [], []))
            elif kind == "one" or (kind == "place" and place and terms.holds(node.data, *place)):
                stack.append((s.one, [], []))
            elif kind == "place":
                stack.append((s.zero, [], []))
            elif kind in ("concat", "union"):
                parts = stack[len(stack) - count :]
                del stack[len(stack) - count :]
                total = parts[0]
                for part in parts[1:]:
                    total = self._sequence(total, part) if kind == "concat" else (
                        s.add(total[0], part[0]), total[1] + part[1], total[2] + part[2])  # fmt: skip
                stack.append(total)
            elif kind == "star":
                stack.append(self._loop(*stack.pop()))
            elif kind == "scale":
                empty, first, last = stack.pop()
                w = s.value(node.data[0])
                stack.append((s.mul(w, empty), [(j, s.mul(w, v)) for j, v in first], last))
            elif kind == "group":
                stack.append(self._marked(node.data[0], *stack.pop()))
            elif kind == "null":
                stack.append((stack.pop()[0], [], []))
            else:
                stack.append(self._product([self._alone(p, place) for p in node.parts]))
        return stack.pop()

    def _letter(self, letters: Ranges) -> tuple[Any, Weighted, Weighted]:
        s, made = self.semiring, []
        parts = [(bits, part) for bits, kind in self.kinds.items() if (part := charset.intersection(letters, kind))]
        for bits, part in parts if self.needs else [(0, letters)]:
            made.append(len(self.letters))
            self.letters.append(part)
            self.bits.append(bits)
            self.follow.append({})
        if len(self.letters) > STATES:
            raise MemoryBudgetError.of("language", f"at most {STATES} letters when loops are written out", "more",
                                       "shorten the loops; over='boolean' has no such limit")  # fmt: skip
        w = s.one if s.letter is None else s.letter
        return s.zero, [(n, w) for n in made], [(n, s.one) for n in made]

    def _sequence(self, p: tuple, q: tuple) -> tuple[Any, Weighted, Weighted]:
        s = self.semiring
        self._joined(p[2], q[1])
        first = p[1] if p[0] == s.zero else p[1] + [(j, s.mul(p[0], w)) for j, w in q[1]]
        last = q[2] if q[0] == s.zero else q[2] + [(i, s.mul(w, q[0])) for i, w in p[2]]
        return s.mul(p[0], q[0]), first, last

    def _loop(self, empty: Any, first: Weighted, last: Weighted) -> tuple[Any, Weighted, Weighted]:
        s = self.semiring
        again = s.star(empty)
        first = [(j, s.mul(again, w)) for j, w in first]
        self._joined(last, first)
        return again, first, [(i, s.mul(w, again)) for i, w in last]

    def _joined(self, last: Weighted, first: Weighted) -> None:
        s = self.semiring
        self._moves += len(last) * len(first)
        if self._moves > MOVES:
            raise MemoryBudgetError.of("language", f"at most {MOVES} moves between letters", "more",
                                       "write fewer optional parts in a row")  # fmt: skip
        for i, v in last:
            row = self.follow[i]
            for j, w in first:
                move = s.mul(v, w)
                row[j] = s.add(row[j], move) if j in row else move

    def _marked(self, number: int, empty: Any, first: Weighted, last: Weighted) -> tuple[Any, Weighted, Weighted]:
        s = self.semiring
        if s.mark is None:
            return empty, first, last
        begins, ends = s.mark(number), s.mark(-number)
        return (s.mul(s.mul(begins, empty), ends), [(j, s.mul(begins, w)) for j, w in first],
                [(i, s.mul(w, ends)) for i, w in last])  # fmt: skip

    def _alone(self, root: Term, place: tuple[int, int] | None) -> tuple["Positions", tuple]:
        other = self._bare()
        return other, other._fragment(root, place)

    def _bare(self) -> "Positions":
        other = object.__new__(Positions)
        other.__dict__.update(self.__dict__, letters=[], bits=[], follow=[])
        return other

    def _product(self, sides: list) -> tuple[Any, Weighted, Weighted]:
        """Letter by letter side by side: states are pairs that share a letter."""
        s = self.semiring
        if not s.commutative:
            raise ArgumentError.of(f"weights over {s.name}", "a commutative semiring for intersections", "another",
                                   "intersect boolean languages")  # fmt: skip
        a, (empty, first, last) = sides[0]
        for b, (other_empty, other_first, other_last) in sides[1:]:
            made, (joint, index) = self._bare(), _pairs(a, b)
            for i, j in joint:
                made.letters.append(charset.intersection(a.letters[i], b.letters[j]))
                made.bits.append(a.bits[i])
                made.follow.append({
                    index[k, l]: s.mul(v, w)
                    for k, v in a.follow[i].items() for l, w in b.follow[j].items() if (k, l) in index
                })  # fmt: skip
            fs, ls, of, ol = dict(first), dict(last), dict(other_first), dict(other_last)
            first = [(n, s.mul(fs[i], of[j])) for n, (i, j) in enumerate(joint) if i in fs and j in of]
            last = [(n, s.mul(ls[i], ol[j])) for n, (i, j) in enumerate(joint) if i in ls and j in ol]
            a, empty = made, s.mul(empty, other_empty)
        shift = len(self.letters)
        self.letters += a.letters
        self.bits += a.bits
        self.follow += [{j + shift: w for j, w in row.items()} for row in a.follow]
        return empty, [(j + shift, w) for j, w in first], [(i + shift, w) for i, w in last]


def _pairs(a: Positions, b: Positions) -> tuple[list[tuple[int, int]], dict[tuple[int, int], int]]:
    if len(a.letters) * len(b.letters) > MOVES:
        raise MemoryBudgetError.of("language", f"intersections of at most {MOVES} pairs", "more", "use over='boolean'")
    joint = [
        (i, j) for i in range(len(a.letters)) for j in range(len(b.letters))
        if a.bits[i] == b.bits[j] and charset.intersection(a.letters[i], b.letters[j])
    ]  # fmt: skip
    return joint, {pair: n for n, pair in enumerate(joint)}


def _kinds(needs: int, size: int) -> dict[int, Ranges]:
    """What a symbol can be to its neighbours, as bits, and the symbols of each kind; empty without places."""
    if not needs:
        return {}
    every: dict[int, Ranges] = {0: ((0, size - 1),)}
    sets = (
        (terms.WORD, charset.category("w", False)),
        (terms.ASCII_WORD, charset.category("w", True)),
        (NEWLINE, ((10, 10),)),
    )
    for bit, letters in sets:
        if needs & bit:
            split = {}
            for bits, have in every.items():
                split[bits | bit] = charset.intersection(have, letters)
                split[bits] = charset.intersection(have, charset.complement(letters, charset.UNICODE))
            every = {bits: have for bits, have in split.items() if have}
    if needs & FINAL:
        newline = next(bits for bits, have in every.items() if charset.contains(have, 10))
        every[newline | FINAL] = ((10, 10),)
    return every


def _occurrences(root: Term) -> Iterator[tuple[Term, int]]:
    """The tree of a term in postfix order, each occurrence of a part on its own, with the number of its parts; loops written out.

    p{m,n} becomes p^m (1 + p(1 + ...)), which has n copies of p and the same weights.
    """
    stack: list[tuple[Term, int, bool]] = [(root, 0, False)]
    while stack:
        node, count, ready = stack.pop()
        if ready:
            yield node, count
        elif node.kind == "repeat":
            stack.append((_written_out(node), 0, False))
        elif node.kind == "meet" or not node.parts:
            yield node, 0
        else:
            stack.append((node, len(node.parts), True))
            stack += [(p, 0, False) for p in reversed(node.parts)]


def _written_out(node: Term) -> Term:
    p, (least, most) = node.parts[0], node.data
    if max(least, most or 0) > STATES:
        raise MemoryBudgetError.of("language", f"at most {STATES} repetitions over weights", f"{max(least, most or 0)}",
                                   "use over='boolean', or fewer")  # fmt: skip
    if most is None:
        return terms.concat((*[p] * least, terms.star(p)))
    tail = terms.ONE
    for _ in range(most - least):
        tail = _plus_one(terms.concat((p, tail)))
    return terms.concat((*[p] * least, tail))


def _plus_one(p: Term) -> Term:
    return terms.union((terms.ONE, p))
