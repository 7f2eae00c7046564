"""Expressions for languages: immutable nodes, equal exactly when they are the same object.

A term means a function from words to weights, in whatever semiring it is compiled for:

    zero                every word has weight 0
    one                 the empty word has weight 1
    chars(set)          the words of one letter of the set have weight 1
    concat(p, q, ...)   convolution: (p ∗ q)(w) = ⊕ over u·v = w of p(u) ⊗ q(v)
    union(p, q, ...)    p(w) ⊕ q(w)
    star(p)             one ⊕ p ⊕ p∗p ⊕ ...
    repeat(p, m, n)     p^m ⊕ ... ⊕ p^n
    scale(s, p)         s ⊗ p(w)
    meet(p, q, ...)     p(w) ⊗ q(w)
    lack(p)             the words that p lacks (boolean only)
    null(p)             p(w) where w is empty, else 0
    group(k, p)         p, and p's share of the word is capture group k
    ref(cell)           the term that the cell holds: recursion
    place(kind)         the empty word, at certain places of a text only: `^`, `$`, `\\b`

Constructors simplify only by laws that hold over every semiring, so that counting stays right: `a|a` keeps both branches.
"""

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from faltung.language import charset
from faltung.language.charset import Ranges

# What stands before or behind a place in a text, one bit each.
EDGE, NEWLINE, FINAL, WORD, ASCII_WORD = 1, 2, 4, 8, 16  # FINAL: a newline that is the text's last symbol
NEEDS = {
    "start": EDGE,
    "end": EDGE,
    "line start": EDGE | NEWLINE,
    "line end": EDGE | NEWLINE,
    "end or newline": EDGE | FINAL,
    "start or newline": EDGE | FINAL,  # its mirror image, met only when texts are read backwards
    "boundary": WORD,
    "no boundary": WORD | EDGE,
    "ascii boundary": ASCII_WORD,
    "no ascii boundary": ASCII_WORD | EDGE,
}
MIRROR = {"start": "end", "line start": "line end", "end or newline": "start or newline"}
MIRROR |= {b: a for a, b in MIRROR.items()}


class Term:
    """A node: its kind, the terms below it, and what else it holds. Made by the constructors of this module only.

    `empty`: whether the empty word belongs to the boolean language: True, False, or None where that depends on the place in the
    text or on a reference. `depth` bounds recursion over nested terms, `has` collects the kinds of all nodes below.
    """

    __slots__ = ("__weakref__", "data", "depth", "empty", "has", "kind", "parts")

    def __init__(self, kind: str, parts: tuple["Term", ...], data: Any) -> None:
        self.kind, self.parts, self.data = kind, parts, data
        self.depth: int = 1 + max((p.depth for p in parts), default=0)
        self.has: frozenset[str] = frozenset({kind}).union(*(p.has for p in parts))
        self.empty = _empty(kind, parts, data)

    def __repr__(self) -> str:
        return f"Term({self.kind}, {len(self.parts)} parts)"

    def __reduce__(self) -> tuple:
        return _made, (self.kind, self.parts, self.data)


