"""Grammars: published examples, ambiguity, left recursion, long words, weights by equations; each against an independent count."""

import itertools
import math
import sys
from fractions import Fraction
from math import comb
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import language
from faltung.errors import ArgumentError, RefusedError
from faltung.language import Trie, one, parse, rec
from faltung.language.semirings import derivations

sys.path.insert(0, str(Path(__file__).parent))
from drawing import SHORT, WORDS, languages

ANBN = rec(lambda s: one | "a" * s * "b")
DYCK = rec(lambda s: ("[" * s * "]").star())
A, B = language.lit("a"), language.lit("b")


def catalan(n: int) -> int:
    return comb(2 * n, n) // (n + 1)


def test_the_published_examples():
    words = ("", "ab", "ba", "aabb", "aacbb", "aaabbb", "aaabbbb", "a" * 50 + "b" * 50)
    assert [ANBN.weight(w) for w in words] == [1, 1, 0, 1, 0, 1, 0, 1]
    assert [DYCK.weight(w) for w in ("[]", "[[]]", "[[a]]", "[[]][]", "[[]][[]")] == [1, 1, 0, 1, 0]
    assert [DYCK.count(2 * n) for n in range(10)] == [catalan(n) for n in range(10)]
    assert [ANBN.count(n) for n in range(6)] == [1, 0, 1, 0, 1, 0]


def test_long_words_need_no_deep_stack():
    n = 5000
    assert ANBN.weight("a" * n + "b" * n) == 1
    assert ANBN.weight("a" * n + "b" * (n - 1)) == 0
    assert DYCK.weight("[" * n + "]" * n) == 1
    assert DYCK.accepts("[]" * n)
    assert not DYCK.accepts("[]" * n + "]")
    right = rec(lambda s: one | "a" * s)
    assert right.accepts("a" * 300)


def test_ambiguous_grammars_count_their_trees():
    pairs = rec(lambda s: A | s * s)
    assert [pairs.weight("a" * n) for n in range(1, 12)] == [catalan(n - 1) for n in range(1, 12)]
    assert pairs.weight("a" * 40) == catalan(39)
    sums = rec(lambda e: parse("[0-9]") | e * parse("[+*]") * e)
    assert sums.weight("1+2*3+4") == catalan(3)


def test_left_recursion_and_mutual_recursion():
    left = rec(lambda s: one | s * "ab")
    assert [left.weight("ab" * n) for n in range(5)] == [1] * 5
    even, odd = rec(lambda e, o: (one | "a" * o, "a" * e))
    assert [even.accepts("a" * n) for n in range(5)] == [True, False] * 2 + [True]
    assert [odd.accepts("a" * n) for n in range(5)] == [False, True] * 2 + [False]
    hidden = rec(lambda s: parse("b*") * s * "a" | one)
    assert hidden.accepts("baa")


def test_endlessly_many_parses():
    loop = rec(lambda s: one | A | s * s)
    assert loop.weight("a") == math.inf
    assert loop.weight("b") == 0
    assert loop.weight("aa", "boolean") is True
    assert loop.weight("aaa", "min-plus") == 0.0
    unit = rec(lambda s: A | 0.5 * s)
    assert unit.weight("a", "real") == 2.0
    assert rec(lambda s: A | Fraction(1, 3) * s).weight("a", "rational") == Fraction(3, 2)
    assert rec(lambda s: A | s).weight("a") == math.inf
    with pytest.raises(ArgumentError, match="star"):
        rec(lambda s: A | s).weight("a", "real")
    best = [d.weight for d in derivations(rec(lambda s: A | 1.0 * s).weight("a", language.kbest("min-plus", 3)))]
    assert best == [0.0, 1.0, 2.0]


