"""Walks: integer powers are the matrix's, min-plus stars are the layers of growth, chances become even."""

import numpy as np
import pytest

from faltung import cayley
from faltung.cayley import distances, mixing, walks
from faltung.domains.group import cyclic, dihedral, symmetric
from faltung.errors import ArgumentError, ExactnessError

SETS = [(symmetric(4), "lrx(4)"), (symmetric(4), "lx(4)"), (symmetric(5), "coxeter(5)")]


def matrix(G, generators):
    A = np.zeros((G.order, G.order), np.int64)
    for s in generators:
        np.add.at(A, (np.arange(G.order), G.table[:, G.index(s)]), 1)
    return A


@pytest.mark.parametrize(("G", "name"), SETS, ids=[name for _, name in SETS])
def test_numbers_of_walks_are_powers_of_the_matrix(G, name):
    rows = cayley.generator_set(name).rows.tolist()
    for length in (0, 1, 2, 5, 12):
        assert np.array_equal(walks(G, rows, length), np.linalg.matrix_power(matrix(G, rows), length)[0])
    assert walks(G, rows, 9).sum() == len(rows) ** 9


@pytest.mark.parametrize(("G", "name"), SETS, ids=[name for _, name in SETS])
def test_distances_are_the_layers_of_growth(G, name):
    g = cayley.generator_set(name)
    found = distances(G, g.rows.tolist())
    assert tuple(np.bincount(found.astype(int))) == cayley.growth(g).layers


def test_what_no_word_reaches_is_infinitely_far():
    assert distances(cyclic(6), [2, 4]).tolist() == [0, np.inf, 1, np.inf, 1, np.inf]


def test_mixing_falls_to_nothing():
    G = dihedral(5)
    weights = np.zeros(10)
    weights[[0, 1, 4, 5]] = [2, 1, 1, 1]
    found = mixing(G, weights, 60)
    assert found[0] == pytest.approx(0.9)
    assert np.all(np.diff(found) < 1e-15)
    assert found[-1] < 1e-5
    P = (weights / 5)[G.table[G.inverses]]  # the step from a to b has the chance of a⁻¹ b
    np.testing.assert_allclose(found[7], np.abs(np.linalg.matrix_power(P, 7)[0] - 0.1).sum() / 2, atol=1e-13)


def test_bad_input():
    for call in (
        lambda: walks(cyclic(3), [], 2),
        lambda: walks(cyclic(3), [5], 2),
        lambda: walks(cyclic(3), [1], -1),
        lambda: mixing(cyclic(3), np.zeros(3), 2),
    ):
        with pytest.raises(ArgumentError):
            call()
    with pytest.raises(ExactnessError):
        walks(cyclic(3), [1, 2], 63)
