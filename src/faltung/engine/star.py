"""The star of a convolution: one ⊕ x ⊕ x∗x ⊕ x∗x∗x ⊕ ..., over every algebra in which that sum exists.

One operation under many names: over the reals and on series it is 1 / (1 − x), the response of a recursive filter; over the
boolean algebra what can be reached; over min-plus the shortest distances; over count in how many ways.
"""

from typing import Any

import numpy as np

from faltung import arrays, domains
from faltung.door import convolve, plan
from faltung.engine.power import one
from faltung.errors import ArgumentError
from faltung.methods.method import ROUNDOFF
from faltung.planner.policy import Policy

DOUBLINGS = 64
LEAF = 48  # terms that are computed one after the other


def star(
    x: Any, *, on: Any = None, over: Any = None, tol: float | None = None, max_terms: int | None = None,
    policy: Policy | None = None,
) -> Any:  # fmt: skip
    """The sum of all powers of x.

    Formula: `x* = one ⊕ x ⊕ x² ⊕ ... = one ⊕ x ∗ x*`. With x = a·one ⊕ d, a the value at the neutral index,
        `x* = (a*·d)* · a*`. On series the terms follow from those before, s[i] = Σ d[j] s[i − j]; elsewhere
        `(one ⊕ d)∗(one ⊕ d²)∗(one ⊕ d⁴)∗ ...` doubles the number of terms with two convolutions.

    Shapes: that of x.

    Args:
        x: an array whose axes are the indices of one domain.
        on: any domain of finitely many indices, `series` and `cyclic` included; not the grid, where sums have no end: pad x with
            zeros to as many terms as are wanted and say `series`.   over: the algebra, with a star of its own.
        tol: where values round, how large the last terms may be beside the sum's largest value. Default 4 unit roundoffs.
        max_terms: how many powers at most. Default twice the number of indices where values are exact, 2^64 elsewhere.
        policy: limits on every convolution.

    Returns:
        The star, in the kind of array that came in. Integers stay integers; exact algebras stay exact.

    Raises:
        ArgumentError: the grid; a domain without neutral index; an algebra without a star, or a value at the neutral index that has
            none; powers that do not settle within `max_terms` (of a real x: those with a spectral radius of 1 and more).

    Error: that of about 2·log₂(terms) convolutions, and `tol`; none for exact algebras. Rounded sums are held against
        one ⊕ x ∗ x* before they are returned; on series each term is rounded like a recursive filter's.
    Cost: two convolutions a doubling; on a series of n terms about log₂ n convolutions of that length.
    Source: Kleene (1956); Lehmann, Algebraic structures for transitive closure (1977); Elliott (2019).

    Example:
        A recursive filter y[t] = x[t] + 0.5 y[t−1] is the star of its feedback:

        >>> star([0.0, 0.5, 0.0, 0.0], on="series")
        array([1.   , 0.5  , 0.25 , 0.125])
        >>> star([False, False, True, True, False], on="cyclic")
        array([ True,  True,  True,  True,  True])
    """
    x = arrays.as_array(x, "star")
    if arrays.is_torch(x):
        raise ArgumentError.of(
            "star", "a NumPy array", "a torch tensor", "pass x.numpy(), or write the sum out for gradients"
        )
    domain = domains.named("grid" if on is None else on)
    if domain is domains.GRID:
        raise ArgumentError.of(
            "star",
            "a domain with finitely many indices",
            "the grid, where the sum has no end",
            "pad x with zeros and say on='series'",
        )
    problem = plan(x, x, on=on, over=over).problem
    algebra = problem.over
    if algebra.star is None:
        raise ArgumentError.of("star", "an algebra with a star", algebra.name, "use one that has")
    values = x.astype(problem.compute_dtype) if algebra.admit is None else algebra.admit(x)
    unit = one(values, on, over, "star")
    neutral = tuple(int(i[0]) for i in np.nonzero(unit == algebra.one(unit.dtype)))
    first = np.asarray(algebra.star(np.asarray(values[neutral], dtype=values.dtype)))[()]
    rest = _scaled(algebra, first, values)
    rest[neutral] = algebra.zero(unit.dtype)
    if domain is domains.SERIES:
        total = _term_by_term(algebra, rest, unit, policy)
    else:
        near = tol if tol is not None else 4 * ROUNDOFF.get(problem.compute_dtype, 0.0)
        total = _by_doubling(algebra, rest, unit, near, max_terms, {"on": on, "over": over, "policy": policy})
    return _scaled(algebra, first, total, right=True)


