"""Patterns decide as Python's re decides, and mistakes in them are answered with the place."""

import pickle
import re
import sys
from pathlib import Path
from random import Random

import pytest

from faltung import language
from faltung.errors import ArgumentError, FaltungError, MemoryBudgetError
from faltung.language import PatternError, charset

sys.path.insert(0, str(Path(__file__).parent))
from drawing import pattern, text

NOT_REGULAR = ("back-reference", "look-ahead", "look-behind", "conditional", "atomic", "possessive")


def differences(seed: int, patterns: int, words: int) -> list[str]:
    """Where fullmatch or the start of search differ from re."""
    r, found = Random(seed), []
    for _ in range(patterns):
        p, flags = pattern(r), r.choice([0, 0, re.I, re.M, re.S, re.A, re.I | re.A])
        theirs, ours = re.compile(p, flags), language.parse(p, flags)
        for _ in range(words):
            w = text(r)
            a, b = theirs.search(w), ours.search(w)
            if (theirs.fullmatch(w) is None) != (ours.fullmatch(w) is None):
                found.append(f"fullmatch {p!r} {flags} {w!r}")
            if (a is None) != (b is None) or (a and b and (a.start() != b.start() or a.end() > b.end())):
                found.append(f"search {p!r} {flags} {w!r}: {a} {b}")
    return found


def read(p: str):
    """The language of a pattern, or None and what was said about it."""
    try:
        return language.parse(p), ""
    except PatternError as error:
        return None, str(error)


def test_random_patterns_decide_as_re_does():
    assert differences(0, 600, 10) == []


@pytest.mark.slow
def test_a_million_random_pairs_decide_as_re_does():
    assert differences(1, 50_000, 20) == []


def test_bytes_decide_as_re_does():
    r = Random(5)
    for _ in range(300):
        p, flags = pattern(r).encode("latin-1", "replace"), r.choice([0, re.I, re.M, re.S])
        theirs, ours = re.compile(p, flags), language.parse(p, flags)
        for _ in range(8):
            w = text(r).encode("latin-1", "replace")
            assert (theirs.fullmatch(w) is None) == (ours.fullmatch(memoryview(w)) is None), (p, flags, w)


def test_the_table_of_cpython():
    tables = pytest.importorskip("test.re_tests")
    ran = refused = 0
    for p, s, *_ in tables.tests:
        try:
            theirs = re.compile(p)
        except re.error:
            with pytest.raises(PatternError):
                language.parse(p)
            continue
        ours, complaint = read(p)
        if ours is None:
            assert any(name in complaint for name in NOT_REGULAR), (p, complaint)
            refused += 1
            continue
        a, b = theirs.search(s), ours.search(s)
        assert (theirs.fullmatch(s) is None) == (ours.fullmatch(s) is None), (p, s)
        assert (a is None) == (b is None), (p, s)
        assert a is None or a.start() == b.start(), (p, s)
        ran += 1
    assert ran > 300
    assert refused < 50


def test_every_character_has_the_cases_that_re_gives_it():
    everything = "".join(
        map(chr, (c for c in range(charset.UNICODE) if chr(c).lower() != chr(c) or chr(c).upper() != chr(c)))
    )
    for c in everything[::41] + "kKſsSßẞıIİiΐΰﬅﬆ\u1fd3\u1fe3σςΣµμ":
        theirs = "".join(re.findall(re.escape(c), everything, re.I))
        ours = "".join(x for x in everything if charset.contains(charset.fold(charset.of([ord(c)]), False), ord(x)))
        assert ours == theirs, c


def test_no_capitals_are_overlooked():
    cased = [c for c in range(charset.UNICODE) if chr(c).lower() != chr(c) or chr(c).upper() != chr(c)]
    assert all(any(first <= c < last for first, last in charset.CASED) for c in cased)


@pytest.mark.parametrize("letter", "wds")
def test_classes_are_those_of_re(letter):
    for flags in (0, re.A):
        found = charset.category(letter, bool(flags))
        theirs = [c for c in range(0x3000) if re.match(rf"\{letter}", chr(c), flags)]
        assert [c for c in range(0x3000) if charset.contains(found, c)] == theirs


def test_an_independent_library_of_automata_agrees():
    interegular = pytest.importorskip("interegular")
    r, compared = Random(3), 0
    for _ in range(200):
        p = pattern(r, 3, places=False).replace("é", "b").replace("\n", "a").replace("(?m:", "(?:")
        try:
            fsm = interegular.parse_pattern(p).to_fsm()
        except ValueError:  # it has its own gaps
            continue
        ours = language.parse(p)
        for _ in range(10):
            w = text(r, "aabbc1_ kK")
            assert fsm.accepts(w) == ours.accepts(w), (p, w)
            compared += 1
    assert compared > 1000


