"""Weighted convolution: a plain convolution with other learning rates, exactly so for gradient descent."""

import copy

import pytest
import torch
from torch import nn

from faltung.errors import ArgumentError
from faltung.nn import WeightedConv

TORCH = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("trainable", [False, True])
def test_a_density_of_ones_is_a_convolution(ndim, trainable):
    sizes = (3, 5, 1)[:ndim]
    density = [[1.0] * (k // 2) for k in sizes]
    layer = WeightedConv(
        ndim, 2, 4, sizes, padding=2, density=density, trainable=trainable, bias=True, dtype=torch.float64
    )
    plain = TORCH[ndim](2, 4, sizes, padding=2, dtype=torch.float64)
    plain.load_state_dict({"weight": layer.weight, "bias": layer.bias})
    x = torch.randn(2, 2, *[6] * ndim, dtype=torch.float64)
    torch.testing.assert_close(layer(x), plain(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("ndim", "sizes"), [(1, 7), (2, 5), (2, (3, 7)), (3, (1, 3, 5))])
def test_the_effective_kernel_is_the_weights_times_a_symmetric_density(ndim, sizes):
    layer = WeightedConv(ndim, 2, 3, sizes, dtype=torch.float64)
    density = layer.density_map()
    assert density.shape == layer.kernel_size
    assert torch.equal(layer.effective_kernel(), layer.weight * density)
    assert torch.equal(layer.freeze().weight, layer.weight * density)
    for axis in range(ndim):
        assert torch.equal(density, density.flip(axis))
    assert density[tuple(k // 2 for k in layer.kernel_size)] == 1
    middle, product = [k // 2 for k in layer.kernel_size], torch.ones((), dtype=torch.float64)
    for axis in range(ndim):  # separable: the product of its lines through the middle
        product = product * density[tuple(slice(None) if a == axis else slice(m, m + 1) for a, m in enumerate(middle))]
    torch.testing.assert_close(product.expand(density.shape), density, rtol=1e-12, atol=0)


def pair(k=5, seed=0):
    """A weighted layer, and the plain one that starts from its effective kernel; target images."""
    torch.manual_seed(seed)
    layer = WeightedConv(2, 2, 3, k, padding="same", density=[0.3, 1.4], bias=True, dtype=torch.float64)
    plain = nn.Conv2d(2, 3, k, padding="same", dtype=torch.float64)
    plain.load_state_dict({"weight": layer.effective_kernel(), "bias": layer.bias})
    x, target = torch.randn(4, 2, 9, 9, dtype=torch.float64), torch.randn(4, 3, 9, 9, dtype=torch.float64)
    return layer, plain, layer.density_map(), x, target


def trained(layer, optimizer, x, target, rates=None, steps=20):
    """The effective kernel after each step; `rates` scale the gradient of the weights."""
    trace = []
    for _ in range(steps):
        optimizer.zero_grad()
        (layer(x) - target).square().mean().backward()
        if rates is not None:
            layer.weight.grad *= rates
        optimizer.step()
        trace.append((layer.effective_kernel() if isinstance(layer, WeightedConv) else layer.weight).detach().clone())
    return torch.stack(trace)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_under_gradient_descent_it_is_a_convolution_with_a_rate_for_each_tap(momentum):
    layer, plain, density, x, target = pair()
    options = {"lr": 0.1, "momentum": momentum}
    got = trained(layer, torch.optim.SGD(layer.parameters(), **options), x, target)
    wanted = trained(plain, torch.optim.SGD(plain.parameters(), **options), x, target, density.square())
    same_rate = pair()[1]
    other = trained(same_rate, torch.optim.SGD(same_rate.parameters(), **options), x, target)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-13)
    assert (other - wanted).abs().max() > 1e-3  # the rates do matter


def test_under_adam_no_rates_make_the_trajectories_equal_by_the_square_of_the_density():
    layer, plain, density, x, target = pair()
    got = trained(layer, torch.optim.Adam(layer.parameters(), 0.01), x, target)
    wanted = trained(plain, torch.optim.Adam(plain.parameters(), 0.01), x, target, density.square())
    assert (got - wanted).abs().max() > 1e-2
    # Adam's step does not scale with the gradient, so W moves alike for every tap and W ⊙ Φ by Φ times as much.
    layer, plain, density, x, target = pair()
    first = trained(layer, torch.optim.Adam(layer.parameters(), 0.01, eps=1e-300), x, target, steps=1)[0]
    moved = (first - pair()[0].effective_kernel()).abs()
    torch.testing.assert_close(moved, (0.01 * density).expand_as(moved), rtol=1e-6, atol=0)


def test_one_density_for_all_axes_stays_one_parameter():
    shared = WeightedConv(2, 1, 1, 7, trainable=True)
    assert [name for name, _ in shared.named_parameters() if "density" in name] == ["density_0"]
    assert shared.density_0.tolist() == pytest.approx([0.27, 0.17, 0.54])
    each = WeightedConv(2, 1, 1, 3, density=[[0.5], [0.5]], trainable=True)
    assert sum("density" in name for name, _ in each.named_parameters()) == 2
    before = shared.density_0.detach().clone()
    optimizer = torch.optim.SGD([shared.density_0], 0.1)
    shared(torch.randn(1, 1, 9, 9)).square().sum().backward()
    optimizer.step()
    assert (shared.density_0 != before).all()
    density = shared.density_map()
    assert torch.equal(density, density.flip(0))
    assert torch.equal(density, density.T)


def test_a_fixed_density_is_in_the_state_and_gets_no_gradient():
    layer = WeightedConv(2, 1, 1, 3, density=torch.tensor([0.5]))
    assert layer.state_dict()["density_0"].tolist() == [0.5]
    assert {name for name, _ in layer.named_parameters()} == {"weight"}
    assert copy.deepcopy(layer).density_map().tolist() == layer.density_map().tolist()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"kernel_size": 4}, "odd"), ({"kernel_size": 9}, "auto"), ({"kernel_size": 3, "density": "best"}, "auto"),
        ({"kernel_size": 5, "density": [0.5]}, "numbers for the axes"),
        ({"kernel_size": (3, 5), "density": [0.5]}, "numbers for the axes"),
        ({"kernel_size": 3, "density": [[0.5]]}, "numbers for the axes"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(options, word):
    with pytest.raises(ArgumentError, match=word):
        WeightedConv(2, 1, 1, **options)


def test_first_values_follow_he_by_fan_out():
    torch.manual_seed(0)
    weight = WeightedConv(2, 8, 64, 3).weight
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)
