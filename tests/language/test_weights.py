"""Weights equal the definition on every word up to length 6, over every algebra; the laws of convolution, star, ε and D hold."""

import itertools
import math
import sys
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import algebras, language
from faltung.errors import ArgumentError
from faltung.language import Language, definition, one, parse, zero
from faltung.language.semirings import derivations, of

sys.path.insert(0, str(Path(__file__).parent))
from drawing import SHORT, WORDS, languages

A, B = language.lit("a"), language.lit("b")
EXACT = ("boolean", "count", "min-plus", "max-min", "min-max", "modular(7)", "rational")
WEIGHTS = {
    "boolean": [True], "count": [1, 2, 3], "integer": [-2, 1, 3], "min-plus": [0.0, 1.0, 2.5], "max-plus": [-1.0, 0.0, -2.0],
    "max-min": [0.5, 2.0], "min-max": [0.5, 2.0], "max-times": [0.25, 1.0, 0.5], "log": [-1.0, -2.5], "real": [0.25, -0.5, 0.125],
    "complex": [0.25j, 0.5], "modular(7)": [2, 3, 12], "rational": [Fraction(1, 3), Fraction(-2, 5)],
}  # fmt: skip


def near(x, y) -> bool:
    if isinstance(x, float | complex) and x != y:
        return abs(x - y) <= 1e-12 * max(1.0, abs(x), abs(y))
    return x == y


def codes(word: str) -> list[int]:
    return [ord(c) for c in word]


@pytest.mark.parametrize("over", sorted(WEIGHTS))
@settings(max_examples=25)
@given(data=st.data())
def test_every_algebra_equals_the_definition(over, data):
    p = data.draw(languages(st.sampled_from(WEIGHTS[over])))
    s = of(over)
    try:
        wanted = {w: definition.weight(p.term, codes(w), s) for w in SHORT}
    except ArgumentError:  # a star that has no value: both must say so
        with pytest.raises(ArgumentError):
            p.weight("", over)
        return
    words = [*SHORT, "bababa", "aabbab"]
    found = p.weights(words, over)
    for w, came in zip(words, found, strict=True):
        want = wanted[w] if w in wanted else definition.weight(p.term, codes(w), s)
        assert near(came, want), (w, came, want)
        assert near(p.weight(w, over), came)


@settings(max_examples=60)
@given(p=languages(lacks=True))
def test_truth_equals_the_definition_on_all_words_up_to_six_letters(p):
    s = of("boolean")
    for w in WORDS[::3]:
        assert p.accepts(w) == definition.weight(p.term, codes(w), s), w


def test_the_judge_catches_a_wrong_weight():
    wrong, right = A * A | A * A, A * A
    assert definition.weight(wrong.term, codes("aa"), of("count")) != right.weight("aa")


@settings(max_examples=60)
@given(p=languages(), q=languages(), r=languages())
def test_languages_are_a_semialgebra(p, q, r):
    def same(x: Language, y: Language) -> None:
        assert x.weights(SHORT, "count") == y.weights(SHORT, "count")

    same((p * q) * r, p * (q * r))
    same(p * (q | r), p * q | p * r)
    same((p | q) * r, p * r | q * r)
    same(one * p, p)
    same(p * zero, zero)
    same(p.star(), one | p * p.star())
    same((p * q).reverse(), q.reverse() * p.reverse())
    same(p & q, q & p)


@settings(max_examples=40)
@given(p=languages())
def test_star_unrolls(p):
    powers = [one]
    for _ in range(6):
        powers.append(powers[-1] * p)
    nonempty = p.weight("", "count") == 0
    for w in WORDS[:63]:
        unrolled = sum(q.weight(w, "count") for q in powers) if nonempty else None
        if nonempty:
            assert p.star().weight(w, "count") == unrolled + (p.repeat(7).weight(w, "count") if len(w) > 6 else 0)
        else:
            assert p.star().weight(w, "boolean") == any(q.accepts(w) for q in powers)


@settings(max_examples=60)
@given(p=languages(st.sampled_from([2, 3])), letter=st.sampled_from("ab"))
def test_derivatives_drop_a_letter(p, letter):
    wanted = p.weights([letter + w for w in SHORT], "count")
    assert p.derivative(letter).weights(SHORT, "count") == wanted
    assert p.derivative(letter + "ab").weight("b", "count") == p.weight(letter + "abb", "count")


@settings(max_examples=60)
@given(p=languages(st.sampled_from(WEIGHTS["rational"])), letter=st.sampled_from("ab"))
def test_derivatives_of_loops_over_fractions(p, letter):
    """Over counts a loop with an empty body is ∞ either way; here its star is a number."""
    try:
        wanted = p.weights([letter + w for w in SHORT], "rational")
    except ArgumentError:  # a star without a value
        return
    assert p.derivative(letter).weights(SHORT, "rational") == wanted