class Cell:
    """What a reference points to; filled once, right after the body has been built around the reference."""

    __slots__ = ("__weakref__", "body", "derived", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.body: Term = ZERO
        self.derived: dict[tuple[int, str], Cell] = {}


def _empty(kind: str, parts: tuple[Term, ...], data: Any) -> bool | None:
    if kind in ("one", "star"):
        return True
    if kind in ("zero", "chars"):
        return False
    if kind in ("ref", "place"):
        return None
    if kind == "scale":
        return parts[0].empty if data[0] is not False else False
    below = [p.empty for p in parts]
    if kind == "union":
        return True if True in below else None if None in below else False
    if kind == "lack":
        return None if below[0] is None else not below[0]
    if kind == "repeat" and data[0] == 0:
        return True
    return False if False in below else None if None in below else True


_lock = threading.Lock()
_known: weakref.WeakValueDictionary[tuple, Term] = weakref.WeakValueDictionary()


def _made(kind: str, parts: tuple[Term, ...], data: Any = None) -> Term:
    try:
        key = (kind, tuple(map(id, parts)), type(data[0]) if kind == "scale" else None, data)
        hash(key)
    except TypeError:  # a weight that cannot be hashed, such as a matrix: its own object is its name
        key = (kind, tuple(map(id, parts)), None, id(data[0]))
    with _lock:
        found = _known.get(key)
        if found is None or (kind == "scale" and found.data[0] is not data[0] and found.data[0] != found.data[0]):
            found = _known[key] = Term(kind, parts, data)
        return found


ZERO = _made("zero", ())
ONE = _made("one", ())


def chars(letters: Ranges) -> Term:
    """Words of one letter."""
    return _made("chars", (), letters) if letters else ZERO


def concat(parts: Iterable[Term]) -> Term:
    """The convolution of all parts, in order."""
    flat: list[Term] = []
    for p in parts:
        if p is ZERO:
            return ZERO
        flat += p.parts if p.kind == "concat" else () if p is ONE else (p,)
    return flat[0] if len(flat) == 1 else _made("concat", tuple(flat)) if flat else ONE


def word(letters: Iterable[int]) -> Term:
    """One word."""
    return concat(chars(((c, c),)) for c in letters)


def union(parts: Iterable[Term]) -> Term:
    """The sum of all parts; neighbouring letter sets that share no letter become one set."""
    flat: list[Term] = []
    for p in parts:
        for q in p.parts if p.kind == "union" else () if p is ZERO else (p,):
            before = flat[-1] if flat else ZERO
            if q.kind == before.kind == "chars" and not charset.intersection(q.data, before.data):
                flat[-1] = chars(charset.union(q.data, before.data))
            else:
                flat.append(q)
    return flat[0] if len(flat) == 1 else _made("union", tuple(flat)) if flat else ZERO


def star(p: Term) -> Term:
    """The sum of all powers."""
    return ONE if p is ZERO else _made("star", (p,))


def repeat(p: Term, least: int, most: int | None) -> Term:
    """The sum of the powers from `least` to `most` (None: all)."""
    if most is None:
        return star(p) if least == 0 else ZERO if p is ZERO else _made("repeat", (p,), (least, None))
    if most == 0:
        return ONE
    if p is ZERO:
        return ONE if least == 0 else ZERO
    return p if least == most == 1 else _made("repeat", (p,), (least, most))


def scale(weight: Any, p: Term) -> Term:
    """Every weight times the same factor, on the left."""
    return ZERO if p is ZERO else _made("scale", (p,), (weight,))


def meet(parts: Iterable[Term]) -> Term:
    """The product word by word."""
    flat = tuple(q for p in parts for q in (p.parts if p.kind == "meet" else (p,)))
    return ZERO if ZERO in flat else flat[0] if len(flat) == 1 else _made("meet", flat)


def lack(p: Term) -> Term:
    """The complement."""
    return p.parts[0] if p.kind == "lack" else _made("lack", (p,))


def null(p: Term) -> Term:
    """What p gives to the empty word; decided at once where no semiring can differ."""
    if p.kind in ("zero", "one", "null"):
        return p
    if p.kind == "chars" or p.empty is False:
        return ZERO
    if p.kind == "concat":
        return concat(null(q) for q in p.parts)
    if p.kind == "union":
        return union(null(q) for q in p.parts)
    if p.kind == "star" and null(p.parts[0]) is ZERO:
        return ONE
    if p.kind == "scale":
        return scale(p.data[0], null(p.parts[0]))
    if p.kind == "group":
        return null(p.parts[0])
    return _made("null", (p,))


def group(number: int, name: str | None, p: Term) -> Term:
    """p as a capture group."""
    return _made("group", (p,), (number, name))


def ref(cell: Cell) -> Term:
    """The term that a cell holds."""
    return _made("ref", (), cell)


def place(kind: str) -> Term:
    """The empty word, at places of one kind only."""
    return _made("place", (), kind)


def holds(kind: str, before: int, behind: int) -> bool:
    """Whether a place between two symbols, given by their bits, is of a kind."""
    if kind in ("start", "line start", "start or newline"):
        return bool(before & NEEDS[kind])
    if kind in ("end", "line end", "end or newline"):
        return bool(behind & NEEDS[kind])
    letters = NEEDS[kind] & ~EDGE
    differs = bool(before & letters) != bool(behind & letters)
    if kind.startswith("no"):
        return not differs and (EMPTY_TEXT_HAS_NO_BOUNDARY or not before & behind & EDGE)
    return differs


def _asks_re() -> bool:
    import re

    return re.search(r"\B", "") is not None  # it does from Python 3.14 on


EMPTY_TEXT_HAS_NO_BOUNDARY = _asks_re()


# -- walking ----------------------------------------------------------------------------------------------------------------


def postorder(root: Term) -> Iterator[Term]:
    """Every node once, parts first, whatever the depth; bodies of references are not entered."""
    seen: set[int] = set()
    stack = [(root, False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack += [(p, False) for p in reversed(node.parts)]


def cells(root: Term) -> list[Cell]:
    """All cells that can be reached, each once."""
    found: dict[int, Cell] = {}
    waiting = [root]
    while waiting:
        for node in postorder(waiting.pop()):
            if node.kind == "ref" and id(node.data) not in found:
                found[id(node.data)] = node.data
                waiting.append(node.data.body)
    return list(found.values())


def rebuild(root: Term, change: Callable[[Term, tuple[Term, ...]], Term]) -> Term:
    """Make a term anew from its leaves: `change(node, changed parts)` gives each node's successor."""
    made: dict[int, Term] = {}
    for node in postorder(root):
        made[id(node)] = change(node, tuple(made[id(p)] for p in node.parts))
    return made[id(root)]


_MAKE: dict[str, Callable] = {"concat": concat, "union": union, "meet": meet}
_MAKE |= {"star": lambda p: star(p[0]), "lack": lambda p: lack(p[0]), "null": lambda p: null(p[0])}


def again(node: Term, parts: tuple[Term, ...]) -> Term:
    """The same kind of node around other parts."""
    if all(a is b for a, b in zip(parts, node.parts, strict=True)):
        return node
    if node.kind in _MAKE:
        return _MAKE[node.kind](parts)
    if node.kind == "repeat":
        return repeat(parts[0], *node.data)
    return scale(node.data[0], parts[0]) if node.kind == "scale" else group(node.data[0], node.data[1], parts[0])


def reverse(root: Term) -> Term:
    """The same words read from the end. Grammars are reversed with all their rules."""
    twins = {id(cell): Cell(f"{cell.name} reversed") for cell in cells(root)}

    def mirrored(node: Term, parts: tuple[Term, ...]) -> Term:
        if node.kind == "concat":
            return concat(reversed(parts))
        if node.kind == "place":
            return place(MIRROR.get(node.data, node.data))
        if node.kind == "ref":
            return ref(twins[id(node.data)])
        return again(node, parts)

    for cell in cells(root):
        twins[id(cell)].body = rebuild(cell.body, mirrored)
    return rebuild(root, mirrored)


def derivative(root: Term, letter: int) -> Term:
    """What may follow a letter: (D p)(w) = p(letter·w).

    D(p∗q) = null(p)∗D q ⊕ D p∗q,  D(p*) = null(p)*∗D p∗p*,  D(s·p) = s·D p, and letter by letter for the rest. A reference
    leads to a new cell, so that the derivative of a grammar is a grammar.
    """
    if root.kind == "ref":
        return _of_ref(root, letter)
    made: dict[int, Term] = {}
    for node in postorder(root):
        made[id(node)] = _derived(node, letter, made)
    return made[id(root)]


def _derived(node: Term, letter: int, made: dict[int, Term]) -> Term:
    kind = node.kind
    if kind == "chars":
        return ONE if charset.contains(node.data, letter) else ZERO
    if kind in ("zero", "one", "null", "place"):
        return ZERO
    if kind == "ref":
        return _of_ref(node, letter)
    first = made[id(node.parts[0])]
    if kind == "concat":
        sums, before = [], ONE
        for n, p in enumerate(node.parts):
            sums.append(concat((before, made[id(p)], *node.parts[n + 1 :])))
            before = concat((before, null(p)))
            if before is ZERO:
                break
        return union(sums)
    if kind == "star":
        return concat((star(null(node.parts[0])), first, node))
    if kind == "repeat":
        return _of_repeat(node, first)
    if kind == "scale":
        return scale(node.data[0], first)
    if kind == "group":  # what is left of a group is no group: the rest of its word only
        return first
    below = tuple(made[id(p)] for p in node.parts)
    return union(below) if kind == "union" else meet(below) if kind == "meet" else lack(first)


def _of_repeat(node: Term, first: Term) -> Term:
    """D(p^n) = Σ null(p)^k ∗ D p ∗ p^(n−1−k), summed over the powers."""
    p, (least, most) = node.parts[0], node.data
    before = null(p)
    if before is ZERO:
        return concat((first, repeat(p, max(least - 1, 0), None if most is None else most - 1)))
    if most is None:
        head = derivative_of_power(p, least, first) if least else ZERO
        return union((concat((head, star(p))), concat((repeat(before, least, least), star(before), first, star(p)))))
    return union(derivative_of_power(p, n, first) for n in range(max(least, 1), most + 1))


def derivative_of_power(p: Term, n: int, first: Term) -> Term:
    """D(p^n) from D p."""
    before = null(p)
    return union(concat((repeat(before, k, k), first, repeat(p, n - 1 - k, n - 1 - k))) for k in range(n))


def _of_ref(node: Term, letter: int) -> Term:
    cell: Cell = node.data
    key = (letter, "")
    with _cells_lock:
        if key not in cell.derived:
            # the cell is known before its body is made: a left recursion finds it there and ties the knot
            cell.derived[key] = Cell(f"{cell.name} after {letter:#x}")
            cell.derived[key].body = derivative(cell.body, letter)
        return ref(cell.derived[key])


_cells_lock = threading.RLock()
