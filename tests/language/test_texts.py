"""Texts: leftmost-longest matches against brute force, caches that overflow, work that is linear, every kind of text."""

import itertools
import re
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import language
from faltung.errors import ArgumentError
from faltung.language import parse
from faltung.language.matching import Matcher
from faltung.language.tables import Automaton, Tables

sys.path.insert(0, str(Path(__file__).parent))
from drawing import languages, pattern, text

PATHOLOGICAL = [
    "(?:a?){%d}a{%d}",
    "(?:a|aa)*b|(?:a|aa)*c",
    "(?:a*)*b|(?:a+)+c",
    "(?:a|a)*b",
    "(?:.*){10}b",
    "(?:x+x+)+y|a*a*a*a*b",
]


def brute(p: language.Language, w: str) -> list[tuple[int, int]]:
    """All leftmost-longest matches, by asking about every part."""
    found, start = [], 0
    while start <= len(w):
        here = next(
            ((i, j) for i in range(start, len(w) + 1) for j in range(len(w), i - 1, -1) if p.accepts(w[i:j])), None
        )
        if here is None:
            break
        found.append(here)
        start = here[1] if here[1] > here[0] else here[1] + 1
    return found


@settings(max_examples=120)
@given(p=languages(lacks=True), w=st.text("abc", max_size=8))
def test_matches_are_the_leftmost_longest(p, w):
    wanted = brute(p, w)
    assert [m.span() for m in p.finditer(w)] == wanted
    first = p.search(w)
    assert (first and first.span()) == (wanted[0] if wanted else None)
    assert p.occurs(w) == bool(wanted)
    longest = max((j for j in range(len(w) + 1) if p.accepts(w[:j])), default=None)
    assert (p.match(w) and p.match(w).span()) == (None if longest is None else (0, longest))


def test_words_found_are_those_of_re_where_longest_is_what_re_finds():
    r = Random(11)
    for p in (r"\b\w+\b", r"[a-z]+\d*", r"^.*$", "a+b?", r"(?m)^\s*\w", r"\d{1,3}(?:,\d{3})*"):
        for flags in (0, re.M, re.S):
            ours, theirs = parse(p, flags), re.compile(p, flags)
            for _ in range(60):
                w = text(r, "ab1, \n", 20)
                assert [m.span() for m in ours.finditer(w)] == [m.span() for m in theirs.finditer(w)], (p, flags, w)


def test_a_match_answers_like_that_of_re():
    m = parse("b+").search("abbc")
    n = re.search("b+", "abbc")
    assert (m.start(), m.end(), m.span(), m.group()) == (n.start(), n.end(), n.span(), n.group())
    assert repr(m) == "<Match span=(1, 3), match='bb'>"
    assert parse(b"b+").search(memoryview(b"abb")).group() == b"bb"
    assert parse("b+").match("abb", 1).span() == (1, 3)
    assert parse("b").search("bab", 1).span() == (2, 3)
    assert parse("a").findall("banana") == ["a"] * 3
    with pytest.raises(ArgumentError, match="a start within"):
        parse("b").search("ab", 5)


@pytest.mark.parametrize("letters", ["ab\n", "äb\n", "aж\n", "a\U0001f600\n", "a\ud800b"])
def test_texts_of_every_width(letters):
    r = Random(2)
    for _ in range(150):
        p, w = pattern(r, 3), text(r, letters, 9)
        assert (re.fullmatch(p, w) is None) == (parse(p).fullmatch(w) is None), (p, w)
    assert parse("(?s).*").accepts("".join(map(chr, range(0, 0x110000, 97))))


