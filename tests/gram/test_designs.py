"""Lattices, digital nets and their kernels: known values, series, groups, derivatives, points made elsewhere, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from faltung.errors import ArgumentError
from faltung.gram import digital_net, digital_shift_invariant, lattice, lattice_vector, shift_invariant
from faltung.gram.kernels import cyclic_profile, digital_profile

ZETA = (3.2898681337, 2.1646464674, 2.0346861240, 2.0081547124)


@pytest.mark.parametrize("alpha", [1, 2, 3, 4])
def test_cyclic_profile_is_its_series(alpha):
    assert abs(cyclic_profile(np.float64(0), alpha) - ZETA[alpha - 1]) < 5e-11
    u, h = np.linspace(0, 1, 33)[:-1], np.arange(1, 200_001)
    series = np.array([2 * np.sum(np.cos(2 * np.pi * h * v) / h ** (2.0 * alpha)) for v in u])
    tail = 2 / (2 * alpha - 1) * 200_000.0 ** (1 - 2 * alpha)
    assert np.abs(cyclic_profile(u, alpha) - series).max() < tail + 1e-11


def test_known_values_of_the_first_profile():
    np.testing.assert_allclose(cyclic_profile(np.array([0.25, 0.5]), 1), [-0.4112335167, -1.6449340668], atol=5e-11)


@pytest.mark.parametrize(
    ("alpha", "wanted"),
    [
        (1, (1, -1 / 2, 1 / 4, -1 / 2)),
        (2, (3 / 2, -1 / 4, 3 / 8, -1 / 2)),
        (3, (25 / 18, -5 / 24, 41 / 96, -25 / 48)),
        (4, (407 / 294, None, None, None)),
    ],
)
def test_known_values_of_digital_profiles(alpha, wanted):
    came = digital_profile(np.array([0, 0.5, 0.25, 0.75]), alpha)
    for c, w in zip(came, wanted, strict=True):
        assert w is None or abs(c - w) < 1e-15


@pytest.mark.parametrize("alpha", [1, 2, 3, 4])
def test_digital_profile_is_its_walsh_series(alpha):
    """`Σ wal_k(u) / 2^μ(k)` with the α highest ones of k; for α = 1 half of `Σ wal_k(u) / 4^⌊log₂ k⌋`."""
    bits = 12
    u = np.arange(64) / 64
    total = np.zeros_like(u)
    for k in range(1, 1 << bits):
        ones = [a for a in range(bits) if k >> a & 1]
        mu = sum(sorted((a + 1 for a in ones), reverse=True)[:alpha]) if alpha > 1 else 2 * ones[-1] + 1
        digits = sum((u * 2.0 ** (a + 1)).astype(int) & 1 for a in ones)
        total += (1 - 2 * (digits & 1)) * 2.0**-mu
    # At u = 0 every function is 1, so what is left out there bounds what is left out elsewhere; known values are exact.
    left = (1, 3 / 2, 25 / 18, 407 / 294)[alpha - 1] - total[0]
    assert 0 < left < 2e-3
    assert (np.abs(digital_profile(u, alpha) - total) <= left + 1e-14).all()


@pytest.mark.parametrize(("alpha", "order"), [(2, 1), (2, 2), (3, 1), (3, 4), (4, 5), (4, 6)])
def test_derivatives_equal_differences(alpha, order):
    u, h = np.array([0.07, 0.3, 0.55, 0.9]), 1e-5
    wanted = (cyclic_profile(u + h, alpha, order - 1) - cyclic_profile(u - h, alpha, order - 1)) / (2 * h)
    np.testing.assert_allclose(cyclic_profile(u, alpha, order), wanted, rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize(("alpha", "order"), [(3, 1), (4, 1), (4, 2)])
def test_derivatives_of_digital_profiles_equal_differences(alpha, order):
    """Within a dyadic piece; beyond that, digits switch the sign of what is left of the series for α = 4."""
    u, h = np.array([0.3125, 0.625, 0.15625]) + 2.0**-21, 2.0**-22
    wanted = (digital_profile(u + h, alpha, order - 1) - digital_profile(u - h, alpha, order - 1)) / (2 * h)
    np.testing.assert_allclose(digital_profile(u, alpha, order), wanted, rtol=1e-5)


def test_kernel_derivatives_equal_differences():
    k, h = shift_invariant([3, 4], [0.5, 0.2], 2.0), 1e-5
    x, t, step = np.array([[0.1, 0.8], [0.4, 0.3]]), np.array([[0.7, 0.2], [0.9, 0.95], [0.3, 0.5]]), np.array([[h, 0]])
    by_x = (k(x + step, t) - k(x - step, t)) / (2 * h)
    np.testing.assert_allclose(k(x, t, dx=[1, 0]), by_x, rtol=1e-7, atol=1e-7)
    by_both = (k(x, t + step, dx=[1, 0]) - k(x, t - step, dx=[1, 0])) / (2 * h)
    np.testing.assert_allclose(k(x, t, dx=[1, 0], dt=[1, 0]), by_both, rtol=1e-7, atol=1e-7)


@given(st.integers(0, 9), st.integers(1, 5), st.integers(0, 99))
def test_differences_of_points_form_a_group(m, dim, seed):
    n = 1 << m
    design = lattice(n, dim, shift=seed)
    i, j = np.random.default_rng(seed).integers(0, n, (2, 30))
    apart = {tuple(row) for row in np.round(design.differences() * n).astype(int)}
    assert {tuple(row) for row in np.round((design.points[i] - design.points[j]) % 1 * n).astype(int) % n} <= apart
    net = digital_net(n, dim, rng=seed, most=1 << 10)
    x = (net.points * 2.0**53).astype(np.uint64)
    assert np.array_equal(x[i] ^ x[j], x[0] ^ x[i ^ j])
    for larger in (design.double(), net.double() if m < 10 else net):
        assert np.array_equal(larger.points[:n], (design if larger.group == "cyclic" else net).points)


def test_scipys_points_are_the_net_in_gray_code():
    i = np.arange(256)
    scipys = qmc.Sobol(7, scramble=False, bits=30).random(256)
    assert np.array_equal(digital_net(256, 7, "none").points[i ^ i >> 1], scipys)


def test_linear_scrambling_keeps_every_one_dimensional_projection():
    """Each coordinate of a scrambled net has one point in each of the n intervals of length 1/n."""
    net = digital_net(1 << 8, 6, rng=3)
    assert (np.sort((net.points * 256).astype(int), axis=0) == np.arange(256)[:, None]).all()
    assert not np.array_equal(net.points, digital_net(1 << 8, 6, rng=4).points)


@pytest.mark.parametrize("n", [8, 64, 101, 128, 257])
def test_every_coordinate_of_the_vector_is_the_best_candidate(n):
    """Against the definition: the mean of the product kernel for every candidate."""
    vector, i = lattice_vector(n, 4), np.arange(n)
    product = np.ones(n)
    for j, z in enumerate(vector):
        if j:
            means = {
                c: np.mean(product * (1 + (j + 1.0) ** -2 * cyclic_profile(i * c % n / n, 1)))
                for c in range(1, n)
                if np.gcd(c, n) == 1
            }
            assert means[int(z)] <= min(means.values()) * (1 + 1e-12)
        product *= 1 + (j + 1.0) ** -2 * cyclic_profile(i * int(z) % n / n, 1)


@pytest.mark.filterwarnings("ignore::Warning")
def test_points_of_qmcpy_are_recognised():
    qmcpy = pytest.importorskip("qmcpy")
    points = qmcpy.Lattice(4, seed=7).gen_samples(256)
    assert np.abs(lattice(points=points).points - points).max() < 1e-12
    for scramble in ("LMS DS", "DS"):
        points = qmcpy.DigitalNetB2(4, seed=7, randomize=scramble).gen_samples(256)
        assert np.abs(digital_net(points=points).points - points).max() < 1e-12
    with pytest.raises(ArgumentError, match="nested uniform scrambling"):
        digital_net(points=qmcpy.DigitalNetB2(4, seed=7, randomize="NUS").gen_samples(256))
    with pytest.raises(ArgumentError, match="radical inverse"):
        lattice(points=qmcpy.Lattice(4, seed=7, order="LINEAR").gen_samples(256))


def test_own_points_are_recognised():
    prime = lattice(31, 3, shift=1)
    assert np.array_equal(lattice(points=prime.points).vector, prime.vector)
    scipys = qmc.Sobol(5, scramble=False, bits=30).random(64)  # in the order of Gray codes
    assert np.array_equal(digital_net(points=scipys).points, scipys)


@pytest.mark.parametrize("make", [shift_invariant, digital_shift_invariant])
def test_a_kernel_without_dimensions_takes_those_of_the_points(make):
    x = np.random.default_rng(0).random((5, 3))
    assert np.array_equal(make(2, 0.3)(x, x), make(2, 0.3, dim=3)(x, x))
    assert not np.array_equal(make(2, 0.3)(x, x), make(2, 0.3)(x[:, :1], x[:, :1]))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: lattice(12, 2), "take 16"),
        (lambda: lattice(8), "dim"),
        (lambda: lattice(8, 2, vector=[1]), "2 whole numbers"),
        (lambda: lattice(8, 2, shift=[0.5, 1.5]), "0, 1"),
        (lambda: lattice(31, 2).double(), "2\\^m"),
        (lambda: lattice(points=np.random.default_rng(0).random((16, 2))), "one shift modulo 1"),
        (lambda: digital_net(12, 2), "2\\^m"),
        (lambda: digital_net(8, 2, scramble="owen"), "not linear over XOR"),
        (lambda: digital_net(8, 2, scramble="permutation"), "permuted digits"),
        (lambda: digital_net(8, 2, most=8).double(), "most="),
        (lambda: digital_net(points=np.random.default_rng(0).random((16, 2))), "XOR"),
        (lambda: digital_net(points=np.ones((4, 1))), "scale them"),
        (lambda: digital_shift_invariant(5, dim=1), "1 to 4"),
        (lambda: shift_invariant(1.5, dim=1), "whole alpha"),
        (lambda: shift_invariant([]), "dim"),
        (lambda: shift_invariant(1, [1.0, 2.0], dim=3), "2, 3"),
        (lambda: shift_invariant(1, -1.0, dim=1), "at least 0"),
        (lambda: shift_invariant(1, dim=1)([[0.1]], [[0.2]], dx=1), "larger alpha"),
        (lambda: digital_shift_invariant(4, dim=1)([[0.1]], [[0.2]], dx=1), "profile"),
        (lambda: shift_invariant(1, dim=2)([[0.1]], [[0.2]]), "2 coordinates"),
    ],
)
def test_refusals(call, words):
    with pytest.raises(ArgumentError, match=words):
        call()
