"""Backward linear relaxation: what occurs lies within, no box is wider than by intervals, linear networks are exact."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from faltung import nn as fnn
from faltung.certify import crown, interval, local_lipschitz
from faltung.certify.box import Box, activation, boxes
from faltung.certify.capture import Step, capture
from faltung.certify.crown import crown_boxes, lines
from faltung.errors import ArgumentError

few = settings(max_examples=3, deadline=None)


class Branches(nn.Module):
    """A residual difference, a concatenation, strides, groups, dilation, a circular margin, both kinds of pooling."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 4, 3, padding=1, stride=2), fnn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2)
        self.c, self.n = nn.Conv2d(8, 3, 2, padding=1, padding_mode="circular"), nn.BatchNorm2d(4)
        self.up, self.last = nn.ConvTranspose2d(3, 2, 3, stride=2), nn.Linear(50, 2)
        nn.init.uniform_(self.n.running_var, 0.5, 2)
        nn.init.uniform_(self.n.weight, -2, 2)

    def forward(self, x):
        x = F.relu(self.n(self.a(x)))
        x = torch.cat([2 * -x - self.b(x) + 1, F.avg_pool2d(x, 3, 1, 1)], 1)
        x = F.max_pool2d(F.relu6(3 * self.c(x)), 3, 2, 1)
        return self.last(F.leaky_relu(self.up(x), 0.2).flatten(1))


