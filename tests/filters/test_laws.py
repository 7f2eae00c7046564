"""Laws of filters: sums, symmetry, separability, agreement with SciPy and with the wavelets' own theory."""

import math

import numpy as np
import pytest
import scipy.ndimage as ndi
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import filters
from faltung.errors import ArgumentError

few = settings(max_examples=30, deadline=None)
axes = st.integers(1, 3)
widths = st.floats(0.3, 3.0)


def impulse(k: np.ndarray) -> np.ndarray:
    x = np.zeros(k.shape)
    x[tuple(n // 2 for n in k.shape)] = 1.0
    return x


def turned(k: np.ndarray) -> np.ndarray:
    return k[(slice(None, None, -1),) * k.ndim]


AVERAGES = {
    "gaussian": lambda w, n: filters.gaussian(w, ndim=n),
    "box": lambda w, n: filters.box(2 * int(w) + 1, ndim=n),
    "binomial": lambda w, n: filters.binomial(2 * int(w) + 2, ndim=n),
    "disk": lambda w, n: filters.disk(w, ndim=n),
    "motion": lambda w, n: filters.motion(4 * w, along=np.arange(1.0, n + 1), ndim=n),
}


@pytest.mark.parametrize("name", AVERAGES)
@few
@given(w=widths, n=axes)
def test_averages_sum_to_one_are_positive_and_point_symmetric(name, w, n):
    k = AVERAGES[name](w, n)
    assert k.dtype == np.float64
    assert k.ndim == n
    assert np.all(k >= 0)
    assert k.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(k, turned(k), atol=1e-16)


@few
@given(w=widths, n=axes)
def test_differences_sum_to_zero(w, n):
    found = [filters.dog(w, 1.7 * w, ndim=n), filters.laplacian(ndim=n), filters.laplacian("full", ndim=n)]
    found += [filters.sobel(a, ndim=n) for a in range(n)]
    for k in found:
        assert abs(k.sum()) < 1e-12
        assert np.abs(k).max() > 1e-3


@few
@given(w=st.lists(widths, min_size=1, max_size=3), cut=st.floats(1.0, 5.0))
def test_the_gaussian_is_the_product_of_its_factors(w, cut):
    factors = filters.gaussian_factors(w, cut)
    product = factors[0]
    for f in factors[1:]:
        product = product[..., None] * f
    np.testing.assert_array_equal(filters.gaussian(w, cut), product)


@few
@given(w=st.lists(widths, min_size=1, max_size=3))
def test_the_gaussian_is_scipys(w):
    k = filters.gaussian(w)
    np.testing.assert_allclose(k, ndi.gaussian_filter(impulse(k), w, mode="constant"), atol=1e-15)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_sobel_and_laplacian_are_scipys(n):
    x = np.zeros((5,) * n)
    x[(2,) * n] = 1.0
    inner = (slice(1, 4),) * n
    for axis in range(n):
        np.testing.assert_allclose(filters.sobel(axis, ndim=n), ndi.sobel(x, axis, mode="constant")[inner], atol=1e-15)
    np.testing.assert_allclose(filters.laplacian(ndim=n), ndi.laplace(x, mode="constant")[inner], atol=1e-15)


def test_sobel_letters_name_the_last_axes():
    for letter, axis in (("x", 2), ("y", 1), ("z", 0)):
        np.testing.assert_array_equal(filters.sobel(letter, ndim=3), filters.sobel(axis, ndim=3))


@pytest.mark.parametrize("order", range(1, 9))
def test_the_binomial_is_a_power_of_a_half_half(order):
    row = np.ones(1)
    for _ in range(order):
        row = np.convolve(row, [0.5, 0.5])
    np.testing.assert_array_equal(filters.binomial(order, ndim=1), row)
    np.testing.assert_array_equal(filters.binomial(order), np.outer(row, row))


def test_the_binomial_reaches_far_and_says_where_it_ends():
    assert filters.binomial(1000, ndim=1).sum() == pytest.approx(1.0, abs=1e-12)
    with pytest.raises(ArgumentError, match="at most 1000"):
        filters.binomial(1001)


@few
@given(r=st.floats(0.5, 6.0), n=axes)
def test_the_disk_holds_exactly_the_points_within_its_radius(r, n):
    k = filters.disk(r, ndim=n)
    far = np.sqrt(sum(p**2 for p in np.meshgrid(*(np.arange(-(s // 2), s // 2 + 1) for s in k.shape), indexing="ij")))
    clear = np.abs(far - r) > 1e-12 * r  # a point on the circle itself may round to either side
    np.testing.assert_array_equal((k > 0)[clear], (far <= r)[clear])
    assert len(np.unique(k[k > 0])) == 1


@pytest.mark.parametrize("length", [1, 3, 9, 15])
def test_motion_along_an_axis_is_a_box(length):
    np.testing.assert_allclose(filters.motion(length), filters.box((1, length)), atol=1e-15)
    np.testing.assert_allclose(filters.motion(length, math.pi / 2), filters.box((length, 1)), atol=1e-15)


def test_motion_runs_counter_clockwise_as_one_sees_it():
    k = filters.motion(9, math.pi / 4)
    assert np.count_nonzero(k) == np.count_nonzero(np.fliplr(k).diagonal())  # up to the right, and nothing beside it
    np.testing.assert_allclose(filters.motion(9, 0.3), filters.motion(9, 0.3 + math.pi), atol=1e-15)


@few
@given(length=st.floats(0.2, 20.0), turn=st.floats(-4.0, 4.0))
def test_motion_has_the_length_and_direction_that_were_asked_for(length, turn):
    k = filters.motion(length, turn)
    rows, columns = np.meshgrid(*(np.arange(-(s // 2), s // 2 + 1) for s in k.shape), indexing="ij")
    # the second moment along a straight line of that length is length² / 12; cells smear it by at most 1/4 an axis or so
    moment = np.array([[(k * a * b).sum() for b in (columns, -rows)] for a in (columns, -rows)])
    unit = np.array([math.cos(turn), math.sin(turn)])
    assert abs(unit @ moment @ unit - length**2 / 12) < 0.5 + 0.3 * math.sqrt(length)


def test_gabor_answers_to_its_own_stripes_only():
    k = filters.gabor(8.0, math.radians(30))
    rows, columns = np.mgrid[-60:61, -60:61]
    direction = np.radians([30, 120])
    waves = [np.cos(2 * np.pi / 8 * (columns * np.cos(d) - rows * np.sin(d))) for d in direction]
    own, other = (ndi.convolve(w, k, mode="wrap")[40:80, 40:80].max() for w in waves)
    assert own == pytest.approx(0.5, abs=0.05)
    assert other < 0.02


def test_gabor_by_wave_vector_is_gabor_by_angle():
    turn = 0.7
    by_vector = filters.gabor(6.0, wave=(-math.sin(turn), math.cos(turn)))
    np.testing.assert_allclose(by_vector, filters.gabor(6.0, turn), atol=1e-15)
    assert filters.gabor(6.0, wave=(1, 1, 0, 2), sigma=1.0, ndim=4).ndim == 4


@pytest.mark.parametrize("name", ["haar", "db4", "sym5", "coif1"])
def test_wavelets_are_orthonormal_under_even_shifts(name):
    low, high = (filters.wavelet(name, band, ndim=1) for band in "lh")
    for shift in range(0, low.size, 2):
        expected = 1.0 if shift == 0 else 0.0
        for f in (low, high):
            assert np.dot(f[shift:], f[: f.size - shift]) == pytest.approx(expected, abs=1e-10)
        for a, b in ((low, high), (high, low)):
            assert np.dot(a[shift:], b[: b.size - shift]) == pytest.approx(0.0, abs=1e-10)
    assert low.sum() == pytest.approx(math.sqrt(2.0))


def test_wavelet_bands_multiply_over_the_axes_and_banks_take_apart_and_put_together():
    low, high = (filters.wavelet("db2", band, ndim=1) for band in "lh")
    np.testing.assert_array_equal(filters.wavelet("db2", "lh"), np.outer(low, high))
    parts = [
        np.convolve(filters.wavelet("db2", b, ndim=1), filters.wavelet("db2", b, "synthesis", ndim=1)) for b in "lh"
    ]
    np.testing.assert_allclose(sum(parts), 2.0 * impulse(parts[0]), atol=1e-10)  # aliasing aside, twice a delay


WRONG = [
    lambda: filters.gaussian(0),
    lambda: filters.gaussian(-1.0),
    lambda: filters.gaussian(math.nan),
    lambda: filters.gaussian("2"),
    lambda: filters.gaussian((1.0, 2.0), ndim=3),
    lambda: filters.gaussian(()),
    lambda: filters.gaussian(1.0, 0.0),
    lambda: filters.gaussian(1.0, ndim=0),
    lambda: filters.box(0),
    lambda: filters.box(2.5),
    lambda: filters.box(True),
    lambda: filters.binomial(0),
    lambda: filters.disk(0.0),
    lambda: filters.sobel("w"),
    lambda: filters.sobel("z"),
    lambda: filters.sobel(2),
    lambda: filters.laplacian("round"),
    lambda: filters.gabor(0.0),
    lambda: filters.gabor(8.0, aspect=-1.0),
    lambda: filters.gabor(8.0, wave=(0, 0)),
    lambda: filters.gabor(8.0, wave=(1, 2, 3)),
    lambda: filters.gabor(8.0, 0.5, ndim=1),
    lambda: filters.dog(1.0, 1.0),
    lambda: filters.dog((1.0,), 2.0),
    lambda: filters.motion(0),
    lambda: filters.motion(math.inf),
    lambda: filters.wavelet("db99"),
    lambda: filters.wavelet("haar", "x"),
    lambda: filters.wavelet("haar", bank="both"),
    lambda: filters.wavelet("haar", "lhl"),
]


@pytest.mark.parametrize("call", WRONG)
def test_wrong_arguments_are_answered_with_both_values(call):
    with pytest.raises(ArgumentError, match=r"expected .* but got .*; .+"):
        call()
