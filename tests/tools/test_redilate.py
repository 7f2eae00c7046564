"""Re-dilation as a context: chosen layers change while it lasts, and nothing is left behind."""

import pytest
import torch

from faltung import F, nn, tools
from faltung.errors import ArgumentError, DtypeError


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.down = torch.nn.Sequential(
            torch.nn.Conv2d(4, 4, 3, padding=1), torch.nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)
        )
        self.head = torch.nn.Linear(4, 2)
        self.again = self.stem  # the same module twice

    def forward(self, x):
        return self.head(self.down(self.stem(x)).mean((2, 3)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


X = torch.randn(2, 1, 9, 9, generator=torch.Generator().manual_seed(1))


def attributes(model):
    return {name: dict(vars(module)) for name, module in model.named_modules()}


def by_hand(net, stem=None, first=None, second=None):
    x = X
    for layer, factor in ((net.stem, stem), (net.down[0], first)):
        x = layer(x) if factor is None else F.redilate(layer, x, factor)
    x = x.relu()
    x = net.down[2](x) if second is None else F.redilate(net.down[2], x, second)
    return net.head(x.mean((2, 3)))


@pytest.mark.parametrize(
    ("chosen", "wanted"),
    [
        ({"stem": 2}, {"stem": 2}),
        ({"again": 2}, {"stem": 2}),
        ({"down.*": 1.5}, {"first": 1.5, "second": 1.5}),
        ({"*": 3, "down.2": (1, 2)}, {"stem": 3, "first": 3, "second": (1, 2)}),
        (lambda name, layer: 2 if name == "down.0" and layer.in_channels == 4 else None, {"first": 2}),
        (lambda name, layer: None, {}),
    ],
)
def test_chosen_layers_are_redilated(net, chosen, wanted):
    with tools.redilate(net, chosen):
        got = net(X)
    torch.testing.assert_close(got, by_hand(net, **wanted))
    if wanted:
        assert not torch.allclose(got, net(X))


def test_every_attribute_is_restored(net):
    before, plain = attributes(net), net(X)
    with tools.redilate(net, {"*": 2}):
        assert attributes(net) != before
        net(X)
    assert attributes(net) == before
    assert torch.equal(net(X), plain)


def test_errors_inside_and_nested_contexts_leave_nothing(net):
    before = attributes(net)
    with pytest.raises(ZeroDivisionError), tools.redilate(net, {"*": 2}):
        raise ZeroDivisionError
    assert attributes(net) == before
    outer, inner = tools.redilate(net, {"stem": 2}), tools.redilate(net, {"stem": 3})
    with outer:
        with inner:
            torch.testing.assert_close(net(X), by_hand(net, stem=3))
        torch.testing.assert_close(net(X), F_of(net, 2))
        with outer:
            torch.testing.assert_close(net(X), F_of(net, 2))
        torch.testing.assert_close(net(X), F_of(net, 2))
    assert attributes(net) == before


def F_of(net, factor):
    """The result with the stem re-dilated, computed outside of any context."""
    x = torch.nn.functional.conv2d(X, net.stem.weight, net.stem.bias, padding=factor, dilation=factor)
    return net.head(net.down(x).mean((2, 3)))


def test_gradients_pass(net):
    with tools.redilate(net, {"*": 1.5}):
        net(X).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_schedules(net):
    assert [tools.progressive(35)(4, i) for i in (0, 8, 9, 17, 18, 34, 35, 49)] == [4, 4, 3, 3, 2, 2, None, None]
    assert tools.progressive(4)((4, 1), 0) == (4, 1)
    dilated = tools.redilate(net, {"stem": 4}, schedule=35)
    for step, factor in ((0, 4), (20, 2), (34, 2), (35, None), (49, None)):
        torch.testing.assert_close(dilated.at(step)(X), by_hand(net, stem=factor))
    own = tools.redilate(net, {"stem": 3}, schedule=lambda factor, step: factor - step if step < 2 else None)
    for step, factor in ((0, 3), (1, 2), (2, None)):
        torch.testing.assert_close(own.at(step)(X), by_hand(net, stem=factor))


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"sten": 2}, "'stem'"),
        ({"head": 2}, "no such layer"),
        ({"up.*": 2}, "nothing is called so"),
        ({"stem": 0}, "factor above 0"),
        ({"stem": (1, 2, 3)}, "factor above 0"),
        (lambda name, layer: "twice", "factor above 0"),
        (["stem"], "a function"),
    ],
)
def test_wrong_choices_are_refused_at_once(net, chosen, said):
    before = attributes(net)
    with pytest.raises(ArgumentError, match=said):
        tools.redilate(net, chosen)
    assert attributes(net) == before


def test_wrong_models_and_schedules_are_refused(net):
    with pytest.raises(DtypeError, match="torch module"):
        tools.redilate(lambda x: x, {"stem": 2})
    with pytest.raises(ArgumentError, match="schedule"):
        tools.redilate(net, {"stem": 2}, schedule=0)
    with pytest.raises(ArgumentError, match="step"):
        tools.redilate(net, {"stem": 2}, schedule=3).at(-1)


def test_noise_damped_guidance(net):
    modified = tools.redilate(Conditional(net), {"*": 2})
    guided = tools.noise_damped(modified.model, modified, scale=7.5)
    x = torch.randn(1, 1, 8, 8)
    net_of = modified.model
    with modified:
        towards = net_of(x, 1.0) - net_of(x, 0.0)
    torch.testing.assert_close(guided(x, 1.0, 0.0), net_of(x, 0.0) + 7.5 * towards)
    same = tools.noise_damped(net_of, net_of, scale=1)
    torch.testing.assert_close(same(x, 1.0, 0.0), net_of(x, 1.0))
    with pytest.raises(DtypeError, match="modified"):
        tools.noise_damped(net_of, 3, 1)


class Conditional(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, condition):
        return self.net.stem(x + condition)