class Bends(nn.Module):
    """One of each of the other activations."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(i, 3, 3, padding=1) for i in (1, 3, 3, 3, 3))

    def forward(self, x):
        for layer, bend in zip(self.layers, (F.elu, F.softplus, torch.tanh, torch.sigmoid, F.hardtanh), strict=True):
            x = bend(2 * layer(x))
        return F.max_pool1d(x, 2).flatten(1).sum(1, keepdim=True)


NETS = {
    "dense": (lambda: nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 2)), (6,)),
    "branches": (Branches, (2, 6, 6)),
    "bends": (Bends, (1, 8)),
}


def built(name, seed=0):
    torch.manual_seed(seed)
    make, shape = NETS[name]
    return make().double().eval(), torch.randn(2, *shape, dtype=torch.float64)


def replayed(graph, x):
    """The value of each step for another input."""
    found = {graph.source: x}

    def mapped(given):
        if isinstance(given, (tuple, list)):
            return type(given)(mapped(part) for part in given)
        return found[given] if isinstance(given, Step) else given

    with torch.no_grad():
        for step in graph.steps[1:]:
            found[step] = step.call(*mapped(step.args), **{k: mapped(v) for k, v in step.kwargs.items()})
    return found


def outside(graph, known, box, count=40):
    """How far values of points of the box, corners among them, are out of their boxes at most, step by step; 0 for none."""
    worst = 0.0
    for number in range(count):
        draw = 2 * torch.rand_like(box.centre) - 1
        values = replayed(graph, box.centre + box.radius * (draw.sign() if number % 2 else draw))
        for step, around in known.items():
            past = torch.maximum(around.low - values[step], values[step] - around.high) / (1 + values[step].abs())
            worst = max(worst, float(past.max()))
    return worst


@pytest.mark.parametrize("name", NETS)
@few
@given(seed=st.integers(0, 10_000), eps=st.sampled_from([0.05, 0.4]))
def test_values_lie_within_and_boxes_are_no_wider_than_by_intervals(name, seed, eps):
    model, x = built(name, seed)
    graph, box = capture(model, x, "test"), Box(x[:1], torch.full_like(x[:1], eps))
    known, plain = crown_boxes(graph, box, "test", result=True), boxes(graph, box, "test")
    assert known.keys() == plain.keys()
    assert outside(graph, known, box) < 1e-13
    for step, around in known.items():
        assert (around.low >= plain[step].low - 1e-12 * (1 + plain[step].low.abs())).all()
        assert (around.high <= plain[step].high + 1e-12 * (1 + plain[step].high.abs())).all()
    assert (known[graph.result].radius < 0.95 * plain[graph.result].radius).any()


PLANTED = {
    "lines exchanged": lambda below, above: (above, below),
    "offset left out": lambda below, above: (below, (above[0], 0 * above[1])),
    "lower line too high": lambda below, above: ((below[0], below[1] + 0.3), above),
}


@pytest.mark.parametrize("wrong", PLANTED)
def test_wrong_relaxations_are_seen(monkeypatch, wrong):
    monkeypatch.setattr(crown, "lines", lambda *given: PLANTED[wrong](*lines(*given)))
    worst = 0.0
    for seed in range(4):
        model, x = built("dense", seed)
        graph, box = capture(model, x, "test"), Box(x[:1], torch.full_like(x[:1], 0.4))
        worst = max(worst, outside(graph, crown_boxes(graph, box, "test", result=True), box))
    assert worst > 1e-3


CURVES = (
    nn.ReLU(), nn.LeakyReLU(0.3), nn.ELU(), nn.Softplus(), nn.Sigmoid(), nn.Tanh(), nn.Hardtanh(-0.5, 2.0), nn.ReLU6()
)  # fmt: skip


def crossed(curve, found, box):
    """How far a function is on the wrong side of one of its lines at most, at many points of boxes; not above 0 for lines that are
    right."""
    (below, under), (above, over) = found
    v = box.low + torch.linspace(0, 1, 101, dtype=torch.float64)[:, None] * (box.high - box.low)
    return float(torch.maximum(below * v + under - curve(v), curve(v) - above * v - over).max())


@pytest.mark.parametrize("curve", CURVES, ids=lambda m: type(m).__name__)
def test_lines_lie_below_and_above(curve):
    graph = capture(curve, torch.zeros(1, 400, dtype=torch.float64), "test")
    draw = torch.Generator().manual_seed(0)
    ends = 4 * torch.randn(2, 1, 400, generator=draw, dtype=torch.float64)
    ends[1, :, :50] = ends[0, :, :50] + 1e-15  # almost points
    ends[:, :, 50:60] = ends[:1, :, 50:60]  # points
    ends[:, :, 60:80] += torch.tensor([18.0, 22.0]).double().reshape(2, 1, 1)  # around softplus's threshold
    box = Box.between(ends.amin(0), ends.amax(0))
    (below, under), (above, over) = lines(activation(graph.steps[1]), box)
    assert crossed(curve, ((below, under), (above, over)), box) <= 0
    point = ends[0] == ends[1]
    assert ((above - below) * box.centre + over - under)[point].max() < 1e-8  # softplus steps by 2e-9
    assert crossed(curve, ((-below, under), (above, over)), box) > 0.1
    assert crossed(curve, ((below, under), (-above, over)), box) > 0.1


def test_a_linear_network_is_exact():
    """Also one that takes away what it added, of which intervals know nothing."""

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 3, 3, padding=1, stride=2), nn.ConvTranspose2d(3, 2, 3, 2, 1, 1)

        def forward(self, x):
            return x - self.b(self.a(x))

    torch.manual_seed(0)
    model, x = Linear().double(), torch.randn(1, 2, 4, 4, dtype=torch.float64)
    low, high = interval(model, x - 0.3, x + 0.3, bounds="crown")
    matrix = torch.func.jacrev(model)(x).reshape(32, 32).detach()
    reach = (0.3 * matrix.abs().sum(1)).reshape(x.shape)
    torch.testing.assert_close(low, model(x).detach() - reach, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(high, model(x).detach() + reach, rtol=1e-11, atol=1e-11)
    wide = interval(model, x - 0.3, x + 0.3)
    assert ((wide[1] - wide[0]) > 1.05 * (high - low)).any()


def test_rounding_is_kept_outside(monkeypatch):
    """Sums that cancel, held against exact fractions; without the allowance the exact numbers are lost."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 40), nn.Linear(40, 30), nn.Linear(30, 8)).double()
    with torch.no_grad():  # the last layer takes away nearly all of what it adds
        model[1].weight[15:], model[1].bias[15:] = model[1].weight[:15], model[1].bias[:15]
        model[2].weight[:, 15:] = -(1 + 1e-10) * model[2].weight[:, :15]
        model[2].bias.zero_()
    x = torch.randn(1, 6, dtype=torch.float64)
    value = [Fraction(v) for v in x[0].tolist()]
    for layer in model:
        rows, added = layer.weight.tolist(), layer.bias.tolist()
        value = [
            sum((Fraction(w) * v for w, v in zip(row, value, strict=True)), Fraction(b))
            for row, b in zip(rows, added, strict=True)
        ]
    graph = capture(model, x, "test")

    def holds(known):
        low, high = (end.flatten().tolist() for end in (known.low, known.high))
        return all(Fraction(a) <= v <= Fraction(b) for a, v, b in zip(low, value, high, strict=True))

    point = Box(x, torch.zeros_like(x))
    assert holds(crown_boxes(graph, point, "test", result=True)[graph.result])
    monkeypatch.setattr(crown, "ROUNDING", 0.0)
    assert not holds(crown_boxes(graph, point, "test", result=True)[graph.result])


