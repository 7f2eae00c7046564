"""Declared structure of filters over max-plus and min-plus: sums of rows, convex rows; recognised, right, or left alone."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import faltung
from faltung import Policy, Spec
from faltung.errors import RefusedError
from faltung.kernels.monotone.on_numba import hull
from faltung.methods import separable
from faltung.methods.monotone import convex_rows
from faltung.testing.conformance import check
from faltung.testing.problems import draw

MERGE, PASSES = Policy(only="monotone"), Policy(only="sum-passes")


@pytest.mark.parametrize("algebra", ["max-plus", "min-plus"])
@pytest.mark.parametrize("method", ["monotone", "sum-passes"])
def test_structured_methods_equal_the_definition(method, algebra):
    for seed in range(400, 440):
        problem = draw(seed, algebra=algebra, unknown="out", pattern="*s, *s -> *s", host="numpy", ndim=1 + seed % 3)
        plain = replace(problem, stride=(1,) * problem.grid.ndim, dilation=(1,) * problem.grid.ndim)
        assert check(plain, method, seed=seed) in ("right", "refuses")
        assert check(plain, method, seed=seed, filters="normal") in ("right", "unfit", "refuses")


def test_concave_sequences_merge_their_slopes():
    random = np.random.default_rng(0)
    a, b = (np.concatenate([[0.0], np.cumsum(np.sort(random.integers(-50, 50, n))[::-1])]) for n in (300, 170))
    came = faltung.convolve(a, b, over="max-plus", policy=MERGE)
    slopes = np.sort(np.concatenate([np.diff(a), np.diff(b)]))[::-1]
    assert np.array_equal(came, np.concatenate([[a[0] + b[0]], a[0] + b[0] + np.cumsum(slopes)]))


def test_evaluation_is_a_homomorphism():
    """eval(a ∗ b)(t) = eval(a)(t) + eval(b)(t), eval(c)(t) = max of cᵢ + i·t."""
    random, t = np.random.default_rng(1), np.linspace(-3, 3, 41)[:, None]
    a, b = random.standard_normal(30), random.standard_normal(40)

    def value(c):
        return (c + np.arange(c.size) * t).max(1)

    assert np.allclose(value(faltung.convolve(a, b, over="max-plus")), value(a) + value(b), rtol=0, atol=1e-13)


@pytest.mark.parametrize("exponent", [1.0, 1.5, 4.0])
def test_long_convex_costs_are_the_direct_ones(exponent):
    random = np.random.default_rng(2)
    x, k = random.standard_normal(3000) * 100, np.abs(np.arange(-700, 701)) ** exponent
    came = faltung.convolve(x, k, mode="same", over="min-plus", policy=MERGE)
    assert np.allclose(
        came, faltung.convolve(x, k, mode="same", over="min-plus", policy=Policy(only="direct")), rtol=1e-14
    )
    long = np.abs(np.arange(-20_000, 20_001)) ** exponent
    planned = faltung.plan(Spec((400_000,), "float64"), Spec(long.shape, "float64"), mode="same", over="min-plus")
    assert planned.prepare(long).method == "monotone"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-8, 8) | st.floats(-1, 1), min_size=1, max_size=14))
def test_hulls_are_the_largest_convex_rows_below(values):
    row = np.array(values, "float64")
    at = np.arange(row.size)
    wanted = row.copy()  # at each place the lowest chord between a place before and one behind
    for a, b in itertools.combinations(range(row.size), 2):
        chord = row[a] + (row[b] - row[a]) * (at - a) / (b - a)
        wanted[a : b + 1] = np.minimum(wanted, chord)[a : b + 1]
    came = hull(row)
    assert np.allclose(came, wanted, rtol=0, atol=1e-13)
    assert np.array_equal(row, np.array(values, "float64"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_convex_rows_may_be_rounded(dtype):
    """Costs |u| of sevenths are convex, their roundings are not; a dent of more than the roundings is seen."""
    u = np.arange(-3000, 3001) / 7
    k = np.abs(u).astype(dtype)
    assert np.diff(k.astype("float64"), 2).min() < 0
    rows = convex_rows(k, False)
    assert rows is not None
    assert np.diff(rows[0][0], 2).min() > -1e-12
    assert np.abs(rows[0][0] - k).max() <= 8 * np.finfo(dtype).eps * k.max()
    k[1000] += 64 * np.finfo(dtype).eps * k.max()
    assert convex_rows(k, False) is None


def test_a_pyramid_is_a_sum_of_rows_and_an_exact_one():
    x = np.random.default_rng(3).integers(0, 256, (70, 90)).astype("float32")
    u = np.abs(np.arange(-7, 8))
    k = (-3.0 * u[:, None] - u).astype("float32")
    wanted = faltung.convolve(x, k, mode="same", over="max-plus", policy=Policy(only="definition"))
    for policy in (PASSES, MERGE):
        assert np.array_equal(faltung.convolve(x, k, mode="same", over="max-plus", policy=policy), wanted)


def test_other_filters_are_left_to_other_methods():
    x, k = np.zeros((30, 30)), np.random.default_rng(4).standard_normal((5, 5))
    for policy in (PASSES, MERGE):
        with pytest.raises(RefusedError, match="a filter for"):
            faltung.convolve(x, k, over="max-plus", policy=policy)
    bent = -np.add.outer(np.arange(5.0) ** 2, np.arange(5.0) ** 2)  # concave, but the smallest are wanted
    with pytest.raises(RefusedError, match="a filter for"):
        faltung.convolve(x, bent, over="min-plus", policy=MERGE)


@settings(max_examples=80, deadline=None)
@given(
    shape=st.sampled_from([(2, 2), (1, 5), (3, 4), (5, 5), (2, 3, 4)]), wide=st.booleans(), seed=st.integers(0, 999),
    off=st.sampled_from([0.0, 1e-17, 1e-15, 1e-9, 1e-3, 1.0]), scale=st.sampled_from([1e-200, 1.0, 1e200]),
)  # fmt: skip
def test_corners_turn_away_no_filter_that_singular_values_take(shape, wide, seed, off, scale):
    random = np.random.default_rng(seed)
    k = np.ones(())
    for n in shape:
        k = np.multiply.outer(k, random.standard_normal(n))
    k = scale * (k + off * random.standard_normal(shape)) * (1j if wide else 1)
    matrix = k.reshape(shape[0], -1)
    values = np.linalg.svd(matrix / scale, compute_uv=False)
    bound = separable._second(matrix) / scale
    if min(matrix.shape) > 1:
        assert bound <= values[1] + 1e-14 * values[0]
        assert bound > 0 or off < 1 or scale != 1
    else:
        assert bound == 0
    with np.errstate(over="ignore", under="ignore"):
        came = separable.rank_one_terms(k, 1e-12 * scale, 1)
        corners, separable._second = separable._second, lambda matrix: 0.0
        try:
            wanted = separable.rank_one_terms(k, 1e-12 * scale, 1)
        finally:
            separable._second = corners
    assert (came is None) == (wanted is None)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("place", [(0, 0), (1, 2), (2, 3)])
def test_filters_that_are_not_finite_have_no_terms(value, place):
    k = np.random.default_rng(0).standard_normal((3, 4))
    k[place] = value
    assert separable.rank_one_terms(k, 0.0, 1) is None
    assert separable.rank_one_terms(k, 0.0, 3) is None
