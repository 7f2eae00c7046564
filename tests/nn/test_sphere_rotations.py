"""Correlations over rotations: equivariance, single taps as right translations, what lifting and averaging make of a filter."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung.certify import equivariance
from faltung.errors import ArgumentError
from faltung.nn import S2Conv, SO3Conv, SO3Pool
from faltung.nn.sphere import sphere_grid, turn, turn_rotations
from faltung.nn.sphere.wigner import random_rotation


def signal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def off(got, wanted):
    return ((got - wanted).norm() / wanted.norm()).item()


def lifted(size=10, twists=9, seed=0):
    """A band-limited function on rotations."""
    return turn_rotations(signal(2, 2, twists, size, size, seed=seed), (0.0, 0.0, 0.0), sphere_grid(size))


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_lifting_and_correlation_turn_with_the_input(seed):
    torch.manual_seed(seed)
    rotation = random_rotation(np.random.default_rng(seed))
    lift = S2Conv(2, 3, 10, twists=5, dtype=torch.float64)
    conv = SO3Conv(3, 2, 10, 8, in_twists=5, twists=7, dtype=torch.float64)
    x = signal(2, 2, 10, 10, seed=seed)
    turned = lift(turn(x, rotation, lift.grid))
    assert off(turned, turn_rotations(lift(x), rotation, lift.out_grid)) < 1e-12
    assert off(conv(turned), turn_rotations(conv(lift(x)), rotation, conv.out_grid)) < 1e-12
    single = conv.float()(lift.float()(turn(x, rotation, lift.grid).float()))
    assert off(single, turn_rotations(conv(lift(x.float())), rotation, conv.out_grid)) < 1e-5


def test_gradients_and_trained_networks_keep_it():
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        S2Conv(1, 3, 8, twists=3), SO3Conv(3, 2, 8, 6, in_twists=3), SO3Pool(2, 3, 6)
    ).double()
    optimizer = torch.optim.Adam(network.parameters(), 0.05)
    x, y = signal(4, 1, 8, 8), signal(4, 2, seed=1)
    first = None
    for _ in range(8):
        optimizer.zero_grad()
        loss = (network(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        first = loss.item() if first is None else first
    assert loss.item() < first
    assert equivariance(network, "sphere", x, count=4, layers=None).error < 1e-11
    grid = sphere_grid(8, "gauss")
    layer = S2Conv(1, 2, grid, twists=3, dtype=torch.float64)
    area = torch.tensor(grid.weights)[:, None]

    def gradient(x):
        x = x.clone().requires_grad_()
        loss = (layer(x).square() * area).sum()
        return torch.autograd.grad(loss, x)[0] / area

    x = turn(signal(1, 1, 8, 8), (0.0, 0.0, 0.0), grid, degree=3)
    assert off(gradient(turn(x, (0.5, 1.0, 2.0), grid)), turn(gradient(x), (0.5, 1.0, 2.0), grid)) < 1e-12


def test_the_tap_at_the_pole_reads_the_function_itself():
    layer = S2Conv(1, 1, 10, twists=3, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, 0] = 1
    x = turn(signal(1, 1, 10, 10), (0.0, 0.0, 0.0), layer.grid)
    torch.testing.assert_close(layer(x), x.unsqueeze(2).expand(-1, -1, 3, -1, -1), rtol=0, atol=1e-13)


def test_the_tap_at_the_identity_changes_nothing_and_a_twist_rolls():
    conv = SO3Conv(2, 2, 10, in_twists=9, rings=1, points=2, turns=9, bias=False, dtype=torch.float64)
    x = lifted()
    for k in (0, 4):  # y(R) = x(R Rz(δ)): γ comes δ later
        with torch.no_grad():
            conv.weight.zero_()
            conv.weight[0, 0, k] = conv.weight[1, 1, k] = 1
        torch.testing.assert_close(conv(x), x.roll(-k, 2), rtol=0, atol=1e-13)


def test_two_taps_after_another_are_their_product():
    """Right translations compose: a tap p and then q reads x at R q p."""
    conv = SO3Conv(1, 1, 10, in_twists=9, rings=1, points=2, turns=1, reach=0.6, bias=False, dtype=torch.float64)
    x = lifted()[:, :1]
    results = []
    for tap in (1, 2):  # (β, α) = (0.6, 0) and (0.6, π): opposite, so one undoes the other
        with torch.no_grad():
            conv.weight.zero_()
            conv.weight[0, 0, tap] = 1
        results.append(conv.weight.detach().clone())

    def through(weight, x):
        return torch.func.functional_call(conv, {"weight": weight}, x)

    assert off(through(results[1], through(results[0], x)), x) < 1e-12
    assert off(through(results[0], x), x) > 0.1


def test_a_tap_on_rotations_after_the_pole_is_the_tap_on_the_sphere():
    """x(R · pole), then read at R p, is x(R p · pole): what lifting with that tap gives."""
    settings = {"rings": 1, "points": 5, "reach": 0.7, "bias": False, "dtype": torch.float64}
    lift = S2Conv(1, 1, 10, twists=9, **settings)
    conv = SO3Conv(1, 1, 10, in_twists=9, turns=3, **settings)
    x = signal(1, 1, 10, 10)

    def only(layer, tap, x):
        weight = torch.zeros_like(layer.weight)
        weight[0, 0, tap] = 1
        return torch.func.functional_call(layer, {"weight": weight}, x)

    for place in (1, 2, 4):
        wanted = only(lift, place, x)
        assert off(only(conv, 3 * place + 1, only(lift, 0, x)), wanted) < 1e-12
        assert off(only(lift, 0, x), wanted) > 0.1


def test_the_mean_over_twists_is_a_round_filter_and_a_network_of_means_sees_no_direction():
    layer = S2Conv(1, 1, 12, rings=1, points=16, reach=0.5, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, 3] = 1  # one tap, off the pole
    x = turn(signal(1, 1, 12, 12), (0.0, 0.0, 0.0), layer.grid)
    flat = SO3Pool(1, layer.twists, 12, whole=False, dtype=torch.float64)(layer(x))
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, 1:] = 1 / 16  # the whole ring: its mean up to degrees below 16
    assert off(flat, layer(x)[:, :, 0]) < 1e-12


def test_maxima_are_at_least_means_and_pools_have_the_stated_shapes():
    x = lifted()
    mean, most = (SO3Pool(2, 9, 10, how, dtype=torch.float64)(x) for how in ("mean", "max"))
    assert (most > mean).all()
    assert SO3Pool(2, 9, 10, "max", whole=False)(x).shape == (2, 2, 10, 10)


def test_half_turns_of_the_filter_are_twists_of_the_result():
    """Turning the filter's ring by one point is a roll along γ."""
    layer = S2Conv(1, 1, 10, rings=2, points=6, twists=6, bias=False, dtype=torch.float64)
    x = signal(1, 1, 10, 10)
    before = layer(x)
    with torch.no_grad():
        rings = layer.weight[..., 1:].reshape(1, 1, 2, 6).roll(1, -1)
        layer.weight[..., 1:] = rings.reshape(1, 1, 12)
    torch.testing.assert_close(layer(x), before.roll(-1, 2), rtol=0, atol=1e-12)


def test_tables_keep_double_precision():
    layer = S2Conv(1, 2, 8, twists=3)
    wide = S2Conv(1, 2, 8, twists=3, dtype=torch.float64)
    assert torch.equal(layer.double().places, wide.places)
    assert torch.equal(layer.analysis.analysis_waves, wide.analysis.analysis_waves)


def test_wrong_calls_say_what_to_do():
    for wrong in (
        lambda: S2Conv(1, 1, 8, reach=4.0),
        lambda: S2Conv(1, 1, 8, rings=0),
        lambda: SO3Conv(1, 1, 8, in_twists=3)(torch.zeros(1, 1, 4, 8, 8)),
        lambda: SO3Conv(1, 1, 8, in_twists=3)(torch.zeros(1, 1, 3, 8, 8, dtype=torch.complex64)),
        lambda: SO3Pool(1, 3, 8, "median"),
    ):
        with pytest.raises(ArgumentError):
            wrong()
    assert math.isclose(S2Conv(1, 1, 8, rings=2).taps[-1][0], 2 * math.pi / 8)
