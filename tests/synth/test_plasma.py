"""Plasma: each level equals the loop over neighbours, whatever comes in; local changes stay aligned."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import faltung
from faltung import synth
from faltung.errors import ArgumentError
from faltung.synth.plasma import doubled, offsets
from faltung.synth.warping import moved


def by_loop(image, strength, noise):
    """One level, place by place."""
    shape = tuple(2 * n - 1 for n in image.shape)
    out = np.full(shape, np.nan)
    out[tuple(slice(None, None, 2) for _ in shape)] = image
    for m in range(len(shape), 0, -1):
        for place in itertools.product(*map(range, shape)):
            odd = tuple(i % 2 for i in place)
            if sum(odd) != m:
                continue
            around = [tuple(p + o for p, o in zip(place, offset, strict=True)) for offset in offsets(odd)]
            inside = [out[a] for a in around if all(0 <= i < n for i, n in zip(a, shape, strict=True))]
            out[place] = (1 - strength) * np.mean(inside) + strength * noise[place]
    return out


@settings(deadline=None, max_examples=25)
@given(
    size=st.lists(st.integers(2, 4), min_size=1, max_size=3),
    strength=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 1000),
)
def test_a_level_is_the_mean_of_the_neighbours_also_at_the_border(size, strength, seed):
    rng = np.random.default_rng(seed)
    image, noise = rng.standard_normal(size), rng.standard_normal([2 * n - 1 for n in size])
    came = doubled(image[None, None], strength, noise[None, None])[0, 0]
    np.testing.assert_allclose(came, by_loop(image, strength, noise), rtol=0, atol=2e-15)


def test_a_level_is_two_convolutions_of_the_stuffed_image():
    rng = np.random.default_rng(0)
    image = rng.random((5, 7))
    whole = np.zeros((9, 13))
    whole[::2, ::2] = image
    diamond, square = np.array([[1, 0, 1], [0, 0, 0], [1, 0, 1]]) / 4, np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]) / 4
    middles = faltung.correlate(whole, diamond, mode="same")
    whole[1::2, 1::2] = middles[1::2, 1::2]
    edges = faltung.correlate(whole, square, mode="same")
    edges[[0, -1]] *= 4 / 3
    edges[:, [0, -1]] *= 4 / 3
    whole[::2, 1::2], whole[1::2, ::2] = edges[::2, 1::2], edges[1::2, ::2]
    came = doubled(image[None, None], 0.0, np.zeros((1, 1, 9, 13)))[0, 0]
    np.testing.assert_allclose(came, whole, rtol=0, atol=1e-15)


def slope(image):
    """Of the logarithm of the power over the logarithm of the frequency."""
    power = np.abs(np.fft.fft2((image - image.mean()) * np.outer(np.hanning(len(image)), np.hanning(len(image))))) ** 2
    f = np.hypot(*np.meshgrid(*[np.fft.fftfreq(n) for n in image.shape]))
    rings = np.round(f * len(image)).astype(int)
    radii = np.arange(2, len(image) // 2)
    means = [power[rings == r].mean() for r in radii]
    return np.polyfit(np.log(radii), np.log(means), 1)[0]


def test_spectra_get_flatter_with_roughness():
    published = {0.3: -4.8, 0.5: -3.7, 0.7: -2.4, 0.9: -0.75}
    for roughness, wanted in published.items():
        images = synth.plasma((129, 129), roughness, batch=12, generator=1)[:, 0]
        found = np.mean([slope(image) for image in images])
        assert found == pytest.approx(wanted, abs=0.4), roughness


@pytest.mark.parametrize("size", [(1,), (7,), (100,), (1, 9), (48, 64), (33, 5), (7, 9, 11), (3, 4, 5, 6)])
def test_any_size_and_the_whole_range(size):
    made = synth.plasma(size, batch=2, channels=3, generator=0)
    assert made.shape == (2, 3, *size)
    assert made.min() >= 0
    assert made.max() <= 1
    if np.prod(size) > 1:
        assert (made.reshape(6, -1).min(1) == 0).all()
        assert (made.reshape(6, -1).max(1) == 1).all()
    assert np.array_equal(made, synth.plasma(size, batch=2, channels=3, generator=0))


def test_constants_stay_without_noise():
    made = synth.plasma(
        (20, 30), 0, seed_image=np.full((1, 1, 3, 4), 0.7), noise=_levels((3, 4), 4, 0.7), normalise=False
    )
    np.testing.assert_allclose(made, 0.7, rtol=0, atol=1e-15)


def _levels(size, count, value):
    return [np.full((1, 1, *((n - 1) * 2**k + 1 for n in size)), value) for k in range(1, count + 1)]


def test_tensors_give_what_arrays_give_and_gradients():
    rng = np.random.default_rng(4)
    start = rng.random((2, 1, 3, 3))
    noise = [rng.random((2, 1, n, n)) for n in (5, 9)]
    wanted = synth.plasma((8, 9), 0.6, seed_image=start, noise=noise)
    came = synth.plasma((8, 9), 0.6, seed_image=torch.tensor(start), noise=map(torch.tensor, noise))
    np.testing.assert_allclose(came.numpy(), wanted, rtol=0, atol=1e-14)
    kernels = [torch.rand(3, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    leaf = torch.tensor(start, requires_grad=True)
    tensors = [torch.tensor(n) for n in noise]

    def call(image, *kernels):
        return synth.plasma((8, 9), 0.6, seed_image=image, noise=tensors, kernels=kernels, normalise=False)

    assert torch.autograd.gradcheck(call, (leaf, *kernels))
    drawn = synth.plasma((6, 6), generator=torch.Generator().manual_seed(3))
    assert torch.equal(drawn, synth.plasma((6, 6), generator=torch.Generator().manual_seed(3)))


def test_mask_and_image_stay_aligned():
    change = synth.LocalAugment(synth.warp, fields=2)
    state = change.sample_state((40, 50), rng=3)
    coordinates = np.stack(np.meshgrid(np.arange(40.0), np.arange(50.0), indexing="ij"))
    np.testing.assert_allclose(change.apply(coordinates, state), moved(state.fields, state.strength), atol=1e-10)
    image = np.random.default_rng(0).random((40, 50))
    both = change.apply(np.stack([image, image]), state)
    assert np.array_equal(both[0], both[1])
    assert not np.allclose(both[0], image)


def test_brightness_follows_the_field():
    change = synth.LocalAugment(synth.brighten, strength=(0.5, 0.5))
    state = change.sample_state((16, 16), rng=1)
    out = change.apply(np.full((3, 16, 16), 0.5), state)
    np.testing.assert_allclose(out[0], np.clip(0.5 + (2 * state.fields[0] - 1) * 0.5, 0, 1))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: synth.plasma((0, 4), generator=0), r"\(0, 4\)"),
        (lambda: synth.plasma((4, 4)), "generator"),
        (lambda: synth.plasma((4, 4), 1.5, generator=0), "roughness"),
        (lambda: synth.plasma((9, 9), seed_image=np.zeros((1, 1, 3, 3)), noise=[np.zeros((1, 1, 5, 5))]), "none"),
        (lambda: synth.plasma((9, 9), seed_image=np.zeros((3, 3)), generator=0), r"\(3, 3\)"),
        (lambda: synth.plasma((9, 9), seed_image=torch.zeros(1, 1, 3, 3), generator=0), "torch.Generator"),
        (lambda: synth.LocalAugment(synth.warp, fields=0), "fields 0"),
        (lambda: synth.warp(np.zeros((4, 4)), np.zeros((1, 4, 4)), 1.0), "2 fields"),
        (
            lambda: synth.LocalAugment(synth.brighten).apply(
                np.zeros((3, 5)), synth.LocalAugment(synth.brighten).sample_state((4, 4))
            ),
            r"\(3, 5\)",
        ),
    ],
)
def test_wrong_calls_are_told(call, said):
    with pytest.raises(ArgumentError, match=said):
        call()
