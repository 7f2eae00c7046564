"""Local changes: what is drawn once acts on pictures, masks, points, tensors and batches alike, alone and composed."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from faltung import synth
from faltung.errors import ArgumentError
from faltung.synth.local import Batch, State
from faltung.synth.warping import landed, moved

WARP = synth.LocalAugment(synth.warp, fields=2)
LIGHT = synth.LocalAugment(synth.brighten)
TINT = synth.LocalAugment(synth.tint, fields=3)
BLEND = synth.LocalAugment(synth.blend)
COMPOSED = synth.Cascade([synth.Choice([WARP, LIGHT]), TINT, BLEND])


def picture(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def told(places, at):
    """T at places (N, D), by SciPy's interpolation."""
    return np.stack([map_coordinates(axis, at.T, order=1, mode="nearest") for axis in places], 1)


def test_every_channel_follows_its_own_field():
    state = TINT.sample_state((9, 7), rng=2)
    x = picture(4, 3, 9, 7)
    out = TINT.apply(x, state)
    for c in range(3):
        alone = synth.brighten(x[:, c], state.fields[c : c + 1], state.strength)
        np.testing.assert_array_equal(out[:, c], alone)
    assert not np.allclose(state.fields[0], state.fields[1])
    same = State(np.repeat(state.fields[:1], 3, 0), state.strength)
    np.testing.assert_array_equal(TINT.apply(x, same), LIGHT.apply(x, State(state.fields[:1], state.strength)))


def test_a_blend_lies_between_its_pictures_and_takes_masks_along():
    state = State(synth.plasma((9, 7), generator=3)[0], 1.0)
    x, other = picture(3, 9, 7), picture(3, 9, 7, seed=1)
    out = BLEND.apply(x, state, other=other)
    share = (out - x) / (other - x)
    np.testing.assert_allclose(share, np.broadcast_to(state.fields[0], share.shape), atol=1e-8)
    np.testing.assert_allclose(BLEND.apply(x, state, other=x), x, atol=1e-15)
    np.testing.assert_allclose(BLEND.apply(x, State(state.fields, 0.0), other=other), x, atol=1e-15)
    mask = BLEND.apply(np.zeros((9, 7)), state, other=np.ones((9, 7)))
    np.testing.assert_allclose(x + mask * (other - x), out, atol=1e-12)


@pytest.mark.parametrize(
    "change", [LIGHT, WARP, TINT, BLEND, COMPOSED], ids=["light", "warp", "tint", "blend", "composed"]
)
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_tensors_and_batches_give_what_single_arrays_give(change, dtype, limit):
    x, other = picture(4, 3, 13, 11), picture(4, 3, 13, 11, seed=1)
    states = change.sample_state((13, 11), rng=5, batch=4)

    def beside(value):
        return {"other": value} if "other" in change.takes else {}

    wanted = [change.apply(x[b], state, **beside(other[b])) for b, state in enumerate(states.states)]
    np.testing.assert_array_equal(change.apply(x, states, **beside(other)), wanted)
    tensors = change.apply(torch.tensor(x, dtype=dtype), states, **beside(torch.tensor(other, dtype=dtype)))
    assert tensors.dtype == dtype
    np.testing.assert_allclose(tensors.numpy(), wanted, atol=limit)
    # The first of a batch is what a seed draws alone, and the samples differ.
    alone = change.sample_state((13, 11), rng=5)
    np.testing.assert_array_equal(change.apply(x[0], alone, **beside(other[0])), wanted[0])
    assert not np.allclose(change.apply(x[0], states.states[1], **beside(other[0])), wanted[0])


def test_derivatives_reach_the_picture_the_fields_and_the_strength():
    x = torch.tensor(0.3 + 0.4 * picture(2, 5, 6), requires_grad=True)
    other = torch.tensor(picture(2, 5, 6, seed=1), requires_grad=True)
    fields = torch.tensor(picture(2, 5, 6, seed=2), requires_grad=True)
    strength = torch.tensor(0.21, dtype=torch.float64, requires_grad=True)
    for change, more in ((LIGHT, ()), (WARP, ()), (synth.LocalAugment(synth.tint, 2), ()), (BLEND, (other,))):

        def call(x, fields, strength, *more, change=change):
            return change.apply(x, State(fields, strength), **({"other": more[0]} if more else {}))

        assert torch.autograd.gradcheck(call, (x, fields, strength, *more))


@pytest.mark.parametrize("size", [(7,), (6, 5), (4, 3, 5)])
@pytest.mark.parametrize("order", [0, 1])
def test_tensors_are_warped_in_any_number_of_dimensions(size, order):
    change = synth.LocalAugment(partial(synth.warp, order=order), fields=len(size), strength=(0.7, 0.7))
    state = change.sample_state(size, rng=1)
    x = picture(2, *size)
    np.testing.assert_allclose(change.apply(torch.tensor(x), state).numpy(), change.apply(x, state), atol=1e-12)
    plain = synth.LocalAugment(synth.warp, fields=len(size))
    np.testing.assert_array_equal(plain.apply(x, state, order=order), change.apply(x, state))
    if order == 0:
        assert set(change.apply(x, state).ravel()) <= set(x.ravel())


@settings(deadline=None, max_examples=40)
@given(
    size=st.lists(st.integers(1, 9), min_size=1, max_size=3), seed=st.integers(0, 9999), strength=st.floats(0, 1.5),
    rough=st.floats(0, 1),
)  # fmt: skip
def test_every_point_that_a_warp_shows_is_found(size, seed, strength, rough):
    """Folded warps too: what is returned shows the point, though it may be another place than the one that was drawn."""
    rng = np.random.default_rng(seed)
    places = moved(synth.plasma(size, rough, channels=len(size), generator=rng)[0], strength)
    at = np.concatenate([rng.random((12, len(size))) * (np.array(size) - 1), rng.integers(0, size, (4, len(size)))])
    points = told(places, at)
    found = landed(points, places)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (found <= np.array(size) - 1).all()
    np.testing.assert_allclose(told(places, found), points, atol=1.1e-6)