def _term_by_term(algebra: Any, d: np.ndarray, unit: np.ndarray, policy: Policy | None) -> np.ndarray:
    """s[i] = Σ over j ≥ 1 of d[j] s[i − j] along the first axis, as a recursive filter computes it; blocks by convolution.

    What the first half of a block adds to its second half is one convolution, so that n terms cost about log₂ n products of
    n terms. Further axes are series of their own, on which the slice d[0] has a star that comes first.
    """
    n, others = len(d), d.ndim - 1
    s, leaf = unit.copy(), 1 if others else LEAF
    around = _term_by_term(algebra, d[0], unit[0], policy) if others else None

    def solve(low: int, high: int) -> None:
        if high - low > leaf:
            middle = (low + high) // 2
            solve(low, middle)
            part = s[low:middle], d[: high - low]
            first = (len(part[1]) - 1, len(part[0]) - 1)  # the whole product along this axis, cut below
            pads = (first[:1] * 2, *((t - 1, 0) for t in d.shape[1:]))
            added = convolve(*part, mode=pads, over=algebra.name, policy=policy)[middle - low : high - low]
            s[middle:high] = algebra.add(s[middle:high], added).astype(s.dtype)
            solve(middle, high)
            return
        for i in range(low, high):
            if around is not None:
                pads = tuple((t - 1, 0) for t in d.shape[1:])
                s[i] = convolve(around, s[i], mode=pads, over=algebra.name, policy=policy)
            elif i + 1 < high:
                s[i + 1 : high] = algebra.add(s[i + 1 : high], algebra.mul(d[1 : high - i], s[i]))

    solve(0, n)
    return s


def _by_doubling(
    algebra: Any, powers: np.ndarray, unit: np.ndarray, near: float, max_terms: int | None, how: Any
) -> np.ndarray:
    """(one ⊕ d) ∗ (one ⊕ d²) ∗ (one ⊕ d⁴) ∗ ... until nothing changes."""
    d, total = powers, algebra.add(unit, powers).astype(unit.dtype)
    # Exact values have a sum on n indices only where the n-th power adds nothing; rounded ones may come near it for ever.
    counted = algebra.exact or algebra.ordered
    limit, terms = max_terms or (2 * d.size + 2 if counted else 1 << DOUBLINGS), 2
    while not _settled(algebra, powers, total, near):
        if terms >= limit or (powers.dtype.kind in "fc" and algebra.ring and not np.isfinite(powers).all()):
            raise _unsettled(f"values up to {_largest(powers):.3g} after {terms} terms")
        powers = convolve(powers, powers, **how)
        grown = algebra.add(total, convolve(total, powers, **how)).astype(unit.dtype)
        if not algebra.ring and _same(grown, total):
            return total
        total, terms = grown, 2 * terms
    if algebra.ring and not algebra.exact:
        # Powers may grow before they fall, and what was large has left its rounding behind.
        off = _largest(total - unit - convolve(d, total, **how))
        if off > 1e4 * ROUNDOFF[str(powers.dtype)] * _largest(total):
            raise _unsettled(f"a sum that misses one ⊕ x ∗ x* by {off:.3g}: powers cancel")
    return total


def _unsettled(came: str) -> ArgumentError:
    return ArgumentError.of(
        "star", "powers that settle", came, "scale x down, raise max_terms, or ask whether the sum exists"
    )


def _scaled(algebra: Any, factor: Any, values: np.ndarray, right: bool = False) -> np.ndarray:
    """factor ⊗ values; nothing is lost where the factor is one."""
    if factor == algebra.one(values.dtype):
        return values.copy()
    scaled = algebra.mul(values, factor) if right else algebra.mul(factor, values)
    return np.asarray(scaled).astype(values.dtype)


def _settled(algebra: Any, powers: np.ndarray, total: np.ndarray, near: float) -> bool:
    """Whether the next powers add nothing: all are the algebra's zero, or too small to be seen."""
    zero = algebra.zero(powers.dtype)
    if bool((powers == zero).all()):
        return True
    return bool(near and algebra.ring and _largest(powers) <= near * _largest(total))


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0))


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(((a == b) | ((a != a) & (b != b))).all())
