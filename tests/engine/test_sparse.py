"""Products of few terms far apart."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import algebras
from faltung.engine import convolve_sparse
from faltung.errors import ArgumentError

OVER = ("rational", "max-plus", "modular(7)", "real")
coefficients = st.integers(-9, 9).filter(bool)
near = st.dictionaries(st.tuples(st.integers(-3, 3), st.integers(0, 4)), coefficients, min_size=1, max_size=8)
far = st.dictionaries(
    st.tuples(st.integers(-(10**6), 10**6), st.integers(0, 10**6)), coefficients, min_size=1, max_size=8
)


def by_loops(x, k, algebra):
    y = {}
    for u, a in x.items():
        for v, b in k.items():
            w = tuple(i + j for i, j in zip(u, v, strict=True))
            y[w] = algebra.add(y[w], algebra.mul(a, b)) if w in y else algebra.mul(a, b)
    return {w: v for w, v in sorted(y.items()) if v != algebra.zero(np.dtype("float64"))}


@settings(max_examples=120, deadline=None, database=None, derandomize=True)
@given(
    st.one_of(st.tuples(near, near), st.tuples(far, far), st.tuples(near, far)),
    st.sampled_from(["rational", "max-plus", "modular(7)", "real"]),
)
def test_it_is_two_loops(pair, over):
    algebra = algebras.named(over)
    x, k = pair
    if over in ("max-plus", "real"):
        x, k = ({e: float(v) for e, v in a.items()} for a in (x, k))
    if over == "modular(7)":
        x, k = ({e: v % 7 for e, v in a.items() if v % 7} or {(0, 0): 1} for a in (x, k))
    came = convolve_sparse(x, k, over=over)
    assert came == by_loops(x, k, algebra)
    assert list(came) == sorted(came)


def test_known_products():
    x = {(1, 0, 0): 1, (0, 1, 0): 1, (0, 0, 1): 1}
    cube = convolve_sparse(convolve_sparse(x, x), x)
    assert sorted(cube.values()) == [1, 1, 1, 3, 3, 3, 3, 3, 3, 6]
    assert convolve_sparse({10**12: 1, 0: 1}, {10**12: 1, 0: -1}) == {0: -1, 2 * 10**12: 1}
    assert convolve_sparse({-1: Fraction(1, 2), 1: 1}, {1: 2}) == {0: 1, 2: 2}
    assert convolve_sparse({0: 2**70}, {5: 3}) == {5: 3 * 2**70}
    assert convolve_sparse({}, {1: 1}) == {}
    assert convolve_sparse({0: 0.5, 1: 0.25}, {0: 2.0}) == {0: 1.0, 1: 0.5}


def test_many_terms_come_in_parts(monkeypatch):
    from faltung.engine import sparse

    random = np.random.default_rng(0)
    x, k = (
        {int(e): int(v) for e, v in zip(random.integers(0, 10**9, 60), random.integers(1, 99, 60), strict=True)}
        for _ in range(2)
    )
    whole = convolve_sparse(x, k)
    monkeypatch.setattr(sparse, "MOST", 100)
    assert convolve_sparse(x, k) == whole


@pytest.mark.parametrize(
    ("x", "k", "words"),
    [
        ([1], {0: 1}, "a dictionary"),
        ({0.5: 1}, {0: 1}, "whole numbers"),
        ({(0, 1): 1, (0,): 1}, {0: 1}, "tuples of as many"),
        ({(0, 1): 1}, {0: 1}, "of one kind"),
        ({(0, 0): 1, (2**40, 2**40): 1}, {(0, 0): 1}, "2\\^62 places"),
    ],
)
def test_wrong_terms_say_what_is_wrong(x, k, words):
    with pytest.raises(ArgumentError, match=words):
        convolve_sparse(x, k)