def test_equations_that_are_not_linear_are_iterated_or_refused():
    """x = 1/8 + x² / 1 for the empty word: the least root."""
    p = rec(lambda s: 0.125 * one | s * s)
    assert p.weight("", "real") == pytest.approx((1 - math.sqrt(0.5)) / 2, rel=1e-12)
    for over in ("real", "rational", "modular(7)"):
        with pytest.raises(RefusedError):
            rec(lambda s: one | s * s).weight("", over)


@settings(max_examples=80)
@given(p=languages(st.sampled_from([2, 3]), meets=False))
def test_a_regular_language_is_a_grammar_with_the_same_weights(p):
    grammar = rec(lambda s: p)
    for w in SHORT:
        assert grammar.weight(w) == p.weight(w), w
        assert grammar.accepts(w) == p.accepts(w), w
        assert grammar.weight(w, "min-plus") == p.weight(w, "min-plus")


@settings(max_examples=30)
@given(p=languages(meets=False), letter=st.sampled_from("ab"))
def test_derivatives_of_grammars(p, letter):
    grammar = rec(lambda s: p | "a" * s * "b" | s * s * "a")
    d = grammar.derivative(letter)
    for w in WORDS[:15]:
        assert d.weight(w) == grammar.weight(letter + w)


def test_grammars_count_words_and_not_trees():
    p = rec(lambda s: one | "a" * s * "b" | "a" * s * "b" | "ab" * one)
    assert [p.count(n, "ab") for n in range(7)] == [1, 0, 1, 0, 1, 0, 1]
    palindromes = rec(lambda s: one | A | B | "a" * s * "a" | "b" * s * "b")
    for n in range(9):
        wanted = [w for w in map("".join, itertools.product("ab", repeat=n)) if w == w[::-1]]
        assert palindromes.count(n) == len(wanted)
        assert list(palindromes.words(n))[-len(wanted) :] == wanted
    with pytest.raises(ArgumentError, match="recursion that reads a letter"):
        rec(lambda s: one | s * "a").count(3)


def test_samples_of_a_grammar_belong_to_it_and_are_even():
    rng = np.random.default_rng(0)
    drawn = [DYCK.sample(6, rng) for _ in range(500)]
    assert all(DYCK.accepts(w) for w in drawn)
    counts = [drawn.count(w) for w in set(drawn)]
    assert len(counts) == 5
    assert max(abs(c - 100) for c in counts) < 45  # five standard deviations


def test_a_grammar_meets_a_regular_language():
    p = ANBN & parse("(aa)*(bb)*")
    assert [p.accepts("a" * n + "b" * n) for n in range(5)] == [True, False, True, False, True]
    assert (ANBN - "ab").accepts("aabb")
    assert not (ANBN - "ab").accepts("ab")
    assert (~ANBN).accepts("aab")
    abc = (rec(lambda s: one | "a" * s * "b") * parse("c*")) & (parse("a*") * rec(lambda s: one | "b" * s * "c"))
    assert [abc.accepts(w) for w in ("", "abc", "aabbcc", "aabbc", "abbcc")] == [True, True, True, False, False]
    assert "method  part by part" in str(abc.compile("count"))
    with pytest.raises(ArgumentError, match="around a grammar"):
        ((ANBN & "ab") * "c").accepts("abc")


def test_groups_of_the_best_parse():
    expression = rec(lambda e: parse("(?P<n>[0-9]+)") | "(" * e * ")")
    found = expression.best("((42))", "max-times")
    assert found[0].groups == {1: (2, 4)}


def test_places_within_grammars():
    lines = rec(lambda s: one | parse(r"(?m)^\w+$") * (one | parse(r"\n") * s))
    assert lines.accepts("ab\ncd\n")
    assert not lines.accepts("a b")


def test_what_grammars_cannot_do_is_said():
    with pytest.raises(ArgumentError, match="regular language"):
        ANBN.search("xxab")
    with pytest.raises(ArgumentError, match="regular language"):
        ANBN.graph()
    with pytest.raises(ArgumentError, match="a length"):
        ANBN.count()
    with pytest.raises(ArgumentError, match="one for each argument"):
        rec(lambda a, b: (a,))


