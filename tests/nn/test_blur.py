"""Sampling after a blur: the reference signals, what taps must do, shifts by multiples of the stride, SciPy."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import nn
from faltung.errors import ArgumentError
from faltung.nn.phase.blur import taps_of

SIGNAL = torch.tensor([[[0.0, 0, 1, 1, 0, 0, 1, 1]]])


def test_the_reference_signal():
    plain = torch.nn.MaxPool1d(2)
    assert plain(SIGNAL).flatten().tolist() == [0, 1, 0, 1]
    assert plain(SIGNAL.roll(1, -1)).flatten().tolist() == [1, 1, 1, 1]
    layer = nn.MaxBlurPool1d(2, kernel_size=3, padding_mode="circular")
    assert layer(SIGNAL).flatten().tolist() == [0.5, 1, 0.5, 1]
    assert layer(SIGNAL.roll(1, -1)).flatten().tolist() == [0.75] * 4


@pytest.mark.parametrize("mode", ["reflect", "circular", "replicate", "symmetric"])
@pytest.mark.parametrize("size", [1, 2, 4, 7])
def test_constants_stay_borders_too(mode, size):
    x = torch.full((1, 2, 9, 8), 3.0, dtype=torch.float64)
    torch.testing.assert_close(nn.BlurPool2d(2, size, padding_mode=mode)(x), torch.full((1, 2, 5, 4), 3.0).double())


@given(size=st.integers(2, 9))
def test_binomial_taps_have_sum_one_and_no_nyquist(size):
    taps = taps_of("binomial", size, 2)
    assert abs(sum(taps) - 1) < 1e-15
    assert abs(sum(t * (-1) ** k for k, t in enumerate(taps))) < 1e-15


@pytest.mark.parametrize("name", ["kaiser", "lanczos"])
def test_windows_are_symmetric_low_passes(name):
    taps = np.array(taps_of(name, 12, 2))
    np.testing.assert_allclose(taps, taps[::-1])
    gain = np.abs(np.fft.fft(taps, 256))
    assert gain[0] == pytest.approx(1)
    assert gain[128] < 0.02 < gain[32]


def test_one_tap_is_plain_sampling_and_two_are_the_mean_of_pairs():
    x = torch.randn(2, 3, 8, 9)
    assert torch.equal(nn.BlurPool2d(3, 1)(x), x[..., ::3, ::3])
    torch.testing.assert_close(nn.BlurPool2d(2, 2)(x[..., :8]), torch.nn.functional.avg_pool2d(x[..., :8], 2))


@settings(max_examples=20, deadline=None)
@given(stride=st.integers(1, 3), size=st.integers(1, 6), times=st.integers(-4, 4))
def test_circular_it_commutes_with_shifts_by_the_stride(stride, size, times):
    x = torch.randn(2, 2, 6 * stride, dtype=torch.float64)
    layer = nn.BlurPool1d(stride, size, padding_mode="circular")
    torch.testing.assert_close(layer(x.roll(times * stride, -1)), layer(x).roll(times, -1), rtol=0, atol=1e-14)


@pytest.mark.parametrize("shape", [(16,), (9, 12), (6, 8, 7)])
def test_it_is_scipys_separable_correlation(shape):
    x = np.random.default_rng(0).standard_normal(shape)
    wanted = x
    for axis in range(len(shape)):
        wanted = scipy.ndimage.correlate1d(wanted, [0.125, 0.375, 0.375, 0.125], axis, mode="mirror", origin=0)
    # SciPy centres an even filter one sample later.
    got = nn.BlurPool(len(shape), 1)(torch.from_numpy(x)[None, None])[0, 0].numpy()
    inner = tuple(slice(2, n - 3) for n in shape)
    later = tuple(slice(3, n - 2) for n in shape)
    np.testing.assert_allclose(got[inner], wanted[later], atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(dtype):
    x = torch.rand(1, 2, 8, 8).to(dtype)
    y = nn.BlurPool2d()(x)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), nn.BlurPool2d()(x.double()), rtol=0, atol=1e-2)


def test_enlarging_keeps_constants_where_it_says_so():
    x = torch.ones(1, 1, 5)
    for size in (2, 3, 4):
        torch.testing.assert_close(nn.BlurUnpool1d(2, size)(x), torch.ones(1, 1, 10))
    assert not torch.allclose(nn.BlurUnpool1d(3, 2)(x), torch.ones(1, 1, 15))
    torch.testing.assert_close(nn.BlurUnpool1d(3, 2, start="nearest")(x), torch.ones(1, 1, 15))


def test_enlarging_is_the_transpose_of_the_blur():
    x, y = torch.randn(1, 1, 12, dtype=torch.float64), torch.randn(1, 1, 6, dtype=torch.float64)
    down, up = nn.BlurPool1d(padding_mode="circular"), nn.BlurUnpool1d()
    torch.testing.assert_close((down(x) * y).sum(), (x * up(y)).sum() / 2)


def test_wrong_settings_are_refused():
    for wrong in (
        {"filter": "ideal"},
        {"filter": [1.0, -1.0]},
        {"padding_mode": "loop"},
        {"stride": 0},
        {"filter": []},
    ):
        with pytest.raises(ArgumentError):
            nn.BlurPool2d(**wrong)
    with pytest.raises(ArgumentError):
        nn.MaxBlurPool2d(2, padding=2)
    with pytest.raises(ArgumentError):
        nn.BlurUnpool2d(start="cubic")
