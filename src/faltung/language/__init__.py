"""Languages over any semiring: regular expressions and grammars that match, count, weigh, draw and combine words.

Concatenation of languages is convolution: (p ∗ q)(w) = ⊕ over u·v = w of p(u) ⊗ q(v). The same expression answers whether a word
belongs to it (over `boolean`), in how many ways (`count`), at which cost (`min-plus`), with which probability (`real`, `log`),
and by which derivation (`best`).

    p = language.parse("a*(b|c)+")           the syntax of Python's re, as far as it is regular
    p.fullmatch(text), p.search(text)        linear time in the text, whatever the pattern
    p.weight(word, over="count")             any algebra of faltung.algebras
    language.rec(lambda s: one | "a" * s * "b")     a grammar

Source: Elliott, Generalized convolution and efficient language recognition (2019), for languages as semialgebras.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from faltung.errors import ArgumentError, MemoryBudgetError
from faltung.language import charset, syntax, terms
from faltung.language.automata import Graph, from_moves
from faltung.language.language import Language, Over, coerced
from faltung.language.matching import Match
from faltung.language.plans import Plan
from faltung.language.semirings import Derivation, Semiring, best, expectation, kbest
from faltung.language.syntax import PatternError
from faltung.language.tries import Trie, term_of

LARGEST = 20_000_000  # letters of a pattern with its loops written out

one = Language(terms.ONE, None)
zero = Language(terms.ZERO, None)


def parse(pattern: str | bytes, flags: int = 0, budget: int = LARGEST) -> Language:
    """The language of a regular expression, written as for Python's `re`.

    Args:
        pattern: str, or bytes for a language of bytes. Everything that `re` understands but back-references, look-around,
            conditionals, atomic groups and possessive quantifiers.
        flags: `re.I`, `re.S`, `re.X`, `re.M`, `re.A`, added up.
        budget: most letters that the pattern may have when its loops are written out.

    Returns:
        a Language whose `fullmatch` decides as `re.fullmatch` does.

    Raises:
        PatternError: where the pattern cannot be read, with the place.
        MemoryBudgetError: where it is larger than the budget.

    Example:
        >>> parse("(a|b)*abb").count(5)
        4
        >>> parse("a(b")
        Traceback (most recent call last):
        ...
        faltung.language.syntax.PatternError: pattern, position 1: expected a closing parenthesis, ...
    """
    found = syntax.read(pattern, flags)
    size = written_out(found.term)
    if size > budget:
        raise MemoryBudgetError.of(
            "language.parse", f"a pattern of at most {budget} letters with its loops written out", f"{size}",
            "use smaller counts or *, or pass a larger budget",
        )  # fmt: skip
    return Language(found.term, found.binary, found.groups)


def compile(pattern: str | bytes | Language, over: Over = "boolean", flags: int = 0) -> Plan:
    """A pattern or language made ready for one semiring: call the result with words, print it to see method, states and cost.

    Example:
        >>> compile("a*a*", over="count")("aaa")
        4
    """
    return (pattern if isinstance(pattern, Language) else parse(pattern, flags)).compile(over)


def written_out(term: terms.Term) -> int:
    """How many letters an expression has when every counted loop is written out."""
    sizes: dict[int, int] = {}
    for node in terms.postorder(term):
        below = sum(sizes[id(p)] for p in node.parts)
        times = max(node.data[0], node.data[1] or 0, 1) if node.kind == "repeat" else 1
        sizes[id(node)] = 1 if node.kind == "chars" else below * times
    return sizes[id(term)]


def lit(word: str | bytes) -> Language:
    """One word, with weight one."""
    return coerced(word)


def chars(*letters: str | bytes | tuple[str, str]) -> Language:
    """Words of one letter: the letters of a str or bytes, or a range given as (first, last).

    Example:
        >>> chars("abc", ("0", "9")).count()
        13
    """
    binary = {isinstance(part, bytes) for part in letters}
    if len(binary) > 1:
        raise ArgumentError.of("chars", "letters of one kind", "str and bytes", "encode the text")
    sets: list[charset.Ranges] = []
    for part in letters:
        if isinstance(part, tuple):
            first, last = part
            if len(first) != 1 or len(last) != 1 or first > last:
                raise ArgumentError.of(
                    "chars", "a range (first, last) of single characters", repr(part), "swap its ends"
                )
            sets.append(((ord(first), ord(last)),))
        else:
            sets.append(charset.of(part if isinstance(part, bytes) else map(ord, part)))
    return Language(terms.chars(charset.union(*sets)), binary.pop() if binary else None)


def anything(binary: bool = False) -> Language:
    """All words."""
    size = charset.BYTES if binary else charset.UNICODE
    return Language(terms.star(terms.chars(((0, size - 1),))), binary)


def rec(body: Callable[..., Any]) -> Any:
    """Languages that are defined by themselves: context-free grammars.

    Args:
        body: a function from languages to the languages that they are equal to; as many results as arguments.

    Returns:
        the least solution: a Language, or a tuple of them if `body` has several arguments. Left recursion and ambiguity are
        welcome.

    Example:
        >>> anbn = rec(lambda s: one | "a" * s * "b")
        >>> anbn.accepts("aabb"), anbn.accepts("aab")
        (True, False)
        >>> rec(lambda s: ("[" * s * "]").star()).count(8)
        14
    """
    names = list(inspect.signature(body).parameters)
    if not names:
        raise ArgumentError.of("rec", "a function of at least one language", "one without arguments", "use its result")
    cells = [terms.Cell(name) for name in names]
    made = body(*(Language(terms.ref(cell), None) for cell in cells))
    bodies = [coerced(m) for m in (made if isinstance(made, tuple) else (made,))]
    if len(bodies) != len(cells):
        raise ArgumentError.of("rec", f"{len(cells)} languages", f"{len(bodies)}", "return one for each argument")
    kinds = {b.binary for b in bodies} - {None}
    if len(kinds) > 1:
        raise ArgumentError.of("rec", "languages of one kind", "text and bytes", "encode the text")
    for cell, b in zip(cells, bodies, strict=True):
        cell.body = b.term
    out = tuple(Language(terms.ref(cell), kinds.copy().pop() if kinds else None) for cell in cells)
    return out[0] if len(out) == 1 else out


def convolve(p: Any, q: Any, *more: Any) -> Language:
    """The concatenation of languages: (p ∗ q)(w) = ⊕ over u·v = w of p(u) ⊗ q(v)."""
    total = coerced(p) * coerced(q)
    for r in more:
        total = total * coerced(r)
    return total


def from_words(words: Mapping[Any, Any] | Iterable[Any]) -> Language:
    """The finite language of some words; a mapping gives them weights, and a word given twice counts twice.

    Example:
        >>> from_words(["pig", "pink", "pig"]).weight("pig")
        2
    """
    every: Any = words if isinstance(words, Mapping) else list(words)
    binary = {isinstance(word, bytes) for word in every}
    if len(binary) > 1:
        raise ArgumentError.of("from_words", "words of one kind", "str and bytes", "encode the text")
    term = term_of(every, lambda word: word if isinstance(word, bytes) else map(ord, word))
    return Language(term, binary.pop() if binary else None)


def from_automaton(moves: Iterable[tuple], start: Any, accepting: Iterable[Any]) -> Language:
    """The language of an automaton, deterministic or not, with weights or without.

    Args:
        moves: (state, letters, state) or (state, letters, state, weight); letters as str or bytes, states any hashable objects.
        start: the first state.   accepting: the states at which words end.

    Example:
        >>> from_automaton([("even", "a", "odd"), ("odd", "a", "even")], "even", ["even"]).accepts("aaaa")
        True
    """
    moves = list(moves)
    binary = any(isinstance(m[1], bytes) for m in moves)
    return Language(from_moves(moves, start, accepting), binary)


__all__ = [
    "Derivation",
    "Graph",
    "Language",
    "Match",
    "PatternError",
    "Plan",
    "Semiring",
    "Trie",
    "anything",
    "best",
    "chars",
    "compile",
    "convolve",
    "expectation",
    "from_automaton",
    "from_words",
    "kbest",
    "lit",
    "one",
    "parse",
    "rec",
    "zero",
]
