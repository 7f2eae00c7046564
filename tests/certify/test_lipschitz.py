"""Bounds of whole networks: each rule against Jacobians, networks against what they do, and what has no bound is named."""

import copy
import math

import mpmath
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from faltung import nn as fnn
from faltung.certify import lipschitz, radius
from faltung.certify.slopes import FIXED, GELU
from faltung.errors import ArgumentError, DtypeError


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function, *parts):
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, x):
        return self.function(x, *self.parts)


def jacobian_norm(model, x):
    """The norm of the derivative at x, batch of one."""
    model = model.double().eval()
    jacobian = torch.func.jacrev(lambda v: model(v).flatten())(x.double()).detach()
    return float(torch.linalg.matrix_norm(jacobian.reshape(jacobian.shape[0], -1), 2))


LINEAR = {
    "conv": (lambda: nn.Conv2d(2, 3, 3, padding=1), (2, 5, 6)),
    "strided": (lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1, groups=1, dilation=2), (2, 7, 6)),
    "grouped": (lambda: nn.Conv1d(4, 6, 3, groups=2), (4, 9)),
    "circular": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 5, 6)),
    "volume": (lambda: nn.Conv3d(1, 2, 2), (1, 3, 4, 3)),
    "transposed": (lambda: nn.ConvTranspose2d(2, 3, 2, stride=2), (2, 3, 3)),
    "ours": (lambda: fnn.Conv2d(4, 6, 3, padding=1, groups=2), (4, 4, 5)),
    "ours-transposed": (lambda: fnn.ConvTranspose2d(4, 6, 3, stride=3, groups=2), (4, 3, 3)),
    "linear": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), (2, 6)),
    "average": (lambda: nn.AvgPool2d(3, 2, 1), (2, 7, 8)),
    "average-of-what-is-there": (
        lambda: nn.AvgPool2d((3, 2), (2, 1), 1, count_include_pad=False, ceil_mode=True),
        (2, 7, 8),
    ),
    "adaptive-average": (lambda: nn.AdaptiveAvgPool2d((3, 2)), (2, 7, 5)),
    "mean": (lambda: Call(lambda x: x.mean((2, 3))), (2, 4, 5)),
    "total": (lambda: Call(lambda x: x.sum(-1)), (2, 4)),
    "reflect": (lambda: nn.ReflectionPad2d(2), (2, 4, 5)),
    "replicate": (lambda: nn.ReplicationPad2d((2, 1, 0, 3)), (2, 4, 5)),
    "nearest": (lambda: nn.Upsample(scale_factor=2), (2, 3, 4)),
    "bilinear": (lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), (2, 3, 4)),
    "shuffle": (lambda: nn.PixelShuffle(2), (4, 3, 3)),
    "expand": (lambda: Call(lambda x: x.unsqueeze(1).expand(1, 3, 4)), (4,)),
    "scaled": (lambda: Call(lambda x: 3 * x - 1), (4,)),
    "divided": (lambda: Call(lambda x: (1 - x) / 4), (4,)),
    "both": (lambda: Call(lambda x: torch.cat([x, 2 * x], 1)), (2, 3)),
    "twice": (lambda: Call(lambda x: x + x), (2, 3)),
    "weighted-sum": (lambda: Call(lambda x: torch.add(x, x, alpha=-0.0) + torch.add(x, x, alpha=3.0)), (2, 3)),
    "normalised": (
        lambda: nn.Sequential(nn.Conv1d(2, 3, 3, padding=1, padding_mode="circular"), nn.BatchNorm1d(3)),
        (2, 6),
    ),
    "weight-norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 3, 3)), (2, 40)),
}
LOOSE = {"reflect", "replicate", "volume", "grouped", "conv", "strided", "ours", "weighted-sum", "transposed"}


