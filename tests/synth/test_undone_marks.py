"""Marks of labels undone: with the key by least squares, without it by random sharpening and low cosine frequencies."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dctn, idctn
from scipy.ndimage import correlate as by_definition

from faltung import synth
from faltung.errors import ArgumentError


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def dense(kernel, height, width):
    """The blur of a picture with zeros around it, as a matrix, from the images of its unit vectors."""
    units = np.eye(height * width).reshape(-1, height, width)
    return np.stack([by_definition(u, kernel, mode="constant").ravel() for u in units], 1)


# -- with the key ---------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 999), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 5]), st.sampled_from([1e-6, 1e-3])
)
def test_all_comes_back_but_what_the_blur_has_put_out(key, height, width, taps, damping):
    """Along the singular vectors of the map: to a thousandth where it is not near zero, as the formula says elsewhere."""
    mark = synth.ClasswiseConv(key, 1, kernel_size=taps)
    x = drawn(1, 2, height, width, seed=key) + 0.1
    found = mark.restored(mark.apply(x, [0]), [0], damping)[0].reshape(2, -1)
    _, sigma, right = np.linalg.svd(dense(mark.kernels()[0], height, width))
    parts = x[0].reshape(2, -1) @ right.T
    back = parts * sigma**2 / (sigma**2 + damping)
    top = (back @ right).max()
    np.testing.assert_allclose(found * top, back @ right, rtol=0, atol=1e-8)
    kept = sigma**2 >= 1000 * damping
    error = found @ right.T * top - parts
    assert np.abs(error[:, kept]).max(initial=0) <= 1e-3 * np.abs(parts).max() + 1e-8


def test_a_kernel_without_zeros_gives_the_whole_picture_back():
    """All other taps together are less than the one in the middle: the symbol is nowhere 0."""
    mark = synth.ClasswiseConv(4, 60, blur=0.1)
    y = np.flatnonzero(mark.kernels()[:, 1, 1] == 1)
    assert len(y) > 3
    x = drawn(len(y), 3, 20, 17)
    x /= x.max((1, 2, 3), keepdims=True)
    marked = mark.apply(x, y)
    assert np.abs(marked - x).max() > 0.1
    np.testing.assert_allclose(mark.restored(marked, y), x, rtol=0, atol=1e-3)
    np.testing.assert_allclose(mark.restored(mark.apply(x.astype(np.float32), y), y), x, rtol=0, atol=1e-3)
    wrong = synth.ClasswiseConv(5, 60, blur=0.1).restored(marked, y)
    assert np.abs(wrong - x).max() > 0.1


def test_bytes_come_back_as_well_as_rounding_lets_them():
    mark = synth.ClasswiseConv(4, 60, blur=0.1)
    y = np.flatnonzero(mark.kernels()[:, 1, 1] == 1)
    x = np.random.default_rng(0).integers(0, 256, (len(y), 3, 12, 12)).astype(np.uint8)
    x[:, 0, 0, 0] = 255
    back = mark.restored(mark.apply(x, y), y, 1e-4)
    assert back.dtype == np.float64
    assert np.abs(back - x / 255).max() < 0.03
    assert np.abs(mark.apply(x, y) / 255 - x / 255).mean() > 0.05


def test_what_was_moved_out_of_the_picture_is_lost_and_the_rest_is_not():
    mark = synth.ClasswiseConv(1, 60, blur=0.0)
    assert mark.kernels().any(0).all()  # the tap is everywhere once
    x = drawn(60, 1, 6, 7)
    back = mark.restored(mark.apply(x, np.arange(60)), np.arange(60))
    for n, kernel in enumerate(mark.kernels()):
        rows, columns = (np.arange(size) - (tap - 1) for size, tap in zip((6, 7), np.argwhere(kernel)[0], strict=True))
        seen = np.where(np.outer((rows >= 0) & (rows < 6), (columns >= 0) & (columns < 7)), x[n, 0], 0)
        np.testing.assert_allclose(back[n, 0], seen / seen.max(), atol=1e-5)


def test_pictures_that_were_left_stay():
    mark = synth.ClasswiseConv(5, 2, mix=0.5, blur=0.1)
    x, y = drawn(40, 1, 8, 8), np.zeros(40, int)
    marked = mark.apply(x, y)
    back = mark.restored(marked, y)
    left = (marked == x).all((1, 2, 3))
    assert 5 < left.sum() < 35
    np.testing.assert_array_equal(back[left], x[left])
    assert (back != marked).any((1, 2, 3))[~left].all()
    assert mark.restored(np.zeros((0, 3, 4, 4)), []).shape == (0, 3, 4, 4)
    assert not synth.ClasswiseConv(5, 2).restored(np.zeros((1, 1, 4, 4)), [0]).any()


# -- without it -----------------------------------------------------------------------------------------------------------


def test_gains_of_sharpening_kernels():
    kernels = synth.sharpening_kernels(40_000, 1.5, 0.1, rng=0)
    gain = kernels.sum((1, 2))
    assert gain.mean() == pytest.approx(1, abs=0.005)
    assert gain.std() == pytest.approx(0.2, abs=0.005)
    assert kernels[:, 1, 1].mean() == pytest.approx(2.5, abs=0.005)
    assert kernels[:, 1, 1].std() == pytest.approx(0.1, abs=0.005)
    assert not kernels[:, ::2, ::2].any()
    assert abs(np.corrcoef(kernels[:, 0, 1], kernels[:, 2, 1])[0, 1] - 1 / 17) < 0.02  # both know the centre
    certain = synth.sharpening_kernels(3, 1.5, 0.0)
    checkers = (-1.0) ** np.add.outer(np.arange(3), np.arange(3))
    np.testing.assert_allclose(certain.sum((1, 2)), 1, atol=1e-15)
    np.testing.assert_allclose((certain * checkers).sum((1, 2)), 4, atol=1e-15)


def test_the_same_seed_gives_the_same_kernels_whatever_the_count():
    one, more, other = (synth.sharpening_kernels(n, rng=seed) for n, seed in ((3, 0), (7, 0), (3, 1)))
    np.testing.assert_array_equal(one, more[:3])
    assert (one != other).any((1, 2)).all()
    assert len(np.unique(more[:, 1, 1])) == 7


@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_strength_and_spread_zero_change_nothing(kind):
    x = drawn(3, 2, 5, 7)
    given_ = torch.tensor(x) if kind == "tensor" else x
    np.testing.assert_array_equal(np.asarray(synth.sharpen(given_, 0.0, 0.0)), x)
    assert synth.sharpen(given_[:0]).shape == (0, 2, 5, 7)


@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_every_picture_meets_its_own_kernel(kind):
    x = drawn(4, 3, 6, 5)
    found = np.asarray(synth.sharpen(torch.tensor(x) if kind == "tensor" else x, 2.0, 0.3, clip=False, generator=9))
    for n, kernel in enumerate(synth.sharpening_kernels(4, 2.0, 0.3, rng=9)):
        wanted = [by_definition(plane, kernel, mode="mirror") for plane in x[n]]
        np.testing.assert_allclose(found[n], wanted, atol=1e-12)
    assert found.min() < -0.1
    clipped = synth.sharpen(x, 2.0, 0.3, generator=9)
    np.testing.assert_allclose(clipped, found.clip(0, 1), atol=1e-12)


def test_flat_pictures_meet_the_gain_at_the_border_too():
    gain = synth.sharpening_kernels(3, 1.0, 0.1, rng=2).sum((1, 2))
    found = synth.sharpen(np.full((3, 1, 4, 6), 0.5), 1.0, 0.1, clip=False, generator=2)
    np.testing.assert_allclose(found, np.broadcast_to(0.5 * gain[:, None, None, None], found.shape), atol=1e-14)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0.01, 1), st.integers(0, 99))
def test_the_low_square_of_cosines_is_what_is_left(height, width, kept, seed):
    if kept * min(height, width) < 1:
        kept = 1 / min(height, width)
    x = drawn(2, 2, height, width, seed=seed)
    spectrum = dctn(x, axes=(2, 3), norm="ortho")
    spectrum[:, :, int(kept * height + 1e-9) :] = 0
    spectrum[:, :, :, int(kept * width + 1e-9) :] = 0
    found = synth.low_cosines(x, kept, clip=False)
    np.testing.assert_allclose(found, idctn(spectrum, axes=(2, 3), norm="ortho"), atol=1e-12)
    np.testing.assert_allclose(synth.low_cosines(found, kept, clip=False), found, atol=1e-12)
    np.testing.assert_allclose(synth.low_cosines(x, kept), found.clip(0, 1), atol=1e-12)
    np.testing.assert_allclose(synth.low_cosines(torch.tensor(x), kept, clip=False).numpy(), found, atol=1e-12)


def test_all_cosines_are_the_picture_and_the_first_is_its_mean():
    x = drawn(1, 2, 10, 8)
    np.testing.assert_allclose(synth.low_cosines(x, 1.0), x, atol=1e-14)
    means = np.broadcast_to(x.mean((2, 3), keepdims=True), x.shape)
    np.testing.assert_allclose(synth.low_cosines(x, 0.15), means, atol=1e-14)
    np.testing.assert_allclose(synth.low_cosines(drawn(1, 1, 100, 1), 1.0)[0, 0, :, 0], drawn(100), atol=1e-13)
    for k in (28, 29):  # of the first 29 cosines the last, and the one after them; 0.29 · 100 is below 29 in floats
        wave = np.cos(np.pi * k * (np.arange(100) + 0.5) / 100)[None, None, :, None] * np.ones(100)
        np.testing.assert_allclose(synth.low_cosines(wave, 0.29, clip=False), wave * (k == 28), atol=1e-12)


def test_derivatives_of_tensors():
    x = torch.tensor(drawn(1, 1, 4, 5)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: synth.low_cosines(x, 0.6, clip=False), x)
    assert torch.autograd.gradcheck(lambda x: synth.sharpen(x, clip=False), x)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: synth.ClasswiseConv(0, 3).restored(np.zeros((2, 1, 4, 4)), [0, 3]), "restored.*labels from 0 to 2"),
        (lambda: synth.ClasswiseConv(0, 3).restored(np.zeros((1, 1, 4, 4)), [0], 0.0), "above 0"),
        (lambda: synth.sharpening_kernels(2, -1.0), "at least 0"),
        (lambda: synth.sharpening_kernels(2, float("nan")), "at least 0"),
        (lambda: synth.sharpening_kernels(2, rng=None), "seed"),
        (lambda: synth.sharpen(np.zeros((4, 4))), "B, C, H, W"),
        (lambda: synth.sharpen(np.zeros((1, 1, 1, 4))), "2 × 2"),
        (lambda: synth.sharpen(np.zeros((1, 1, 4, 4), np.uint8)), "divide bytes"),
        (lambda: synth.low_cosines(np.zeros((1, 1, 4, 4)), 0.2), "keep more"),
        (lambda: synth.low_cosines(np.zeros((1, 1, 4, 4)), 1.2), "share"),
        (lambda: synth.low_cosines(np.zeros((1, 1, 4, 4), int)), "divide bytes"),
    ],
)
def test_wrong_calls_are_told(call, said):
    with pytest.raises(ArgumentError, match=said):
        call()
