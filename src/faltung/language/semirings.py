"""Semirings of single values: those of `faltung.algebras`, and some that carry more than a number.

`of("count")` is an algebra's semiring. `best(base)` keeps, beside the best weight, how it came about: capture groups of the best
derivation. `kbest(base, k)` keeps the k best derivations, `expectation()` a probability with an expected value. Questions about a
language differ by nothing else than the semiring.

Source: Goodman, Semiring parsing (1999); Eisner (2002) for expectations.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from faltung import algebras
from faltung.algebras import Algebra
from faltung.algebras.algebra import operation
from faltung.errors import ArgumentError

Value = Any


@dataclass(frozen=True, eq=False)
class Semiring:
    """Values with ⊕, ⊗, their neutral elements and the star, as functions of Python values.

    `value` brings a weight that a user wrote into the semiring. `letter` is the weight of reading any letter where that is not
    one, `mark` that of a group's beginning (number > 0) or end (number < 0). `algebra` and `dtype` name the machine arithmetic
    that computes the same, where there is one.
    """

    name: str
    zero: Value
    one: Value
    add: Callable[[Value, Value], Value]
    mul: Callable[[Value, Value], Value]
    star: Callable[[Value], Value]
    value: Callable[[Value], Value]
    commutative: bool = True
    idempotent: bool = False
    exact: bool = False
    algebra: Algebra | None = None
    dtype: str = ""
    letter: Value = None
    mark: Callable[[int], Value] | None = None
    same: Callable[[Value, Value], bool] = operator.eq

    def power(self, base: Value, n: int) -> Value:
        """base ⊗ ... ⊗ base, n times."""
        total = self.one
        while n:
            if n & 1:
                total = self.mul(total, base)
            base, n = self.mul(base, base), n >> 1
        return total


def of(over: str | Algebra | Semiring) -> Semiring:
    """The semiring of that name, of that algebra, or the semiring itself."""
    return over if isinstance(over, Semiring) else _of_algebra(algebras.named(over))


@lru_cache(maxsize=64)
def _of_algebra(algebra: Algebra) -> Semiring:
    if algebra.name == "integer":  # a word's weight is one number: Python's integers hold it whatever its size
        dtype, objects = np.dtype(object), True
    else:
        name = next(d for d in ("float64", "complex128", "int64", "bool", "object")
                    if d in {algebra.compute(t, t) for t in algebra.dtypes})  # fmt: skip
        dtype, objects = np.dtype(name), name == "object"
    compiled = bool(algebra.scalar_add and algebra.scalar_mul)
    kinds: dict[str, Any] = {"f": float, "c": complex, "b": bool, "i": int, "O": lambda v: v}
    kind = kinds[dtype.kind]

    def value(weight: Value) -> Value:
        if algebra.name == "boolean":
            return weight is not False
        array = np.asarray(weight, dtype=object if dtype.kind in "Oi" else dtype)
        if array.ndim:
            raise ArgumentError.of(f"a weight over {algebra.name}", "one number", f"an array of shape {array.shape}",
                                   "choose a semiring of such values")  # fmt: skip
        if dtype.kind == "i" or algebra.name == "integer" or algebra.modulus:
            if isinstance(weight, int | np.integer):
                return int(weight) % algebra.modulus if algebra.modulus else int(weight)
            raise ArgumentError.of(
                f"a weight over {algebra.name}", "an integer", repr(weight), "use over='rational' or 'real'"
            )
        return kind(algebra.admit(array.reshape(1))[0] if algebra.admit else array.item())

    def star(a: Value) -> Value:
        if algebra.name == "integer":
            if a != 0:
                raise ArgumentError.of("star over integer", "0", repr(a), "use over='count' or 'rational'")
            return 1
        if algebra.star is None:
            raise ArgumentError.of(f"star over {algebra.name}", "an algebra with a star", algebra.name, "use another")
        found = algebra.star(a if objects else dtype.type(a))
        return kind(found.item() if isinstance(found, np.ndarray | np.generic) else found)

    add, mul = (
        (operation(algebra.scalar_add), operation(algebra.scalar_mul)) if compiled
        else (lambda a, b: kind(algebra.add(a, b)), lambda a, b: kind(algebra.mul(a, b)))
    )  # fmt: skip
    zero, one = kind(algebra.zero(dtype)), kind(algebra.one(dtype))
    if algebra.ordered and algebra.shifts:
        mul = _annihilated(mul, zero)
    return Semiring(
        algebra.name, zero, one, add, mul, star, value, commutative="commutative" in algebra.laws,
        idempotent="idempotent" in algebra.laws, exact=algebra.exact, algebra=algebra if compiled else None,
        dtype="" if objects else str(dtype),
    )  # fmt: skip


def _annihilated(mul: Callable, zero: Value) -> Callable:
    """−∞ and +∞ meet in tropical algebras: zero wins."""
    return lambda a, b: zero if zero in (a, b) else mul(a, b)


# -- derivations --------------------------------------------------------------------------------------------------------------

LETTER = 0  # in a trace: a letter was read; other tokens are marks
Trace = Any  # (), a token in a tuple, or a pair of traces


@dataclass(frozen=True)
class Derivation:
    """One way in which a word came about: its weight, and its letters and marks in order."""

    weight: Value
    tokens: tuple[int, ...]

    @property
    def groups(self) -> dict[int, tuple[int, int]]:
        """For each capture group that took part: where its last round began and ended."""
        at, begun, found = 0, {}, {}
        for token in self.tokens:
            if token == LETTER:
                at += 1
            elif token > 0:
                begun[token] = at
            else:
                found[-token] = (begun[-token], at)
        return found


def _flat(trace: Trace) -> tuple[int, ...]:
    tokens, stack = [], [trace]
    while stack:
        top = stack.pop()
        if type(top) is int:
            tokens.append(top)
        else:
            stack += reversed(top)
    return tuple(tokens)


def _joined(a: Trace, b: Trace) -> Trace:
    return b if a == () else a if b == () else (a, b)


def kbest(base: str | Algebra | Semiring, k: int) -> Semiring:
    """The k best derivations over an ordered algebra, best first; of equally good ones those that come first in the expression.

    Formula: values are lists of (weight, trace); ⊕ merges two lists, ⊗ combines every pair, and k are kept.
    Args: base: "min-plus", "max-plus", "max-times", "max-min", "min-max" or "boolean".   k: at least 1.
    Returns: a semiring; the weight of a word is a tuple of `Derivation`.
    Cost: k² products instead of one.
    Source: Goodman (1999).
    """
    inner = of(base)
    if inner.algebra is None or not inner.algebra.ordered:
        raise ArgumentError.of("kbest", "an ordered algebra such as max-times", inner.name, "choose one of these")
    if k < 1:
        raise ArgumentError.of("kbest", "k of at least 1", f"{k}", "ask for one derivation or more")
    items = tuple[tuple[Value, Trace], ...]

    def before(a: Value, b: Value) -> bool:
        return a != b and inner.add(a, b) == a

    def merged(a: items, b: items) -> items:
        out: list[tuple[Value, Trace]] = []
        i = j = 0
        while len(out) < k and (i < len(a) or j < len(b)):
            if j >= len(b) or (i < len(a) and not before(b[j][0], a[i][0])):
                out.append(a[i])
                i += 1
            else:
                out.append(b[j])
                j += 1
        return tuple(out)

    def times(a: items, b: items) -> items:
        out: items = ()
        for w, t in a:
            row = tuple((v, _joined(t, u)) for x, u in b if (v := inner.mul(w, x)) != inner.zero)
            out = merged(out, row)
        return out

    one: items = ((inner.one, ()),)

    def star(a: items) -> items:
        if a and before(a[0][0], inner.one):
            raise ArgumentError.of(
                "kbest", "loops that gain nothing", f"one of weight {a[0][0]!r}", "change its weight"
            )
        total = power = one
        for _ in range(k - 1 if a else 0):
            power = times(power, a)
            total = merged(total, power)
        return total

    def value(weight: Value) -> items:
        w = inner.value(weight)
        return () if w == inner.zero else ((w, ()),)

    return Semiring(
        f"{k} best over {inner.name}", (), one, merged, times, star, value, commutative=False,
        letter=((inner.one, LETTER),), mark=lambda number: ((inner.one, number),),
        same=lambda a, b: [w for w, _ in a] == [w for w, _ in b],
    )  # fmt: skip


def best(base: str | Algebra | Semiring = "max-times") -> Semiring:
    """The best derivation over an ordered algebra: `kbest(base, 1)`."""
    return kbest(base, 1)


def derivations(value: tuple) -> tuple[Derivation, ...]:
    """The value of `kbest` as derivations."""
    return tuple(Derivation(w, _flat(trace)) for w, trace in value)


def expectation(base: str | Algebra | Semiring = "real") -> Semiring:
    """Pairs (p, r): a total weight p and the total r of something that adds up along a derivation, weighted.

    Formula: (p, r) ⊕ (q, s) = (p⊕q, r⊕s),  (p, r) ⊗ (q, s) = (p⊗q, p⊗s ⊕ r⊗q),  (p, r)* = (p*, p*⊗r⊗p*).
    Args: base: any algebra. A weight is written as a pair, a single number p as (p, 0).
    Returns: a semiring; r / p is the expected value over all derivations of a word.
    Source: Eisner, Parameter estimation for probabilistic finite-state transducers (2002).
    """
    b = of(base)

    def value(weight: Value) -> tuple[Value, Value]:
        return (b.value(weight[0]), b.value(weight[1])) if isinstance(weight, tuple) else (b.value(weight), b.zero)

    def star(a: tuple[Value, Value]) -> tuple[Value, Value]:
        p = b.star(a[0])
        return p, b.mul(b.mul(p, a[1]), p)

    return Semiring(
        f"expectation over {b.name}", (b.zero, b.zero), (b.one, b.zero),
        lambda x, y: (b.add(x[0], y[0]), b.add(x[1], y[1])),
        lambda x, y: (b.mul(x[0], y[0]), b.add(b.mul(x[0], y[1]), b.mul(x[1], y[0]))),
        star, value, commutative=b.commutative, exact=b.exact,
    )  # fmt: skip
