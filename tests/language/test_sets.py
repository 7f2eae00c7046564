"""Languages as sets of words: counting, listing, drawing, comparing, automata and their pictures."""

import itertools
import math
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import language
from faltung.errors import ArgumentError, MemoryBudgetError
from faltung.language import anything, parse

sys.path.insert(0, str(Path(__file__).parent))
from drawing import WORDS, languages


def test_the_published_counts():
    assert [parse("(a|b)*abb").count(n) for n in range(7)] == [0, 0, 0, 1, 2, 4, 8]
    without = parse("[ab]*") - parse("[ab]*aa[ab]*")
    assert [without.count(n) for n in range(10)] == [1, 2, 3, 5, 8, 13, 21, 34, 55, 89]
    assert parse("a|ab").count() == 2
    assert parse("(a|aa)*").count() == math.inf
    assert parse("[a-z]{3}").count() == 26**3
    assert parse(".").count(1) == 0x110000 - 1
    assert parse(b"(?s).").count() == 256
    assert parse("(a|b)*abb").count(400) == 2**397


@settings(max_examples=80)
@given(p=languages(lacks=True))
def test_counting_listing_and_asking_agree(p):
    wanted = [[w for w in WORDS if len(w) == n and p.accepts(w)] for n in range(6)]
    assert [p.count(n, "ab") for n in range(6)] == [len(row) for row in wanted]
    assert list(p.words(5, "ab")) == [w for row in wanted for w in row]


@settings(max_examples=60)
@given(p=languages())
def test_all_words_are_counted_at_once(p):
    total = p.count()
    by_length = [p.count(n) for n in range(14)]
    if total == math.inf:
        assert any(by_length[7:])
    else:
        assert total == sum(by_length)
    shortest = p.shortest()
    assert p.empty() == (total == 0) == (shortest is None)
    if shortest is not None:
        assert p.accepts(shortest)
        assert not any(by_length[: len(shortest)])


def test_samples_are_even():
    rng = np.random.default_rng(1)
    p = parse("a(b|cc)*d?")
    wanted = [w for w in p.words(5) if len(w) == 5]
    drawn = [p.sample(5, rng) for _ in range(100 * len(wanted))]
    counts = [drawn.count(w) for w in wanted]
    assert sum(counts) == len(drawn)
    assert max(abs(c - 100) for c in counts) < 50
    assert parse(r"\w+").sample(7, rng) in parse(r"\w{7}")
    assert parse("[ab]{300}").sample(300, np.random.default_rng(3)) == parse("[ab]{300}").sample(
        300, np.random.default_rng(3)
    )
    assert len(parse(b"(?s).{9}").sample(9)) == 9
    with pytest.raises(ArgumentError, match="words of length 2"):
        parse("a").sample(2)


def test_places_count_too():
    p = parse(r"(?m)^a$|\n|\bb\b")
    for n in range(3):
        assert p.count(n, "ab\n") == sum(p.accepts("".join(w)) for w in itertools.product("ab\n", repeat=n))
    assert parse("a\n?$\n?").count(2, "a\n") == 1
    assert parse("a\n?$\n?").count(3, "a\n") == 1
    with pytest.raises(ArgumentError, match="a length"):
        p.count()


@settings(max_examples=80)
@given(p=languages(lacks=True), q=languages(lacks=True))
def test_inclusion_and_equality_of_languages(p, q):
    assert (p & q).subset(p)
    assert p.subset(p | q)
    assert (p - q).subset(~q)
    assert (~(p | q)).equals(~p & ~q)
    if not p.subset(q):
        witness = (p - q).shortest()
        assert p.accepts(witness)
        assert not q.accepts(witness)
    assert p.reverse().reverse().equals(p)


@settings(max_examples=80)
@given(p=languages(lacks=True))
def test_the_smallest_automaton_is_the_language(p):
    graph = p.graph()
    for w in WORDS:
        assert graph.accepts(w) == p.accepts(w), w
    again = language.from_automaton(
        [(a, chr(c), b) for a, letters, b in graph.moves for first, last in letters for c in range(first, min(last, first + 99) + 1)
         if c in (97, 98)], 0, graph.accepting,
    )  # fmt: skip
    assert (again & anything()).equals(p & parse("[ab]*"))
    assert again.graph().states <= graph.states
    assert sum(b == 0 for _, _, b in graph.moves) <= graph.states


@settings(max_examples=60)
@given(p=languages(lacks=True))
def test_unambiguous_expressions_give_every_word_weight_one(p):
    q = p.unambiguous()
    assert q.weights(WORDS[:40], "count") == [int(p.accepts(w)) for w in WORDS[:40]]


def test_smallest_automata_have_the_known_sizes():
    assert parse("(a|b)*abb").graph().states == 4
    assert parse("[01]*1[01]{4}").graph().states == 2**5
    assert parse("a*").graph().states == 1
    assert language.zero.graph().states == 1
    assert (parse("[01]*") & parse("(0|10*1)*")).graph().states == 2
    with pytest.raises(MemoryBudgetError, match="at most 1000 states"):
        parse("[01]*1[01]{14}").graph()


def test_weighted_automata_become_languages():
    moves = [(0, "a", 0, 0.5), (0, "a", 1, 0.25), (1, "b", 1, 0.5), (1, "ab", 0, 2.0)]
    p = language.from_automaton(moves, 0, [1])
    matrices = {c: np.zeros((2, 2)) for c in "ab"}
    for i, letters, j, w in moves:
        for c in letters:
            matrices[c][i, j] += w
    for w in WORDS[:60]:
        v = np.array([1.0, 0.0])
        for c in w:
            v = v @ matrices[c]
        assert p.weight(w, "real") == pytest.approx(v[1], rel=1e-12)


@settings(max_examples=30)
@given(data=st.data())
def test_pictures_are_whole(data):
    graph = data.draw(languages()).graph()
    root = ET.fromstring(graph.svg())
    left, top, width, height = map(float, root.attrib["viewBox"].split())
    name = "{http://www.w3.org/2000/svg}"
    circles = root.findall(f"{name}circle")
    assert len(circles) == graph.states + len(graph.accepting)
    assert len(root.findall(f"{name}path")) == len(graph.moves) + 1
    centres = {(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in circles}
    assert len(centres) == graph.states
    for x, y in centres:
        assert left < x < left + width
        assert top < y < top + height
    assert graph.dot().count("->") == len(graph.moves) + 1


def test_dot_text_escapes_what_it_must():
    dot = parse('["\\\\]').graph().dot()
    assert '\\"' in dot
    assert dot.startswith("digraph language {")
    assert parse("<&>").graph().svg().count("&lt;") == 1
    assert parse("[^a]").graph().label(((0, 96), (98, 0x10FFFF))) == "not a"