@pytest.mark.parametrize(("name", "most"), [("dense", 2), ("branches", 30)])
def test_rows_are_carried_in_chunks(monkeypatch, name, most):
    model, x = built(name)
    graph, box = capture(model, x, "test"), Box(x[:1], torch.full_like(x[:1], 0.2))
    whole = crown_boxes(graph, box, "test", result=True)
    carried, right = [], crown.least

    def counted(graph, known, step, rows):
        carried.append(len(rows))
        return right(graph, known, step, rows)

    monkeypatch.setattr(crown, "least", counted)
    widest = max(step.value.numel() for step in graph.steps)
    parts = crown_boxes(graph, box, "test", result=True, held=most * widest)
    assert max(carried) == most
    for step, around in whole.items():
        torch.testing.assert_close(parts[step].low, around.low, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(parts[step].high, around.high, rtol=1e-12, atol=1e-12)


def test_a_convolution_and_its_matrix_have_the_same_boxes():
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, 3, stride=2, padding=1).double()
    head = nn.Sequential(nn.Linear(50, 50), nn.Tanh(), nn.Unflatten(1, (2, 5, 5))).double()
    tail = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(27, 2)).double()
    matrix = nn.Linear(50, 27).double()
    with torch.no_grad():
        units = torch.eye(50, dtype=torch.float64).reshape(-1, 2, 5, 5)
        matrix.weight.copy_((conv(units) - conv(units * 0)).flatten(1).T)
        matrix.bias.copy_(conv(units[:1] * 0).flatten())
    x = torch.randn(1, 50, dtype=torch.float64)
    ours = interval(nn.Sequential(head, conv, tail), x - 0.2, x + 0.2, bounds="crown")
    dense = interval(nn.Sequential(head, nn.Flatten(), matrix, tail), x - 0.2, x + 0.2, bounds="crown")
    for a, b in zip(ours, dense, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in ("branches", "bends") else n for n in NETS]
)
def test_lipschitz_constants_are_no_larger_and_never_below_what_occurs(name):
    for seed, eps in ((0, 0.2), (1, 0.02)):
        model, x = built(name, seed)
        for norm, method in (("linf", "interval"), ("linf", "linear"), ("l2", "interval")):
            plain, found = (
                local_lipschitz(model, x[:1], eps, norm=norm, method=method, bounds=bounds)[0]
                for bounds in ("interval", "crown")
            )
            assert found.lower <= found.upper <= plain.upper * (1 + 1e-12)
            for number in range(10):
                away = 2 * torch.rand(2, *x.shape[1:], dtype=torch.float64) - 1
                a, b = x[0] + eps * (away.sign() if number % 2 else away)
                matrix = torch.func.jacrev(lambda v, m=model: m(v[None])[0])(a).detach().flatten(1)
                moved = (model(a[None]) - model(b[None])).detach()[0]
                if norm == "linf":
                    assert matrix.abs().sum(1).max() <= found.upper
                    assert moved.abs().max() <= found.upper * (a - b).abs().max()
                else:
                    assert torch.linalg.matrix_norm(matrix, 2) <= found.upper
                    assert moved.norm() <= found.upper * (a - b).norm()


def test_it_gains():
    """Half of the constant and more in small networks of three layers."""
    gains = []
    for seed in range(4):
        model, x = built("dense", seed)
        ways = [local_lipschitz(model, x[:1], 0.2, bounds=bounds)[0].upper for bounds in ("interval", "crown")]
        gains.append(ways[0] / ways[1])
    assert min(gains) >= 1
    assert max(gains) > 1.5


def test_boxes_are_cut_with_it_too():
    model, x = built("dense")
    plain = local_lipschitz(model, x[:1], 0.3, method="linear", bounds="crown")[0]
    cut = local_lipschitz(model, x[:1], 0.3, method="bab", bounds="crown", most_boxes=31)[0]
    assert cut.lower <= cut.upper < plain.upper


def test_at_width_zero_it_is_the_norm_of_the_gradient():
    for name in NETS:
        model, x = built(name)
        exact = torch.func.jacrev(lambda v, m=model: m(v[None])[0])(x[0]).detach().flatten(1).abs().sum(1).max()
        assert local_lipschitz(model, x[:1], 0.0, bounds="crown")[0].upper == pytest.approx(float(exact), rel=1e-7)


def test_constants_beside_the_input_count_in_a_stack():
    class Stacked(nn.Module):
        def forward(self, x):
            return torch.stack([x, torch.full((1, 2), 5.0, dtype=x.dtype)], 1).flatten(1)

    x = torch.zeros(1, 2, dtype=torch.float64)
    for bounds in ("interval", "crown"):
        low, high = interval(Stacked(), x - 1, x + 1, bounds=bounds)
        torch.testing.assert_close(low, torch.tensor([[-1.0, -1, 5, 5]]).double())
        torch.testing.assert_close(high, torch.tensor([[1.0, 1, 5, 5]]).double())


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: local_lipschitz(nn.Linear(2, 2), torch.zeros(1, 2), 0.1, bounds="ibp"), "'ibp'"),
        (lambda: interval(nn.Linear(2, 2), torch.zeros(1, 2), torch.ones(1, 2), bounds="linear"), "interval, crown"),
        (lambda: interval(nn.GELU(), torch.zeros(1, 2), torch.ones(1, 2), bounds="crown"), "gelu"),
    ],
)
def test_wrong_calls_are_refused(call, word):
    with pytest.raises(ArgumentError, match=word):
        call()
