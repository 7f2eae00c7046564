"""Context-free languages: every parse of a word at once, then its weight over any semiring.

A term with references becomes rules; a word becomes a *forest*, in which a node is a part of a rule on a part of the word and each
edge one way to come about. The forest is the same for all semirings. Left recursion, ambiguity and empty rules need no care: nodes
that depend on themselves (infinitely many parses) are systems of equations, solved by stars where they are linear.

Source: Earley (1970), with the symbol before each prediction looked up; Goodman, Semiring parsing (1999) for weights.
"""

from collections.abc import Sequence
from typing import Any

from faltung.errors import ArgumentError, MemoryBudgetError
from faltung.language import charset, terms
from faltung.language.equations import solved
from faltung.language.matching import View
from faltung.language.semirings import Semiring
from faltung.language.terms import EDGE, FINAL, NEWLINE, Term

SYMBOLS = 200_000  # of all rules together
NODES = 20_000_000  # of one forest
LETTER = -1


class Grammar:
    """The rules of a term: numbered nonterminals, each with its alternatives.

    A *slot* is a rule with a dot in it. Slots of one rule follow one another; `after[slot]` is the symbol behind the dot: a
    nonterminal's number, ~class set for a letter, or None at the end of a rule.
    """

    def __init__(self, root: Term, binary: bool) -> None:
        self.binary = binary
        self.size = charset.BYTES if binary else charset.UNICODE
        self.after: list[int | None] = []
        self.rule: list[int] = []  # for each slot, the rule
        self.left: list[
            Any
        ] = []  # for each rule: None, ("scale", weight) or ("mark", number), before what it stands for
        self.right: list[Any] = []
        self.head: list[int] = []  # for each rule, its nonterminal
        self.rules: list[list[int]] = []  # for each nonterminal, the first slots of its rules
        self.places: dict[int, str] = {}  # nonterminals that are empty, at some places only
        self.empties: set[int] = set()  # nonterminals of which only the empty words count
        self.sets: list[charset.Ranges] = []
        self._numbers: dict[int, int] = {}
        self._set_numbers: dict[charset.Ranges, int] = {}
        self._kept: list[Term] = []
        self._waiting: list[Term] = []
        self.start = self._nonterminal(root)
        while self._waiting:
            self._define(self._waiting.pop())
        special = [((10, 10),), charset.category("w", False), charset.category("w", True)] if self.places else []
        every = ((0, self.size - 1),)
        self.table, parts = charset.classes([*self.sets, *(charset.intersection(s, every) for s in special)], self.size)
        self.reads = [[charset.contains(s, part[0][0]) for part in parts] for s in self.sets]
        self.classes = len(parts)
        self._foresee()

    # -- rules --------------------------------------------------------------------------------------------------------------

    def _nonterminal(self, term: Term) -> int:
        number = self._numbers.get(id(term))
        if number is None:
            number = self._numbers[id(term)] = len(self.rules)
            self._kept.append(term)
            self.rules.append([])
            self._waiting.append(term)
        return number

    def _symbol(self, term: Term) -> int:
        if term.kind != "chars":
            return self._nonterminal(term)
        number = self._set_numbers.setdefault(term.data, len(self.sets))
        if number == len(self.sets):
            self.sets.append(term.data)
        return ~number

    def _add(self, head: int, symbols: Sequence[int], left: Any = None, right: Any = None) -> None:
        self.rules[head].append(len(self.after))
        self.after += [*symbols, None]
        self.rule += [len(self.head)] * (len(symbols) + 1)
        self.head.append(head)
        self.left.append(left)
        self.right.append(right)
        if len(self.after) > SYMBOLS:
            raise MemoryBudgetError.of(
                "language", f"a grammar of at most {SYMBOLS} symbols", "more", "shorten its loops"
            )

    def _define(self, term: Term) -> None:
        n, kind, parts = self._nonterminal(term), term.kind, term.parts
        if kind in ("meet", "lack"):
            raise ArgumentError.of(
                "language", "intersections and complements around a grammar", "one within", "move it out"
            )
        if kind == "one":
            self._add(n, [])
        elif kind == "chars":
            self._add(n, [self._symbol(term)])
        elif kind == "concat":
            self._add(n, [self._symbol(p) for p in parts])
        elif kind == "union":
            for p in parts:
                self._add(n, [self._symbol(p)])
        elif kind == "star":  # left recursion: a constant number of items a letter
            self._add(n, [])
            self._add(n, [n, self._symbol(parts[0])])
        elif kind == "repeat":
            self._repeat(n, parts[0], *term.data)
        elif kind == "scale":
            self._add(n, [self._symbol(parts[0])], ("scale", term.data[0]))
        elif kind == "group":
            self._add(n, [self._symbol(parts[0])], ("mark", term.data[0]), ("mark", -term.data[0]))
        elif kind == "ref":
            self._add(n, [self._symbol(term.data.body)])
        elif kind == "null":
            self.empties.add(n)
            self._add(n, [self._symbol(parts[0])])
        elif kind == "place":
            self.places[n] = term.data
            self._add(n, [])

    def _repeat(self, n: int, p: Term, least: int, most: int | None) -> None:
        """p^least (1 + p (1 + ...)), or with a star behind."""
        if least + (most or 0) > SYMBOLS:
            raise MemoryBudgetError.of("language", f"at most {SYMBOLS} repetitions", f"{most}", "use fewer")
        symbol = self._symbol(p)
        if most is None:
            self._add(n, [*[symbol] * least, self._nonterminal(terms.star(p))])
            return
        tail: list[int] = []
        for _ in range(most - least):
            self.rules.append([])
            fresh = len(self.rules) - 1
            self._add(fresh, [])
            self._add(fresh, [symbol, *tail])
            tail = [fresh]
        self._add(n, [*[symbol] * least, *tail])

    def _foresee(self) -> None:
        """For each rule, the classes with which its words can begin; a rule whose words may be empty is always tried."""
        none, every = 0, (1 << self.classes) - 1
        begins = [sum(1 << c for c in range(self.classes) if reads[c]) for reads in self.reads]
        first, empty = [none] * len(self.rules), [False] * len(self.rules)

        def of(slot: int) -> tuple[int, bool]:
            found = none
            while (symbol := self.after[slot]) is not None:
                found |= begins[~symbol] if symbol < 0 else first[symbol]
                if symbol < 0 or not empty[symbol]:
                    return found, False
                slot += 1
            return found, True

        changed = True
        while changed:
            changed = False
            for n, slots in enumerate(self.rules):
                for slot in slots:
                    found, may = of(slot)
                    if found | first[n] != first[n] or may > empty[n]:
                        first[n], empty[n], changed = first[n] | found, empty[n] or may, True
        self.begins = {slot: every if of(slot)[1] else of(slot)[0] for slots in self.rules for slot in slots}

    # -- words --------------------------------------------------------------------------------------------------------------

    def weight(self, word: Any, semiring: Semiring) -> Any:
        """The weight of a word over a semiring."""
        forest = Forest(self, View(word, self.binary))
        return semiring.zero if forest.root < 0 else solved(forest, semiring)

    def accepts(self, word: Any) -> bool:
        """Whether the word has a parse."""
        return Forest(self, View(word, self.binary), keep=False).root >= 0

    def bits(self, view: View, place: int) -> int:
        """What stands at a place of a text, for `^`, `$` and `\\b`."""
        if not 0 <= place < view.length:
            return EDGE
        symbol = int(view.symbols[place])
        bits = (NEWLINE | (FINAL if place == view.length - 1 else 0)) if symbol == 10 else 0
        bits |= terms.WORD if charset.contains(charset.category("w", False), symbol) else 0
        return bits | (terms.ASCII_WORD if charset.contains(charset.category("w", True), symbol) else 0)


