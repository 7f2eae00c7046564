"""Label-wise kernels, hybrid images, turns and tiles: identities, and that arrays and tensors give the same."""

import numpy as np
import pytest
import torch

from faltung import filters, synth
from faltung.errors import ArgumentError


def test_the_same_key_gives_the_same_kernels_and_others_differ():
    one, again, other = (synth.ClasswiseConv(key, 6).kernels() for key in (3, 3, 4))
    assert np.array_equal(one, again)
    together = np.corrcoef(one.ravel(), other.ravel())[0, 1]
    assert abs(together) < 0.6
    assert not np.array_equal(one, other)
    assert ((one == 1).sum((1, 2)) == 1).all()
    assert (one[one < 1] <= 0.3).all()


def test_mean_gain():
    kernels = synth.ClasswiseConv(0, 4000).kernels()
    assert kernels.sum((1, 2)).mean() == pytest.approx(1 + 8 * 0.15, abs=0.01)


def test_without_blur_pictures_are_shifted():
    change = synth.ClasswiseConv(1, 5, blur=0.0)
    x = np.random.default_rng(0).random((5, 2, 7, 8))
    out = change.apply(x, np.arange(5))
    for n, kernel in enumerate(change.kernels()):
        (i,), (j,) = np.nonzero(kernel)
        wide = np.pad(x[n], ((0, 0), (1, 1), (1, 1)))[:, i : i + 7, j : j + 8]
        np.testing.assert_allclose(out[n], wide / wide.max(), atol=1e-12)


def test_labels_can_be_read_from_the_ratio_of_spectra():
    change = synth.ClasswiseConv(5, 4)
    rng = np.random.default_rng(1)
    x, y = rng.random((72, 1, 32, 32)), np.arange(72) % 4
    ratio = np.log(np.abs(np.fft.rfft2(change.apply(x, y))) + 1e-3) - np.log(np.abs(np.fft.rfft2(x)) + 1e-3)
    ratio = (ratio - ratio.mean((1, 2, 3), keepdims=True)).reshape(72, -1)
    centres = np.stack([ratio[:48][y[:48] == c].mean(0) for c in range(4)])
    found = ((ratio[48:, None] - centres) ** 2).sum(-1).argmin(1)
    assert (found == y[48:]).mean() == 1


def test_who_has_the_key_gets_the_pictures_back():
    """Dividing by the kernel's frequencies undoes a change that went around the circle, but where the kernel has none."""
    change = synth.ClasswiseConv(7, 6)
    x = np.random.default_rng(3).random((16, 16))
    for kernel in change.kernels():
        place = np.zeros((16, 16))
        place[:3, :3] = kernel[::-1, ::-1]
        gain = np.fft.fft2(place)
        usable = np.abs(gain) > 1e-3
        seen = np.fft.fft2(x) * gain + 1e-7 * np.fft.fft2(np.random.default_rng(4).standard_normal((16, 16)))
        back = np.where(usable, seen / np.where(usable, gain, 1), 0)
        assert np.abs(back - np.fft.fft2(x))[usable].max() < 1e-3 * np.abs(np.fft.fft2(x)).max()
    # The change itself is that product inside, where its margin of zeros is not felt.
    made = change.apply(x[None, None], [2])[0, 0]
    place = np.zeros((16, 16))
    place[:3, :3] = change.kernels()[2][::-1, ::-1]
    around = np.roll(np.fft.ifft2(np.fft.fft2(x) * np.fft.fft2(place)).real, (-1, -1), (0, 1))[1:-1, 1:-1]
    np.testing.assert_allclose(made[1:-1, 1:-1] / made[1:-1, 1:-1].max(), around / around.max(), atol=1e-12)


def test_a_share_of_the_pictures_stays_clean_and_bytes_stay_bytes():
    change = synth.ClasswiseConv(5, 2, mix=0.5)
    x = np.random.default_rng(1).integers(0, 256, (40, 3, 8, 8)).astype(np.uint8)
    out = change.apply(x, np.zeros(40, int))
    same = (out == x).all((1, 2, 3)).mean()
    assert out.dtype == np.uint8
    assert 0.2 < same < 0.8
    whole = synth.ClasswiseConv(5, 2).apply(x, np.zeros(40, int))
    assert (whole.max((1, 2, 3)) == 255).all()


@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_an_image_with_itself_stays(kind):
    x = np.random.default_rng(2).random((4, 3, 12, 10)).astype(np.float32)
    given = torch.tensor(x) if kind == "tensor" else x
    out = synth.hybrid_augment(given, amplitude_mix=True, partner=np.arange(4))
    np.testing.assert_allclose(np.asarray(out), x, atol=1e-6)
    low, high = synth.split_bands(given, filters.gaussian(1.0, 1, ndim=2))
    np.testing.assert_allclose(np.asarray(low + high), x, atol=1e-6)


