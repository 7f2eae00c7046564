"""CondConv: a mixture of experts for each sample."""

import copy

import pytest
import torch

from faltung import nn as ours
from faltung.errors import ArgumentError


def layer(ndim=2, **settings):
    torch.manual_seed(0)
    return ours.CondConv(ndim, 4, 6, 3, padding=1, **{"num_experts": 3, "dtype": torch.float64, **settings})


@pytest.fixture
def x():
    return torch.randn(5, 4, 9, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def expert(made, n):
    return made.at(torch.eye(made.count, dtype=torch.float64)[n])


@pytest.mark.parametrize("routing", ["gap-sigmoid", "softmax"])
@pytest.mark.parametrize("groups", [1, 2])
def test_equals_the_routed_mixture_of_its_experts(x, routing, groups):
    """Reference test 25."""
    made = layer(routing=routing, groups=groups)
    r = made.routing(x)
    wanted = sum(r[:, n, None, None, None] * expert(made, n)(x) for n in range(3))
    torch.testing.assert_close(made(x), wanted, rtol=1e-10, atol=1e-10)


def test_samples_do_not_see_their_companions(x):
    """Reference test 25: joining batches joins the results."""
    made = layer()
    parts = torch.cat([made(x[:2]), made(x[2:])])
    torch.testing.assert_close(made(x), parts, rtol=1e-12, atol=1e-12)
    changed = x.clone()
    changed[1:] *= 100
    torch.testing.assert_close(made(changed)[0], made(x)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("chosen", [0, 1, 2])
@pytest.mark.parametrize("size", [9, 3])
def test_one_hot_routing_selects_an_expert(x, chosen, size):
    made, x = layer(routing="external"), x[..., :size, :size]
    one = torch.eye(3, dtype=torch.float64)[chosen].expand(5, 3)
    torch.testing.assert_close(made(x, one), expert(made, chosen)(x), rtol=1e-12, atol=1e-12)
    plain = torch.nn.Conv2d(4, 6, 3, padding=1).double()
    plain.load_state_dict({"weight": made.weight[chosen], "bias": made.bias[chosen]})
    torch.testing.assert_close(made(x, one), plain(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_one_expert_of_weight_one_is_the_plain_layer(ndim):
    made = ours.CondConv(ndim, 2, 3, 2, stride=2, num_experts=1, routing="external")
    plain = ours.Conv(ndim, 2, 3, 2, stride=2)
    plain.load_state_dict({"weight": made.weight[0], "bias": made.bias[0]})
    x = torch.randn(3, 2, *(5,) * ndim)
    torch.testing.assert_close(made(x, torch.ones(3, 1)), plain(x))


def test_the_order_of_the_experts_is_of_no_account(x):
    made = layer()
    other, order = copy.deepcopy(made), torch.tensor([2, 0, 1])
    with torch.no_grad():
        other.weight.copy_(made.weight[order])
        other.bias.copy_(made.bias[order])
        other.routing.linear.weight.copy_(made.routing.linear.weight[order])
        other.routing.linear.bias.copy_(made.routing.linear.bias[order])
    torch.testing.assert_close(other(x), made(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("settings", [{"stride": 2}, {"groups": 2, "dilation": 2}, {"padding_mode": "circular"}])
def test_the_transpose_is_the_exact_adjoint(x, settings):
    made = layer(routing="external", bias=False, **settings)
    back = ours.CondConvTranspose(
        2, 6, 4, 3, padding=1, bias=False, num_experts=3, routing="external", dtype=torch.float64,
        output_padding=(0, 1) if "stride" in settings else 0, **settings,
    )  # fmt: skip
    back.load_state_dict(made.state_dict())
    r = torch.rand(5, 3, dtype=torch.float64)
    y = made(x, r)
    z = torch.randn_like(y)
    torch.testing.assert_close((y * z).sum(), (x * back(z, r)).sum(), rtol=1e-12, atol=1e-12)
    assert back(z, r).shape == x.shape


def test_experts_are_drawn_as_ordinary_kernels():
    """Each within 1/√fan_in of one expert, not of all together, and none like another."""
    made = ours.CondConv(2, 32, 64, 3, num_experts=8)
    bound = 1 / (32 * 9) ** 0.5
    assert made.weight.abs().max() <= bound
    for kernel in made.weight:
        assert kernel.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)
    assert (made.weight[0] - made.weight[1]).abs().max() > bound
    assert made.bias.abs().max() <= bound


def test_one_routing_may_serve_a_whole_block(x):
    routing = ours.Routing(4, 3, dtype=torch.float64)
    inside, outside = layer(routing=routing), layer(routing="external")
    torch.testing.assert_close(inside(x), outside(x, routing(x)), rtol=0, atol=0)
    assert inside.routing is routing
    # weights that come with the call take the place of the routing's
    r = torch.rand(5, 3, dtype=torch.float64)
    torch.testing.assert_close(inside(x, r), outside(x, r), rtol=0, atol=0)


def test_wrong_calls(x):
    with pytest.raises(ArgumentError, match="routing"):
        layer(routing="gap")
    with pytest.raises(ArgumentError, match="num_experts"):
        layer(num_experts=0)
    with pytest.raises(ArgumentError, match="routing_weights, for the routing is external"):
        layer(routing="external")(x)
    with pytest.raises(ArgumentError, match="routing_weights for 5 samples"):
        layer()(x, torch.ones(4, 3, dtype=torch.float64))
    with pytest.raises(ArgumentError, match="3"):
        layer()(x, torch.ones(5, 2, dtype=torch.float64))
    with pytest.raises(ArgumentError, match=r"layer\.at"):
        layer().freeze()
    with pytest.raises(ArgumentError, match="mixing weights"):
        layer().at(torch.ones(5, 3))
