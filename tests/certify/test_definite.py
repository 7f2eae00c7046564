"""Wide convolutions: factorisations instead of products, with the same guarantee, also where rounding is all that decides."""

import numpy as np
import pytest
import torch

from faltung.certify import definite, spectral_norm, supremum
from faltung.certify.definite import Definite
from faltung.certify.supremum import values


def taps(out, into, k, seed=0, complex_=False):
    draw = torch.Generator().manual_seed(seed)
    w = torch.randn(out, into, *k, generator=draw, dtype=torch.float64)
    return torch.complex(w, torch.randn(w.shape, generator=draw, dtype=torch.float64)) if complex_ else w


@pytest.mark.parametrize(
    ("shape", "complex_"), [((5, 3, (3,)), False), ((3, 6, (2, 3)), False), ((4, 4, (3, 2)), True)]
)
def test_correlations_are_the_squares_of_the_symbol(shape, complex_):
    w = taps(*shape, complex_=complex_)
    omegas = np.random.default_rng(0).uniform(-4, 4, (7, len(shape[2])))
    f = values(w, omegas)
    expected = f.mH @ f if shape[1] <= shape[0] else f @ f.mH
    found = Definite(w).values(omegas)
    assert torch.allclose(torch.linalg.eigvalsh(found), torch.linalg.eigvalsh(expected), atol=1e-11)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_said_to_be_below_is_below(seed):
    """At the very norm and a rounding around it nothing is said; a little above, the truth."""
    w = taps(40, 36, (3,), seed)
    omegas = np.random.default_rng(seed).uniform(-3, 3, (5, 1))
    own = Definite(w)
    squares = own.values(omegas)
    exact = torch.linalg.matrix_norm(values(w, omegas), 2)
    for n in range(5):
        for near in (-1e-6, -1e-12, 0.0, 1e-15):
            assert not own.below(squares[n : n + 1], float(exact[n]) * (1 + near)).item()
        assert own.below(squares[n : n + 1], float(exact[n]) * (1 + 1e-7)).item()
    reached = own.reached(squares)
    assert (reached <= exact * (1 + 1e-12)).all()
    assert (reached > 0.9 * exact).all()
    assert not own.below(squares, 0.0).any()


@pytest.mark.parametrize(
    ("out", "into", "k", "given"),
    [
        (40, 33, (3,), {}),
        (36, 64, (2, 2), {"padding": 1}),
        (40, 10, (4,), {"stride": 4}),
        (72, 36, (3,), {"groups": 2}),
    ],
)
def test_wide_bounds_are_those_of_singular_values(out, into, k, given):
    w = taps(out, into, k)
    groups = given.get("groups", 1)
    for rtol in (0.05, 0.01):
        found = spectral_norm(w, rtol=rtol, **given)
        exact = spectral_norm(w, rtol=1e-3, method="svd", **given)
        assert found.lower <= float(exact.upper)
        assert float(exact.lower) <= found.upper <= float(exact.lower) * (1 + rtol)
        assert found.lower <= found.upper
    n = 4 * (len(k) == 1) + 4
    here = spectral_norm(w, n, **given)
    dense = dense_norm(w, n, given)
    assert here.lower <= dense * (1 + 1e-9)
    assert dense <= here.upper
    assert groups in (1, 2)


def dense_norm(w, n, given):
    ndim = w.ndim - 2
    channels = w.shape[1] * given.get("groups", 1)
    units = torch.eye(channels * n**ndim, dtype=torch.float64).reshape(-1, channels, *[n] * ndim)
    return float(
        torch.linalg.matrix_norm(getattr(torch.nn.functional, f"conv{ndim}d")(units, w, **given).flatten(1), 2)
    )


def test_a_nearly_attained_bound_holds():
    """Positive taps: the supremum is the norm of their sum, at frequency 0, which every grid has."""
    w = taps(48, 40, (3, 3)).abs()
    exact = float(torch.linalg.matrix_norm(w.sum((2, 3)), 2))
    found = spectral_norm(w)
    assert exact * (1 - 1e-12) <= found.upper <= exact * 1.011
    assert found.lower <= exact * (1 + 1e-12)


def test_the_gradient_is_taken_where_the_best_gain_was_found():
    w = taps(40, 36, (3,)).requires_grad_()
    bound = spectral_norm(w)
    (gradient,) = torch.autograd.grad(bound.upper, w)
    step = 1e-5 * torch.randn(w.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        near = [float(spectral_norm(w + s * step, rtol=1e-4, method="svd").lower) for s in (-1, 1)]
    slope = (near[1] - near[0]) / 2
    assert float((gradient * step).sum()) == pytest.approx(slope, rel=0.2)


def test_without_the_margin_a_rounding_decides(monkeypatch):
    """What the margin is for: a matrix whose norm is the tested number itself passes about half the time without it."""
    own = Definite(torch.eye(40, dtype=torch.float64)[..., None])
    squares = own.values(np.zeros((1, 1)))
    assert not own.below(squares, 1.0).item()
    monkeypatch.setattr(definite.Definite, "margin", -1e-9)
    assert Definite(own.taps).below(squares, 1.0).item()


def test_narrow_convolutions_go_by_gram_iteration(monkeypatch):
    monkeypatch.setattr(supremum, "Definite", None)
    assert spectral_norm(taps(8, 8, (3,))).upper > 0
    with pytest.raises(TypeError):
        spectral_norm(taps(40, 40, (3,)))
