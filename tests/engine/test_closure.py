"""The star of a matrix: the same paths as SciPy's, and one more round changes nothing."""

import numpy as np
import pytest
from scipy.sparse import csgraph

from faltung import algebras
from faltung.engine import closure, matmul
from faltung.errors import ArgumentError, ExactnessError

SIZES = (1, 5, 24, 25, 64, 65, 130)


def lengths(n, density=0.1, seed=0):
    random = np.random.default_rng(seed)
    return np.where(random.random((n, n)) < density, random.integers(1, 50, (n, n)).astype(float), np.inf)


@pytest.mark.parametrize("n", SIZES)
def test_shortest_paths_are_scipys_and_closed(n):
    a = lengths(n)
    came = closure(a, over="min-plus")
    assert np.array_equal(came, csgraph.floyd_warshall(np.where(np.isinf(a), 0, a)))
    assert np.array_equal(closure(came, over="min-plus"), came)
    assert np.array_equal(matmul(came, came, over="min-plus"), came)
    assert np.array_equal(-closure(-a, over="max-plus"), came)


@pytest.mark.parametrize("n", SIZES)
def test_reachability_is_that_of_connected_components(n):
    a = np.random.default_rng(n).random((n, n)) < 1.5 / n
    a |= a.T
    _, label = csgraph.connected_components(a, directed=False)
    assert np.array_equal(closure(a), label[:, None] == label)


@pytest.mark.parametrize("over", ["max-min", "min-max", "max-times", "max-plus", "log", "rational"])
@pytest.mark.parametrize("n", [3, 40, 70])
def test_star_is_one_more_round(over, n):
    algebra = algebras.named(over)
    if over == "rational" and n > 3:
        return
    a = np.random.default_rng(n).random((n, n)) / n
    a = np.log(a) if over == "log" else -a if over == "max-plus" else a
    a = np.array([[0, 2, 1], [0, 0, 3], [0, 0, 0]]) if over == "rational" else a
    star = closure(a, over=over)
    step = matmul(a, star, over=over)
    for i in range(n):
        step[i, i] = algebra.add(step[i, i], algebra.one(step.dtype if step.dtype != object else np.dtype(object)))
    assert (
        np.array_equal(star, step)
        if over in ("rational", "max-min", "min-max")
        else np.allclose(star, step, rtol=1e-13)
    )


def test_a_circle_that_gains_has_no_bound_and_reaches_whoever_meets_it():
    a = np.full((4, 4), np.inf)
    a[0, 1], a[1, 0], a[2, 1], a[3, 3] = 1.0, -2.0, 5.0, 0.0
    came = closure(a, over="min-plus")
    assert (came[:3, :2] == -np.inf).all()
    assert came[3, 3] == came[2, 2] == 0.0
    assert (came[3, :3] == np.inf).all()
    assert not np.isnan(came).any()


def test_geometric_series():
    a = np.random.default_rng(0).random((40, 40)) * 0.02
    inverse = np.linalg.inv(np.eye(40) - a)
    assert np.allclose(closure(a), inverse, rtol=1e-13)
    assert np.allclose(np.exp(closure(np.log(a), over="log")), inverse, rtol=1e-11)
    with pytest.raises(ArgumentError, match="spectral radius"):
        closure(np.eye(3))
    with pytest.raises(ArgumentError, match="below 0"):
        closure(np.zeros((2, 2)), over="log")


def test_paths_of_a_graph_without_circles_are_counted():
    random = np.random.default_rng(1)
    a = np.triu(random.integers(0, 3, (30, 30)), 1)
    power, wanted = np.eye(30, dtype=object), np.zeros((30, 30), object)
    for _ in range(31):
        wanted, power = wanted + power, power @ a.astype(object)
    assert np.array_equal(closure(a), wanted)
    assert np.array_equal(closure(a, over="count"), wanted)
    with pytest.raises(ExactnessError):
        closure(np.triu(np.full((45, 45), 9), 1))


def test_what_has_no_star_is_refused():
    for a, over, sentence in (
        (np.ones((2, 3)), "min-plus", "square"),
        (np.full((2, 2), np.nan), "min-plus", "NaN"),
        (np.full((2, 2), 2.0), "max-times", "max-times"),
    ):
        with pytest.raises(ArgumentError, match=sentence):
            closure(a, over=over)


def test_tensors_come_back_as_tensors():
    torch = pytest.importorskip("torch")
    a = torch.from_numpy(lengths(30)).float()
    came = closure(a, over="min-plus")
    assert came.dtype == torch.float32
    assert np.array_equal(came.numpy(), closure(a.numpy(), over="min-plus"))
    with pytest.raises(ArgumentError, match="without a gradient"):
        closure(a.requires_grad_(), over="min-plus")
