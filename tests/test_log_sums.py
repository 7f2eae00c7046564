"""The log semiring: the accuracy of each result is its own, whatever stands elsewhere in the signal."""

import numpy as np
import pytest

import faltung
from faltung import Policy, Problem
from faltung.planner import plan_problem
from faltung.testing.conformance import check
from faltung.testing.problems import draw

ONLY = Policy(only="log-sums")


@pytest.mark.parametrize("unknown", ["out", "x", "k"])
def test_log_sums_equal_the_definition(unknown):
    for seed in range(8000, 8030):
        problem = draw(seed, algebra="log", unknown=unknown)
        assert check(problem, "log-sums", seed=seed) == "right", problem.text


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("spread", [1.0, 300.0, 1e5])
def test_within_four_units_of_every_term(dtype, spread):
    """Error of each result against its own terms, not against the largest value of the signal."""
    random = np.random.default_rng(1)
    x, k = (random.standard_normal(n) * spread for n in (900, 30))
    x[random.random(x.size) < 0.3] = -np.inf
    x, k = x.astype(dtype), k.astype(dtype)
    came = faltung.correlate(x, k, mode="valid", over="log", policy=ONLY).astype(np.longdouble)
    terms = np.lib.stride_tricks.sliding_window_view(x, 30).astype(np.longdouble) + k.astype(np.longdouble)
    top = terms.max(1)
    wanted = top + np.log(np.exp(terms - top[:, None]).sum(1))
    size = np.abs(np.where(np.isfinite(terms), terms, 0)).max(1)
    unit = 2.0**-24 if dtype == "float32" else 2.0**-53
    assert (np.abs(came - wanted) <= 4 * 30 * unit * (1 + np.maximum(size, np.abs(wanted)))).all()


def test_far_below_the_maximum_nothing_is_lost():
    x = np.full(2000, -5000.0)
    x[0], x[1500:] = 0.0, -np.inf
    y = faltung.correlate(x, np.zeros(3), mode="valid", over="log", policy=ONLY)
    assert np.allclose(y[1:1490], -5000.0 + np.log(3.0), rtol=1e-15)
    assert (y[1500:] == -np.inf).all()
    assert y[0] == 0.0


def test_infinity_and_nan_stay_where_they_are():
    x = np.zeros(100)
    x[10], x[50], x[80] = np.inf, np.nan, -np.inf
    y = faltung.correlate(x, np.zeros(3), mode="valid", over="log", policy=ONLY)
    assert (y[8:11] == np.inf).all()
    assert np.isnan(y[48:51]).all()
    assert np.isfinite(np.delete(y, [8, 9, 10, 48, 49, 50])).all()


@pytest.mark.parametrize("unknown", ["x", "k"])
@pytest.mark.parametrize("spread", [1.0, 3000.0])
def test_gradients_of_wide_signals(unknown, spread):
    text = (
        'correlate "b c *s, o c *s -> b o *s" x=2x2x9x11:float64 k=3x2x3x2:float64 out=float64 pad=1:1,0:2 algebra=log'
    )
    problem, random = Problem.parse(f"{text} unknown={unknown}"), np.random.default_rng(4)
    x, k, y = (random.standard_normal(s) for s in (problem.x_shape, problem.k_shape, problem.out_shape))
    x *= spread
    x[random.random(x.shape) < 0.2] = -np.inf
    came, wanted = (plan_problem(problem, Policy(only=m))(x, k, y) for m in ("log-sums", "definition"))
    np.testing.assert_allclose(came, wanted, rtol=1e-12, atol=1e-12 * max(1.0, spread))


def test_second_derivatives_are_refused_and_first_ones_are_shares():
    torch = pytest.importorskip("torch")
    x, k = (torch.randn(n, dtype=torch.float64, requires_grad=True) for n in (40, 5))
    y = faltung.correlate(x, k, mode="valid", over="log")
    y.sum().backward()
    share = torch.softmax(x.detach().unfold(0, 5, 1) + k.detach(), 1)
    assert torch.allclose(k.grad, share.sum(0))
    assert torch.allclose(x.grad.sum(), torch.tensor(36.0, dtype=torch.float64))
