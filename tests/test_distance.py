"""Distance transforms: parabolas over min-plus and max-plus, by lower envelopes."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

import faltung
from faltung import Policy, convolve, correlate, filters
from faltung.errors import ArgumentError, RefusedError
from faltung.methods.envelope import parabolas
from faltung.testing.conformance import check
from faltung.testing.problems import PATTERNS, draw

ENVELOPE = Policy(only="envelope")


@pytest.mark.parametrize("algebra", ["min-plus", "max-plus"])
def test_envelopes_equal_the_definition(algebra):
    verdicts = Counter()
    for seed in range(90):
        problem = draw(seed, host="numpy", algebra=algebra, unknown="out", pattern=PATTERNS[seed % 2 * 2])
        problem = replace(problem, dilation=(1,) * problem.grid.ndim, k_dtype=("float32", "float64")[seed % 2])
        verdicts[check(problem, "envelope", seed=seed)] += 1
        if seed % 3 == 0:
            verdicts["other", check(problem, "envelope", seed=seed, filters="normal")] += 1
    assert verdicts["right"] >= 50, verdicts
    assert verdicts["other", "unfit"] >= 10, verdicts


def features(shape, share, seed=0):
    random = np.random.default_rng(seed)
    return np.where(random.random(shape) < share, 0.0, np.inf)


@pytest.mark.parametrize(
    ("shape", "spacing"), [((40, 51), (1.0, 1.0)), ((9, 60), (2.5, 0.5)), ((12, 13, 14), (1, 2, 3))]
)
@pytest.mark.parametrize("share", [0.5, 0.02])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_squared_distances_are_scipys(shape, spacing, share, dtype):
    x = features(shape, share).astype(dtype)
    x.flat[7] = 0.0
    k = filters.parabola([n - 1 for n in shape], [h * h for h in spacing]).astype(dtype)
    whole = convolve(x, k, over="min-plus", mode="same", policy=ENVELOPE)
    wanted = scipy.ndimage.distance_transform_edt(x > 0, sampling=spacing) ** 2
    np.testing.assert_allclose(whole, wanted, rtol=1e-6 if dtype == "float32" else 1e-13)
    assert whole.dtype == dtype


def test_two_passes_are_one_filter():
    """What a picture is told that is too large for a filter of twice its size."""
    x = features((70, 90), 0.01)
    rows, columns = filters.parabola(89, ndim=1), filters.parabola(69, ndim=1)
    y = convolve(x, rows, "r *s, *s -> r *s", over="min-plus", mode="same", policy=ENVELOPE)
    y = convolve(y, columns, "*s r, *s -> *s r", over="min-plus", mode="same", policy=ENVELOPE)
    assert np.array_equal(np.sqrt(y), scipy.ndimage.distance_transform_edt(x > 0))
    plain = convolve(x, rows[None], over="min-plus", mode="same", policy=ENVELOPE)
    assert np.array_equal(y, convolve(plain, columns[:, None], over="min-plus", mode="same", policy=ENVELOPE))


def test_rows_without_features_stay_infinite():
    x = np.full((3, 50), np.inf)
    x[1, 20] = 0.0
    y = convolve(x, filters.parabola(60, ndim=1), "r *s, *s -> r *s", over="min-plus", mode="same", policy=ENVELOPE)
    assert np.isposinf(y[[0, 2]]).all()
    assert np.array_equal(y[1], (np.arange(50.0) - 20) ** 2)


numbers = st.floats(-1e3, 1e3, width=32) | st.sampled_from([np.inf, -np.inf, np.nan, 0.0])


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(
    st.lists(numbers, min_size=1, max_size=30), st.integers(2, 40), st.integers(-12, 60), st.sampled_from([0.25, 1.0, 7.0]),
    st.sampled_from(["full", "same"]), st.sampled_from(["constant", "edge", "reflect", "wrap"]),
)  # fmt: skip
def test_any_window_of_any_row(values, taps, vertex, curvature, mode, boundary):
    """Longer and shorter than the row, with the vertex anywhere, whatever stands in the row."""
    x, k = np.array(values), curvature * (np.arange(taps) - vertex / 2) ** 2
    for over, sign in (("min-plus", 1.0), ("max-plus", -1.0)):
        came, wanted = (
            correlate(x, sign * k, over=over, mode=mode, boundary=boundary, policy=Policy(only=method))
            for method in ("envelope", "definition")
        )
        np.testing.assert_allclose(came, wanted, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize(
    "k",
    [
        np.zeros(9),
        np.arange(9.0),
        -(np.arange(9.0) ** 2),
        np.abs(np.arange(-4.0, 5.0)),
        np.arange(9.0) ** 2 + 1e-3 * (np.arange(9) == 4),
        np.where(np.arange(9) < 8, np.arange(9.0) ** 2, np.inf),
        np.where(np.arange(9) < 8, np.arange(9.0) ** 2, np.nan),
        np.multiply.outer(np.arange(4.0), np.arange(4.0)) + np.add.outer(np.arange(4.0) ** 2, np.arange(4.0) ** 2),
    ],
    ids=["flat", "line", "cap", "cone", "dent", "infinite", "NaN", "turned"],
)
def test_other_filters_are_left_to_other_methods(k):
    assert parabolas(k, largest=False) is None
    x = np.random.default_rng(0).standard_normal((30,) * k.ndim)
    with pytest.raises(RefusedError, match="a filter for envelope"):
        convolve(x, k, over="min-plus", policy=ENVELOPE)
    near = convolve(x, k, over="min-plus"), convolve(x, k, over="min-plus", policy=Policy(only="definition"))
    np.testing.assert_allclose(*near, rtol=1e-12, atol=1e-12)


def test_rounded_parabolas_are_parabolas():
    u, v = np.ogrid[-300:301, -200:201]
    k = (0.1 * (u - 0.37) ** 2 + 0.03 * (v + 11.2) ** 2 - 5.7).astype("float32")
    (_, first), (_, second) = parabolas(k, largest=False)
    assert first == pytest.approx((0.1, 300.37), rel=1e-4)
    assert second == pytest.approx((0.03, 188.8), rel=1e-4)
    assert parabolas(-k, largest=True) is not None
    assert parabolas(-k, largest=False) is None


def test_the_planner_takes_envelopes_for_long_parabolas():
    x = features((300, 400), 0.01).astype("float32")
    k = filters.parabola(399, ndim=1).astype("float32")
    p = faltung.plan(x, k, "r *s, *s -> r *s", over="min-plus", mode="same")
    assert p.prepare(k).method == "envelope"
    assert p.prepare(np.abs(np.arange(-399.0, 400)).astype("float32")).method != "envelope"


def test_parabolas_are_squared_distances():
    k = filters.parabola((2, 3), (1.0, 4.0))
    assert k.shape == (5, 7)
    assert k[2, 3] == 0
    assert k[0, 6] == 4 + 36
    assert np.array_equal(filters.parse("parabola:2,-1", 2, over="max-plus"), -filters.parabola(2))
    for bad in ({"curvature": 0.0}, {"curvature": (1.0, -1.0)}, {"radius": 1.5}, {"radius": -1}):
        with pytest.raises(ArgumentError, match="parabola"):
            filters.parabola(**{"radius": 3, **bad})
    with pytest.raises(ArgumentError, match="structuring element"):
        filters.parse("parabola:2", 2, over="boolean")
