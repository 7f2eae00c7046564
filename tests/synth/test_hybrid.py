"""Hybrids: one coin a sample, versions of one picture, real pictures from spectra, and what each small operation keeps."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import filters, synth
from faltung.errors import ArgumentError
from faltung.synth import operations
from faltung.synth.hybrid import recombined

sys.path.insert(0, str(Path(__file__).parent))
from odd_pictures import KINDS, odd_picture


def batch(count, size=8, seed=0, channels=2):
    return np.random.default_rng(seed).random((count, channels, size, size))


def bands(x):
    return synth.split_bands(x, filters.gaussian(0.5, 2, ndim=2))


@pytest.mark.parametrize("p", [0.2, 0.6])
def test_every_sample_draws_its_own_chance_and_a_batch_only_one(p):
    x = batch(2000)
    changed = ~np.isclose(synth.hybrid_augment(x, p, generator=3), x).all((1, 2, 3))
    # Six standard deviations; a sample that meets itself, one in two thousand, counts as unchanged.
    assert abs(changed.mean() - p) < 6 * np.sqrt(p * (1 - p) / 2000) + 1e-3
    for seed in range(8):
        whole = ~np.isclose(synth.hybrid_augment(x[:50], p, generator=seed, coin="batch"), x[:50]).all((1, 2, 3))
        assert whole.mean() < 0.01 or whole.mean() > 0.9


def test_a_changed_sample_has_its_own_low_and_one_other_s_high_part():
    x = batch(40)
    low, high = bands(x)
    found = synth.hybrid_augment(x, 0.5, generator=1) - low
    donors = [int(np.abs(high - one).max((1, 2, 3)).argmin()) for one in found]
    np.testing.assert_allclose(found, high[donors], atol=1e-12)
    own = np.array(donors) == np.arange(40)
    assert 8 < own.sum() < 32
    # Whoever lends to another is drawn by a permutation: nobody lends twice among those that borrow.
    lenders = np.array(donors)[~own]
    assert len(set(lenders)) == len(lenders)


def test_amplitudes_are_mixed_sample_by_sample():
    x = batch(300, 6, 2, 1)
    low, _ = bands(x)
    made = synth.hybrid_augment(x, 0.5, amplitude_mix=True, generator=4)
    plain = synth.hybrid_augment(x, 0.5, generator=4)
    mixed = ~np.isclose(made, plain).all((1, 2, 3))
    assert 0.3 < mixed.mean() < 0.7
    turned = np.fft.fftn((made - plain + low)[mixed], axes=(1, 2, 3)) / np.fft.fftn(low[mixed], axes=(1, 2, 3))
    np.testing.assert_allclose(np.angle(turned), 0, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    kind=st.sampled_from(KINDS), tensor=st.booleans(), wide=st.booleans(),
    size=st.tuples(st.integers(1, 3), st.integers(2, 17), st.integers(2, 17)), seed=st.integers(0, 99),
)  # fmt: skip
def test_recombined_spectra_belong_to_real_pictures(kind, tensor, wide, size, seed):
    """Also where the phase is that of rounding only."""
    rng = np.random.default_rng(seed)
    x = odd_picture(kind, (2, *size), rng)
    donor = rng.random(x.shape)
    dtype = np.float64 if wide else np.float32
    x, donor = x.astype(dtype), donor.astype(dtype)
    whole = recombined(torch.tensor(x), torch.tensor(donor)).numpy() if tensor else recombined(x, donor)
    assert np.abs(whole.imag).max() < 1e-5
    wanted = np.abs(np.fft.fftn(donor.astype(np.float64), axes=(1, 2, 3)))
    np.testing.assert_allclose(np.abs(np.fft.fftn(whole.real, axes=(1, 2, 3))), wanted, atol=1e-9 if wide else 1e-3)


@pytest.mark.parametrize("kind", ["array", "tensor"])
@pytest.mark.parametrize("amplitude_mix", [False, True])
def test_one_picture_with_itself_stays(kind, amplitude_mix):
    x = batch(5).astype(np.float32)
    given = torch.tensor(x) if kind == "tensor" else x
    out = synth.hybrid_single(given, amplitude_mix=amplitude_mix, views=(given, given))
    np.testing.assert_allclose(np.asarray(out), x, atol=1e-6)


def test_two_versions_give_one_s_low_and_the_other_s_high_part_either_way():
    x, a, b = batch(200), batch(200, seed=1), batch(200, seed=2)
    (low_a, high_a), (low_b, high_b) = bands(a), bands(b)
    out = synth.hybrid_single(x, views=(a, b), generator=3)
    one = np.isclose(out, low_a + high_b).all((1, 2, 3))
    other = np.isclose(out, low_b + high_a).all((1, 2, 3))
    assert (one ^ other).all()
    assert 0.3 < one.mean() < 0.7
    tensors = synth.hybrid_single(torch.tensor(x), views=(torch.tensor(a), torch.tensor(b)), generator=3)
    np.testing.assert_allclose(tensors.numpy(), out, atol=1e-12)


def test_low_parts_exchange_their_amplitudes():
    x, a, b = batch(60), batch(60, seed=1), batch(60, seed=2)
    (low_a, high_a), (low_b, high_b) = bands(a), bands(b)
    out = synth.hybrid_single(x, amplitude_mix=True, views=(a, b), generator=3)
    one = np.isclose(out, synth.swap_amplitude(low_a, low_b) + high_b).all((1, 2, 3))
    other = np.isclose(out, synth.swap_amplitude(low_b, low_a) + high_a).all((1, 2, 3))
    assert (one ^ other).all()


def test_half_of_the_pictures_have_a_second_version_and_nothing_is_clipped():
    x = batch(1500, 6)
    plain = synth.hybrid_single(x, p=0.0, generator=5)
    np.testing.assert_allclose(plain, synth.vary(x, 3.0, np.random.default_rng(5)), atol=1e-12)
    out = synth.hybrid_single(x, generator=5)
    changed = ~np.isclose(out, plain).all((1, 2, 3))
    # Two operations can give the same picture; more than half cannot differ by more than chance.
    assert 0.4 < changed.mean() < 0.5 + 6 * 0.5 / np.sqrt(1500)
    assert out.min() < 0
    assert out.max() > 1


def test_both_is_the_one_after_the_other_and_repeats():
    x = batch(12)
    for mix in (False, True):
        source = np.random.default_rng(7)
        first = synth.hybrid_single(x, amplitude_mix=mix, sigma=0.8, generator=source)
        wanted = synth.hybrid_augment(first, sigma=0.8, amplitude_mix=mix, generator=source)
        assert np.array_equal(synth.hybrid_both(x, mix, generator=7, sigma=0.8), wanted)


def test_a_tensor_is_varied_as_an_array_and_longer_batches_begin_alike():
    x = batch(30).astype(np.float32)
    made = synth.vary(x, rng=2)
    assert made.dtype == np.float32
    assert np.array_equal(synth.vary(torch.tensor(x), rng=2).numpy(), made)
    assert np.array_equal(synth.vary(x[:11], rng=2), made[:11])
    for short in (torch.float16, torch.bfloat16):
        half = torch.tensor(x).to(short)
        assert torch.equal(synth.vary(half, rng=2), torch.tensor(synth.vary(half.float().numpy(), rng=2)).to(short))
    assert np.array_equal(
        synth.vary(x.astype(np.float16), rng=2),
        synth.vary(x.astype(np.float16).astype(np.float32), rng=2).astype(np.float16),
    )
    assert np.array_equal(x, batch(30).astype(np.float32))  # what came is not changed


def test_all_operations_are_drawn_alike_and_signs_too():
    seen = []
    spies = [lambda x, level, n=n: (seen.append((n, level)), x)[1] for n in range(4)]
    synth.vary(np.zeros((4000, 1, 1, 1)), 3.0, 0, spies)
    counts = np.bincount([n for n, _ in seen], minlength=4)
    assert (abs(counts - 1000) < 6 * np.sqrt(4000 * 3 / 16)).all()
    levels = np.array([level for _, level in seen])
    assert levels.min() >= 0.01
    assert 0.295 < levels.max() <= 0.3
    assert abs(levels.mean() - 0.155) < 0.01


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), level=st.floats(0.01, 1.0))
def test_what_operations_keep(seed, level):
    x = np.random.default_rng(seed).random((2, 7, 6))
    stretched = operations.stretch(x)
    assert (stretched.min((1, 2)) == 0).all()
    assert (stretched.max((1, 2)) == 1).all()
    np.testing.assert_allclose(operations.stretch(0.3 * x + 0.1), stretched, atol=1e-12)
    ranks = operations.equalise(x)
    assert np.array_equal(operations.equalise(x**3), ranks)
    assert np.array_equal(np.argsort(ranks[1], None), np.argsort(x[1], None))
    np.testing.assert_allclose(np.sort(ranks[0], None), np.arange(42) / 41, atol=1e-12)
    once = operations.posterise(x, level)
    np.testing.assert_allclose(operations.posterise(once, level), once)
    assert len(np.unique(once)) <= 2 ** (4 - int(4 * level))
    assert (once <= x).all()
    bright = operations.solarise(x, level)
    np.testing.assert_array_equal(bright != x, x >= 1 - level)
    flat = np.full((1, 5, 5), 0.4)
    assert np.array_equal(operations.stretch(flat), flat)
    assert np.array_equal(operations.equalise(flat), flat)


def test_turns_slants_and_shifts_move_values():
    x = np.random.default_rng(0).random((2, 9, 9))
    np.testing.assert_allclose(operations.rotate(x, 3.0), np.rot90(x, -1, (1, 2)), atol=1e-12)
    np.testing.assert_allclose(operations.rotate(operations.rotate(x, 3.0), -3.0), x, atol=1e-12)
    right = operations.translate_x(x, 2 / 3)  # two pixels of nine
    assert np.array_equal(right[..., 2:], x[..., :-2])
    assert not right[..., :2].any()
    down = operations.translate_y(x, -1.0)
    assert np.array_equal(down[:, :-3], x[:, 3:])
    assert not down[:, -3:].any()
    slanted = operations.shear_x(x, 1 / 0.3)  # a pixel a row
    for i in range(9):
        line = np.zeros((2, 9))
        step = i - 4
        line[:, max(0, -step) : 9 - max(0, step)] = x[:, i, max(0, step) : 9 - max(0, -step)]
        np.testing.assert_allclose(slanted[:, i], line, atol=1e-12)
    np.testing.assert_allclose(operations.shear_y(x.swapaxes(1, 2), 1.0).swapaxes(1, 2), operations.shear_x(x, 1.0))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: synth.hybrid_augment(batch(2), coin="each"), "sample, batch"),
        (lambda: synth.hybrid_single(batch(2), p=1.5), r"p 1\.5"),
        (lambda: synth.hybrid_single(batch(2), kernel=2), "kernel 2"),
        (lambda: synth.hybrid_single(batch(2), views=(batch(2), batch(1))), "views"),
        (lambda: synth.hybrid_augment(np.zeros((1, 1, 6, 6), np.uint8)), "uint8"),
        (lambda: synth.vary(np.zeros((1, 1, 6, 6), np.uint8)), "uint8"),
        (lambda: synth.vary(batch(1), severity=11), "severity 11"),
        (lambda: synth.vary(batch(1), operations=[]), "0 operations"),
        (lambda: synth.vary(batch(1)[0]), r"\(2, 8, 8\)"),
        (lambda: synth.hybrid_both(batch(1), generator=None), "seed"),
    ],
)
def test_wrong_calls_are_told(call, said):
    with pytest.raises(ArgumentError, match=said):
        call()
