"""Random languages, patterns and words for the tests."""

import itertools
from random import Random

from hypothesis import strategies as st

from faltung import language
from faltung.language import Language

WORDS = ["".join(w) for n in range(7) for w in itertools.product("ab", repeat=n)]
SHORT = [w for w in WORDS if len(w) <= 4]


def languages(weights=None, meets: bool = True, lacks: bool = False):
    """Expressions over {a, b} whose loops have bodies that may be empty, too."""
    leaves = st.sampled_from([language.lit("a"), language.lit("b"), language.chars("ab"), language.one, language.zero,
                              language.lit("ab")])  # fmt: skip

    def grown(inner):
        ways = [
            st.tuples(inner, inner).map(lambda p: p[0] | p[1]),
            st.tuples(inner, inner).map(lambda p: p[0] * p[1]),
            inner.map(Language.star),
            st.tuples(inner, st.integers(0, 2), st.integers(0, 2)).map(lambda p: p[0].repeat(p[1], p[1] + p[2])),
            st.tuples(inner, st.integers(0, 2)).map(lambda p: p[0].repeat(p[1])),
        ]
        if meets:
            ways.append(st.tuples(inner, inner).map(lambda p: p[0] & p[1]))
        if lacks:
            ways.append(inner.map(lambda p: ~p))
        if weights is not None:
            ways.append(st.tuples(weights, inner).map(lambda p: p[0] * p[1]))
        return st.one_of(ways)

    return st.recursive(leaves, grown, max_leaves=6)


def pattern(r: Random, depth: int = 4, places: bool = True) -> str:
    """A pattern that Python's re and this library both read."""
    k = r.random()
    if depth == 0 or k < 0.3:
        letters = [
            "a",
            "b",
            "c",
            ".",
            "[ab]",
            "[^a]",
            "\\w",
            "\\d",
            "\\s",
            "\n",
            "",
            "é",
            "K",
            "_",
            "1",
            "\\W",
            "[^\\W_]",
            "\\x61",
        ]
        return r.choice(letters + ["\\b", "\\B", "^", "$", "\\A", "\\Z"] * places)
    if k < 0.5:
        return pattern(r, depth - 1, places) + pattern(r, depth - 1, places)
    if k < 0.65:
        return f"(?:{pattern(r, depth - 1, places)}|{pattern(r, depth - 1, places)})"
    if k < 0.7:
        return f"({pattern(r, depth - 1, places)})"
    if k < 0.75:
        return f"(?i:{pattern(r, depth - 1, places)})"
    if k < 0.78:
        return f"(?m:{pattern(r, depth - 1, places)})"
    if k < 0.8:
        return f"(?s:{pattern(r, depth - 1, places)})"
    return f"(?:{pattern(r, depth - 1, places)})" + r.choice("* + ? *? +? ?? {2} {1,2} {0,2} {,3} {2,}".split())


def text(r: Random, letters: str = "aabbc1_ \nkK\u212aéÉ", most: int = 7) -> str:
    """A short text with letters that matter to patterns."""
    return "".join(r.choice(letters) for _ in range(r.randint(0, most)))
