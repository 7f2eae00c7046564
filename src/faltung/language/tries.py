"""Languages as tries: the weight of the empty word, and one trie for each letter. Made as far as words have walked.

(a ◁ p) ⊕ (b ◁ q) = (a⊕b) ◁ (p⊕q),   (a ◁ p) ∗ q = a·q ⊕ (0 ◁ p∗q),   (a ◁ p)* = q where q = a*·(1 ◁ p∗q), letter by letter.

A finite language is held whole. Stars and recursive definitions are infinite tries: a node's children are worked out when a word
first reaches them and kept in a dict, so that the next word walks over dicts. All that a trie needs of its letters is that they
hash. A recursion must read a letter before it comes back to itself.

Source: Elliott, Generalized convolution and efficient language recognition (2019).
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any

from faltung.errors import ArgumentError
from faltung.language import terms
from faltung.language.semirings import Semiring, of
from faltung.language.terms import Term

Letter = Hashable


class Trie:
    """A language over one semiring, as a trie.

    Args: made by `of_words`, `one`, `zero`, `letters` and the operators |, *, `star`, `scale`, `rec`.

    Example:
        >>> t = Trie.of_words({"pig": 1, "pink": 1}, over="count").star()
        >>> t.weight("pigpink"), t.weight("pigping")
        (1, 0)
    """

    __slots__ = ("_children", "_empty", "factors", "semiring")

    def __init__(
        self,
        semiring: Semiring,
        empty: Any | Callable[[], Any],
        children: Callable[[Letter], "Trie | None"] | None = None,
    ) -> None:
        self.semiring = semiring
        self.factors: tuple[Trie, Trie] | None = None  # of a product, whose left factor is no product
        self._empty = empty
        self._children = _Children(children)

    # -- making -------------------------------------------------------------------------------------------------------------

    @classmethod
    def of_words(cls, words: Mapping[Any, Any] | Iterable[Any], over: Any = "count") -> "Trie":
        """The finite language of some words, with weights where a mapping gives them; a word given twice counts twice."""
        s = of(over)
        pairs = words.items() if isinstance(words, Mapping) else ((w, s.one) for w in words)
        return cls._held(s, [(tuple(w), s.value(v) if isinstance(words, Mapping) else v) for w, v in pairs], 0)

    @classmethod
    def _held(cls, s: Semiring, words: list[tuple[tuple, Any]], depth: int) -> "Trie":
        root = cls(s, s.zero)
        for word, weight in words:
            node = root
            for letter in word:
                child = node._children.get(letter)
                if child is None:
                    child = node._children[letter] = cls(s, s.zero)
                node = child
            node._empty = s.add(node._empty, weight)
        return root

    @classmethod
    def one(cls, over: Any = "count") -> "Trie":
        """The empty word."""
        s = of(over)
        return cls(s, s.one)

    @classmethod
    def zero(cls, over: Any = "count") -> "Trie":
        """No word."""
        s = of(over)
        return cls(s, s.zero)

    @classmethod
    def letters(cls, letters: Iterable[Letter], over: Any = "count") -> "Trie":
        """Words of one letter."""
        return cls.of_words([(x,) for x in letters], over)

    @staticmethod
    def rec(body: Callable[["Trie"], "Trie"], over: Any = "count", empty: Any = None) -> "Trie":
        """The trie that equals `body` of itself.

        Args: empty: its weight of the empty word, where the body asks for it before it is known. Default: found from the body.
        """
        s = of(over)
        made: list[Trie] = []
        knot = Trie(
            s, (lambda: made[0].empty) if empty is None else s.value(empty), lambda letter: made[0].child(letter)
        )
        made.append(body(knot))
        return knot

    # -- reading ------------------------------------------------------------------------------------------------------------

    @property
    def empty(self) -> Any:
        """The weight of the empty word."""
        if callable(self._empty):  # two threads may both work it out: they find the same
            try:
                self._empty = self._empty()
            except RecursionError:
                raise ArgumentError.of(
                    "Trie.rec", "a weight of the empty word that does not depend on itself", "one that does",
                    "pass empty=, or use language.rec",
                ) from None  # fmt: skip
        return self._empty

    def child(self, letter: Letter) -> "Trie | None":
        """What follows a letter; None if nothing."""
        return self._children[letter]

    def weight(self, word: Iterable[Letter]) -> Any:
        """The weight of a word: one look into a dict a letter once it has been read before."""
        node: Trie | None = self
        for letter in word:
            node = node._children[letter]  # type: ignore[union-attr]
            if node is None:
                return self.semiring.zero
        return node.empty  # type: ignore[union-attr]

    def words(self) -> Iterator[tuple[tuple, Any]]:
        """The words that are held now, with their weights: all of a finite language."""
        stack: list[tuple[tuple, Trie]] = [((), self)]
        while stack:
            word, node = stack.pop()
            if node.empty != self.semiring.zero:
                yield word, node.empty
            stack += [((*word, letter), t) for letter, t in node._children.items() if t is not None]

    # -- operators ----------------------------------------------------------------------------------------------------------

    def __or__(self, other: "Trie") -> "Trie":
        s = self.semiring
        return Trie(s, lambda: s.add(self.empty, other.empty), lambda c: _sum(self.child(c), other.child(c)))

    def __mul__(self, other: "Trie") -> "Trie":
        """The convolution."""
        s = self.semiring
        # Only the left factor is looked into: the right one may be what is being defined. Products lean to the right, so that a
        # step opens one factor and not a nest of them.
        if self._children.finished and not self._children:
            return _scaled(self.empty, other) or Trie.zero(s)
        if self.factors is not None:
            return self.factors[0] * (self.factors[1] * other)

        def child(letter: Letter) -> Trie | None:
            first = self.child(letter)
            left = None if first is None else first * other
            return left if self.empty == s.zero else _sum(_scaled(self.empty, other.child(letter)), left)

        made = Trie(s, lambda: s.zero if self.empty == s.zero else s.mul(self.empty, other.empty), child)
        made.factors = self, other
        return made

    def scale(self, weight: Any) -> "Trie":
        """Every weight times `weight`, from the left."""
        scaled = _scaled(self.semiring.value(weight), self)
        return Trie.zero(self.semiring) if scaled is None else scaled

    def star(self) -> "Trie":
        """The sum of all powers."""
        s, made = self.semiring, list[Trie]()

        def child(letter: Letter) -> Trie | None:
            first = self.child(letter)
            return None if first is None else _scaled(made[0].empty, first * made[0])

        made.append(Trie(s, lambda: s.star(self.empty), child))
        return made[0]


class _Children(dict):
    """Children by letter, worked out when first asked for; `finished` if there is nothing to work out."""

    __slots__ = ("_make", "finished")

    def __init__(self, make: Callable[[Letter], Trie | None] | None) -> None:
        super().__init__()
        self._make, self.finished = make, make is None

    def __missing__(self, letter: Letter) -> Trie | None:
        if self._make is None:
            return None
        try:
            found = self._make(letter)
        except RecursionError:
            raise ArgumentError.of(
                "Trie", "a recursion that reads a letter before it comes back to itself", "none, or thousands of nested levels",
                "put a letter in front of it, or use language.rec",
            ) from None  # fmt: skip
        return self.setdefault(letter, found)


def _sum(p: Trie | None, q: Trie | None) -> Trie | None:
    return q if p is None else p if q is None else p | q


def _scaled(weight: Any, p: Trie | None) -> Trie | None:
    if p is None or weight == p.semiring.zero:
        return None
    if weight == p.semiring.one:
        return p
    s = p.semiring
    return Trie(s, lambda: s.mul(weight, p.empty), lambda c: _scaled(weight, p.child(c)))


def term_of(words: Mapping[Any, Any] | Iterable[Any], letters: Callable[[Any], Iterable[int]]) -> Term:
    """The expression of a finite language in which words share their beginnings; weights where a mapping gives them."""
    root: tuple[dict[int, Any], list[Any]] = ({}, [])  # children, and the weights of words that end here
    for word in words:
        node = root
        for c in letters(word):
            node = node[0].setdefault(c, ({}, []))
        node[1].append(terms.scale(words[word], terms.ONE) if isinstance(words, Mapping) else terms.ONE)
    made: dict[int, Term] = {}
    stack = [(root, False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            onward = [terms.concat((terms.chars(((c, c),)), made[id(child)])) for c, child in sorted(node[0].items())]
            made[id(node)] = terms.union([*node[1], *onward])
        else:
            stack.append((node, True))
            stack += [(child, False) for child in node[0].values()]
    return made[id(root)]
