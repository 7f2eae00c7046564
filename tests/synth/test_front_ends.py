"""Front ends for detectors: Haar's bands and back, and phases without amplitudes."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import faltung
from faltung import filters, synth
from faltung.errors import ArgumentError

sys.path.insert(0, str(Path(__file__).parent))
from odd_pictures import KINDS, odd_picture

SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(lambda n: tuple(2 * k for k in n))


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@settings(max_examples=30, deadline=None)
@given(size=SIZES, seed=st.integers(0, 99), wide=st.booleans(), tensor=st.booleans())
def test_bands_put_together_are_the_signal(size, seed, wide, tensor):
    x = (100 * drawn(2, 3, *size, seed=seed)).astype(np.float64 if wide else np.float32)
    given = torch.tensor(x) if tensor else x
    bands = synth.haar_bands(given)
    assert tuple(bands.shape) == (2, 3, 2 ** len(size), *(n // 2 for n in size))
    back = synth.haar_join(bands)
    assert back.dtype == given.dtype
    np.testing.assert_allclose(np.asarray(back), x, atol=(1e-14 if wide else 1e-6) * np.abs(x).max())
    # Orthogonal: inner products stay, so that the inverse is the transpose.
    other = drawn(*bands.shape, seed=seed + 1)
    inner = (np.asarray(bands, np.float64) * other).sum()
    assert inner == pytest.approx((x.astype(np.float64) * synth.haar_join(other)).sum(), abs=1e-10 if wide else 1e-2)
    np.testing.assert_allclose(np.asarray(synth.haar_bands(synth.haar_join(other))), other, atol=1e-13)


@pytest.mark.parametrize("size", [(8,), (6, 10), (4, 6, 2)])
def test_a_band_is_a_convolution_with_its_wavelet(size):
    pytest.importorskip("pywt")
    x, d = drawn(2, 1, *size), len(size)
    bands = synth.haar_bands(x)
    for number in range(2**d):
        letters = "".join("lh"[number >> (d - 1 - axis) & 1] for axis in range(d))
        k = filters.wavelet("haar", letters, ndim=d)
        wanted = faltung.convolve(x, k, "b c *s, *s -> b c *s", mode="valid", stride=2)
        np.testing.assert_allclose(bands[:, :, number], wanted, atol=1e-12)


def test_where_high_bands_are_blind():
    rows = np.broadcast_to(drawn(1, 1, 1, 8), (1, 1, 6, 8))
    bands = synth.haar_bands(rows)[0, 0]
    assert np.abs(bands[2:]).max() == 0  # nothing changes down a column
    assert np.abs(bands[:2]).max(axis=(1, 2)).min() > 0


def unit(made, axes):
    np.testing.assert_allclose(np.abs(np.fft.fftn(np.asarray(made, np.float64), axes=axes)), 1, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS), tensor=st.booleans(), wide=st.booleans(),
    size=st.lists(st.integers(1, 17), min_size=1, max_size=3), seed=st.integers(0, 99), factor=st.floats(1e-20, 1e15),
)  # fmt: skip
def test_every_amplitude_is_one(kind, tensor, wide, size, seed, factor):
    x = odd_picture(kind, (2, 2, *size), np.random.default_rng(seed)) - 0.3 * (kind in ("noise", "stripes", "even"))
    x = x.astype(np.float64 if wide else np.float32)
    axes = tuple(range(2, x.ndim))
    made = synth.phase_only(torch.tensor(x) if tensor else x)
    assert tuple(made.shape) == x.shape
    unit(made, axes)
    if kind in ("flat", "nothing", "one"):
        point = np.zeros(x.shape)
        point[(..., *(0,) * len(size))] = 1
        np.testing.assert_allclose(np.asarray(made), point, atol=1e-6)
    unit(synth.phase_only((factor * x).astype(x.dtype)), axes)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), exponent=st.floats(-200, 200), shift=st.tuples(st.integers(0, 7), st.integers(0, 8)))
def test_factors_change_nothing_and_shifts_shift(seed, exponent, shift):
    x = drawn(2, 3, 8, 9, seed=seed)
    made = synth.phase_only(x)
    each = 10.0**exponent * np.random.default_rng(seed).uniform(0.5, 2, (2, 3, 1, 1))
    np.testing.assert_allclose(synth.phase_only(each * x), made, atol=1e-9)
    np.testing.assert_allclose(synth.phase_only(-x), -made, atol=1e-9)
    np.testing.assert_allclose(synth.phase_only(np.roll(x, shift, (2, 3))), np.roll(made, shift, (2, 3)), atol=1e-9)
    np.testing.assert_allclose(synth.phase_only(made), made, atol=1e-9)
    by_definition = np.fft.ifft2(np.exp(1j * np.angle(np.fft.fft2(x)))).real
    np.testing.assert_allclose(made, by_definition, atol=1e-9)


def test_rounding_has_no_phase():
    """Wide stripes have few frequencies; all others are rounding, and count as nothing."""
    places = np.arange(64)
    x = np.broadcast_to(2 + np.cos(2 * np.pi * 3 * places / 64 + 1), (1, 1, 64, 64))
    spectrum = np.fft.fft2(synth.phase_only(x)[0, 0])
    wanted = np.ones((64, 64), complex)
    wanted[0, 3], wanted[0, -3] = np.exp(1j), np.exp(-1j)
    np.testing.assert_allclose(spectrum, wanted, atol=1e-9)


def test_both_have_derivatives():
    x = torch.from_numpy(drawn(1, 2, 4, 6)).requires_grad_()
    assert torch.autograd.gradcheck(synth.phase_only, (x,))
    assert torch.autograd.gradcheck(synth.haar_bands, (x,))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: synth.haar_bands(np.zeros((1, 1, 4, 5))), "pad or crop"),
        (lambda: synth.haar_bands(np.zeros((4, 4))), "pad or crop"),
        (lambda: synth.haar_bands(np.zeros((1, 1, 4), int)), "255"),
        (lambda: synth.haar_join(np.zeros((1, 1, 3, 4, 4))), "all bands"),
        (lambda: synth.haar_join(np.zeros((1, 1, 1))), "all bands"),
        (lambda: synth.phase_only(np.zeros((4, 4))), "add axes"),
        (lambda: synth.phase_only(np.zeros((1, 1, 4), np.uint8)), "255"),
        (lambda: synth.phase_only(torch.zeros(1, 1, 0, 4)), "add axes"),
    ],
)
def test_wrong_calls_are_told(call, said):
    with pytest.raises(ArgumentError, match=said):
        call()
