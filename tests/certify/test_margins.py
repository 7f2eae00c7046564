"""Distances within which classes are kept: exact for linear maps, never beyond what an attack needs, one norm beside the other."""

import pytest
import torch
from torch import nn

from faltung.certify import lipschitz, radius
from faltung.certify.capture import capture
from faltung.certify.margins import _between, _box_width
from faltung.errors import ArgumentError


def network(seed, convolution):
    torch.manual_seed(seed)
    if convolution:
        parts = [
            nn.Conv1d(2, 4, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(4, 4, 3, stride=2),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(12, 3),
        ]
        return nn.Sequential(*parts).double(), torch.randn(4, 2, 8, dtype=torch.float64)
    parts = [nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3)]
    return nn.Sequential(*parts).double(), torch.randn(4, 6, dtype=torch.float64)


def attacked(model, x, eps, steps=40):
    """Whether some step against the margin within a box of that width changes a class."""
    labels, fooled = model(x).argmax(1), torch.zeros(len(x), dtype=torch.bool)
    wide = eps.reshape(-1, *[1] * (x.ndim - 1))
    for start in (torch.zeros_like(x), 2 * torch.rand_like(x) - 1):
        at = x + wide * start
        for _ in range(steps):
            at = at.detach().requires_grad_()
            logits = model(at)
            own = logits.gather(1, labels[:, None])[:, 0]
            rival = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
            fooled |= rival > own
            (slope,) = torch.autograd.grad((rival - own).sum(), at)
            at = torch.minimum(torch.maximum(at + 0.2 * wide * slope.sign(), x - wide), x + wide)
    return fooled


@pytest.mark.parametrize("classes", [2, 5])
def test_of_a_linear_map_it_is_the_distance_to_the_nearest_border(classes):
    torch.manual_seed(0)
    model, x = nn.Linear(7, classes).double(), torch.randn(6, 7, dtype=torch.float64)
    logits, rows = model(x).detach(), model.weight.detach()
    for norm, order in (("linf", 1), ("l2", 2)):
        found = radius(model, x, norm=norm, rtol=1e-4)
        for one, scores, reach in zip(x, logits, found, strict=True):
            label = int(scores.argmax())
            exact = min(
                float((scores[label] - scores[j]) / torch.linalg.vector_norm(rows[label] - rows[j], order))
                for j in range(classes)
                if j != label
            )
            assert exact * (1 - 3e-4) <= float(reach) <= exact * (1 + 1e-9), one


@pytest.mark.parametrize("convolution", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_within_it_no_attack_succeeds_and_not_far_beyond_some_do(convolution, seed):
    model, x = network(seed, convolution)
    boxes, balls = radius(model, x, norm="linf"), radius(model, x)
    size = x[0].numel() ** 0.5
    assert (boxes >= balls / size * (1 - 1e-9)).all()
    assert boxes.mean() > 1.5 * balls.mean() / size  # l2 knows nothing of signs
    assert not attacked(model, x, boxes).any()
    assert attacked(model, x, 6 * boxes + 0.2).any()


@pytest.mark.parametrize("bound", [0.5, 3.0])
def test_a_difference_of_two_results_moves_by_root_two_times_their_norm(bound):
    """Of a map that has no linear end: (1, −1) · J is attained by J = bound · (1, −1)ᵀ v / √2, and by nothing more."""
    model = nn.Sequential(nn.Linear(4, 2, bias=False), nn.Identity(), Shift()).double().requires_grad_(False)
    v = torch.tensor([1.0, 2.0, 2.0, 4.0]).double() / 5
    with torch.no_grad():
        model[0].weight.copy_(bound * torch.stack([v, -v]) / 2**0.5)
    x = torch.randn(1, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    graph = capture(model, x, "test")
    between = _between(graph.result, {graph.result: bound}, 2)
    moved = model(x + v) - model(x)
    assert float(moved[0, 0] - moved[0, 1]) == pytest.approx(2**0.5 * bound)  # a step of length 1
    assert between[0, 1] == pytest.approx(2**0.5 * bound)
    label = int(model(x).argmax())
    exact = float((model(x)[0, label] - model(x)[0, 1 - label]) / (2**0.5 * bound))
    assert exact * 0.98 <= float(radius(model, x)) <= exact * (1 + 1e-12)


def test_what_has_another_label_has_no_distance():
    model, x = network(0, False)
    wrong = (model(x).argmax(1) + 1) % 3
    assert (radius(model, x, wrong, norm="linf") == 0).all()
    single = model.float()
    assert radius(single, x.float(), norm="linf").dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_radii_are_rounded_down_to_the_precision_of_the_samples(dtype):
    """Of small whole numbers logits are exact, so that distances are known; rounded to nearest half of them would be too far."""
    draw = torch.Generator().manual_seed(0)
    model = nn.Linear(5, 2, bias=False).to(dtype)
    for _ in range(8):
        rows = torch.randint(-3, 4, (2, 5), generator=draw).double()
        rows[0, 0] = rows[1, 0] + 1  # never equal
        x = torch.randint(-3, 4, (16, 5), generator=draw).double()
        with torch.no_grad():
            model.weight.copy_(rows)
        logits = x @ rows.T
        exact = (logits[:, 0] - logits[:, 1]).abs() / (rows[0] - rows[1]).norm()
        found = radius(model, x.to(dtype))
        assert found.dtype == dtype
        assert (found.double() <= exact).all()
        assert (found.double() >= exact * (1 - 2 * torch.finfo(dtype).eps)).all()


def test_a_width_beyond_the_precision_is_rounded_down_too():
    model = nn.Linear(1, 2, bias=False).half()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0], [6e-5]]))
    (found,) = radius(
        model, torch.full((1, 1), -6e4).half()
    )  # the border, 0, is 60000 away: close to the largest number
    assert 5.9e4 < float(found) <= 6e4
    with torch.no_grad():
        model.weight.zero_()
    layer = nn.Sequential(model, Shift())
    (found,) = radius(layer, torch.ones(1, 1).half())
    assert found == torch.inf  # nothing depends on the input


