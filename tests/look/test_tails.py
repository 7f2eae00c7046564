"""Spectra of real and made pictures: deviations that are known, and a detector on pictures that it has not seen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import look
from faltung.errors import ArgumentError


def natural(count, n, seed):
    """Pictures whose power falls as 1 / r²."""
    draw = np.random.default_rng(seed)
    line = np.fft.fftfreq(n) * n
    radius = np.maximum(np.hypot(line[:, None], line), 1)
    return np.fft.ifft2(np.fft.fft2(draw.standard_normal((count, n, n))) / radius).real


def enlarged(x, kind):
    """Twice as large: zeros between, or repeated; then a small window over it."""
    wide = np.zeros((len(x), 2 * x.shape[1], 2 * x.shape[2]))
    wide[:, ::2, ::2] = 4 * x
    if kind == "repeated":
        wide = x.repeat(2, 1).repeat(2, 2)
    for axis in (1, 2):
        wide = (np.roll(wide, 1, axis) + 4 * wide + np.roll(wide, -1, axis)) / 6
    return wide


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 9999), gain=st.floats(0.2, 5.0), n=st.sampled_from([16, 17, 24]))
def test_the_deviation_of_a_known_gain(seed, gain, n):
    """A gain in one half of the bins, none in the others: |2 log₁₀ gain| in that share of them."""
    x = np.random.default_rng(seed).standard_normal((3, n, n))
    line = np.fft.fftfreq(n) * n
    bins = np.rint(np.hypot(line[:, None], line))
    far = bins > n // 4
    y = np.fft.ifft2(np.fft.fft2(x) * np.where(far, gain, 1.0)).real
    share = (n // 2 - n // 4) / (n // 2)
    assert look.profile_deviation(x, y) == pytest.approx(abs(2 * np.log10(gain)) * share, abs=1e-9)
    assert look.profile_deviation(y, x) == look.profile_deviation(x, y)
    assert look.profile_deviation(x, -2 * x) == 0


def test_of_sizes_that_differ_nothing_is_said():
    with pytest.raises(ArgumentError, match="one size"):
        look.profile_deviation(np.ones((2, 8, 8)), np.ones((2, 8, 9)))


def test_zeros_between_are_found_and_drawn_alike_are_not():
    real, made = natural(60, 64, 0), enlarged(natural(60, 32, 1), "zeros")
    detector = look.TailDetector(real[:30], made[:30])
    right = np.concatenate([~detector(real[30:]), detector(made[30:])])
    assert right.mean() > 0.95
    # two sets of one kind cannot be told apart
    other = look.TailDetector(real[:30], natural(30, 64, 2))
    guesses = np.concatenate([~other(real[30:]), other(natural(30, 64, 3))])
    assert 0.25 < guesses.mean() < 0.75


def test_the_nearest_known_picture_decides_and_scale_does_not():
    real, made = natural(5, 32, 0), enlarged(natural(5, 16, 1), "zeros")
    detector = look.TailDetector(real, made, k=1)
    assert not detector(real).any()
    assert detector(made).all()
    assert detector(100 * made).all()  # profiles are over their first bin
    np.testing.assert_array_equal(detector.features(real[:2]), detector.features(real)[:2])


@pytest.mark.parametrize("k", [0, 2, 11])
def test_numbers_of_neighbours_that_decide_nothing_are_refused(k):
    with pytest.raises(ArgumentError, match="k"):
        look.TailDetector(natural(5, 32, 0), natural(5, 32, 1), k=k)
