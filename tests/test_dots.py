"""Maps of density keep their mass, at the borders too."""

import numpy as np
import pytest

from faltung.data import dot_density
from faltung.errors import ArgumentError


@pytest.mark.parametrize(("size", "sigma"), [((40,), 3.0), ((64, 80), 4.0), ((30, 31, 32), 2.5), ((50, 50), 1e-3)])
def test_the_sum_is_the_count_and_the_interior_is_the_gaussian(size, sigma):
    generator = np.random.default_rng(0)
    dots = generator.uniform(np.array(size) * 0.4, np.array(size) * 0.6, (7, len(size)))
    density = dot_density(dots, size, sigma)
    assert density.shape == size
    assert density.sum() == pytest.approx(7, abs=1e-4)
    if sigma > 1:  # sampled finely enough for the Gaussian's own scale
        grid = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1)
        wanted = sum(np.exp(-((grid - dot) ** 2).sum(-1) / (2 * sigma**2)) for dot in dots)
        np.testing.assert_allclose(
            density, wanted / (2 * np.pi * sigma**2) ** (len(size) / 2), atol=2e-3 * wanted.max()
        )


def test_no_mass_is_lost_at_the_borders():
    corners = [(0, 0), (0, 29), (-0.5, 10), (19.4, 29.4), (5.5, 7)]
    for sigma in (0.01, 1, 15, 1000):
        density = dot_density(corners, (20, 30), sigma)
        assert density.sum() == pytest.approx(5, abs=1e-9)
        assert density.min() >= 0
    assert np.unravel_index(dot_density([(0, 29)], (20, 30), 2).argmax(), (20, 30)) == (0, 29)


def test_dots_add_up():
    dots = np.random.default_rng(1).uniform(0, 15, (6, 2))
    np.testing.assert_allclose(
        dot_density(dots, (16, 16), 2), sum(dot_density([d], (16, 16), 2) for d in dots), atol=1e-12
    )
    assert dot_density([], (4, 5), 1).tolist() == np.zeros((4, 5)).tolist()


@pytest.mark.parametrize(
    ("points", "size", "sigma", "word"),
    [
        ([(1, 2, 3)], (8, 8), 1, "as many coordinates"), ([(9, 1)], (8, 8), 1, "points within"),
        ([(np.nan, 1)], (8, 8), 1, "points within"),
        ([(1, 1)], (8, 8), 0, "sigma"), ([(1, 1)], (8, 8), np.inf, "sigma"), ([(1, 1)], (0, 8), 1, "coordinates"),
    ],
)  # fmt: skip
def test_wrong_calls_are_refused(points, size, sigma, word):
    with pytest.raises(ArgumentError, match=word):
        dot_density(points, size, sigma)
