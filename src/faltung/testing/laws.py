"""Tests the laws that an algebra declares, and those that every convolution keeps.

An algebra's laws are tested by hypothesis on its own values: exactly where it is exact, within a few roundings elsewhere. A law
that is declared and false is found; a law that holds and is not declared is no failure. Convolution laws are tested through
the planner, whatever method it picks.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from faltung.algebras import Algebra
from faltung.algebras.algebra import COMPLEXES, INTEGERS, operation
from faltung.domains import Boundary
from faltung.errors import ArgumentError
from faltung.methods.method import ROUNDOFF
from faltung.planner import plan_problem
from faltung.problem import Problem
from faltung.testing.problems import operands

Law = Callable[[Algebra, Any, Any, Any, Any], bool]  # algebra, three values, near(left, right, size) -> holds?


def check_algebra(algebra: Algebra, dtype: str, examples: int = 100) -> None:
    """All laws of one algebra in one of its compute dtypes.

    Raises:
        AssertionError: with the law and three values for which it fails, as small as hypothesis finds them.
    """
    from hypothesis import HealthCheck, given, settings

    near, one = _near(algebra, dtype), values(dtype, algebra)

    def holding(name: str, law: Law) -> Callable[[Any, Any, Any], None]:
        def holds(a: Any, b: Any, c: Any) -> None:
            with np.errstate(all="ignore"):
                assert law(algebra, a, b, c, near), f"{algebra.name} in {dtype}: {name} fails for {a!r}, {b!r}, {c!r}"

        return holds

    for name, law in laws_of(algebra).items():
        # No example database: the suite leaves no files where it runs. Derandomized: it repeats. No clock decides.
        untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
        settings(untimed, max_examples=examples, database=None, derandomize=True)(
            given(one, one, one)(holding(name, law))
        )()


def laws_of(algebra: Algebra) -> dict[str, Law]:
    """The laws that the algebra must keep: those of every semiring, and those that it declares."""
    chosen = _SEMIRING | (_COMPILED if algebra.scalar_mul else {}) | (_STAR if algebra.star else {})
    for name in algebra.laws:
        chosen |= _DECLARED.get(name, {})
    return chosen


def values(dtype: str, algebra: Algebra) -> Any:
    """The hypothesis strategy of scalars of that dtype, of a size at which sums and products of three stay finite."""
    from hypothesis import strategies as st

    scalar = np.dtype(dtype).type
    special = [algebra.zero(np.dtype(dtype)), algebra.one(np.dtype(dtype))]
    if algebra.modulus:
        drawn, scalar = st.integers(0, algebra.modulus - 1), int if dtype == "object" else np.int64
        special = [scalar(v) for v in special]
    elif dtype == "object":
        whole = st.integers(0 if algebra.least == 0 else -(2**90), 2**90)
        drawn, scalar = (
            (whole if algebra.least == 0 else st.one_of(whole, st.fractions(max_denominator=99))),
            lambda v: v,
        )
        special += [math.inf] if algebra.least == 0 else [-(2**63) - 1]
        special += [2**63 - 1, 2**63, 2**64]  # where NumPy's types end
    elif dtype == "bool":
        drawn = st.booleans()
    elif dtype in INTEGERS:
        drawn = st.integers(0 if dtype[0] == "u" else -(2**20), 2**20)
    elif dtype in COMPLEXES:
        part = st.integers(-4096, 4096).map(lambda v: v / 64)
        drawn = st.builds(complex, part, part)
    else:
        low = max(-1e3, algebra.least)
        drawn = st.one_of(st.integers(max(-50, int(low)), 50).map(float), st.floats(low, 1e3, width=32))
    return st.one_of(drawn.map(scalar), st.sampled_from(special))


def _near(algebra: Algebra, dtype: str) -> Callable[[Any, Any, Any], bool]:
    """Equality: of values in exact algebras, within eight roundings of the largest value that took part elsewhere."""

    def near(left: Any, right: Any, size: Any) -> bool:
        if algebra.exact or left == right or (np.isnan(left) and np.isnan(right)):
            return bool(left == right)
        return bool(abs(left - right) <= 8 * ROUNDOFF[dtype] * size)

    return near


def _size(algebra: Algebra, *given: Any) -> float:
    """How large the terms of an expression in these values can be."""
    if algebra.exact:
        return 0.0
    total = sum(1.0 + abs(v) for v in given if np.isfinite(v))
    return float(total) ** (1 if algebra.shifts else 3)


def _dtype(a: Any) -> np.dtype:
    """Python's own numbers are objects, also where NumPy would find a type that holds them."""
    return np.dtype(object) if isinstance(a, int | Fraction) else np.asarray(a).dtype


def _zero(o: Algebra, a: Any) -> Any:
    return o.zero(_dtype(a))


def _negative(o: Algebra, a: Any) -> Any:
    if o.modulus:
        return -a % o.modulus
    return -a if isinstance(a, int | Fraction) else np.subtract(_zero(o, a), a)


def _one(o: Algebra, a: Any) -> Any:
    return o.one(_dtype(a))