def settled(model):
    """Statistics and weights that are not those of a fresh layer."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.running_var, 0.2, 2)
            nn.init.uniform_(module.weight, -2, 2)
    return model


@pytest.mark.parametrize("name", LINEAR)
def test_linear_steps_have_the_norm_of_their_matrix(name):
    torch.manual_seed(0)
    make, shape = LINEAR[name]
    model = settled(make())
    bound = float(lipschitz(model, torch.zeros(1, *shape)))
    exact = jacobian_norm(model, torch.randn(1, *shape))
    assert exact <= bound * (1 + 1e-12)
    assert bound <= exact * (2.1 if name in LOOSE else 1.0101)


OTHERS = {
    "max": (lambda: nn.MaxPool2d(2), (2, 6, 6), 1.0),
    "max-overlapping": (lambda: nn.MaxPool2d(3, 2, 1), (2, 6, 6), 2.0),
    "adaptive-max": (lambda: nn.AdaptiveMaxPool1d(3), (2, 7), math.sqrt(2)),
    "softmax": (lambda: nn.Softmax(-1), (5,), 0.5),
    "log-softmax": (lambda: nn.LogSoftmax(-1), (5,), math.sqrt(5)),
    "layer-norm": (lambda: nn.LayerNorm(6, eps=0.25), (6,), 2.0),
    "group-norm": (lambda: nn.GroupNorm(2, 4, eps=0.25), (4, 3), 2.0),
    "larger": (lambda: Call(lambda x: torch.maximum(x, 2 * x)), (4,), math.sqrt(5)),
    "prelu": (lambda: nn.PReLU(init=1.5), (2, 4), 1.5),
    "leaky": (lambda: nn.LeakyReLU(0.3), (4,), 1.0),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_steps_stay_below_their_factor(name):
    make, shape, value = OTHERS[name]
    torch.manual_seed(0)
    model = make()
    bound = float(lipschitz(model, torch.zeros(1, *shape)))
    assert math.isclose(bound, value, rel_tol=1e-9)
    points = [scale * torch.randn(1, *shape) for scale in (1e-3, 0.1, 1, 5) for _ in range(5)]
    assert max(jacobian_norm(model, x) for x in points) <= bound


def test_slopes_are_the_largest_derivatives():
    known = {
        "sigmoid": 0.25, "gelu": 1.128904, "silu": 1.099839, "mish": 1.088498, "hardswish": 1.5, "selu": 1.758099, "relu": 1,
        "tanh": 1, "elu": 1, "leaky_relu": 1,
    }  # fmt: skip
    line = torch.linspace(-12, 12, 2_000_001, dtype=torch.float64, requires_grad=True)
    for name, value in known.items():
        found = float(lipschitz(Call(getattr(F, name)), torch.zeros(1, 3)))
        assert abs(found - value) < 1e-6
        (steep,) = torch.autograd.grad(getattr(F, name)(line).sum(), line)
        assert float(steep.abs().max()) <= found * (1 + 1e-14)
        assert found <= float(steep.abs().max()) * (1 + 1e-6)
    approximate = float(lipschitz(nn.GELU("tanh"), torch.zeros(1, 3)))
    assert abs(approximate - 1.128993) < 1e-6
    (steep,) = torch.autograd.grad(F.gelu(line, approximate="tanh").sum(), line)
    assert float(steep.max()) <= approximate


def test_rounded_slopes_are_rounded_up():
    mpmath.mp.dps = 30

    def largest(function, near):
        return mpmath.diff(function, mpmath.findroot(lambda t: mpmath.diff(function, t, 2), near))

    root = mpmath.sqrt(2 / mpmath.pi)
    exact = {
        GELU["none"]: largest(lambda x: x * mpmath.ncdf(x), 1.4),
        GELU["tanh"]: largest(lambda x: x / 2 * (1 + mpmath.tanh(root * (x + mpmath.mpf("0.044715") * x**3))), 1.4),
        FIXED["silu"]: largest(lambda x: x / (1 + mpmath.exp(-x)), 2.4),
        FIXED["mish"]: largest(lambda x: x * mpmath.tanh(mpmath.log(1 + mpmath.exp(x))), 1.5),
        FIXED["erf"]: 2 / mpmath.sqrt(mpmath.pi),
    }
    for ours, value in exact.items():
        assert value <= ours <= value * (1 + 1e-9)


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.a, self.b = nn.Conv2d(channels, channels, 3, padding=1), fnn.Conv2d(channels, channels, 3, padding=1)
        self.n, self.m = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, x):
        return F.relu(x + self.m(self.b(F.relu(self.n(self.a(x)), inplace=True))), inplace=True)


def network():
    torch.manual_seed(1)
    return settled(
        nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect"), Block(4), nn.MaxPool2d(2), Block(4), nn.Dropout(), nn.Flatten(),
            nn.Linear(64, 3),
        )
    )  # fmt: skip


def test_a_network_never_moves_further_than_its_bound_and_stays_as_it_was():
    model = network().train()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    bound = lipschitz(model, torch.randn(2, 1, 8, 8))
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())
    assert not bound.unknown
    torch.set_rng_state(state)
    points = [torch.randn(1, 1, 8, 8) for _ in range(8)]
    assert max(jacobian_norm(model, x) for x in points) <= float(bound)
    assert "Lipschitz constant at most" in str(bound)
    assert "inputs 1 x 8 x 8" in str(bound)


def test_folding_is_tighter_than_the_product_of_the_norms():
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
    settled(nn.Sequential(norm))
    together = float(lipschitz(nn.Sequential(conv, norm), torch.zeros(1, 3, 8, 8)))
    apart = float(lipschitz(conv, torch.zeros(1, 3, 8, 8))) * float(lipschitz(norm, torch.zeros(1, 8, 8, 8)))
    assert together < apart


def test_residual_sums_add_one():
    torch.manual_seed(0)
    conv = nn.Conv1d(2, 2, 3, padding=1)
    inner = float(lipschitz(conv, torch.zeros(1, 2, 9)))
    assert math.isclose(
        float(lipschitz(Call(lambda x, c: x + c(x), conv), torch.zeros(1, 2, 9))), 1 + inner, rel_tol=1e-9
    )


UNBOUNDED = {
    "attention": Call(lambda x: F.scaled_dot_product_attention(x, x, x)),
    "product": Call(lambda x: x * x.sigmoid()),
    "step": Call(lambda x: x.sign()),
    "rounding": Call(lambda x: x.to(torch.int64).float()),
    "mask": Call(lambda x: torch.where(x > 0, x, -1.0)),
    "noise": Call(lambda x: F.dropout(x, 0.5, training=True)),
    "own statistics": nn.BatchNorm1d(3, track_running_stats=False),
}


@pytest.mark.parametrize("name", UNBOUNDED)
def test_what_has_no_bound_is_named(name):
    bound = lipschitz(UNBOUNDED[name], torch.randn(1, 3, 4))
    assert math.isinf(float(bound))
    assert bound.unknown
    assert "no rule for" in str(bound)


def test_the_operator_is_named():
    assert "scaled_dot_product_attention" in lipschitz(UNBOUNDED["attention"], torch.randn(1, 3, 4)).unknown[0]


def test_changes_in_place_count_for_later_uses():
    def tripled(x):
        y = x + 0.0
        y.mul_(3)
        return y

    assert math.isclose(float(lipschitz(Call(tripled), torch.zeros(1, 3))), 3, rel_tol=1e-9)

    def behind_a_view(x):
        y = x + 0.0
        y.view(3).mul_(3)
        return y

    with pytest.raises(ArgumentError, match="in place"):
        lipschitz(Call(behind_a_view), torch.zeros(1, 3))


def test_radius_keeps_its_promise():
    model = network().eval()
    x = torch.randn(6, 1, 8, 8)
    classes = model(x).argmax(1)
    radii = radius(model, x)
    assert (radii > 0).all()
    for _ in range(40):
        away = torch.randn_like(x)
        away = away / away.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1) * radii.reshape(-1, 1, 1, 1)
        assert torch.equal(model(x + 0.999 * away).argmax(1), classes)
    assert torch.equal(radius(model, x, labels=(classes + 1) % 3), torch.zeros(6))


def test_radius_of_a_linear_model_is_the_distance_to_the_border():
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    x = torch.randn(5, 4)
    z, w = model(x), model.weight
    y = z.argmax(1)
    exact = [
        min(float((z[i, y[i]] - z[i, j]) / (w[y[i]] - w[j]).norm()) for j in range(3) if j != y[i]) for i in range(5)
    ]
    assert torch.allclose(radius(model, x), torch.tensor(exact), rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "kind", "word"),
    [
        (lambda: lipschitz(nn.Linear(2, 2), [1.0]), DtypeError, "a tensor of real numbers"),
        (lambda: lipschitz(nn.Linear(2, 2), torch.zeros(1, 2, dtype=torch.int64)), DtypeError, "int64"),
        (lambda: lipschitz(Call(lambda x: x if x.sum() > 0 else -x), torch.zeros(1, 2)), ArgumentError, "torch.export"),
        (lambda: lipschitz(Call(lambda x: (x, x)), torch.zeros(1, 2)), ArgumentError, "one tensor"),
        (lambda: radius(nn.Flatten(0), torch.zeros(2, 2)), ArgumentError, "logits"),
    ],
)
def test_wrong_calls_are_refused(call, kind, word):
    with pytest.raises(kind, match=word):
        call()
