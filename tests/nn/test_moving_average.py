"""Exponential moving averages: the recurrence as it is written, streams, and averages over the same time at another rate."""

import math

import pytest
import torch

from faltung.errors import ArgumentError
from faltung.nn.sequence import DampedMovingAverage, MovingAverage, MovingAverageConv1d, SequenceConv

F64 = torch.float64


@torch.no_grad()
def test_plain_averages_are_their_recurrence():
    torch.manual_seed(0)
    made = MovingAverage(3, heads=2, dtype=F64)
    x, y = torch.randn(2, 3, 60, dtype=F64), torch.zeros(2, 3, 2, 60, dtype=F64)
    alpha, now = made.level.sigmoid(), torch.zeros(2, 3, 2, dtype=F64)
    for t in range(60):
        now = alpha * x[:, :, None, t] + (1 - alpha) * now
        y[..., t] = now
    assert torch.allclose(SequenceConv(made, skip=False)(x), y.flatten(1, 2), atol=1e-13)


@torch.no_grad()
def test_damped_averages_are_their_recurrence():
    torch.manual_seed(0)
    made = DampedMovingAverage(3, state=5, dtype=F64)
    alpha, delta = made.alpha.sigmoid(), made.delta.sigmoid()
    x, h, y = torch.randn(2, 3, 60, dtype=F64), torch.zeros(2, 3, 5, dtype=F64), []
    for now in x.unbind(-1):
        h = alpha * made.beta * now[..., None] + (1 - alpha * delta) * h
        y.append((h * made.eta[:, 0]).sum(-1) / math.sqrt(5))
    assert torch.allclose(SequenceConv(made, skip=False)(x), torch.stack(y, -1), atol=1e-13)


@pytest.mark.parametrize("state", [None, 6])
@pytest.mark.parametrize(("dtype", "allowed"), [(F64, 1e-12), (torch.float32, 1e-5)], ids=["float64", "float32"])
@torch.no_grad()
def test_streams_are_the_whole(state, dtype, allowed):
    torch.manual_seed(0)
    made = MovingAverageConv1d(3, heads=2, state=state, dtype=dtype)
    x = torch.randn(2, 3, 2000, dtype=dtype)
    whole, at_once, by_one = made(x), made.initial_state(2), made.initial_state(2)
    pieces, steps = [], []
    for piece in x.split(300, -1):
        y, at_once = made.chunk(piece, at_once)
        pieces.append(y)
    for now in x.unbind(-1):
        y, by_one = made.step(now, by_one)
        steps.append(y)
    for got in (torch.cat(pieces, -1), torch.stack(steps, -1)):
        assert ((got - whole).abs().max() / whole.abs().max()).item() < allowed


@torch.no_grad()
def test_averages_over_the_same_time_at_any_rate():
    """The sum of all taps stays, and three steps at once keep what three steps keep."""
    torch.manual_seed(0)
    for made in (MovingAverage(4, times=(2, 20), dtype=F64), DampedMovingAverage(4, dtype=F64)):
        fine, coarse = made.filters(1500), made.filters(500, 3.0)
        assert torch.allclose(fine.sum(-1), coarse.sum(-1), atol=1e-9)
        weight, factor = made.definition_modes(1.0)
        assert torch.allclose(made.definition_modes(3.0)[1], factor**3)
        assert weight.shape[:2] == (4, 1)
    plain = MovingAverage(4, times=(2, 20), dtype=F64)
    assert torch.allclose(plain.filters(1500).sum(-1), torch.ones(4, 1, dtype=F64))


def test_times_are_when_all_but_a_third_is_forgotten():
    made = MovingAverage(200, times=(5, 50), dtype=F64)
    times = -1 / torch.log1p(-made.level.detach().sigmoid())
    assert 5 - 1e-9 <= times.min() < 6
    assert 40 < times.max() <= 50 + 1e-9


def test_wrong_settings_get_a_sentence():
    for times in ((0, 3), (5, 2), 7, (1, math.inf)):
        with pytest.raises(ArgumentError, match="times"):
            MovingAverage(2, times=times)
    with pytest.raises(ArgumentError, match="state"):
        MovingAverageConv1d(2, state=0)
