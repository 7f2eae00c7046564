"""Boolean languages letter by letter: what is still to come is a set of lists of terms.

A *residual* is a list of terms to be matched one behind the other, kept as (head, tail) pairs that are equal exactly when they
have the same number. The derivative of a residual by a letter is a set of residuals (Antimirov's partial derivatives); the union
of that set is Brzozowski's derivative, and a set is that union modulo associativity, commutativity and idempotence. A regular
expression has finitely many of them. Intersections and complements stand in a list as sets of residuals of their own.

Source: Brzozowski, Derivatives of regular expressions (1964); Antimirov (1996).
"""

from typing import Any

import numpy as np

from faltung.errors import ArgumentError, MemoryBudgetError
from faltung.language import charset, terms
from faltung.language.terms import EDGE, FINAL, NEEDS, NEWLINE, Term

END = 0  # the empty list
DEEPEST = 600  # nested levels of a term: some rules here call themselves once a level
Set = frozenset[int]


def lowered(root: Term) -> Term:
    """The term as far as truth goes: no weights, no groups, each alternative once, simple loops."""
    return terms.rebuild(root, _lowered)


def _lowered(node: Term, parts: tuple[Term, ...]) -> Term:
    if node.kind == "group":
        return parts[0]
    if node.kind == "scale":  # a weight counts as true unless it says False
        return parts[0] if node.data[0] is not False else terms.ZERO
    if node.kind == "union":
        letters = charset.union(*(p.data for p in parts if p.kind == "chars"))
        return terms.union([terms.chars(letters), *dict.fromkeys(p for p in parts if p.kind != "chars")])
    if node.kind in ("star", "repeat"):
        body = parts[0]
        least, most = node.data or (0, None)
        if body.kind == "union" and any(
            p.kind in ("one", "star") for p in body.parts
        ):  # the loop itself gives the empty word
            if terms.ONE in body.parts or body.empty is True:
                least = 0
            body = terms.union(p for p in body.parts if p is not terms.ONE)
        if body.kind == "repeat" and body.data[0] <= 1 and (body.data[1] is None or body.data == (0, 1)):
            # (p{a,})* and (p?)*: the outer loop says it all
            least, most = (least if body.data[0] else 0), (None if body.data[1] is None and most != 0 else most)
            body = body.parts[0]
        if body.kind == "star":
            return body if most != 0 else terms.ONE
        if body.empty is True:
            least = 0
        return terms.ONE if body is terms.ONE else terms.repeat(body, least, most)
    return terms.again(node, parts)