def test_low_stays_and_high_comes_from_the_partner():
    x = np.random.default_rng(2).random((4, 3, 12, 10))
    kernel = filters.gaussian(0.5, 2, ndim=2)
    low, high = synth.split_bands(x, kernel)
    order = np.array([2, 0, 3, 1])
    np.testing.assert_allclose(synth.hybrid_augment(x, partner=order), low + high[order], atol=1e-12)
    tensors = synth.hybrid_augment(torch.tensor(x), partner=order)
    np.testing.assert_allclose(tensors.numpy(), low + high[order], atol=1e-12)


def test_amplitude_of_one_and_phase_of_the_other():
    rng = np.random.default_rng(3)
    a, b = rng.random((2, 2, 3, 8, 9))
    out = synth.swap_amplitude(a, b)
    axes = (1, 2, 3)
    np.testing.assert_allclose(np.abs(np.fft.fftn(out, axes=axes)), np.abs(np.fft.fftn(b, axes=axes)), atol=1e-10)
    turned = np.angle(np.fft.fftn(out, axes=axes) / np.fft.fftn(a, axes=axes))
    np.testing.assert_allclose(turned, 0, atol=1e-9)
    np.testing.assert_allclose(synth.swap_amplitude(torch.tensor(a), torch.tensor(b)).numpy(), out, atol=1e-12)
    np.testing.assert_allclose(synth.swap_amplitude(a, a), a, atol=1e-12)


def test_a_seed_repeats_and_probability_zero_changes_nothing():
    x = np.random.default_rng(2).random((6, 1, 8, 8))
    assert np.array_equal(synth.hybrid_augment(x, generator=5), synth.hybrid_augment(x, generator=5))
    np.testing.assert_allclose(synth.hybrid_augment(x, p=0, generator=5), x, atol=1e-15)
    changed = [not np.allclose(synth.hybrid_augment(x, generator=s, coin="batch"), x) for s in range(60)]
    assert 0.4 < np.mean(changed) < 0.8


def test_four_turns_are_the_identity():
    x = np.random.default_rng(0).random((3, 2, 6, 6))
    turned, labels = synth.rotations(x)
    assert labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    for r in range(4):
        again, _ = synth.rotations(turned[3 * r : 3 * r + 3])
        back = (4 - r) % 4
        assert np.array_equal(again[3 * back : 3 * back + 3], x)
    tensors, their = synth.rotations(torch.tensor(x))
    assert np.array_equal(tensors.numpy(), turned)
    assert np.array_equal(their.numpy(), labels)


def test_what_does_not_see_turns_cannot_tell_them():
    """A network whose score is the mean over all four turns gives each of them the same answer: a quarter is right."""

    class Invariant(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.inner = torch.nn.Sequential(
                torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 4)
            )

        def forward(self, x):
            return sum(self.inner(torch.rot90(x, r, (2, 3))) for r in range(4))

    x = torch.randn(10, 1, 6, 6, dtype=torch.float64)
    turned, labels = synth.rotations(x)
    told = Invariant().double()(turned).argmax(1)
    assert (told == labels).double().mean().item() == 0.25


def test_tiles_move_and_nothing_is_lost():
    x = np.random.default_rng(0).random((2, 3, 8, 12))
    assert np.array_equal(synth.scramble(x[:, :, :8, :8], 8), x[:, :, :8, :8])
    out = synth.scramble(x, 4, rng=1)
    assert np.array_equal(np.sort(out.reshape(2, 3, -1)), np.sort(x.reshape(2, 3, -1)))
    assert not np.array_equal(out, x)
    tiles = {x[0, 0, i : i + 4, j : j + 4].tobytes() for i in (0, 4) for j in (0, 4, 8)}
    assert {out[0, 0, i : i + 4, j : j + 4].tobytes() for i in (0, 4) for j in (0, 4, 8)} == tiles
    assert np.array_equal(synth.scramble(torch.tensor(x), 4, rng=1).numpy(), out)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: synth.ClasswiseConv(0, 10, kernel_size=2), "odd"),
        (lambda: synth.ClasswiseConv(0, 3).apply(np.zeros((2, 1, 4, 4)), [0, 3]), "labels from 0 to 2"),
        (lambda: synth.rotations(np.zeros((1, 1, 3, 4))), "square"),
        (lambda: synth.scramble(np.zeros((1, 1, 6, 6)), 4), "patch 4"),
        (lambda: synth.hybrid_augment(np.zeros((1, 1, 6, 6)), kernel=4), "kernel 4"),
        (lambda: synth.hybrid_augment(np.zeros((1, 1, 6, 6)), generator=None), "seed"),
        (lambda: synth.swap_amplitude(np.zeros((1, 1, 6, 6)), np.zeros((1, 1, 6, 5))), "one shape"),
        (lambda: synth.split_bands(np.zeros((6, 6)), np.ones((3, 3))), "B, C, H, W"),
    ],
)
def test_wrong_calls_are_told(call, said):
    with pytest.raises(ArgumentError, match=said):
        call()
