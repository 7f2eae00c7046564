"""How linear convolutional networks learn where frequencies mix: the flow beside gradient descent on the network itself."""

import numpy as np
import pytest
import torch

from faltung import look
from faltung.errors import ArgumentError


def uneven(size, outputs=2, samples=60, seed=0, depth=0.8):
    """Signals that are louder in some places, so that their covariance is not diagonal in frequencies, and what is to be learnt."""
    rng = np.random.default_rng(seed)
    loud = 1 + depth * np.cos(2 * np.pi * np.arange(np.prod(size)) / np.prod(size)).reshape(size)
    x = loud * rng.standard_normal((samples, *size))
    y = x.reshape(samples, -1) @ rng.standard_normal((np.prod(size), outputs)) / np.prod(size) ** 0.5
    return x, y + 0.1 * rng.standard_normal(y.shape)


def white(n=8, samples=80, seed=0):
    """Signals whose covariance is exactly the identity."""
    x = np.random.default_rng(seed).standard_normal((samples, n))
    return x @ np.linalg.inv(np.linalg.cholesky(x.T @ x / samples)).T


def circulated(w):
    """(..., *n) to (..., N, N): entry (i, j) is w(i − j) on the lattice."""
    n = w.shape[1:]
    at = np.stack(np.unravel_index(np.arange(np.prod(n)), n), 1)
    away = (at[:, None] - at[None]) % np.array(n)
    return w.reshape(len(w), -1)[:, torch.from_numpy(np.ravel_multi_index(tuple(away.transpose(2, 0, 1)), n))]


def trained(x, y, w, v, times, steps):
    """End-to-end maps of gradient descent on filters and readouts of an ordinary circular convolution."""
    x, y = (torch.from_numpy(part.reshape(len(part), -1)) for part in (x, y))
    w, v = (torch.from_numpy(part.copy()).requires_grad_() for part in (w, v))
    seen = []
    for k in range(steps + 1):
        whole = torch.einsum("cki,cij->kj", v.flatten(2), circulated(w))
        if k % (steps // (len(times) - 1)) == 0:
            seen.append(whole.detach().numpy().copy())
        loss = 0.5 * (x @ whole.mT - y).square().sum() / len(x)
        for part, slope in zip((w, v), torch.autograd.grad(loss, (w, v)), strict=True):
            part.data -= times[-1] / steps * slope
    return np.stack(seen)


@pytest.mark.parametrize("size", [(9,), (3, 4)])
@pytest.mark.parametrize("channels", [1, 4])
def test_uneven_signals_are_learnt_as_by_gradient_descent(size, channels):
    x, y = uneven(size)
    n = np.prod(size)
    rng = np.random.default_rng(1)
    w, v = 0.2 * rng.standard_normal((channels, *size)), 0.2 * rng.standard_normal((channels, 2, *size))
    times = np.linspace(0, 6, 7)
    flow = look.linear_cnn_flow(x, y, times, (w, v), channels=channels)
    assert flow.method == "ode"
    assert flow.stationary > 0.05
    # an ordinary convolution is √N times the unitary one
    seen = trained(x, y, w / n**0.25, v / n**0.25, times / n**0.5, 1500)
    found = flow.maps.reshape(len(times), 2, n)
    assert np.abs(seen - found).max() < 0.01 * np.abs(seen).max()
    assert np.abs(seen[-1] - seen[0]).max() > 0.5 * np.abs(seen).max()
    gains = np.linalg.norm(np.fft.fftn(flow.maps, axes=range(2, 2 + len(size)), norm="ortho"), axis=1)
    np.testing.assert_allclose(flow.gains, gains, atol=1e-12)


def test_where_frequencies_do_not_mix_the_flow_is_the_closed_form():
    x = white()
    y = x @ np.random.default_rng(2).standard_normal((8, 3))
    times = np.array([3.0, 0.0, 1.0, 8.0])  # in any order
    closed = look.linear_cnn_flow(x, y, times, 0.01)
    assert closed.method == "closed"
    for channels in (1, 4):  # a balanced start leaves channels nothing to do
        whole = look.linear_cnn_flow(x, y, times, 0.01, channels=channels, method="ode")
        np.testing.assert_allclose(whole.maps, closed.maps, atol=1e-6)
        np.testing.assert_allclose(whole.gains, closed.gains, atol=1e-6)
        np.testing.assert_allclose(whole.targets, closed.targets, atol=1e-9)


def test_channels_matter_to_a_start_at_random_and_it_ends_at_least_squares():
    x, y = uneven((6,), 1, 200, depth=0.4)
    one, four = (look.linear_cnn_flow(x, y, [0.0, 1.0, 400.0], 0.05, channels=c, seed=0).maps[:, 0] for c in (1, 4))
    assert np.abs(one[1] - four[1]).max() > 0.01
    wanted = np.linalg.lstsq(x, y, rcond=None)[0][:, 0]
    np.testing.assert_allclose(one[2], wanted, atol=1e-4)
    np.testing.assert_allclose(four[2], wanted, atol=1e-4)
    drawn = [look.linear_cnn_flow(x, y, [0.0], 0.05, channels=4, seed=s).gains for s in range(1000)]
    assert np.sqrt(np.square(drawn).mean()) == pytest.approx(0.05, rel=0.1)


def test_frequencies_that_nothing_correlates_with_fade():
    n = 8
    x = white()
    y = (x @ np.cos(2 * np.pi * np.arange(n) / n))[:, None]
    for method in ("closed", "ode"):
        flow = look.linear_cnn_flow(x, y, [0.0, 5.0], 0.1, method=method)
        np.testing.assert_allclose(flow.gains[1, [0, 2, 3, 4]], 0.1 / (1 + 2 * 0.1 * 5), rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda x, y: look.linear_cnn_flow(x, y, [1.0], 0.0), "grows"),
        (lambda x, y: look.linear_cnn_flow(x, y, [-1.0]), "finite times"),
        (lambda x, y: look.linear_cnn_flow(x, y, [1.0], method="euler"), "choose one"),
        (lambda x, y: look.linear_cnn_flow(x, y, [1.0], seed=1, method="closed"), "method='ode'"),
        (lambda x, y: look.linear_cnn_flow(x, y, [1.0], (np.ones((2, 6)), np.ones((2, 6)))), "readouts"),
        (lambda x, y: look.linear_cnn_flow(x, y, [1.0], (np.ones((2, 6)), np.ones((2, 2, 6))), channels=3), "leave"),
        (lambda x, y: look.linear_cnn_flow(x, y[:3], [1.0]), "one row"),
    ],
)  # fmt: skip
def test_wrong_calls_are_refused(call, word):
    with pytest.raises(ArgumentError, match=word):
        call(*uneven((6,)))