class Forest:
    """All parses of a word. `ways[node]` lists how a node comes about: pairs (node before or −1, node of the symbol read or −1).

    Nodes of nonterminals list (finished rule, −2). `slot[node]` is the slot of a node, −1 for nonterminals.
    """

    def __init__(self, grammar: Grammar, view: View, keep: bool = True) -> None:
        self.grammar, self.keep = grammar, keep
        self.slot: list[int] = []
        self.ways: list[list[tuple[int, int]]] = []
        self.root = -1
        labels = grammar.table[view.symbols].tolist() if view.length else []
        self._read(grammar, view, labels)

    def _read(self, g: Grammar, view: View, labels: list[int]) -> None:
        after, slots, ways, keep, stride = g.after, self.slot, self.ways, self.keep, len(labels) + 1
        waiting: list[dict[int, list[tuple[int, int, int]]]] = []  # by place and nonterminal: slots that wait for it
        scanned: list[tuple[int, int, int]] = [
            (slot, 0, -1) for slot in g.rules[g.start]
        ]  # (slot, origin, node before)
        for j in range(stride):
            label = labels[j] if j < len(labels) else -1
            items: dict[int, int] = {}  # (slot, origin) -> node
            symbols: dict[int, int] = {}  # (nonterminal, origin) -> node
            here: dict[int, list[tuple[int, int, int]]] = {}
            waiting.append(here)
            agenda = [(slot, origin, before, LETTER) for slot, origin, before in scanned]
            scanned = []
            while agenda:
                slot, origin, before, child = agenda.pop()
                key = slot * stride + origin
                node = items.get(key)
                if node is not None:
                    if keep and before >= 0:  # a rule begun twice is begun once
                        ways[node].append((before, child))
                    continue
                node = items[key] = len(slots)
                slots.append(slot)
                ways.append([(before, child)] if keep else [])
                symbol = after[slot]
                if symbol is None:
                    head = g.head[g.rule[slot]]
                    if origin != j and head in g.empties:
                        continue
                    if head in g.places and not terms.holds(g.places[head], g.bits(view, j - 1), g.bits(view, j)):
                        continue
                    key = head * stride + origin
                    whole = symbols.get(key)
                    if whole is not None:
                        if keep:
                            ways[whole].append((node, -2))
                        continue
                    whole = symbols[key] = len(slots)
                    slots.append(-1)
                    ways.append([(node, -2)] if keep else [])
                    for s, o, n in waiting[origin].get(head, ()):
                        agenda.append((s + 1, o, n, whole))
                elif symbol < 0:
                    if label >= 0 and g.reads[~symbol][label]:
                        scanned.append((slot + 1, origin, node))
                else:
                    known = here.get(symbol)
                    if known is None:
                        here[symbol] = [(slot, origin, node)]
                        for first in g.rules[symbol]:
                            begins = g.begins[first]
                            if begins >> label & 1 if label >= 0 else begins + 1 == 1 << g.classes:
                                agenda.append((first, j, -1, LETTER))
                    else:
                        known.append((slot, origin, node))
                    whole = symbols.get(symbol * stride + j)
                    if whole is not None:  # it has been found empty here already
                        agenda.append((slot + 1, origin, node, whole))
                if len(slots) > NODES:
                    raise MemoryBudgetError.of(
                        "language", f"a forest of at most {NODES} nodes", "more", "shorten the word"
                    )
            if not scanned and j < len(labels):
                return
        self.root = symbols.get(g.start * stride, -1)

    def value(self, slot: int, semiring: Semiring, side: list[Any]) -> Any:
        """The weight that a rule has before or behind what it stands for; None for one."""
        kind, data = side[self.grammar.rule[slot]] or ("", 0)
        if kind == "scale":
            return semiring.value(data)
        return semiring.mark(int(data)) if kind == "mark" and semiring.mark is not None else None
