"""Singular values by eigenvalues: those of a decomposition, also where products would lose them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from faltung.filters.symbol import Symbol
from faltung.look import singular
from faltung.look.singular import _each, frequencies, grid_values, singular_values


def drawn(*shape, seed=0, real=True):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape) + (0 if real else 1j * rng.standard_normal(shape))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.sampled_from([1.0, 1e-200, 1e200]), st.integers(0, 99))
def test_they_are_those_of_a_decomposition(rows, columns, real, scale, seed):
    a = drawn(2, rows, columns, seed=seed, real=real) * scale
    wanted = np.linalg.svd(a, compute_uv=False)
    found = singular_values(a)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=0)
    np.testing.assert_allclose(found[:, 0], wanted[:, 0], rtol=1e-13)


@pytest.mark.parametrize("least", [1e-3, 1e-6, 1e-12, 0.0])
def test_small_ones_are_not_lost(least):
    left, right = (np.linalg.qr(drawn(n, 20, seed=n))[0] for n in (30, 20))
    values = np.geomspace(1, max(least, 1e-13), 20)
    values[-1] = least
    found = singular_values(left * values @ right.T)
    np.testing.assert_allclose(found, values, rtol=1e-6, atol=1e-15)


def test_rows_and_columns_of_zeros_cost_nothing_and_change_nothing():
    a = drawn(24, 60)
    a[::2], a[:, 20:] = 0, 0
    np.testing.assert_allclose(singular_values(a), np.linalg.svd(a, compute_uv=False), atol=1e-13)
    assert not singular_values(np.zeros((12, 9))).any()


@pytest.mark.parametrize("grid", [(1,), (4,), (5,), (4, 3), (2, 6), (3, 4, 2)])
def test_frequencies_stand_for_the_whole_grid(grid):
    for real in (True, False):
        found = dict(frequencies(grid, real))
        assert sum(found.values()) == np.prod(grid)
        mirrored = {tuple(-j % n for j, n in zip(index, grid, strict=True)) for index in found}
        assert len(set(found) | mirrored) == np.prod(grid)


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize(("ndim", "groups", "dilation"), [(1, 1, 1), (2, 2, 2), (3, 1, 1)])
def test_the_grid_is_that_of_the_symbol(ndim, groups, dilation, real):
    symbol = Symbol(drawn(4, 12 // groups, *(3,) * ndim, real=real), dilation=dilation, groups=groups)
    grid = (4, 6, 2)[:ndim]
    whole = np.asarray(symbol.singular_values(grid))
    indices, counts, values = grid_values(symbol, grid)
    picked = whole[(slice(None), *indices.T)]
    np.testing.assert_allclose(values, picked, rtol=1e-9)
    assert (counts * (values**2).sum((0, 2))).sum() == pytest.approx((whole**2).sum())


def test_each_matrix_has_one_processor_and_libraries_their_threads_back():
    def threads():
        return {(found["filepath"], found["num_threads"]) for found in threadpool_info() if found["user_api"] == "blas"}

    before, inside = threads(), []
    with threadpool_limits(limits=2, user_api="blas"):
        two = threads()
        _each(lambda n: inside.append({count for _, count in threads()}), 5)
        assert threads() == two
    assert inside == [{1}] * 5
    assert threads() == before


def test_grids_are_the_same_on_one_thread_and_on_two(monkeypatch):
    symbol = Symbol(np.random.default_rng(0).standard_normal((12, 16, 3, 3)))
    found = grid_values(symbol, (6, 5))
    monkeypatch.setattr(singular, "available", lambda: 1)
    for one, two in zip(grid_values(symbol, (6, 5)), found, strict=True):
        np.testing.assert_array_equal(one, two)
    monkeypatch.setattr(singular, "available", lambda: 2)
    for one, two in zip(grid_values(symbol, (6, 5)), found, strict=True):
        np.testing.assert_array_equal(one, two)
