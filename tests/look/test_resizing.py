"""Resizing for feature networks: its formula, another library's images, means of areas, and gratings that must vanish."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from faltung import look
from faltung.errors import ArgumentError, DtypeError
from faltung.nn.functional import resample_ideal

SIZES = [((37, 50), (11, 23)), ((37, 50), (80, 61)), ((64, 20), (16, 45)), ((20, 64), (45, 16)), ((9, 7), (9, 7))]


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def keys(t):
    """Keys' cubic with a = −½."""
    t = np.abs(t)
    return np.where(t < 1, 1.5 * t**3 - 2.5 * t**2 + 1, np.where(t < 2, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2, 0))


def bicubic_matrix(n, m):
    r = n / m
    weights = keys((np.arange(n) + 0.5 - (np.arange(m)[:, None] + 0.5) * r) / max(r, 1))
    return weights / weights.sum(1, keepdims=True)


def aliased(x, size):
    return torch.nn.functional.interpolate(torch.as_tensor(x), size, mode="bicubic", antialias=False).numpy()


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_images_are_those_of_pillow(old, new):
    image = pytest.importorskip("PIL.Image")
    x = 255 * drawn(*old).astype(np.float32)
    wanted = image.fromarray(x, mode="F").resize(new[::-1], image.Resampling.BICUBIC)
    found = look.resized(x[None, None], new)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0, 0], np.asarray(wanted), rtol=0, atol=255e-4)


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(1, 30)] * 4), st.integers(0, 99))
@example((5, 4, 8, 1), 0)  # one column
@example((5, 4, 3, 1), 0)
@example((4, 5, 1, 8), 0)
@example((5, 1, 1, 1), 0)
def test_bicubic_is_its_formula(sizes, seed):
    h, w, a, b = sizes
    x = drawn(2, 3, h, w, seed=seed)
    wanted = bicubic_matrix(h, a) @ x @ bicubic_matrix(w, b).T
    np.testing.assert_allclose(look.resized(x, (a, b)), wanted, rtol=0, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 24), st.integers(1, 24), st.integers(0, 99))
def test_area_is_the_mean_over_what_a_pixel_covers(n, m, seed):
    """In fractions: the integral of the step function that is x[j] on [j, j + 1]."""
    row = np.random.default_rng(seed).integers(0, 256, n)
    step = Fraction(n, m)
    wanted = [
        sum(int(row[j]) * max(min((i + 1) * step, j + 1) - max(i * step, j), 0) for j in range(n)) / step
        for i in range(m)
    ]
    found = look.resized(np.float64(row)[None, None, None], (1, m), "area")[0, 0, 0]
    np.testing.assert_allclose(found, [float(v) for v in wanted], rtol=0, atol=1e-11)
    turned = look.resized(np.float64(row)[None, None, :, None], (m, 1), "area")[0, 0, :, 0]
    np.testing.assert_allclose(turned, found, rtol=0, atol=1e-11)
    assert found.mean() == pytest.approx(row.mean(), abs=1e-11)


def test_area_by_a_whole_number_is_the_mean_of_blocks():
    x = drawn(2, 3, 24, 30)
    blocks = x.reshape(2, 3, 8, 3, 6, 5).mean((3, 5))
    np.testing.assert_allclose(look.resized(x, (8, 6), "area"), blocks, atol=1e-14)


@pytest.mark.parametrize("way", ["bicubic", "area"])
@pytest.mark.parametrize(("old", "new"), SIZES)
def test_flat_images_stay_flat(way, old, new):
    found = look.resized(np.full((1, 2, *old), 200, np.uint8), new, way)
    assert found.shape == (1, 2, *new)
    np.testing.assert_allclose(found, 200, rtol=1e-5)


@pytest.mark.parametrize("waves", [40, 44, 52])
def test_gratings_that_the_new_grid_cannot_hold_vanish(waves):
    """128 pixels to 32: at most 16 waves fit. A resize without averaging keeps more, as false waves."""
    line = np.cos(2 * np.pi * (np.arange(128) + 0.5) * waves / 128 + 0.7)
    x = np.broadcast_to(line, (1, 1, 128, 128)).copy()
    inside = np.s_[..., 2:-2, 2:-2]  # at the border the kernel is cut
    for way, most in (("bicubic", 0.05), ("area", 0.3)):
        assert np.abs(look.resized(x, 32, way)[inside]).max() < most
        assert np.abs(look.resized(x.swapaxes(2, 3), 32, way)[inside]).max() < most
    assert np.abs(aliased(x, (32, 32))[inside]).max() > 0.4