_SEMIRING: dict[str, Law] = {
    "add is associative": lambda o, a, b, c, near: near(
        o.add(o.add(a, b), c), o.add(a, o.add(b, c)), _size(o, a, b, c)
    ),
    "add is commutative": lambda o, a, b, c, near: bool(o.add(a, b) == o.add(b, a)),
    "mul is associative": lambda o, a, b, c, near: near(
        o.mul(o.mul(a, b), c), o.mul(a, o.mul(b, c)), _size(o, a, b, c)
    ),
    "mul distributes over add": lambda o, a, b, c, near: near(
        o.mul(a, o.add(b, c)), o.add(o.mul(a, b), o.mul(a, c)), _size(o, a, b, c)
    ),
    "mul distributes from the right": lambda o, a, b, c, near: near(
        o.mul(o.add(b, c), a), o.add(o.mul(b, a), o.mul(c, a)), _size(o, a, b, c)
    ),
    "zero is neutral": lambda o, a, b, c, near: bool(o.add(a, _zero(o, a)) == a),
    "zero annihilates": lambda o, a, b, c, near: bool(o.mul(a, _zero(o, a)) == _zero(o, a)),
    "one is neutral": lambda o, a, b, c, near: bool(o.mul(a, _one(o, a)) == a) and bool(o.mul(_one(o, a), a) == a),
    "values keep their dtype": lambda o, a, b, c, near: (
        o.arithmetic == "objects" or _dtype(o.add(a, b)) == _dtype(o.mul(a, b)) == _dtype(a)
    ),
}
_COMPILED: dict[str, Law] = {
    "the compiled add is the array's": lambda o, a, b, c, near: near(
        operation(o.scalar_add)(a, b), o.add(a, b), _size(o, a, b)
    ),
    "the compiled mul is the array's": lambda o, a, b, c, near: near(
        operation(o.scalar_mul)(a, b), o.mul(a, b), _size(o, a, b)
    ),
}
_STAR: dict[str, Law] = {
    "star is one more round": lambda o, a, b, c, near: _unrolls(o, a, near),
}
_DECLARED: dict[str, dict[str, Law]] = {
    "ring": {
        "add can be undone": lambda o, a, b, c, near: near(o.add(o.add(a, b), _negative(o, b)), a, _size(o, a, b)),
        # What has inverses cancels: different values stay different when the same is added to both.
        "add cancels": lambda o, a, b, c, near: near(a, b, 4 * _size(o, a, b, c)) or bool(o.add(a, c) != o.add(b, c)),
    },
    "commutative": {"mul is commutative": lambda o, a, b, c, near: bool(o.mul(a, b) == o.mul(b, a))},
    "exact": {
        "add does not round": lambda o, a, b, c, near: bool(o.add(o.add(a, b), c) == o.add(a, o.add(b, c))),
        "mul does not round": lambda o, a, b, c, near: bool(o.mul(a, o.add(b, c)) == o.add(o.mul(a, b), o.mul(a, c))),
    },
    "idempotent": {"add is idempotent": lambda o, a, b, c, near: bool(o.add(a, a) == a)},
    "ordered": {"add picks an operand": lambda o, a, b, c, near: bool(o.add(a, b) == a) or bool(o.add(a, b) == b)},
}


def _unrolls(o: Algebra, a: Any, near: Callable[[Any, Any, Any], bool]) -> bool:
    """star(a) = one ⊕ a ⊗ star(a) = one ⊕ star(a) ⊗ a, wherever there is a star."""
    assert o.star is not None
    try:
        objects = o.arithmetic == "objects"
        star = o.star(a) if objects else np.asarray(o.star(np.asarray(a)))[()]
    except ArgumentError:
        return True
    size = _size(o, a, star)
    return all(near(star, o.add(_one(o, a), o.mul(*pair)), size) for pair in ((a, star), (star, a)))


# -- convolutions -----------------------------------------------------------------------------------------------------------


def check_convolution(problem: Problem, seed: int = 0) -> list[str]:
    """All convolution laws that apply to a problem; returns their names.

    Raises:
        AssertionError: with the law, the problem's line and the seed.
    """
    applied = []
    for law in (_linear, _impulse, _adjoint, _shift):
        try:
            verdict = law(problem, seed)
        except Exception as error:
            error.add_note(f"problem: {problem.text}, seed {seed}")
            raise
        if verdict is None:
            continue
        name, holds = verdict
        assert holds, f"{name} fails\n  problem: {problem.text}\n  seed {seed}"
        applied.append(name)
    return applied


def _solve(problem: Problem, **given: Any) -> np.ndarray:
    return np.asarray(plan_problem(problem)(**given))


def _close(problem: Problem, left: np.ndarray, right: np.ndarray, size: float = 1.0) -> bool:
    """Equality within the plan's bound for problems in floating point; `size` is that of the sums."""
    if problem.over.exact:
        return bool(np.array_equal(left, right))
    unit = ROUNDOFF[problem.compute_dtype] + ROUNDOFF[problem.out_dtype]
    with np.errstate(invalid="ignore"):  # infinities are compared as such
        inside = np.abs(left - right) <= (8 * unit + 4 * plan_problem(problem).error) * size
    return bool(np.all(inside | (left == right)))