def test_plans_say_why():
    text = str(ANBN.compile("count"))
    assert "parse forest" in text
    assert "refused position automaton: a recursion has no finite automaton" in text
    assert ANBN.compile("count")("ab") == 1


# -- tries ------------------------------------------------------------------------------------------------------------------


def test_tries_of_the_published_languages():
    a, b, s = Trie.letters("a"), Trie.letters("b"), Trie.letters("abcdefghijklmnopqrstuvwxyz").star()
    assert (a.star() * a.star()).weight("a" * 100) == 101
    assert (s * Trie.of_words(["fish"]) * s).weight("fishfish") == 2
    anbn = Trie.rec(lambda t: Trie.one() | a * (t * b))
    assert [anbn.weight(w) for w in ("", "ab", "ba", "aabb", "aab")] == [1, 1, 0, 1, 0]
    assert anbn.weight("a" * 5000 + "b" * 5000) == 1
    dyck = Trie.rec(lambda t: (Trie.letters("[") * (t * Trie.letters("]"))).star())
    assert [dyck.weight(w) for w in ("[]", "[[]]", "[[a]]", "[[]][]", "[[]][[]")] == [1, 1, 0, 1, 0]
    assert dyck.weight("[" * 200 + "]" * 200) == 1
    with pytest.raises(ArgumentError, match="reads a letter"):
        Trie.rec(lambda t: t * a | a).weight("a")


@settings(max_examples=60)
@given(p=languages(meets=False))
def test_tries_have_the_weights_of_expressions(p):
    """The same expression by trie operations; twice, for what the first walk has left must be right as well."""
    made: dict[int, Trie] = {}
    for node in language.terms.postorder(p.term):
        parts = [made[id(q)] for q in node.parts]
        if node.kind == "chars":
            t = Trie.letters([chr(c) for first, last in node.data for c in range(first, last + 1)])
        elif node.kind in ("zero", "one"):
            t = Trie.one() if node.kind == "one" else Trie.zero()
        elif node.kind == "star":
            t = parts[0].star()
        elif node.kind == "repeat":
            least, most = node.data
            t = Trie.one()
            for _ in range(least):
                t = parts[0] * t
            tail = Trie.one()
            for _ in range((most or least) - least):
                tail = Trie.one() | parts[0] * tail
            t = t * (parts[0].star() if most is None else tail)
        else:
            t = parts[0]
            for q in parts[1:]:
                t = t * q if node.kind == "concat" else t | q
        made[id(node)] = t
    trie = made[id(p.term)]
    for _ in range(2):
        assert [trie.weight(w) for w in SHORT] == p.weights(SHORT)


def test_finite_languages_are_tries_and_back():
    p = parse("p(i(n|)k?|u)g?") | "pig"
    t = p.trie()
    words = {"".join(w): v for w, v in t.words()}
    assert words == {w: p.weight(w) for w in p.words(5)}
    assert words["pig"] == 2
    again = language.from_words(words)
    assert [again.weight(w) for w in words] == list(words.values())
    assert language.from_words([b"ab", b"a"]).accepts(b"ab")
    assert t.scale(3).weight("pig") == 6
    with pytest.raises(ArgumentError, match="finite"):
        parse("a*").trie()


def test_a_plan_is_used_like_a_compiled_pattern():
    ready = language.compile("a+(b|c)")
    assert ready.fullmatch("aab").span() == (0, 3)
    assert ready.fullmatch("aabb") is None
    assert ready.match("abx").group() == "ab"
    assert ready.search("xxac").span() == (2, 4)
    assert [m.group() for m in ready.finditer("ab aac b")] == ["ab", "aac"]
    assert ready.derivative("a").accepts("c")
    counted = language.compile("a*a*", over="count")
    assert counted.weight("aaa") == counted("aaa") == 4
