"""Weights of words read off the definition: every split of the word, nothing kept. The judge of all faster ways.

Formula: `(p ∗ q)(w) = ⊕ over u·v = w of p(u) ⊗ q(v)`; `p*(w) = e ⊗ (⊕ over w = u·v, u not empty, of p(u) ⊗ p*(v))` with
`e = p*(ε) = (p(ε))*`.

Cost: exponential in the depth of the expression. References are not followed.
"""

from collections.abc import Sequence
from typing import Any

from faltung.language import charset, terms
from faltung.language.semirings import Semiring
from faltung.language.terms import EDGE, FINAL, NEWLINE, Term


def weight(term: Term, word: Sequence[int], semiring: Semiring) -> Any:
    """The weight of a word, given as code points."""
    return _on(term, word, 0, len(word), semiring)


def _on(p: Term, w: Sequence[int], i: int, j: int, s: Semiring) -> Any:
    """The weight of w[i:j], at its place in the text."""
    kind, parts = p.kind, p.parts
    if kind == "zero":
        return s.zero
    if kind == "one":
        return s.one if i == j else s.zero
    if kind == "chars":
        return s.one if j == i + 1 and charset.contains(p.data, w[i]) else s.zero
    if kind == "place":
        return s.one if i == j and terms.holds(p.data, _bits(w, i - 1), _bits(w, i)) else s.zero
    if kind == "concat":
        if len(parts) == 1:
            return _on(parts[0], w, i, j, s)
        rest = terms.concat(parts[1:])
        return _sum(s, (s.mul(_on(parts[0], w, i, k, s), _on(rest, w, k, j, s)) for k in range(i, j + 1)))
    if kind == "union":
        return _sum(s, (_on(q, w, i, j, s) for q in parts))
    if kind == "star":
        again = s.star(_on(parts[0], w, i, i, s))
        if i == j:
            return again
        rounds = (s.mul(_on(parts[0], w, i, k, s), _on(p, w, k, j, s)) for k in range(i + 1, j + 1))
        return s.mul(again, _sum(s, rounds))
    if kind == "repeat":
        least, most = p.data
        if most is None:
            return _on(terms.concat((*parts * least, terms.star(parts[0]))), w, i, j, s)
        return _sum(s, (_on(terms.concat(parts * n), w, i, j, s) for n in range(least, most + 1)))
    if kind == "scale":
        return s.mul(s.value(p.data[0]), _on(parts[0], w, i, j, s))
    if kind == "meet":
        total = s.one
        for q in parts:
            total = s.mul(total, _on(q, w, i, j, s))
        return total
    if kind == "lack":
        return s.one if _on(parts[0], w, i, j, s) == s.zero else s.zero
    if kind == "null":
        return _on(parts[0], w, i, i, s) if i == j else s.zero
    return _on(parts[0], w, i, j, s)  # a group


def _sum(s: Semiring, values: Any) -> Any:
    total = s.zero
    for v in values:
        total = s.add(total, v)
    return total


def _bits(w: Sequence[int], i: int) -> int:
    if not 0 <= i < len(w):
        return EDGE
    bits = (NEWLINE | (FINAL if i == len(w) - 1 else 0)) if w[i] == 10 else 0
    bits |= terms.WORD if charset.contains(charset.category("w", False), w[i]) else 0
    return bits | (terms.ASCII_WORD if charset.contains(charset.category("w", True), w[i]) else 0)
