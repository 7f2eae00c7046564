"""Languages: one expression, many questions, and the answer changes with the semiring.

python examples/language.py
"""

import numpy as np

from faltung import language
from faltung.language import chars, lit, one, parse, rec

# A set of words, in the syntax of Python's re; matching takes one step a letter whatever the pattern.
tag = parse(r"[a-z]+(-[a-z]+)*")
print("matches:", tag.findall("one-two  three four-")[:3])
assert tag.findall("one-two  three") == ["one-two", "three"]
assert not parse("(a|aa)*b").accepts("a" * 100_000)  # a backtracking matcher would not come back

# Concatenation is convolution: over counts it says in how many ways.
a = lit("a").star()
assert (a * a).weight("a" * 100) == 101
assert parse("(a|ab)(c|bc)").weight("abc") == 2

# The same expression over min-plus is a shortest path: edit distance to a word.
letter = chars(("a", "z"))
near = (1.0 * letter).star()
for c in "faltung":
    near = near * (lit(c) | 1.0 * letter | 1.0 * one) * (1.0 * letter).star()
print("edits from faltung:", {w: near.weight(w, "min-plus") for w in ("faltung", "haltung", "falten", "fug")})
assert near.weight("haltung", "min-plus") == 1
assert near.weight("fug", "min-plus") == 4

# Sets of words can be intersected, subtracted, counted and drawn from.
no_aa = parse("[ab]*") - parse("[ab]*aa[ab]*")
assert [no_aa.count(n) for n in range(8)] == [1, 2, 3, 5, 8, 13, 21, 34]
word = no_aa.sample(20, np.random.default_rng(0))
print("a word without aa:", word)
assert word in no_aa

# A recursion makes a grammar; its words are counted in the Catalan numbers.
brackets = rec(lambda s: ("[" * s * "]").star())
assert brackets.accepts("[[][]][]")
assert [brackets.count(2 * n) for n in range(7)] == [1, 1, 2, 5, 14, 42, 132]

# The best derivation carries the capture groups.
date = parse(r"(?P<year>\d{4})-(?P<month>\d\d)")
groups = date.groups("2024-03")
assert groups is not None
assert groups["month"] == (5, 7)
print(language.compile("(0|1)*1(0|1){60}", over="count"))
