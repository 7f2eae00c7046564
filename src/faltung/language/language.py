"""Languages as values: sets of words with weights, combined by operators and asked questions.

A `Language` never changes and may be shared among threads. What it compiles to is kept beside it, made when first needed.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

from faltung.algebras import Algebra
from faltung.errors import ArgumentError
from faltung.language import charset, terms
from faltung.language.automata import Graph, graph_of
from faltung.language.grammar import Grammar
from faltung.language.matching import Match, Matcher
from faltung.language.plans import Plan, planned
from faltung.language.semirings import Derivation, Semiring, derivations, kbest, of
from faltung.language.terms import Term
from faltung.language.tries import Trie
from faltung.language.weighing import Weigher
from faltung.language.words import Words

Over = str | Algebra | Semiring


class Language:
    """A function from words to weights, written as an expression; over `boolean`, a set of words.

    Formula: `(p | q)(w) = p(w) ⊕ q(w)`, `(p * q)(w) = ⊕ over u·v = w of p(u) ⊗ q(v)`, `p.star() = one | p | p*p | ...`,
    `(p & q)(w) = p(w) ⊗ q(w)`, `(s * p)(w) = s ⊗ p(w)` for a number s. `~p` and `p - q` are about truth only.

    Made by `parse`, `lit`, `chars`, `one`, `zero`, `rec` and the operators. A str or bytes beside an operator is that word.

    Example:
        >>> from faltung import language
        >>> p = language.parse("a*(b|c)+")
        >>> p.fullmatch("aabc") is not None, p.search("xxabcx").span()
        (True, (2, 5))
        >>> a = language.parse("a*")
        >>> (a * a).weight("aaa", over="count")
        4
    """

    __slots__ = ("__weakref__", "_kept", "_lock", "binary", "names", "term")
    term: Term
    binary: bool | None
    names: tuple[str | None, ...]
    _kept: dict[Any, Any]
    _lock: threading.RLock

    def __init__(self, term: Term, binary: bool | None, names: tuple[str | None, ...] = ()) -> None:
        for name, value in (
            ("term", term),
            ("binary", binary),
            ("names", names),
            ("_kept", {}),
            ("_lock", threading.RLock()),
        ):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise ArgumentError.of("Language", "a value that is only read", f"a new {name}", "make another language")

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def __reduce__(self) -> tuple:
        if "ref" in self.term.has:
            raise ArgumentError.of(
                "Language", "an expression without recursion to pickle", "a grammar", "send its maker"
            )
        return Language, (self.term, self.binary, self.names)

    def __repr__(self) -> str:
        letters = sum(node.kind == "chars" for node in terms.postorder(self.term))
        return f"<Language of {'bytes' if self.binary else 'text'}: {self.term.kind}, {letters} different letter sets>"

    def __eq__(self, other: object) -> bool:
        """Whether two languages are the same expression; `equals` asks whether they have the same words."""
        return isinstance(other, Language) and self.term is other.term and self.binary == other.binary

    def __hash__(self) -> int:
        return hash((id(self.term), self.binary))

    # -- operators ----------------------------------------------------------------------------------------------------------

    def _with(self, others: Iterable[Any], make: Callable[[list[Term]], Term]) -> "Language":
        every = [self, *(coerced(o) for o in others)]
        kinds = {one.binary for one in every} - {None}
        if len(kinds) > 1:
            raise ArgumentError.of(
                "Language", "languages of one kind", "one of text and one of bytes", "encode the text"
            )
        return Language(make([one.term for one in every]), kinds.pop() if kinds else None, _names(every))

    def __or__(self, other: Any) -> "Language":
        return self._with([other], terms.union)

    def __ror__(self, other: Any) -> "Language":
        return coerced(other) | self

    def __mul__(self, other: Any) -> "Language":
        if not isinstance(other, Language | str | bytes):
            raise ArgumentError.of(
                "Language", "a weight on the left", f"{other!r} on the right", "write weight * language"
            )
        return self._with([other], terms.concat)

    def __rmul__(self, other: Any) -> "Language":
        return coerced(other) * self if isinstance(other, str | bytes) else self.scale(other)

    def __and__(self, other: Any) -> "Language":
        return self._with([other], terms.meet)

    def __rand__(self, other: Any) -> "Language":
        return coerced(other) & self

    def __invert__(self) -> "Language":
        return Language(terms.lack(self.term), self.binary or False, self.names)

    def __sub__(self, other: Any) -> "Language":
        return self & ~coerced(other)

    def __rsub__(self, other: Any) -> "Language":
        return coerced(other) - self

    def __pow__(self, n: int) -> "Language":
        return self.repeat(n, n)

    def scale(self, weight: Any) -> "Language":
        """Every weight times `weight`, from the left: one factor in front, whatever the expression.

        Over `boolean` a weight counts as true unless it is False.
        """
        return Language(terms.scale(weight, self.term), self.binary, self.names)

    def star(self) -> "Language":
        """Any number of words one behind the other."""
        return Language(terms.star(self.term), self.binary, self.names)

    def plus(self) -> "Language":
        """At least one word."""
        return self.repeat(1)

    def optional(self) -> "Language":
        """One word or none."""
        return self.repeat(0, 1)

    def repeat(self, least: int, most: int | None = None) -> "Language":
        """From `least` to `most` words one behind the other; None: any number from `least` on."""
        if least < 0 or (most is not None and most < least):
            raise ArgumentError.of("repeat", "0 ≤ least ≤ most", f"{least} and {most}", "swap them")
        return Language(terms.repeat(self.term, least, most), self.binary, self.names)

    def reverse(self) -> "Language":
        """The words read from the end."""
        return Language(terms.reverse(self.term), self.binary, self.names)

    def derivative(self, word: str | bytes) -> "Language":
        """What may follow a word, with the weights of the whole: `p.derivative(u).weight(v) = p.weight(u + v)`.

        Source: Brzozowski (1964). Cost: the expression may grow with every letter; matching does not use it.
        """
        if "place" in self.term.has:
            raise ArgumentError.of("derivative", "a language without ^, $ and \\b", "one with", "leave them out")
        term = self.term
        for letter in self._letters(word):
            term = terms.derivative(term, letter)
        return Language(term, self.binary, self.names)

    def _letters(self, word: Any) -> list[int]:
        if isinstance(word, bytes) != bool(self.binary) and self.binary is not None:
            raise ArgumentError.of(
                "Language", f"a word of {'bytes' if self.binary else 'text'}", repr(word), "convert it"
            )
        return list(word) if isinstance(word, bytes) else [ord(c) for c in word]

    # -- compiled forms -----------------------------------------------------------------------------------------------------

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        found = self._kept.get(key)
        if found is None:
            with self._lock:
                found = self._kept.get(key)
                if found is None:
                    if len(self._kept) > 16:  # forms of semirings made on the fly are not kept for ever
                        self._kept.clear()
                    found = self._kept[key] = make()
        return found

    def _form(self, over: Over) -> tuple[Semiring, Matcher | Weigher | Grammar]:
        semiring = of(over)
        if "ref" in self.term.has:
            return semiring, self._once("grammar", lambda: Grammar(self.term, bool(self.binary)))
        if semiring.name == "boolean":
            return semiring, self._matcher
        return semiring, self._once(semiring, lambda: Weigher(self.term, semiring, bool(self.binary)))

    @property
    def _matcher(self) -> Matcher:
        if "ref" in self.term.has:
            raise ArgumentError.of("searching in texts", "a regular language", "a grammar", "ask fullmatch or weight")
        return self._once("matcher", lambda: Matcher(self.term, bool(self.binary)))

    @property
    def pointwise(self) -> bool:
        """Whether this is an intersection, complement or sum around grammars, which is asked part by part."""
        return "ref" in self.term.has and bool({"meet", "lack"} & self.term.has)

    def compile(self, over: Over = "boolean") -> Plan:
        """The language made ready for one semiring; prints states, method, cost and what was refused."""
        return planned(self, of(over), None if self.pointwise else self._form(over)[1])

    # -- weights ------------------------------------------------------------------------------------------------------------

    def weight(self, word: Any, over: Over = "count") -> Any:
        """The weight of a word.

        Args:
            word: str or bytes-like.   over: an algebra's name, an `Algebra`, or a semiring of `faltung.language`.
        Returns:
            a value of the semiring: how many derivations over `count`, truth over `boolean`, the cheapest over `min-plus`.
        Error: exact over exact algebras, the algebra's rounding a step elsewhere.
        Cost: (length of the word) × (moves between letters of the expression); grammars: linear to cubic in the length.
        """
        if self.pointwise:
            return self._parted(word, of(over))
        semiring, form = self._form(over)
        if isinstance(form, Matcher):
            return form.fullmatch(word) is not None
        return form.weight(word, semiring) if isinstance(form, Grammar) else form.weight(word)

    def _parted(self, word: Any, s: Semiring) -> Any:
        kind, parts = self.term.kind, [Language(p, self.binary, self.names) for p in self.term.parts]
        if kind == "lack":
            if s.name != "boolean":
                raise ArgumentError.of(f"weights over {s.name}", "no complement", "one", "use over='boolean'")
            return not parts[0].weight(word, s)
        if kind == "scale":
            return s.mul(s.value(self.term.data[0]), parts[0].weight(word, s))
        if kind not in ("meet", "union"):
            raise ArgumentError.of(
                "language", "intersections and complements around a grammar", "one within", "move it out"
            )
        total = s.one if kind == "meet" else s.zero
        for part in parts:
            total = (s.mul if kind == "meet" else s.add)(total, part.weight(word, s))
        return total

    def weights(self, words: Sequence[Any], over: Over = "count", workers: int | None = None) -> list[Any]:
        """The weights of many words, on several threads where the semiring is of machine numbers."""
        if self.pointwise:
            return [self.weight(word, over) for word in words]
        _, form = self._form(over)
        return (
            form.weights(words, workers) if isinstance(form, Weigher) else [self.weight(word, over) for word in words]
        )

    def best(self, word: Any, over: Over = "max-times", k: int = 1) -> list[Derivation]:
        """The k best derivations of a word, each with its weight and the spans of its capture groups."""
        return list(derivations(self.weight(word, self._once(("kbest", over, k), lambda: kbest(over, k)))))

    def groups(self, word: Any, over: Over = "max-times") -> dict[int | str, tuple[int, int]] | None:
        """Where the capture groups of the best derivation lie, by number and by name; None if the word does not match."""
        found = self.best(word, over)
        if not found:
            return None
        spans = found[0].groups
        named = {n: spans[i] for i, n in enumerate(self.names, 1) if n is not None and i in spans}
        return dict([*spans.items(), *named.items()])

    # -- texts --------------------------------------------------------------------------------------------------------------

    def fullmatch(self, text: Any) -> Match | None:
        """A match if the whole text is a word. Cost: one step a symbol."""
        if "ref" in self.term.has:
            return Match(text, 0, len(text)) if self.accepts(text) else None
        return self._matcher.fullmatch(text)

    def accepts(self, word: Any) -> bool:
        """Whether the word belongs to the language."""
        if "ref" not in self.term.has:
            return self._matcher.accepts(word)
        return bool(self.weight(word, "boolean")) if self.pointwise else self._form("boolean")[1].accepts(word)  # type: ignore[union-attr]

    __contains__ = accepts
    matches = accepts

    def match(self, text: Any, start: int = 0) -> Match | None:
        """The longest word that begins at `start`."""
        return self._matcher.match(text, start)

    def search(self, text: Any, start: int = 0) -> Match | None:
        """The leftmost word in a text, the longest of those. Cost: two steps a symbol read."""
        return self._matcher.search(text, start)

    def finditer(self, text: Any) -> Iterator[Match]:
        """All words in a text from left to right, none within another."""
        return self._matcher.finditer(text)

    def findall(self, text: Any) -> list[Any]:
        """The matching parts of a text."""
        return [m.group() for m in self.finditer(text)]

    def occurs(self, text: Any) -> bool:
        """Whether any part of a text is a word; reads no further than the end of the first."""
        return self._matcher.contains(text)

    # -- the set of words ---------------------------------------------------------------------------------------------------

    def _words(self, alphabet: Any = None) -> Words:
        letters = None if alphabet is None else charset.of(self._letters(alphabet))
        return self._once(("words", letters), lambda: Words(self.term, bool(self.binary), letters))

    def count(self, length: int | None = None, alphabet: str | bytes | None = None) -> int | float:
        """How many words there are, of one length or at all; each counts once, however many derivations it has.

        Args: length: of the words; None: all of them.   alphabet: letters to use. Default: all of Unicode, or all bytes.
        Returns: an exact integer, `math.inf` without end.
        """
        if length is not None and length < 0:
            raise ArgumentError.of("count", "a length of at least 0", f"{length}", "pass a length")
        words = self._words(alphabet)
        return words.total() if length is None else words.count(length)

    def sample(self, length: int, rng: Any = None, alphabet: str | bytes | None = None) -> Any:
        """A word of a length, all equally likely. `rng`: a NumPy Generator."""
        if rng is None:
            from numpy.random import default_rng

            rng = default_rng()
        return self._words(alphabet).sample(length, rng)

    def words(self, longest: int, alphabet: str | bytes | None = None) -> Iterator[Any]:
        """All words up to a length, shorter ones first, then in order of code points."""
        for length in range(longest + 1):
            yield from self._words(alphabet).listed(length)

    def trie(self, over: Over = "count", most: int = 100_000) -> Trie:
        """The words of a finite language with their weights, as a trie.

        Args: most: words that may be held.
        """
        total = self.count()
        if total > most:
            raise ArgumentError.of(
                "trie", f"a finite language of at most {most} words", f"{total}", "use `Trie` by hand"
            )
        words: list[Any] = []
        length = 0
        while len(words) < total:
            words += self._words().listed(length)
            length += 1
        s = of(over)
        return Trie.of_words(dict(zip(words, self.weights(words, s), strict=True)), s)

    def shortest(self) -> Any | None:
        """A shortest word; None if there is no word."""
        return self._words().some()

    def empty(self) -> bool:
        """Whether there is no word at all."""
        return self.shortest() is None

    def subset(self, other: Any) -> bool:
        """Whether every word is one of the other language's. Cost: states of both, multiplied, at most."""
        return (self - other).empty()

    def equals(self, other: Any) -> bool:
        """Whether two languages have the same words."""
        return self.subset(other) and coerced(other).subset(self)

    def graph(self, most: int = 1000) -> Graph:
        """The smallest deterministic automaton: states, moves, DOT text, a picture. At most `most` states before shrinking."""
        return graph_of(self.term, bool(self.binary), most)

    def unambiguous(self, most: int = 1000) -> "Language":
        """The same words, each with weight one over any semiring."""
        return Language(self.graph(most).term(), self.binary)


def coerced(value: Any) -> Language:
    """A language as it is, a str or bytes as that word."""
    if isinstance(value, Language):
        return value
    if isinstance(value, str | bytes):
        letters = list(value) if isinstance(value, bytes) else [ord(c) for c in value]
        return Language(terms.word(letters), isinstance(value, bytes))
    raise ArgumentError.of("Language", "a language, str or bytes", type(value).__name__, "use lit, chars or parse")


def _names(every: list[Language]) -> tuple[str | None, ...]:
    return max((one.names for one in every), key=len)
