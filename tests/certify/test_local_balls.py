"""Local Lipschitz constants over l2 balls, their lower ends by search, and steps whose rule was once missing."""

import pytest
import torch
from torch import nn

from faltung.certify import interval, local_lipschitz
from faltung.certify.box import Ball, Box
from faltung.certify.capture import capture
from faltung.certify.local import METHODS
from faltung.certify.reach import boxes_by
from faltung.certify.search import attained
from faltung.errors import ArgumentError

from .test_local import MOSTLY, built, jacobian, norms


def within(x, eps, count, seed=0):
    """Points of an l2 ball, most of them near its surface."""
    draw = torch.Generator().manual_seed(seed)
    for _ in range(count):
        away = torch.randn(x.shape, generator=draw, dtype=torch.float64)
        yield x + eps * torch.rand(1, generator=draw).item() ** 0.1 * away / away.norm()


@pytest.mark.parametrize("name", MOSTLY)
@pytest.mark.parametrize("bounds", ["interval", "crown"])
def test_of_a_ball_it_is_no_more_than_of_its_box_and_never_below_what_occurs(name, bounds):
    model, x = built(name)
    for norm in ("linf", "l2"):
        for eps in (0.1, 0.6):
            both = {b: local_lipschitz(model, x[:1], eps, norm=norm, ball=b, bounds=bounds)[0] for b in ("linf", "l2")}
            assert both["l2"].upper <= both["linf"].upper * (1 + 1e-9)
            assert both["l2"].lower <= both["l2"].upper
            for at in within(x[0], eps, 6):
                assert norms(jacobian(model, at))[norm] <= both["l2"].upper
    assert both["l2"].upper < 0.95 * both["linf"].upper
    assert "l2 norm" in both["l2"].certified_for


def test_of_a_ball_linear_values_are_known_exactly():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.BatchNorm1d(3), nn.ReLU(), nn.Flatten(), nn.Linear(18, 2))
    model = model.double().eval()
    nn.init.uniform_(model[1].running_var, 0.5, 2)
    x = torch.randn(1, 2, 6, dtype=torch.float64)
    graph = capture(model, x, "test")
    rows = torch.func.jacrev(lambda v: model[1](model[0](v)))(x).reshape(18, 12).norm(dim=1)
    for bounds in ("interval", "crown"):
        found = boxes_by(bounds, graph, Ball.around(x, 5.0), "test")
        before = next(found[step.inputs[0]] for step in graph.steps if step.op == "aten.relu")
        torch.testing.assert_close(before.radius.flatten(), 5.0 * rows.detach())


def test_balls_are_cut_too():
    model, x = built("dense")
    whole, cut = (local_lipschitz(model, x[:1], 0.5, ball="l2", method="bab", most_boxes=n)[0].upper for n in (1, 63))
    assert cut < whole
    for at in within(x[0], 0.5, 300):
        assert norms(jacobian(model, at))["linf"] <= cut


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("ball", [False, True])
def test_the_search_climbs(norm, ball):
    """Of four nets of 24 inputs: beside as many points at random more on the whole, and never less than the sample's own."""
    gains, over = [], []
    for seed in range(4):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 2)).double()
        x = torch.randn(1, 24, dtype=torch.float64)
        graph, rows = capture(model, x, "test"), torch.arange(2)
        eps = 5.0 if ball else 1.5
        region = Ball.around(x, eps) if ball else Box(x, torch.full_like(x, eps))
        found = attained(graph, region, rows, norm)
        points = (
            within(x[0], eps, 38, seed) if ball else (x[0] + eps * (2 * torch.rand_like(x[0]) - 1) for _ in range(38))
        )
        gains.append(found / norms(jacobian(model, x[0]))[norm])
        over.append(found / max(norms(jacobian(model, at))[norm] for at in points))
    assert min(gains) >= 1 - 1e-9
    assert sum(over) / len(over) > 1.02
    assert sum(gains) / len(gains) > 1.1