def test_gratings_that_it_can_hold_stay():
    def line(n):
        return np.cos(2 * np.pi * (np.arange(n) + 0.5) * 3 / n)[None, None, None]

    np.testing.assert_allclose(look.resized(line(128), (1, 32))[..., 4:-4], line(32)[..., 4:-4], atol=0.02)


def test_the_distance_of_features_does_not_see_a_proper_resize():
    """Features of pictures cut off at the new grid's band, and of the same pictures resized."""
    x = torch.from_numpy(drawn(400, 1, 64, 64) - 0.5)
    truth = resample_ideal(x, (16, 16))
    kernel = torch.from_numpy(np.random.default_rng(1).standard_normal((6, 1, 3, 3)))

    def features(pictures):
        return torch.nn.functional.conv2d(torch.as_tensor(pictures), kernel).relu().mean((2, 3)).numpy()

    proper = look.frechet(features(truth), features(look.resized(x, 16)))
    wrong = look.frechet(features(truth), features(aliased(x, (16, 16))))
    assert proper < 0.05 * wrong


def test_nothing_is_rounded_or_clipped_and_narrow_numbers_are_widened():
    x = np.zeros((1, 1, 8, 8))
    x[..., 4:] = 1
    up = look.resized(x, 64)
    assert up.min() < -0.01
    assert up.max() > 1.01
    assert up.min() > -1 / 7
    half = torch.from_numpy(drawn(1, 1, 9, 9)).to(torch.bfloat16)
    assert look.resized(half, 4).dtype == torch.float32
    assert torch.equal(look.resized(half, 4), look.resized(half.float(), 4))
    whole = np.random.default_rng(0).integers(0, 256, (2, 3, 9, 9)).astype(np.uint8)
    whole.flags.writeable = False
    np.testing.assert_array_equal(look.resized(whole, 4), look.resized(whole.astype(np.float32), (4, 4)))
    assert look.resized(np.zeros((0, 3, 8, 8)), (4, 5)).shape == (0, 3, 4, 5)


def test_values_leave_the_range_by_less_than_a_third():
    """The most that an image of 0 and 1 can give is 1 and the sum of the sizes of the negative weights."""
    most = 0.0
    for n in range(1, 31):
        for m in (1, 2, 3, n - 1, n, n + 1, 2 * n - 1, 2 * n + 1, 5 * n):
            if m:
                weights = look.resized(np.eye(n)[None, None], (m, n))[0, 0]
                most = max(most, -np.minimum(weights, 0).sum(1).min())
    assert 0.12 < most < 1 / 7
    assert 0.25 < 2 * most * (1 + most) < 1 / 3  # of both axes


@pytest.mark.parametrize("way", ["bicubic", "area"])
def test_tensors_are_arrays_with_derivatives(way):
    x = torch.from_numpy(drawn(1, 2, 5, 6)).requires_grad_()
    np.testing.assert_array_equal(
        look.resized(x, (3, 8), way).detach().numpy(), look.resized(x.detach().numpy(), (3, 8), way)
    )
    assert torch.autograd.gradcheck(lambda x: look.resized(x, (3, 8), way), x)


@pytest.mark.parametrize(
    ("shape", "size", "way", "said"),
    [
        ((3, 8, 8), 4, "bicubic", "batch, channels, height, width"),
        ((1, 3, 0, 8), 4, "bicubic", "with pixels"),
        ((1, 3, 8, 8), 0, "area", "at least 1"),
        ((1, 3, 8, 8), (4,), "bicubic", r"got \(4,\)"),
        ((1, 3, 8, 8), (4, 2.5), "bicubic", "2.5"),
        ((1, 3, 8, 8), 2.5, "area", "2.5"),
        ((1, 3, 8, 8), True, "bicubic", "True"),
        ((1, 3, 8, 8), 4, "nearest", "'bicubic' or 'area'"),
    ],
)
def test_wrong_calls_are_told(shape, size, way, said):
    with pytest.raises(ArgumentError, match=said):
        look.resized(np.zeros(shape), size, way)


def test_complex_images_are_refused():
    with pytest.raises(DtypeError, match="real images"):
        look.resized(np.zeros((1, 1, 4, 4), complex), 2)