class Residuals:
    """The residuals of one lowered term, numbered as they are met, and the letters in classes that no residual tells apart.

    Args:
        root: a term without weights.   size: how many symbols the alphabet has.
        like: residuals of a term with the same letters and places, such as its mirror image, whose classes are taken over.
    """

    needs: int
    table: np.ndarray
    parts: list[charset.Ranges]
    letters: list[int]
    bits: list[int]
    final: int
    edge: int

    def __init__(self, root: Term, size: int, like: "Residuals | None" = None) -> None:
        if root.depth > DEEPEST:
            raise MemoryBudgetError.of(
                "language", f"an expression of at most {DEEPEST} levels", f"{root.depth}", "write it flatter"
            )
        self.root, self.size = root, size
        if like is not None:
            for shared in ("needs", "table", "parts", "letters", "bits", "final", "edge"):
                setattr(self, shared, getattr(like, shared))
        else:
            self._classify()
        self._start()

    def _classify(self) -> None:
        root, size = self.root, self.size
        bodies = [root, *(cell.body for cell in terms.cells(root))]
        nodes = [node for body in bodies for node in terms.postorder(body)]
        self.needs = 0
        for node in nodes:
            self.needs |= NEEDS[node.data] if node.kind == "place" else 0
        sets = [node.data for node in nodes if node.kind == "chars"]
        kinds = {terms.WORD: charset.category("w", False), terms.ASCII_WORD: charset.category("w", True),
                 NEWLINE | FINAL: ((10, 10),)} if self.needs else {}  # fmt: skip
        if size == charset.BYTES:
            kinds = {bits: charset.intersection(letters, ((0, size - 1),)) for bits, letters in kinds.items()}
        self.table, self.parts = charset.classes([*sets, *(s for bits, s in kinds.items() if bits & self.needs)], size)
        self.letters = [part[0][0] for part in self.parts]
        self.bits = [
            sum(bits & ~FINAL for bits, letters in kinds.items() if charset.contains(letters, letter)) & self.needs
            for letter in self.letters
        ]
        self.final = self.edge = -1
        if self.needs & FINAL:  # one class more: a newline that is the text's last symbol
            self.final = len(self.letters)
            self.letters.append(10)
            self.bits.append(self.bits[int(self.table[10])] | FINAL)
        if self.needs:  # and one for what lies beyond the text
            self.edge = len(self.letters)
            self.letters.append(-1)
            self.bits.append(EDGE & self.needs)

    def _start(self) -> None:
        self.heads: list[Any] = [None]
        self.tails: list[int] = [END]
        self.numbers: dict[tuple, int] = {}
        self.steps: dict[tuple[int, int, int], Set] = {}
        self.ended: dict[tuple[int, int, int], bool] = {}
        self.kept: list[Any] = []  # heads are known by their id: they must not die
        self.first = frozenset(self.pushed(self.root, END))

    @property
    def classes(self) -> int:
        """How many classes of letters there are."""
        return len(self.letters)

    def fresh(self) -> "Residuals":
        """The same language with nothing known yet."""
        other = object.__new__(Residuals)
        other.__dict__.update(self.__dict__)
        other._start()
        return other

    # -- lists ------------------------------------------------------------------------------------------------------------

    def cell(self, head: Any, tail: int) -> int:
        """The number of a list. Heads are terms, or (`meet` or `lack`, sets of residuals)."""
        key = (head, tail) if type(head) is tuple else (id(head), tail)
        found = self.numbers.get(key)
        if found is None:
            found = self.numbers[key] = len(self.heads)
            self.heads.append(head)
            self.tails.append(tail)
            self.kept.append(head)
        return found

    def pushed(self, term: Term, tail: int) -> list[int]:
        """The lists that begin with a term: none, where it has no words."""
        if term is terms.ZERO:
            return []
        if term.kind == "concat":
            for part in reversed(term.parts):
                tail = self.cell(part, tail)
            return [tail]
        return [tail if term is terms.ONE else self.cell(term, tail)]

    def appended(self, residual: int, tail: int) -> int:
        """A list continued by another."""
        heads = []
        while residual != END:
            heads.append(self.heads[residual])
            residual = self.tails[residual]
        for head in reversed(heads):
            tail = self.cell(head, tail)
        return tail

    def carried(self, other: "Residuals", residuals: Set) -> Set:
        """Residuals of another instance by their numbers here."""
        return frozenset(self._carried(other, r) for r in residuals)

    def _carried(self, other: "Residuals", residual: int) -> int:
        heads = []
        while residual != END:
            heads.append(other.heads[residual])
            residual = other.tails[residual]
        tail = END
        for head in reversed(heads):
            tail = self.cell((head[0], tuple(self.carried(other, s) for s in head[1]))
                             if type(head) is tuple else head, tail)  # fmt: skip
        return tail

    # -- the two rules ----------------------------------------------------------------------------------------------------

    def step(self, residuals: Set, letter: int, before: int) -> Set:
        """The derivative by a class of letters; `before` are the bits of the symbol before."""
        found: set[int] = set()
        for r in residuals:
            known = self.steps.get((r, letter, before))
            if known is None:
                known = self.steps[r, letter, before] = self._step(r, letter, before)
            found |= known
        return frozenset(found)

    def _step(self, residual: int, letter: int, before: int) -> Set:
        found: set[int] = set()
        for r in self.opened(residual, before, self.bits[letter]):
            head, tail = self.heads[r], self.tails[r]
            if r == END:
                continue
            if type(head) is tuple:
                after = tuple(self.step(s, letter, before) for s in head[1])
                if head[0] == "lack" or all(after):
                    found.add(self.cell((head[0], after), tail))
            elif head.kind == "chars":
                if charset.contains(head.data, self.letters[letter]):
                    found.add(tail)
            else:  # a loop whose body may be empty: D(p{0,n}) = D(p) ∗ p{0,n−1}, without looking into p{0,n−1}
                rest = self.pushed(_less(head), tail)[0]
                for d in self.step(frozenset(self.pushed(head.parts[0], END)), letter, before):
                    found.add(self.appended(d, rest))
        return frozenset(found)

    def ends(self, residuals: Set, before: int, behind: int) -> bool:
        """Whether the empty word is in, between symbols of these bits."""
        for r in residuals:
            known = self.ended.get((r, before, behind))
            if known is None:
                known = self.ended[r, before, behind] = END in self.opened(r, before, behind)
            if known:
                return True
        return False

    def opened(self, residual: int, before: int, behind: int) -> list[int]:
        """The lists that a list stands for and that begin with a letter, a set of residuals or an empty-bodied loop; or END."""
        seen, stack, found = {residual}, [residual], []
        while stack:
            r = stack.pop()
            head, tail = self.heads[r], self.tails[r]
            after: list[int] = []
            if r == END:
                found.append(r)
            elif type(head) is tuple:
                found.append(r)
                inside = [self.ends(s, before, behind) for s in head[1]]
                after = [tail] if (all(inside) if head[0] == "meet" else not inside[0]) else []
            elif head.kind == "chars":
                found.append(r)
            elif head.kind == "place":
                after = [tail] if terms.holds(head.data, before, behind) else []
            elif head.kind == "union":
                after = [x for p in head.parts for x in self.pushed(p, tail)]
            elif head.kind == "star":
                after = [*self.pushed(head.parts[0], r), tail]
            elif head.kind == "repeat":
                if head.parts[0].empty is True:
                    found.append(r)
                else:
                    after = [x for rest in self.pushed(_less(head), tail) for x in self.pushed(head.parts[0], rest)]
                after += [tail] if head.data[0] == 0 else []
            elif head.kind == "ref":
                after = self.pushed(head.data.body, tail)
            elif head.kind == "null":
                after = [tail] if self.ends(frozenset(self.pushed(head.parts[0], END)), before, behind) else []
            elif head.kind in ("meet", "lack"):
                sets = tuple(frozenset(self.pushed(p, END)) for p in head.parts)
                after = [self.cell((head.kind, sets), tail)]
            else:
                after = self.pushed(head, tail)
            for x in after:
                if x not in seen:
                    seen.add(x)
                    stack.append(x)
            if len(seen) > 1_000_000:
                raise ArgumentError.of(
                    "language", "a recursion that reads a letter before it returns to itself",
                    "one that does not, or a very large loop", "put a letter first, or ask for weights of words",
                )  # fmt: skip
        return found


def _less(loop: Term) -> Term:
    least, most = loop.data
    return terms.repeat(loop.parts[0], max(least - 1, 0), None if most is None else most - 1)