@pytest.mark.parametrize(
    ("wrong", "position", "said"),
    [
        ("a(b", 1, "closing parenthesis"), ("a)b", 1, "unbalanced"), ("*a", 0, "something to repeat"),
        ("a**", 2, "one quantifier"), ("[b-a]", 1, "range in order"), ("[abc", 0, "closing bracket"), ("(?=a)b", 0, "look-ahead"),
        ("(a)\\1", 3, "back-reference"), ("x(?>a)", 1, "atomic"), ("ab++", 2, "possessive"), ("\\q", 0, "escape"),
        ("a{3,2}", 1, "counts in order"), ("(?P<1>a)", 4, "a name"), ("(?P<n>a)(?P<n>b)", 8, "another name"),
        ("a(?i)b", 3, "at its start"), ("(?i", 2, "flags"), ("\\xg", 0, "hexadecimal"), ("\\400", 0, "octal"),
        ("(" * 300, 201, "200 levels"), ("(?P=n)", 0, "back-reference"), ("(?#no end", 0, "comment"),
        ("[a-\\d]", 1, "ends of a range"),
        ("\\N{NO SUCH NAME}", 0, "name of a character"), ("a\\", 1, "behind the backslash"), ("(?z:a)", 2, "flags"),
    ],
)  # fmt: skip
def test_mistakes_are_shown_with_a_caret(wrong, position, said):
    with pytest.raises(PatternError) as caught:
        language.parse(wrong)
    message = str(caught.value)
    assert said in message
    assert caught.value.position == position
    lines = message.splitlines()
    assert lines[-1].strip() == "^"
    assert lines[-2].strip()[:5] in wrong


def test_the_caret_stands_below_the_place_in_the_line_where_it_is():
    with pytest.raises(PatternError) as caught:
        language.parse("(?x)\n  abc  # fine\n  d**\n")
    shown, caret = str(caught.value).splitlines()[-2:]
    assert shown[caret.index("^")] == "*"


@pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning"
)  # re's own remarks on strange classes
def test_patterns_of_every_wrong_kind_raise_errors_of_ours_only():
    r = Random(7)
    for _ in range(3000):
        p = "".join(r.choice("ab()[]{}|*+?\\^$.,-:<>P!=#i0123dwN \n") for _ in range(r.randint(1, 12)))
        try:
            re.compile(p)
            fine = True
        except (re.error, OverflowError, IndexError):
            fine = False
        ours, complaint = read(p)
        assert fine == (ours is not None) or any(name in complaint for name in NOT_REGULAR), (p, complaint)


@pytest.mark.parametrize(
    "hostile", ["(?:a{100000}){100000}", "(?:(?:(?:a{1000}){1000}){1000}){1000}", "(?:a|b{9999999999})"]
)
def test_hostile_sizes_are_refused_by_budget(hostile):
    with pytest.raises(MemoryBudgetError):
        language.parse(hostile)


def test_large_counts_within_the_budget_work():
    assert language.parse("a{9000}").accepts("a" * 9000)
    assert not language.parse("a{9000}").accepts("a" * 8999)
    with pytest.raises(MemoryBudgetError):
        language.parse("(?:a{0,1000}){0,60}").weight("a")


def test_wrong_arguments_are_told():
    with pytest.raises(ArgumentError, match="str or bytes"):
        language.parse(5)
    with pytest.raises(ArgumentError, match="flags among"):
        language.parse("a", re.L)
    with pytest.raises(ArgumentError, match="bytes"):
        language.parse(b"a").fullmatch("a")
    with pytest.raises(ArgumentError, match="a str"):
        language.parse("a").fullmatch(b"a")
    with pytest.raises(ArgumentError, match="encode the text"):
        language.parse("a") | language.parse(b"a")
    with pytest.raises(ArgumentError, match="only read"):
        language.parse("a").term = None
    with pytest.raises(ArgumentError, match="weight"):
        language.parse("a") * 3


def test_languages_travel_by_pickle():
    p = language.parse("(?P<x>a*)(b|c)+")
    q = pickle.loads(pickle.dumps(p))
    assert q == p
    assert q.groups("aab") == p.groups("aab")
    with pytest.raises(FaltungError, match="grammar"):
        pickle.dumps(language.rec(lambda s: language.one | "a" * s))