class Shift(nn.Module):
    """The second class always wins."""

    def forward(self, x):
        return x + torch.tensor([0.0, 1.0]).to(x)


def test_logits_that_overflow_have_no_distance():
    model = nn.Linear(1, 2, bias=False).half()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0], [100.0]]))
    assert radius(model, torch.full((1, 1), 6e4).half()).tolist() == [0.0]


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_equal_logits_of_equal_rows_have_no_distance(norm):
    model = nn.Linear(3, 3).double()
    with torch.no_grad():
        model.weight.copy_(torch.ones(3, 3))
        model.bias.zero_()
    assert radius(model, torch.ones(1, 3).double(), norm=norm).tolist() == [0.0]
    with torch.no_grad():
        model.bias.copy_(torch.tensor([0.0, 0.0, 1.0]))  # the third wins wherever the input is
    found = radius(model, torch.ones(1, 3).double(), torch.tensor([2]), norm=norm)
    assert float(found) > 1e12


def test_a_width_counts_only_where_lines_keep_the_label():
    """A known width that is too large, as of a model whose own arithmetic is coarse, is looked at like any other."""
    model = nn.Linear(2, 2, bias=False).double()
    nn.init.eye_(model.weight)
    x = torch.tensor([[3.0, 1.0]]).double()
    graph = capture(model, x, "test")
    for known in (0.0, 0.5, 2.0, 100.0):
        assert 0.98 <= _box_width(graph, x, 0, known, 0.01) <= 1  # the border x₀ = x₁


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda x: radius(nn.Linear(6, 3).double(), x, rtol=0), "rtol above 0"),
        (lambda x: radius(nn.Linear(6, 3).double(), x, rtol=float("nan"), norm="linf"), "rtol above 0"),
        (lambda x: lipschitz(nn.Conv1d(1, 1, 3, bias=False).double(), x[None], rtol=0), "rtol above 0"),
        (lambda x: radius(nn.Linear(6, 3).double(), x, torch.tensor([3])), "labels"),
        (lambda x: radius(nn.Linear(6, 3).double(), x, torch.tensor([0, 1])), "labels"),
        (lambda x: radius(nn.Linear(6, 3).double(), x, norm="l1"), "a norm among"),
        (lambda x: radius(nn.Sequential(nn.Linear(6, 3), nn.GELU()).double(), x, norm="linf"), "gelu"),
    ],
)
def test_wrong_calls_are_refused(call, word):
    with pytest.raises(ArgumentError, match=word):
        call(torch.randn(1, 6, dtype=torch.float64))
