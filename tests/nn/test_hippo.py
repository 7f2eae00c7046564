"""Memories of polynomials: matrices that are normal but for a low rank, projections that are exact, windows that forget."""

import numpy as np
import pytest
import torch
from numpy.polynomial import legendre

from faltung.errors import ArgumentError
from faltung.nn.sequence import correction, discretise, matrices, recall, remember
from faltung.nn.sequence.hippo import NAMES, normal_pairs

F64 = torch.float64
NORMAL = [name for name in NAMES if name != "lmu"]


def wave(samples):
    t = torch.arange(samples, dtype=F64) / samples
    return torch.sin(2 * torch.pi * 3 * t) + 0.5 * torch.cos(2 * torch.pi * 7 * t)


@pytest.mark.parametrize("name", NORMAL)
@pytest.mark.parametrize("state", [4, 10, 64])
def test_normal_but_for_a_low_rank(name, state):
    A, P = matrices(name, state)[0], correction(name, state)
    normal = A + P.T @ P
    size = normal.abs().max()
    assert ((normal @ normal.T - normal.T @ normal).abs().max() / size**2).item() < 1e-13
    values, turn = normal_pairs(name, state)
    assert (values.imag >= 0).all()
    whole, eigenvalues = torch.cat([turn, turn.conj()]), torch.cat([values, values.conj()])
    assert (whole @ whole.mH - torch.eye(state)).abs().max() < 1e-13
    assert ((whole.mH @ torch.diag(eigenvalues) @ whole - normal).abs().max() / size).item() < 1e-13


def test_lmu_is_legt_in_other_coordinates():
    """x → D x with D = diag((−1)ⁿ √(2n+1)), in half the time."""
    (A, B), (C, D) = matrices("legt", 8), matrices("lmu", 8)
    n = torch.arange(8, dtype=F64)
    scale = (-1) ** n * (2 * n + 1).sqrt()
    assert torch.allclose(C, 2 * scale[:, None] * A / scale)
    assert torch.allclose(D, 2 * scale * B)


def test_remembers_the_projection_of_the_whole_past():
    """The integrals of a piecewise constant signal against Legendre polynomials, to rounding."""
    u, state = wave(300), 24
    edges = np.linspace(-1, 1, 301)
    wanted = [
        np.sqrt(2 * n + 1) / 2 * np.sum(u.numpy() * np.diff(legendre.Legendre.basis(n).integ()(edges)))
        for n in range(state)
    ]
    assert np.abs(remember(u, state)[-1].numpy() - wanted).max() < 1e-12


@pytest.mark.parametrize(("name", "window"), [("legs", None), ("legt", 250), ("lmu", 250)])
def test_larger_memories_remember_better(name, window):
    u = wave(600)
    past, errors = u[-(window or 600) :], []
    for state in (4, 8, 16, 32):
        back = recall(remember(u, state, name, window)[-1], len(past), name)
        errors.append(((back - past).norm() / past.norm()).item())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 2e-3


@pytest.mark.parametrize(("name", "length"), [("legt", 2.0), ("lmu", 1.0), ("fourier", 2.0)])
def test_windows_forget(name, length):
    """An impulse is heard all through the window and at most faintly after it."""
    A, B = matrices(name, 32)
    sizes = [discretise(A, B, age * length, "zoh")[0] @ B for age in (0.5, 1.5, 3.0)]
    here, after, later = [(v.norm() / B.norm()).item() for v in sizes]
    assert here > 3 * after > 0
    assert later <= after


def test_memories_of_many_signals_at_once():
    u = torch.stack([wave(50), wave(50).flip(0)])
    both = remember(u, 5)
    assert both.shape == (2, 50, 5)
    assert torch.allclose(both[1], remember(u[1], 5), atol=1e-14)


def test_wrong_calls_get_a_sentence():
    u = torch.ones(10)
    for call, word in (
        (lambda: matrices("hermite", 4), "legs, legt"),
        (lambda: matrices("fourier", 5), "even"),
        (lambda: correction("lmu", 4), "dense"),
        (lambda: normal_pairs("legs", 5), "even"),
        (lambda: remember(u, 4, "legs", 5), "window"),
        (lambda: remember(u, 4, "legt"), "window"),
        (lambda: remember(u, 4, "fourier", 5), "legt"),
    ):
        with pytest.raises(ArgumentError, match=word):
            call()