def _wide(problem: Problem) -> Problem:
    """The problem with the dtype of the arithmetic throughout: laws are about values, not about the rounding of results."""
    dtype = problem.compute_dtype
    return replace(problem, x_dtype=dtype, k_dtype=dtype, out_dtype=dtype, host="numpy", unknown="out")


def _size_of(problem: Problem, x: np.ndarray, k: np.ndarray) -> float:
    fill = max((abs(b.value) for b in problem.boundary if b.value is not None), default=0.0)
    largest = [float(np.abs(a).max(initial=0)) for a in (x, k)]
    if problem.over.ordered:
        return largest[0] + largest[1] + fill
    return max(largest[0], fill) * largest[1] * problem.depth


def _linear(problem: Problem, seed: int) -> tuple[str, bool] | None:
    """(a + b) ∗ k = a ∗ k + b ∗ k, in the algebra's own add; a constant that is not its zero takes part once only."""
    p = _wide(problem)
    if any(b.kind == "constant" and b.value is not None for b in p.boundary):
        return None
    one, other = operands(p, seed), operands(p, seed + 1)
    a, b, k = one["x"], other["x"], one["k"]
    left = _solve(p, x=p.over.add(a, b), k=k)
    right = p.over.add(_solve(p, x=a, k=k), _solve(p, x=b, k=k))
    return "linearity", _close(p, left, right, 2 * _size_of(p, np.abs(a) + np.abs(b) if a.dtype != bool else a, k))


def _impulse(problem: Problem, seed: int) -> tuple[str, bool] | None:
    """A filter with `one` at a single tap reads the extended signal at that tap."""
    p, g = _wide(problem), problem.grid
    if p.pattern != "*s, *s -> *s":
        return None
    random, x = np.random.default_rng(seed), operands(p, seed)["x"]
    tap = tuple(int(random.integers(t)) for t in g.t)
    k = np.full(p.k_shape, p.over.zero(np.dtype(p.k_dtype)))
    k[tap] = p.over.one(k.dtype)
    if p.over.ordered and any(b.value is not None for b in p.boundary):
        return (
            None  # zero times a constant is zero only where the constant is finite, which -inf + v is not asked to be
        )
    at = tuple(t - 1 - u for t, u in zip(g.t, tap, strict=True)) if p.flip else tap
    extended = g.pad(x, p.over.zero(np.dtype(p.x_dtype)))
    cut = tuple(
        slice(u * d, u * d + (m - 1) * s + 1, s) for u, d, m, s in zip(at, g.dilation, g.m, g.stride, strict=True)
    )
    return "impulse", _close(p, _solve(p, x=x, k=k), extended[cut], _size_of(p, x, k))


def _adjoint(problem: Problem, seed: int) -> tuple[str, bool] | None:
    """⟨A x, y⟩ = ⟨x, Aᵀ y⟩ for the signal and for the filter: the three unknowns are one trilinear form."""
    p = _wide(problem)
    if not p.over.ring:
        return None
    given = operands(p, seed)
    x, k, y = given["x"], given["k"], given["y"]
    out = _solve(p, x=x, k=k)
    beyond = _solve(p, x=np.zeros_like(x), k=k)  # what constants beyond the edge contribute does not depend on x
    pairs = (
        (_dot(out, y) - _dot(beyond, y), _dot(x, _solve(p.gradient("x"), k=k, y=y))),
        (_dot(out, y), _dot(k, _solve(p.gradient("k"), x=x, y=y))),
    )
    if p.over.exact:
        return "adjointness", all(left == right for left, right in pairs)
    bound = max(plan_problem(q).error for q in (p, p.gradient("x"), p.gradient("k")))
    size = _size_of(p, x, k) * float(np.abs(y).sum()) + 1e-300
    return "adjointness", all(
        abs(left - right) <= 8 * (bound + ROUNDOFF[p.compute_dtype]) * size for left, right in pairs
    )


def _dot(a: np.ndarray, b: np.ndarray) -> Any:
    wide = object if a.dtype.kind in "iu" else np.result_type(a.dtype, np.float64)
    return (a.astype(wide) * b.astype(wide)).sum()


def _shift(problem: Problem, seed: int) -> tuple[str, bool] | None:
    """On the circle (wrap everywhere), shifting the signal shifts the result."""
    p, g = _wide(problem), problem.grid
    if p.pattern != "*s, *s -> *s" or any(s != 1 for s in g.stride):
        return None
    same = tuple((r // 2, r - 1 - r // 2) for r in g.reach)
    circle = replace(p, pads=same, boundary=(Boundary("wrap"),) * g.ndim)
    given = operands(circle, seed)
    x, k = given["x"], given["k"]
    by = tuple(int(v) for v in np.random.default_rng(seed).integers(-3, 4, g.ndim))
    axes = tuple(range(g.ndim))
    left, right = _solve(circle, x=np.roll(x, by, axes), k=k), np.roll(_solve(circle, x=x, k=k), by, axes)
    return "shift", _close(circle, left, right, _size_of(circle, x, k))
