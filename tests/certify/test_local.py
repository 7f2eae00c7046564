"""Local Lipschitz constants: the gradient itself at width 0, never below a gradient that occurs, never above the global product."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from faltung import nn as fnn
from faltung.certify import interval, local_lipschitz, radius
from faltung.certify.box import Box, boxes
from faltung.certify.capture import capture
from faltung.certify.jacobians import backward
from faltung.certify.local import METHODS
from faltung.certify.relaxed import _gates, row_sums
from faltung.errors import ArgumentError

few = settings(max_examples=8, deadline=None)


class Branches(nn.Module):
    """Residual sum, concatenation, batch normalisation, strides, groups, dilation, both kinds of pooling, our own layers."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 4, 3, padding=1, stride=2), fnn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2)
        self.c, self.n = nn.Conv2d(8, 3, 2, padding=1, padding_mode="circular"), nn.BatchNorm2d(4)
        self.last = nn.Linear(12, 3)
        nn.init.uniform_(self.n.running_var, 0.5, 2)
        nn.init.uniform_(self.n.weight, -2, 2)

    def forward(self, x):
        x = F.relu(self.n(self.a(x)))
        x = torch.cat([x + self.b(x), F.avg_pool2d(x, 3, 1, 1)], 1)
        x = F.max_pool2d(torch.tanh(self.c(x)), 3, 2, 1)
        return self.last(F.leaky_relu(x, 0.2).flatten(1)).sigmoid() - 1


NETS = {
    "dense": (lambda: nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 2)), (6,)),
    "branches": (Branches, (2, 6, 6)),
    "line": (
        lambda: nn.Sequential(
            nn.Conv1d(1, 3, 3), nn.ELU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(12, 2), nn.Softplus()
        ),
        (1, 10),
    ),
}
POOLED = nn.Sequential(nn.Conv1d(1, 2, 1), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(4, 2))
# Where the net of branches takes half a minute, the slow tests have it.
MOSTLY = [pytest.param(name, marks=pytest.mark.slow) if name == "branches" else name for name in NETS]


def built(name, seed=0):
    torch.manual_seed(seed)
    make, shape = NETS[name]
    return make().double().eval(), torch.randn(2, *shape, dtype=torch.float64)


def jacobian(model, x):
    return torch.func.jacrev(lambda v: model(v[None])[0])(x).detach().flatten(1)


def norms(matrix):
    return {"linf": float(matrix.abs().sum(1).max()), "l2": float(torch.linalg.matrix_norm(matrix, 2))}


@pytest.mark.parametrize("name", NETS)
def test_at_width_zero_it_is_the_norm_of_the_gradient(name):
    model, x = built(name)
    for norm in ("linf", "l2"):
        found = local_lipschitz(model, x, 0.0, norm=norm)
        for sample, bound in zip(x, found, strict=True):
            exact = norms(jacobian(model, sample))[norm]
            assert abs(bound.upper - exact) < 1e-7 * exact
            assert abs(bound.lower - exact) < 1e-9 * exact


@pytest.mark.parametrize("name", MOSTLY)
def test_it_never_falls_with_the_width_and_is_never_below_what_occurs(name):
    model, x = built(name)
    for norm in ("linf", "l2"):
        last = 0.0
        for eps in (0.0, 0.05, 0.5):
            bound = local_lipschitz(model, x[:1], eps, norm=norm)[0]
            assert bound.upper >= last * (1 - 1e-8)
            last = bound.upper
            for _ in range(10):
                at = x[0] + eps * (2 * torch.rand_like(x[0]) - 1)
                assert norms(jacobian(model, at))[norm] <= bound.upper
            assert bound.lower <= bound.upper


@few
@given(seed=st.integers(0, 10_000), eps=st.sampled_from([0.05, 0.3]))
def test_entries_of_jacobians_are_within_their_intervals(seed, eps):
    model, x = built("branches", seed)
    graph = capture(model, x, "test")
    found = backward(graph, Box(x[:1], torch.full_like(x[:1], eps)), torch.arange(3)).end
    values = boxes(graph, Box(x[:1], torch.full_like(x[:1], eps)), "test")[graph.result]
    for _ in range(10):
        at = x[0] + eps * (2 * torch.rand_like(x[0]) - 1)
        matrix = jacobian(model, at)
        assert (matrix >= found.low - 1e-12).all()
        assert (matrix <= found.high + 1e-12).all()
        result = model(at[None]).detach()
        assert (result >= values.low - 1e-12).all()
        assert (result <= values.high + 1e-12).all()


def test_results_lie_within_their_interval():
    model, x = built("branches")
    low, high = interval(model, x - 0.1, x + 0.2)
    for _ in range(20):
        result = model(x - 0.1 + 0.3 * torch.rand_like(x)).detach()
        assert (low <= result).all()
        assert (result <= high).all()
    same = interval(model, x, x)
    assert torch.allclose(same[0], model(x).detach(), atol=1e-10)
    assert torch.allclose(same[1], same[0], atol=1e-10)
    with pytest.raises(ArgumentError, match="low at most high"):
        interval(model, x + 1, x)


