"""What a linear convolutional network learns of two textures: the strongest wave of each, and hardly anything else."""

import numpy as np
import pytest

from faltung import look

TEXTURES = ((3, 7, 11), (5, 9, 13))


def two_textures(seed, amounts=(1.0, 0.5, 0.4), noise=0.5, n=32, count=2000):
    """Signals of two classes, each made of three waves of which the first is the strongest, in white noise; classes as pairs."""
    rng, places = np.random.default_rng(seed), np.arange(n)
    waves = [
        sum(
            a * np.cos(2 * np.pi * f * places / n + rng.uniform(0, 2 * np.pi))
            for a, f in zip(amounts, own, strict=True)
        )
        for own in TEXTURES
    ]
    labels = np.arange(2 * count) % 2
    x = np.stack(waves)[labels] + noise * rng.standard_normal((2 * count, n))
    y = np.eye(2)[labels]
    return (x[:count], y[:count]), (x[count:], y[count:])


def accuracy(matrix, x, y):
    return float(((x @ matrix.T).argmax(1) == y.argmax(1)).mean())


@pytest.mark.parametrize("noise", [0.5, 1.1])
def test_two_textures_are_told_apart_by_their_strongest_frequencies_alone(noise):
    """By the closed form: when the strongest wave of each class has 90 % of its weight, nearly all signals are told apart, and no
    other wave has a fifth of its own."""
    (x, y), fresh = two_textures(0, noise=noise)
    times = np.linspace(0, 6, 601)
    flow = look.linear_cnn_flow(x, y, times, method="closed")
    shares = flow.gains / flow.targets
    strongest = [own[0] for own in TEXTURES]
    others = [f for own in TEXTURES for f in own[1:]]
    now = int(np.argmax((shares[:, strongest] > 0.9).all(1)))
    assert now > 0
    assert shares[now, others].max() < 0.2
    assert accuracy(flow.maps[now], *fresh) >= 0.99
    power = np.abs(np.fft.fft(flow.maps[now], axis=1)) ** 2
    for row, f in zip(power, strongest, strict=True):
        assert row[[f, -f]].sum() > 0.9 * row.sum()
    first = [place[0] for place, _ in look.discovery_order(x, y)[:4]]
    assert {min(f, 32 - f) for f in first} == set(strongest)


@pytest.mark.parametrize("noise", [0.5, 1.1])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_network_trained_on_two_textures_uses_their_strongest_frequencies_alone(seed, noise):
    """From small random weights, four channels: what the closed form says of the order holds although the waves of a texture come
    together, so that frequencies mix.

    In strong noise 99 % of fresh signals are told apart when each class goes by its strongest wave alone. In weak noise they are
    long before, by weights that are next to nothing and still at random, since decisions do not ask for sizes; what is then
    learnt is again the strongest wave alone.
    """
    (x, y), fresh = two_textures(seed, noise=noise)
    n = x.shape[1]
    places = (np.arange(n)[:, None] - np.arange(n)) % n
    rng = np.random.default_rng(seed)
    w, v = 1e-3 * rng.standard_normal((4, n)), 1e-3 * rng.standard_normal((4, 2, n))
    inputs, cross = x.T @ x / len(x), y.T @ x / len(x)
    final = np.abs(np.fft.rfft(cross @ np.linalg.inv(inputs), axis=1))
    right = None
    for _ in range(400):
        matrix = np.einsum("ckp,cpq->kq", v, w[:, places])
        weights = np.abs(np.fft.rfft(matrix, axis=1))
        shares = [[weights[c, f] / final[c, f] for f in own] for c, own in enumerate(TEXTURES)]
        if right is None and accuracy(matrix, *fresh) >= 0.99:
            held = [row[own[0]] ** 2 / (row**2).sum() for row, own in zip(weights, TEXTURES, strict=True)]
            right = (min(held), max(row[0] for row in shares))
        if min(row[0] for row in shares) > 0.9:
            break
        off = matrix @ inputs - cross
        back = np.einsum("ckp,kq->cpq", v, off)
        v = v - 0.005 * np.einsum("kq,cpq->ckp", off, w[:, places])
        w = w - 0.005 * np.stack([np.bincount(places.ravel(), part.ravel(), minlength=n) for part in back])
    assert min(row[0] for row in shares) > 0.9
    assert accuracy(matrix, *fresh) >= 0.99
    assert max(max(row[1:]) for row in shares) < 0.1
    for c, own in enumerate(TEXTURES):
        assert weights[c, own[0]] ** 2 > 0.95 * (weights[c] ** 2).sum()
    assert right is not None
    if noise > 1:
        assert right[0] > 0.99
    else:
        assert right[1] < 1e-3
