"""The hidden pattern: where it stands, what the labels say, how loud the noise is."""

import numpy as np
import pytest

from faltung.data import dynamic_signal
from faltung.errors import ArgumentError


def test_without_noise_one_patch_holds_the_signed_pattern():
    x, y, signal = dynamic_signal(500, 6, 5, sigma=0)
    patches = x.reshape(500, 6, 5)
    full = np.abs(patches).max(2) > 0
    assert (full.sum(1) == 1).all()
    assert np.allclose(patches[full], y[:, None] * signal)
    assert np.linalg.norm(signal) == pytest.approx(1)


def test_labels_and_patches_are_uniform():
    x, y, _ = dynamic_signal(20_000, 4, 3, sigma=0, seed=3)
    assert set(y) == {-1.0, 1.0}
    assert abs(y.mean()) < 0.03
    where = (np.abs(x.reshape(-1, 4, 3)).max(2) > 0).mean(0)
    assert np.abs(where - 0.25).max() < 0.02


def test_the_noise_is_normal_of_that_deviation():
    x, y, signal = dynamic_signal(20_000, 3, 2, sigma=2.0, signal=np.array([0.6, 0.8]))
    assert np.allclose(signal, [0.6, 0.8])
    assert np.cov(x.T) == pytest.approx(4 * np.eye(6) + np.kron(np.eye(3), np.outer(signal, signal)) / 3, abs=0.15)
    assert x.T @ y / len(y) == pytest.approx(np.tile(signal, 3) / 3, abs=0.05)


def test_the_seed_decides_and_the_pattern_is_handed_on():
    first, again, other = (dynamic_signal(9, 3, 4, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert np.array_equal(dynamic_signal(2, 3, 4, signal=first[2], seed=5)[2], first[2])
    assert dynamic_signal(0, 3, 4)[0].shape == (0, 12)


@pytest.mark.parametrize(
    "wrong", [{"n": -1}, {"k": 0}, {"d": 0}, {"sigma": -1.0}, {"sigma": np.nan}, {"signal": np.ones(3)}], ids=str
)
def test_sizes_out_of_range_are_refused(wrong):
    with pytest.raises(ArgumentError, match="expected"):
        dynamic_signal(**{"n": 5, "k": 2, "d": 4, **wrong})