@pytest.mark.parametrize("bounds", ["interval", "crown"])
def test_where_torch_s_softplus_steps_down_it_is_still_within(bounds):
    """Above 20 torch's is the identity, 2e-9 below what it is at 20."""
    at = 20 + torch.tensor([[-1e-10, -1e-12, 0.0, 1e-12, 1e-10]], dtype=torch.float64)
    values = nn.functional.softplus(at)
    assert values.min() < values[0, 2] - 1e-9
    for width in (0.0, 1e-12, 1e-10, 1e-8):
        low, high = interval(nn.Softplus(), at - width, at + width, bounds=bounds)
        for side in (-1, 0, 1):
            here = nn.functional.softplus(at + side * width)
            assert (low <= here).all()
            assert (here <= high).all()


@pytest.mark.parametrize("transposed", [False, True])
def test_a_loud_place_does_not_blur_a_silent_one(transposed):
    """Results that do not read the loud sample have the error of what they read, and the box of a sample holds its result."""
    draw = torch.Generator().manual_seed(0)
    kind = nn.ConvTranspose1d if transposed else nn.Conv1d
    layer = kind(1, 1, 1024, bias=False).double()
    with torch.no_grad():
        layer.weight.normal_(generator=draw)
    x = torch.randn(1, 1, 6000, generator=draw, dtype=torch.float64)
    x[..., 0] = 1e15
    quiet = x.clone()
    quiet[..., 0] = 0
    low, high = interval(layer, x, x)
    exact = layer(quiet).detach()[..., 1024:]  # where neither reads the first sample
    low, high = low[..., 1024:], high[..., 1024:]
    assert (high - low).max() < 1e-9
    assert (low <= exact + 1e-12).all()
    assert (exact <= high + 1e-12).all()
    assert float((high - exact).max()) < 1e-9


@pytest.mark.parametrize("name", MOSTLY)
@pytest.mark.parametrize("seed", [0, 1])
def test_lines_are_between_intervals_and_cuts_and_never_below_what_occurs(name, seed):
    model, x = built(name, seed)
    for eps in (0.02, 0.2):
        ways = {way: local_lipschitz(model, x[:1], eps, method=way, most_boxes=7)[0] for way in METHODS}
        assert ways["interval"].upper >= ways["linear"].upper >= ways["bab"].upper >= ways["bab"].lower
        for _ in range(20):
            at = x[0] + eps * (2 * torch.rand_like(x[0]) - 1)
            assert norms(jacobian(model, at))["linf"] <= ways["bab"].upper


def test_lines_gain_where_gates_are_open():
    """Half the boxes of several nets: each bound above the interval's by lines alone, and far from 0."""
    gains = []
    for seed in range(4):
        model, x = built("dense", seed)
        ways = {way: local_lipschitz(model, x[:1], 0.3, method=way)[0].upper for way in ("interval", "linear")}
        gains.append(ways["interval"] / ways["linear"])
    assert max(gains) > 1.1
    assert min(gains) >= 1


@few
@given(seed=st.integers(0, 10_000), eps=st.sampled_from([0.05, 0.3]), name=st.sampled_from(sorted(NETS)))
def test_lines_bound_every_row(seed, eps, name):
    """Rows one by one, at corners of the box, where gates switch most."""
    model, x = built(name, seed)
    graph = capture(model, x, "test")
    rows = torch.arange(graph.result.value.shape[1])
    bound = row_sums(graph, backward(graph, Box(x[:1], torch.full_like(x[:1], eps)), rows), rows)
    for _ in range(30):
        at = x[0] + eps * torch.sign(torch.randn_like(x[0]))
        assert (jacobian(model, at).abs().sum(1) <= bound * (1 + 1e-9)).all()


@few
@given(seed=st.integers(0, 10_000))
def test_gates_lie_below_their_lines(seed):
    """weight · gate · J ≤ slope · J + offset for all J and gates, and where J or the gate is certain they are equal."""
    draw = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(200, generator=draw, dtype=torch.float64) for _ in range(2))
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    least = torch.rand(200, generator=draw, dtype=torch.float64).round()
    most = torch.maximum(least, torch.rand(200, generator=draw, dtype=torch.float64))
    weights = torch.randn(200, generator=draw, dtype=torch.float64)
    slope, offset = _gates(weights, Box((low + high) / 2, (high - low) / 2), least, most)
    for t in torch.linspace(0, 1, 5).tolist():
        for g in (0.0, 0.5, 1.0):
            entry, gate = low + t * (high - low), least + g * (most - least)
            assert (weights * gate * entry <= slope * entry + offset + 1e-12).all()
    fixed = least == most
    assert torch.allclose((slope * low + offset)[fixed], (weights * least * low)[fixed])


def test_cutting_the_box_is_tighter_and_still_a_bound():
    model, x = built("dense")
    whole = local_lipschitz(model, x[:1], 0.3)[0]
    cut = local_lipschitz(model, x[:1], 0.3, method="bab", most_boxes=63)[0]
    assert cut.lower <= cut.upper < whole.upper
    more = local_lipschitz(model, x[:1], 0.3, method="bab", most_boxes=255)[0]
    assert more.upper <= cut.upper