def test_points_follow_the_bright_spots_of_a_picture():
    """A gentle warp shows every point once: the value at its new place is the value at its old one."""
    rows, columns = np.meshgrid(np.arange(40.0), np.arange(50.0), indexing="ij")
    state = State(synth.plasma((40, 50), 0.1, channels=2, generator=4)[0], 0.15)
    down, right = np.gradient(moved(state.fields, state.strength)[:, 2:-2, 2:-2], axis=(1, 2))  # borders are held
    assert (down[0] * right[1] - down[1] * right[0]).min() > 0
    at = np.random.default_rng(0).random((30, 2)) * (27, 37) + 6
    points = told(moved(state.fields, state.strength), at)
    found = WARP.points(points, state)
    np.testing.assert_allclose(found, at, atol=1e-4)
    for point, place in zip(points, found, strict=True):
        spot = np.exp(-((rows - point[0]) ** 2 + (columns - point[1]) ** 2) / 4)
        brightest = np.unravel_index(WARP.apply(spot, state).argmax(), (40, 50))
        assert np.abs(np.array(brightest) - place).max() <= 1


def test_points_that_a_warp_loses_are_nan_and_other_changes_leave_points():
    fields = np.full((2, 8, 8), 0.5)
    fields[0] = 1.0  # read from two rows below: the first two rows are shown nowhere
    found = WARP.points(np.array([[1.0, 3.0], [4.5, 3.0], [np.nan, 0.0]]), State(fields, 1.0))
    np.testing.assert_allclose(found, [[np.nan, np.nan], [2.5, 3.0], [np.nan, np.nan]], atol=1e-6)
    for change in (LIGHT, TINT, BLEND):
        points = picture(5, 2) * 7
        np.testing.assert_array_equal(change.points(points, change.sample_state((8, 8), rng=1)), points)
    mine = synth.LocalAugment(lambda x, f, s: synth.warp(x, f, s), fields=2, places=moved)
    state = WARP.sample_state((8, 8), rng=3)
    np.testing.assert_array_equal(mine.points(points, state), WARP.points(points, state))


def test_a_cascade_is_one_change_after_the_other_for_points_too():
    parts = [WARP, TINT, WARP]
    both = synth.Cascade(parts)
    state = both.sample_state((20, 24), rng=8)
    x, points = picture(3, 20, 24), picture(6, 2) * (10, 12) + 5
    wanted, where = x, points
    for change, own in zip(parts, state, strict=True):
        wanted, where = change.apply(wanted, own), change.points(where, own)
    np.testing.assert_array_equal(both.apply(x, state), wanted)
    np.testing.assert_array_equal(both.points(points, state), where)
    assert not np.allclose(state[0].fields, state[2].fields)
    batch = Batch((state, state))
    np.testing.assert_array_equal(both.points(np.stack([points, points]), batch), [where, where])
    tensors = both.points(torch.tensor(points), state)
    np.testing.assert_array_equal(tensors.numpy(), where)


def test_a_choice_is_drawn_for_each_sample_with_its_weight():
    change = synth.Choice([LIGHT, WARP, TINT], [1, 2, 0])
    states = change.sample_state((4, 4), rng=0, batch=1200)
    drawn = np.array([own.index for own in states.states])
    assert (drawn == 2).sum() == 0
    assert abs((drawn == 1).mean() - 2 / 3) < 6 * np.sqrt(2 / 9 / 1200)
    x = picture(1200, 3, 4, 4)
    out = change.apply(x, states)
    for b in (0, 1, 2, 3, 4, 5):
        own = states.states[b]
        np.testing.assert_array_equal(out[b], change.changes[own.index].apply(x[b], own.state))
    again = change.sample_state((4, 4), rng=0, batch=1200)
    np.testing.assert_array_equal(out, change.apply(x, again))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: synth.Cascade([]), "at least one"),
        (lambda: synth.Choice([synth.brighten]), "LocalAugment"),
        (lambda: synth.Choice([LIGHT], [0]), "weights"),
        (lambda: synth.Choice([LIGHT], [1, 2]), "1 weights"),
        (lambda: LIGHT.apply(picture(4, 4), LIGHT.sample_state((4, 4)), order=0), "order"),
        (lambda: LIGHT.apply(picture(2, 4, 4), LIGHT.sample_state((4, 4), batch=3)), "batch of 3"),
        (lambda: LIGHT.points(picture(2, 2), LIGHT.sample_state((4, 4), batch=2)), r"\(B, N, D\)"),
        (lambda: WARP.points(picture(2, 3), WARP.sample_state((4, 4))), r"points \(N, 2\)"),
        (lambda: TINT.apply(picture(2, 4, 4), TINT.sample_state((4, 4))), "field a channel"),
        (lambda: TINT.apply(picture(4, 4), TINT.sample_state((4, 4))), "field a channel"),
        (lambda: BLEND.apply(picture(4, 4), BLEND.sample_state((4, 4)), other=picture(2, 4, 4)), "another picture"),
        (lambda: WARP.apply(torch.zeros(4, 4), WARP.sample_state((4, 4)), order=3), "order 3"),
    ],
)
def test_wrong_calls_are_told(call, said):
    with pytest.raises(ArgumentError, match=said):
        call()