def test_the_derivative_of_a_weighted_loop():
    p = (Fraction(1, 2) * one | Fraction(1, 4) * A).star()
    assert [p.derivative("a").weight("a" * n, "rational") for n in range(3)] == [1, Fraction(1, 2), Fraction(1, 4)]


@settings(max_examples=60)
@given(p=languages(lacks=True), letter=st.sampled_from("ab"))
def test_derivatives_of_complements(p, letter):
    d = p.derivative(letter)
    for w in SHORT:
        assert d.accepts(w) == p.accepts(letter + w)


@settings(max_examples=40)
@given(p=languages())
def test_the_empty_word_obeys_its_rules(p):
    e = p.weight("", "count")
    assert p.star().weight("") == (math.inf if e else 1)
    assert (p | one).weight("") == e + 1
    assert (p * p).weight("") == e * e if e != math.inf else math.inf
    assert (3 * p).weight("") == 3 * e
    assert p.derivative("a").weight("") == p.weight("a")


@pytest.mark.parametrize("over", ["count", "real", "integer", "rational"])
def test_a_factor_counts_once_however_many_constants_there_are(over):
    """s·(p∗q) is s times p∗q: multiplying every constant in an expression would give s²."""
    p, q = one | A, one | B
    for w in ("", "a", "b", "ab"):
        assert (3 * (p * q)).weight(w, over) == 3 * (p * q).weight(w, over) == 3
    assert (2 * (3 * (p * q).star())).weight("", "max-times") == 6


def test_the_published_examples():
    weigh = {
        "a*a*": ("a" * 100, 101),
        "a*a*a*": ("a" * 50, 1326),
        "(a|ab)(c|bc)": ("abc", 2),
        "[a-z]*fish[a-z]*": ("fishfish", 2),
    }
    for pattern, (word, ways) in weigh.items():
        assert parse(pattern).weight(word) == ways
    assert [parse("(a|aa)*").weight("a" * n) for n in range(12)] == [1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144]
    pets = parse("(pink|pig)*")
    assert [pets.weight(w) for w in ("pig", "pigpig", "pigping", "pinkpigpinkpigpig", "q")] == [1, 1, 0, 1, 0]
    assert [parse("a*ba*").weight(w) for w in ("aabaaa", "aabba")] == [1, 0]
    assert [parse("[a-z]*").weight(w) for w in ("as0df", "asdf" * 40)] == [0, 1]
    half = (0.5 * one | 0.25 * A).star()
    assert [half.weight(w, "real") for w in ("", "a", "aa")] == [2.0, 1.0, 0.5]
    assert (1 * A | 3 * B).star().weight("abba", "min-plus") == 8


def test_counts_beyond_machine_numbers_are_exact():
    fibonacci = [1, 1]
    while len(fibonacci) <= 3000:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    p = parse("(a|aa)*")
    assert [p.weight("a" * n) for n in (70, 78, 79, 80, 3000)] == [fibonacci[n] for n in (70, 78, 79, 80, 3000)]
    assert p.weights(["a" * 5, "a" * 300]) == [8, fibonacci[300]]
    assert p.weight("a" * 300, "modular(1000003)") == fibonacci[300] % 1000003


def test_no_sentinel_stands_for_infinity():
    assert parse("(a*)*").weight("a") == math.inf
    assert parse("(a*)*").weight("b") == 0
    with pytest.raises(ArgumentError, match="star over integer"):
        parse("(a*)*").weight("a", "integer")


def test_letters_that_share_a_class_are_one_state():
    plan = language.compile("(0|1)*1(0|1){60}", over="count")
    assert plan.states.startswith("63 ")
    word = "01" * 500
    assert plan(word) == (word[-61] == "1")
    assert parse("(0|1)*1(0|1){60}").accepts(word) == (word[-61] == "1")


def test_edit_distance_is_a_change_of_semiring():
    letters = language.chars(("a", "z"))

    def within(word: str) -> Language:
        insert = (1.0 * letters).star()
        total = insert
        for c in word:
            total = total * (language.lit(c) | 1.0 * letters | 1.0 * one) * insert
        return total

    def distance(u: str, v: str) -> int:
        row = list(range(len(v) + 1))
        for i, c in enumerate(u, 1):
            row, before = [i], row
            for j, d in enumerate(v, 1):
                row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (c != d)))
        return row[-1]

    for u, v in itertools.product(("kitten", "a", "", "sitting"), ("sitting", "kitten", "b", "")):
        assert within(u).weight(v, "min-plus") == distance(u, v)