class Detached(nn.Module):
    """A value that autograd is kept from, which moves with the input all the same."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x):
        z = torch.relu(self.a(x))
        return self.b(z) - self.b(z).detach() * 0.5


@pytest.mark.parametrize("bounds", ["interval", "crown"])
def test_a_detached_value_counts(bounds):
    torch.manual_seed(0)
    model = Detached().double()
    plain = nn.Sequential(model.a, nn.ReLU(), model.b)
    x = torch.randn(1, 4, dtype=torch.float64)
    for eps in (0.0, 0.2):
        found, half = (local_lipschitz(m, x, eps, bounds=bounds)[0] for m in (model, plain))
        assert found.lower <= 0.5 * half.upper * (1 + 1e-9)  # autograd alone would say twice that
        assert found.upper >= 0.5 * half.lower
        if eps == 0:
            assert found.upper == pytest.approx(0.5 * half.upper, rel=1e-7)


class Less(nn.Module):
    """Numbers less signals, with and without a factor."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x):
        return self.b(torch.rsub(1 - torch.relu(2 - self.a(x)), self.a.bias, alpha=3))


@pytest.mark.parametrize("bounds", ["interval", "crown"])
def test_numbers_less_signals(bounds):
    torch.manual_seed(0)
    model = Less().double()
    x = torch.randn(1, 4, dtype=torch.float64)
    assert "aten.rsub" in {step.op for step in capture(model, x, "test").steps}
    exact = norms(jacobian(model, x[0]))["linf"]
    assert local_lipschitz(model, x, 0.0, bounds=bounds)[0].upper == pytest.approx(exact, rel=1e-7)
    low, high = interval(model, x - 0.3, x + 0.3, bounds=bounds)
    for _ in range(50):
        at = x + 0.6 * torch.rand_like(x) - 0.3
        result = model(at).detach()
        assert (low <= result).all()
        assert (result <= high).all()
        assert norms(jacobian(model, at[0]))["linf"] <= local_lipschitz(model, x, 0.3, bounds=bounds)[0].upper
    same = interval(model, x, x, bounds=bounds)
    torch.testing.assert_close(same[0], model(x).detach())


@pytest.mark.parametrize("size", [(5, 6), (7, 5), (6, 6)])
def test_windows_that_reach_beyond_the_margin(size):
    torch.manual_seed(0)
    pool = nn.MaxPool2d(3, 2, 1, ceil_mode=True)
    features = pool(torch.zeros(1, 2, *size)).numel()
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), pool, nn.Flatten(), nn.Linear(features, 2)).double()
    x = torch.randn(1, 1, *size, dtype=torch.float64)
    exact = norms(jacobian(model, x[0]))["linf"]
    ways = [("interval", "interval"), ("linear", "interval"), ("linear", "crown")]
    for method, bounds in ways:
        assert local_lipschitz(model, x, 0.0, method=method, bounds=bounds)[0].upper == pytest.approx(exact, rel=1e-7)
        bound = local_lipschitz(model, x, 0.2, method=method, bounds=bounds)[0]
        assert exact < bound.upper
        for _ in range(20):
            at = x[0] + 0.2 * torch.sign(torch.randn_like(x[0]))
            assert norms(jacobian(model, at))["linf"] <= bound.upper


def test_time_may_run_out():
    model, x = built("dense")
    ways = {way: local_lipschitz(model, x[:1], 0.3, method=way)[0].upper for way in METHODS}
    assert local_lipschitz(model, x[:1], 0.3, method="bab", timeout=0)[0].upper == ways["linear"]
    assert local_lipschitz(model, x[:1], 0.3, method="bab", timeout=1e9)[0].upper == ways["bab"] < ways["linear"]


def test_a_small_net_lies_between_its_gradient_and_the_product_of_norms():
    """6 → 16 → 12 → 1, as published with 4.64, 12.5 at width 0.1, 136 in all; of other weights the same order."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 1)).double()
    with torch.no_grad():
        for part in model.parameters():
            part.copy_(torch.randn_like(part) / part.shape[-1] ** 0.5)
    x = torch.randn(1, 6, dtype=torch.float64)
    product = 1.0
    for layer in model:
        product *= float(layer.weight.detach().abs().sum(1).max()) if isinstance(layer, nn.Linear) else 1
    none, some = (local_lipschitz(model, x, eps)[0] for eps in (0.0, 0.1))
    assert none.upper == pytest.approx(norms(jacobian(model, x[0]))["linf"], rel=1e-7)
    assert none.upper < some.upper < product / 4


@pytest.mark.parametrize(
    ("given", "word"), [({"ball": "l1"}, "a ball among"), ({"timeout": -1.0}, "seconds"), ({"ball": "l2"}, "gelu")]
)
def test_wrong_calls_are_refused(given, word):
    with pytest.raises(ArgumentError, match=word):
        local_lipschitz(nn.Sequential(nn.GELU(), nn.Linear(2, 2)), torch.zeros(1, 2), 0.1, **given)
