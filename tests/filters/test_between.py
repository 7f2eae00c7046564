"""What hides between the points of a grid: never more than the factor says, and for the worst polynomials nearly as much."""

import itertools

import numpy as np
import pytest

from faltung.filters.between import between


def worst(degree, n):
    """How large a polynomial of frequencies up to `degree` gets whose values on n = 2·degree + 1 points have size 1."""
    at = np.linspace(0, 2 * np.pi, 4001)[:, None] - 2 * np.pi * np.arange(n) / n
    kernel = (1 + 2 * sum(np.cos(m * at) for m in range(1, degree + 1))) / n
    return float(np.abs(kernel).sum(1).max())


@pytest.mark.parametrize("degree", [1, 2, 3, 6])
def test_the_worst_polynomials_stay_below(degree):
    """As few points as their coefficients: values of size 1 with the signs of the interpolating kernel."""
    n, k = 2 * degree + 1, 2 * degree + 1
    assert worst(degree, n) <= between((k,), (n,))
    assert worst(degree, n) ** 2 <= between((k, k), (n, n))
    assert worst(degree, n) ** 3 <= between((k, k, k), (n, n, n)) < np.inf


def test_the_cosine_is_met():
    """cos(m(ω − π/n)) on n points has values of size cos(πm/n) at most."""
    for k, n in ((3, 4), (3, 8), (5, 8), (7, 24), (9, 64)):
        m = (k - 1) // 2
        if n % (2 * m) == 0 or m == 1:
            grid = np.abs(np.cos(m * (2 * np.pi * np.arange(n) / n) - m * np.pi / n)).max()
            assert between((k,), (n,)) * grid * (1 + 1e-12) >= 1


@pytest.mark.parametrize("seed", range(6))
def test_no_kernel_exceeds_it(seed):
    random = np.random.default_rng(seed)
    for size in ((2,), (3,), (4,), (2, 2), (3, 2), (3, 3)):
        taps = random.standard_normal(size) + 1j * random.standard_normal(size)
        fine = np.abs(np.fft.fftn(taps, s=[240] * len(size), axes=range(len(size)))).max()
        for n in itertools.product((4, 5, 6, 8, 15), repeat=len(size)):
            assert fine <= np.abs(np.fft.fftn(taps, s=n, axes=range(len(size)))).max() * between(size, n) * (1 + 1e-12)


def test_it_falls_with_finer_grids_and_is_infinite_on_too_coarse_ones():
    found = [between((5, 5), (n, n)) for n in (5, 6, 8, 16, 64, 1024)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 1 + 1e-4
    assert between((5,), (4,)) == np.inf
    assert between((1, 1), (1, 1)) == 1