def test_best_derivations_carry_groups():
    p = parse("(?P<x>a*)(a*)(?P<y>b)?")
    found = p.best("aab", "max-plus", k=3)
    assert [d.weight for d in found] == [0.0] * 3
    assert sorted(d.groups[1] for d in found) == [(0, 0), (0, 1), (0, 2)]
    assert all(d.groups[3] == (2, 3) for d in found)
    assert p.groups("aab")["y"] == (2, 3)
    assert p.groups("ba") is None
    costly = (1.0 * parse("(a+)")) | (0.5 * parse("(a)a*"))
    assert [d.weight for d in costly.best("aa", "min-plus", k=5)] == [0.5, 1.0]
    assert language.kbest("min-plus", 1).name == "1 best over min-plus"
    with pytest.raises(ArgumentError, match="ordered"):
        language.kbest("real", 2)
    with pytest.raises(ArgumentError, match="gain"):
        (2.0 * one | A).star().best("a", "max-times")


@settings(max_examples=30)
@given(p=languages(st.sampled_from([0.0, 1.0, 2.5]), meets=False), k=st.integers(1, 4))
def test_k_best_is_the_sorted_list_of_all(p, k):
    """Against brute force: the definition over the k best itself, and the best alone over min-plus."""
    s = language.kbest("min-plus", k)
    for w in SHORT[:15]:
        came = [d.weight for d in derivations(p.weight(w, s))]
        wanted = [d.weight for d in derivations(definition.weight(p.term, codes(w), s))]
        assert came == wanted
        assert came == sorted(came)
        assert (came or [math.inf])[0] == p.weight(w, "min-plus")


def test_expectations_add_up_along_derivations():
    """The expected number of a's of the derivations of a word, by the pairs (p, p·r)."""
    p = ((0.5, 0.5) * A | (0.25, 0.0) * language.chars("ab")).star()
    total, weighted = p.weight("aa", language.expectation())
    assert total == 0.75**2
    assert weighted / total == pytest.approx(2 * 0.5 / 0.75)


def test_places_have_weights_too():
    p = parse(r"(?m)(\bfoo\b|^bar$|\n|fo|o)*")
    for w in ("foo", "bar\nfoo", "foofoo", "bar\n", "", "foo\nbar", "barfoo"):
        assert p.weight(w) == definition.weight(p.term, codes(w), of("count")), w
    assert parse(r"a(?:$|\n)(?:\n|$)").weight("a\n") == 2


@pytest.mark.parametrize("algebra", algebras.ALL, ids=lambda a: a.name)
def test_scalar_semirings_are_the_algebras(algebra):
    s = of(algebra.name)
    drawn = WEIGHTS.get(algebra.name, [1, 2])
    values = [s.value(v) for v in drawn] + [s.zero, s.one]
    dtype = np.dtype(s.dtype or object)
    for a, b in itertools.product(values, values):
        assert near(s.add(a, b), algebra.add(np.array([a], dtype), np.array([b], dtype))[0])
        assert near(s.mul(a, b), algebra.mul(np.array([a], dtype), np.array([b], dtype))[0])
        assert s.add(a, s.zero) == a == s.mul(a, s.one) == s.mul(s.one, a)
        assert s.mul(a, s.zero) == s.zero == s.mul(s.zero, a)


def test_wrong_weights_are_told():
    with pytest.raises(ArgumentError):
        (0.5 * A).weight("a", "count")
    with pytest.raises(ArgumentError):
        (-1.0 * A).weight("a", "max-times")
    with pytest.raises(ArgumentError, match="integer"):
        (0.5 * A).weight("a", "modular(7)")
    with pytest.raises(ArgumentError, match="complement"):
        (~A).weight("a", "count")
    with pytest.raises(ArgumentError, match="one of"):
        A.weight("a", "no such algebra")


def test_threads_share_a_language():
    p, word = parse("(a|b|ab)*(a|ba)*"), "abbaabab" * 20
    q = parse("[ab]*a[ab]{12}")
    wanted, texts = p.weight(word), ["".join(np.random.default_rng(n).choice(list("ab"), 3000)) for n in range(6)]
    truth = [t[-13] == "a" for t in texts]
    wrong = []

    def ask() -> None:
        wrong.extend(1 for _ in range(3) if p.weight(word) != wanted or [q.accepts(t) for t in texts] != truth)

    crowd = [threading.Thread(target=ask) for _ in range(6)]
    for t in crowd:
        t.start()
    for t in crowd:
        t.join()
    assert wrong == []
