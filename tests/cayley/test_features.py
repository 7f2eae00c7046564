"""Group arithmetic: the energy of a unit is a convolution's norm, its gradient, where ascent ends, and what networks learn."""

import numpy as np
import pytest

from faltung.cayley import climb, feature_energy, feature_gradient, group_arithmetic, group_spectrum
from faltung.domains.group import cyclic, dihedral, group, symmetric
from faltung.errors import ArgumentError

ENDS = {symmetric(3): {3.0, 1.5}, symmetric(4): {12.0, 6.0, 4.0}, cyclic(7): {1.75}}
GROUPS = [*ENDS, dihedral(6), group(permutations=[[1, 2, 3, 4, 5, 6, 0], [0, 2, 4, 6, 1, 3, 5]])]


@pytest.mark.parametrize("G", GROUPS, ids=lambda G: G.text)
def test_the_energy_is_that_of_the_unit(G):
    u, p = np.random.default_rng(0).normal(size=(2, G.order))
    hidden = (u[:, None] + p[None]) ** 2
    label = np.bincount(G.table.ravel(), hidden.ravel())
    assert feature_energy(u, p, G) == pytest.approx(0.5 * np.sum((label - label.mean()) ** 2), rel=1e-11)


@pytest.mark.parametrize("G", GROUPS, ids=lambda G: G.text)
def test_the_gradient_is_the_derivative(G):
    random = np.random.default_rng(1)
    u, p, d = random.normal(size=(3, G.order))
    h = 1e-5
    by_u, by_p = feature_gradient(u, p, G)
    assert (feature_energy(u + h * d, p, G) - feature_energy(u - h * d, p, G)) / (2 * h) == pytest.approx(
        by_u @ d, rel=1e-6
    )
    assert (feature_energy(u, p + h * d, G) - feature_energy(u, p - h * d, G)) / (2 * h) == pytest.approx(
        by_p @ d, rel=1e-6
    )


def ends(G, starts):
    for seed in range(starts):
        u, p, history = climb(*np.random.default_rng(seed).normal(size=(2, G.order)), G, steps=4000)
        assert np.all(np.diff(history) > -1e-9)
        yield u, p, history[-1]


@pytest.mark.parametrize("G", ENDS, ids=lambda G: G.text)
def test_ascent_ends_in_one_representation(G):
    for u, p, value in ends(G, 4):
        assert min(abs(value - end) for end in ENDS[G]) < 1e-6
        for weights in (u, p):
            spectrum = group_spectrum(weights, G)
            assert spectrum.energy.max() > 0.999 * (weights @ weights)
            assert spectrum.energy.sum() == pytest.approx(weights @ weights, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("G", ENDS, ids=lambda G: G.text)
def test_ascent_from_many_starts_ends_nowhere_else(G):
    found = {round(value, 4) for _, _, value in ends(G, 24)}
    assert found <= ENDS[G]
    assert len(found) >= min(2, len(ENDS[G]))


def test_the_task():
    G = dihedral(5)
    task = group_arithmetic(G, 0.3, 7)
    assert len(task.pairs) == 30
    assert len(task.pairs) + len(task.other_pairs) == 100
    everything = np.concatenate([task.pairs, task.other_pairs])
    assert len(np.unique(everything, axis=0)) == 100
    assert np.array_equal(G.table[everything[:, 0], everything[:, 1]], np.concatenate([task.labels, task.other_labels]))
    again = group_arithmetic(G, 0.3, 7)
    assert np.array_equal(task.pairs, again.pairs)


def test_the_spectrum_of_waves():
    G, t = cyclic(12), np.arange(12)
    found = group_spectrum([np.cos(2 * np.pi * k * t / 12) for k in range(7)], G)
    assert found.names == ((0,), (1, 11), (2, 10), (3, 9), (4, 8), (5, 7), (6,))
    np.testing.assert_allclose(found.energy, np.diag([12, 6, 6, 6, 6, 6, 12]), atol=1e-12)


def test_bad_input():
    for call in (
        lambda: group_arithmetic(cyclic(3), 0.0),
        lambda: group_spectrum(np.ones(4), cyclic(3)),
        lambda: feature_energy(np.ones(3), np.ones(4), cyclic(3)),
        lambda: climb(np.ones(3), np.ones(4), cyclic(3)),
    ):
        with pytest.raises(ArgumentError):
            call()


@pytest.mark.slow
def test_a_trained_network_keeps_one_frequency_a_unit():
    """Two layers, t², all of Z₂₃'s table, weight decay: units that have not died hold one pair of conjugate characters each."""
    G, n, units = cyclic(23), 23, 128
    task = group_arithmetic(G, 1.0, 0)
    first, second = (np.eye(n)[e] for e in task.pairs.T)
    wanted = np.eye(n)[task.labels] - 1 / n
    random = np.random.default_rng(0)
    weights = [random.normal(size=shape) * 0.2 for shape in ((units, n), (units, n), (n, units))]
    means, squares = ([np.zeros_like(w) for w in weights] for _ in range(2))

    def hidden():
        h = weights[0] @ first.T + weights[1] @ second.T
        return h, h**2 - (h**2).mean(axis=1, keepdims=True)

    for step in range(1, 801):  # Adam
        h, s = hidden()
        error = ((weights[2] @ s).T - wanted) / n
        error -= error.mean(axis=1, keepdims=True)
        back = weights[2].T @ error.T
        back = 2 * h * (back - back.mean(axis=1, keepdims=True))
        for w, m, v, g in zip(weights, means, squares, (back @ first, back @ second, error.T @ s.T), strict=True):
            g = g + 0.05 * w
            m += 0.1 * (g - m)
            v += 0.01 * (g * g - v)
            w -= 0.01 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.99**step)) + 1e-8)
    assert ((weights[2] @ hidden()[1]).argmax(axis=0) == task.labels).all()
    for w in weights[:2]:
        energy = group_spectrum(w, G).energy
        alive = energy.sum(axis=1) > 1e-3 * energy.sum(axis=1).max()
        assert alive.sum() >= 20
        assert (energy.max(axis=1) / energy.sum(axis=1))[alive].min() >= 0.9