def test_it_is_below_the_product_of_the_norms():
    model, x = built("dense")
    product = 1.0
    for layer in model:
        if isinstance(layer, nn.Linear):
            product *= float(layer.weight.detach().abs().sum(1).max())
    assert local_lipschitz(model, x[:1], 100.0)[0].upper <= product * (1 + 1e-6)
    assert local_lipschitz(model, x[:1], 0.05)[0].upper < product / 2


def test_samples_do_not_depend_on_each_other_and_outputs_can_be_chosen():
    model, x = built("branches")
    both = local_lipschitz(model, x, 0.1)
    assert [b.upper for b in both] == [local_lipschitz(model, v[None], 0.1)[0].upper for v in x]
    single = [local_lipschitz(model, x[:1], 0.1, outputs=i)[0].upper for i in range(3)]
    assert max(single) == pytest.approx(both[0].upper, rel=1e-9)


def test_a_convolution_and_its_matrix_have_the_same_bound():
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, 3, stride=2, padding=1, dilation=1).double()
    tail = nn.Sequential(nn.ReLU(), nn.Linear(27, 2)).double()
    matrix = nn.Linear(50, 27).double()
    with torch.no_grad():
        units = torch.eye(50, dtype=torch.float64).reshape(-1, 2, 5, 5)
        matrix.weight.copy_((conv(units) - conv(units * 0)).flatten(1).T)
        matrix.bias.copy_(conv(units[:1] * 0).flatten())
    x = torch.randn(1, 2, 5, 5, dtype=torch.float64)
    ours = local_lipschitz(nn.Sequential(conv, nn.Flatten(), tail), x, 0.2)[0].upper
    dense = local_lipschitz(nn.Sequential(nn.Flatten(), matrix, tail), x, 0.2)[0].upper
    assert ours == pytest.approx(dense, rel=1e-9)


def test_the_model_is_left_alone():
    model, x = built("branches")
    model.train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    local_lipschitz(model, x, 0.1)
    assert model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("gate", [nn.Hardtanh, nn.ReLU, nn.Tanh])
def test_widths_that_overflow_bound_nothing(norm, gate):
    """Infinite radii times zero weights are NaN: gates behind them count as open, and no bound is below what occurs."""
    model = nn.Sequential(
        nn.Conv1d(1, 2, 1, bias=False),
        nn.Conv1d(2, 1, 1, bias=False),
        gate(),
        nn.MaxPool1d(2),
        nn.Flatten(),
        nn.Linear(2, 2),
    ).double()
    with torch.no_grad():
        model[0].weight.fill_(1e10)
        model[1].weight.copy_(torch.tensor([0.0, 1e-10]).reshape(1, 2, 1))
    x = torch.zeros(1, 1, 4, dtype=torch.float64)
    inside = norms(jacobian(model, x[0] + 1e-3))[norm]
    for method in METHODS if norm == "linf" else ("interval", "bab"):
        assert local_lipschitz(model, x, 1e300, norm=norm, method=method)[0].upper >= inside


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: local_lipschitz(nn.Sequential(nn.GELU(), nn.Linear(2, 2)), torch.zeros(1, 2), 0.1), "gelu"),
        (lambda: local_lipschitz(nn.Linear(2, 2), torch.zeros(1, 2), -0.1), "eps"),
        (lambda: local_lipschitz(nn.Linear(2, 2), torch.zeros(1, 2), 0.1, norm="l1"), "l1"),
        (lambda: local_lipschitz(nn.Conv1d(1, 1, 1), torch.zeros(1, 1, 3), 0.1), "outputs"),
        (lambda: local_lipschitz(POOLED, torch.zeros(1, 1, 4), float("inf")), "eps of at least 0 and finite"),
        (lambda: local_lipschitz(POOLED, torch.zeros(1, 1, 4), float("nan")), "eps of at least 0 and finite"),
        (lambda: local_lipschitz(POOLED, torch.full((1, 1, 4), float("nan")), 0.1), "finite samples"),
        (lambda: interval(POOLED, torch.full((1, 1, 4), -torch.inf), torch.zeros(1, 1, 4)), "finite samples"),
        (lambda: radius(POOLED, torch.full((1, 1, 4), float("nan"))), "finite samples"),
        (lambda: local_lipschitz(POOLED, torch.zeros(1, 1, 4), 0.1, outputs=[2]), "outputs among 0 to 1"),
        (lambda: local_lipschitz(POOLED, torch.zeros(1, 1, 4), 0.1, outputs=-1), "outputs among 0 to 1"),
        (lambda: local_lipschitz(POOLED, torch.zeros(1, 1, 4), 0.1, outputs=[]), "at least one"),
        (lambda: local_lipschitz(POOLED, torch.zeros(1, 1, 4), 0.1, outputs=0.5), "outputs among 0 to 1"),
    ],
)
def test_wrong_calls_are_refused(call, word):
    with pytest.raises(ArgumentError, match=word):
        call()