def test_bytes_are_read_in_place_from_whatever_holds_them(tmp_path):
    import mmap

    data = bytes(range(256)) * 5 + b"needle" + bytes(100)
    (tmp_path / "f").write_bytes(data)
    p = parse(rb"n[a-e]{2}dle\x00")
    with open(tmp_path / "f", "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert p.search(mapped).span() == (1280, 1287)
        assert not p.occurs(b"")
    assert p.search(bytearray(data)).start() == 1280
    assert p.search(np.frombuffer(data, np.uint8)).start() == 1280
    with pytest.raises(ArgumentError, match="contiguous"):
        p.search(memoryview(data)[::2])
    with pytest.raises(ArgumentError, match="contiguous"):
        p.search(np.arange(5))
    with pytest.raises(ArgumentError, match="contiguous"):
        p.search([1, 2])


def test_tables_that_overflow_begin_anew_with_the_same_answers():
    """(a|b)*a(a|b){9} has 2¹⁰ states; tables of four bring every text through hundreds of evictions."""
    r = Random(4)
    for source in ("(?:a|b)*a(?:a|b){9}", r"(?:\ba|b|\n)*a$(?:a|b|\n){0,3}", "(?:[ab]*a[ab]{5})"):
        ours, theirs = parse(source), re.compile(source)
        small = Matcher(ours.term, False, budget=1)
        for _ in range(40):
            w = text(r, "aaabbb\n" if "\\n" in source else "ab", 60)
            assert (small.fullmatch(w) is None) == (theirs.fullmatch(w) is None), w
            assert (small.search(w) and small.search(w).span()) == (ours.search(w) and ours.search(w).span()), w
        assert small.forward.emptied > 20
        assert len(small.forward.tables.states) <= small.forward.tables.most == 4


@pytest.mark.parametrize("source", PATHOLOGICAL)
def test_work_is_linear_whatever_the_pattern(source, monkeypatch):
    """Counted in states and moves made, not in seconds: twice the text costs no more than a few more moves."""
    source = source % (30, 30) if "%" in source else source
    made = []
    monkeypatch.setattr(Tables, "move", lambda self, n, c, _was=Tables.move: made.append(n) or _was(self, n, c))
    p = parse(source)
    moves = []
    for n in (2_000, 4_000, 8_000):
        made.clear()
        assert p.fullmatch("a" * n) is None or "?" in source[3:6]
        assert p.search("a" * n) is None or "{" in source
        moves.append(len(made))
    assert sum(moves) < 1000
    assert moves[2] <= moves[1] + 8


def test_classic_exponential_patterns_end():
    for n in (25, 200):
        p = parse(f"(?:a?){{{n}}}a{{{n}}}")
        assert p.accepts("a" * n)
        assert p.accepts("a" * 2 * n)
        assert not p.accepts("a" * (2 * n + 1))
    assert not parse("(?:a|aa)*b").accepts("a" * 5000)
    assert parse("(0|1)*1(0|1){60}").accepts("1" + "0" * 60)


def test_starts_at_every_state_are_reused_by_later_calls():
    p = parse("[a-z]+[0-9]{2}")
    p.accepts("abc12")
    automaton: Automaton = p._matcher.forward
    states = len(automaton.tables.states)
    for w in ("x99", "abcabc00", "zz13"):
        assert p.accepts(w)
    assert len(automaton.tables.states) == states


def test_random_patterns_search_longest_at_the_start_of_re():
    r = Random(9)
    for _ in range(200):
        p = pattern(r, 3)
        ours = parse(p)
        for _ in range(6):
            w = text(r)
            m = ours.search(w)
            if m is not None:
                assert ours.match(w, m.start()).span() == m.span(), (p, w)


def test_extended_expressions():
    no_digits = ~parse(".*[0-9].*", re.S)
    assert no_digits.accepts("abc\n")
    assert not no_digits.accepts("a1")
    words = parse("[a-z]{3,8}") & parse(".*ing") - parse("(s|k)ing")
    given = ("sewing", "king", "sing", "doing", "ing", "bring", "sings")
    assert [w for w in given if words.accepts(w)] == ["sewing", "doing", "ing", "bring"]
    assert parse("a*") - parse("a") != parse("a*")
    for n, w in itertools.product(range(4), ("", "a", "aa", "aaa")):
        assert (parse("a*") - parse(f"a{{{n}}}")).accepts(w) == (len(w) != n)
