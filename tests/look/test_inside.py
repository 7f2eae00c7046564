"""Looks at what a network does with one input: its linear map, its maps of evidence, ranges, and distances of features."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from torch import nn

from faltung import look
from faltung.errors import ArgumentError


def net(ndim=2, bias=True, act=nn.ReLU):
    torch.manual_seed(ndim)
    conv, pool, mean = (getattr(nn, f"{n}{ndim}d") for n in ("Conv", "MaxPool", "AdaptiveAvgPool"))
    norm = getattr(nn, f"BatchNorm{ndim}d")(4) if bias else nn.Identity()
    head = nn.Linear(6, 3, bias=bias)
    return nn.Sequential(
        conv(2, 4, 3, padding=1, bias=bias), norm, act(), pool(2), conv(4, 6, 3, bias=bias), act(), mean(1), nn.Flatten(), head
    ).eval()  # fmt: skip


def signal(ndim=2, batch=1):
    return torch.randn(batch, 2, *(10,) * ndim, generator=torch.Generator().manual_seed(1))


class Rectifier(nn.ReLU):
    def __init__(self):
        super().__init__(inplace=True)


@pytest.mark.parametrize("mode", ["tangent", "secant"])
@pytest.mark.parametrize("act", [Rectifier, nn.Tanh, nn.Sigmoid, nn.GELU])
@pytest.mark.parametrize("ndim", [1, 2])
def test_the_laws_of_a_linear_map(ndim, act, mode):
    model, x = net(ndim, act=act).double(), signal(ndim).double()
    a = look.linearize(model, x, mode)
    torch.testing.assert_close(a.y, model(x))
    torch.testing.assert_close(a.matvec(x) + a.residual, a.y)
    u, v = torch.randn_like(x), torch.randn_like(a.y)
    w = torch.randn_like(x)
    torch.testing.assert_close(a.matvec(2 * u - w), 2 * a.matvec(u) - a.matvec(w))
    torch.testing.assert_close((a.matvec(u) * v).sum(), (u * a.rmatvec(v)).sum())
    torch.testing.assert_close(a.row(1)[0, 0].flatten()[5], a.column(5)[0, 1])
    if mode == "tangent":
        torch.testing.assert_close(a.row(2), torch.func.jacrev(lambda z: model(z)[0, 2])(x))


def test_secant_and_tangent_of_rectifiers_are_the_same():
    model, x = net(act=Rectifier).double(), signal().double()
    one, two = look.linearize(model, x), look.linearize(model, x, "secant")
    u = torch.randn_like(x)
    torch.testing.assert_close(one.matvec(u), two.matvec(u))
    torch.testing.assert_close(one.residual, two.residual)
    assert torch.equal(two.y, model(x).detach())


def test_without_biases_there_is_no_residual():
    model, x = net(bias=False).double(), signal().double()
    for mode in ("tangent", "secant"):
        a = look.linearize(model, x, mode)
        assert a.residual.abs().max() < 1e-12
        assert a.contribution().max() < 1e-9
    shares = look.linearize(net().double(), x).contribution()
    assert ((shares >= 0) & (shares <= 1)).all()
    assert shares.max() > 0.01


def test_of_a_linear_network_it_is_the_convolution():
    layer = nn.Conv1d(1, 1, 3, padding=1, bias=False).double()
    a = look.linearize(layer, torch.zeros(1, 1, 9, dtype=torch.float64), "secant")
    column = a.column(4).flatten()
    torch.testing.assert_close(column[3:6], layer.weight.detach().flatten().flip(0))
    dense = torch.stack([a.column(i).flatten() for i in range(9)], 1)
    left, values, right = a.svd(3)
    torch.testing.assert_close(values, torch.linalg.svdvals(dense)[:3])
    torch.testing.assert_close(a.matvec(right[0]), values[0] * left[0])


NORMALISED = {
    "instance": lambda: nn.InstanceNorm1d(4, affine=True),
    "layer": lambda: nn.LayerNorm([4, 10]),
    "group": lambda: nn.GroupNorm(2, 4),
    "batch": lambda: nn.BatchNorm1d(4, track_running_stats=False),
    "rms": lambda: nn.RMSNorm(10),
    "stored": lambda: nn.InstanceNorm1d(4, affine=True, track_running_stats=True),
}


@pytest.mark.parametrize("kind", NORMALISED)
@pytest.mark.parametrize("inplace", [False, True])
def test_a_secant_holds_the_mean_and_variance_of_its_input(kind, inplace):
    torch.manual_seed(0)
    norm = NORMALISED[kind]()
    for part in norm.parameters():
        nn.init.uniform_(part, 0.5, 2)
    for part in norm.buffers():
        part.data = part.data + 0.5 if part.is_floating_point() else part
    model = nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), norm, nn.ReLU(inplace), nn.Conv1d(4, 3, 3)).double().eval()
    x = 3 * torch.randn(2, 2, 10).double() + 1
    a = look.linearize(model, x, "secant")
    assert torch.equal(a.y, model(x).detach())
    torch.testing.assert_close(a.matvec(x) + a.residual, a.y)
    u, w = torch.randn_like(x), torch.randn_like(x)
    v = torch.randn_like(a.y)
    torch.testing.assert_close(a.matvec(2 * u - w), 2 * a.matvec(u) - a.matvec(w))
    torch.testing.assert_close((a.matvec(u) * v).sum(), (u * a.rmatvec(v)).sum())
    # the definition: the norm's own formula with numbers that u has no part in
    z, before = model[0](x), model[0](u)
    if kind == "batch":
        mean, spread = z.mean((0, 2), keepdim=True), z.var((0, 2), correction=0, keepdim=True)
    elif kind == "group":
        own = z.reshape(2, 2, -1)
        pair = own.mean(2, True), own.var(2, correction=0, keepdim=True)
        mean, spread = (part.repeat_interleave(2, 1) for part in pair)
    elif kind == "rms":
        mean, spread = 0.0, z.square().mean(-1, keepdim=True)
    elif kind == "stored":
        mean, spread = norm.running_mean[:, None], norm.running_var[:, None]
    else:
        axes = (1, 2) if kind == "layer" else 2
        mean, spread = z.mean(axes, keepdim=True), z.var(axes, correction=0, keepdim=True)
    weight, bias = norm.weight, getattr(norm, "bias", None)
    if weight.ndim == 1 and kind != "rms":
        weight, bias = weight[:, None], bias[:, None]
    normed = (before - mean) / (spread + (norm.eps or 2.0**-52)) ** 0.5 * weight + (0 if bias is None else bias)
    wanted = model[3](normed * (norm(z) > 0))
    torch.testing.assert_close(a.matvec(u) + a.residual, wanted)
    # and no tangent: that of a norm knows how its statistics move
    moving = look.linearize(model, x).matvec(u)
    assert torch.allclose(moving, a.matvec(u)) == (kind == "stored")


def test_what_has_no_secant_is_said():
    class Gate(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(x)

    x = torch.randn(1, 2, 5)
    assert look.linearize(Gate(), x).matvec(x).shape == x.shape
    for model in (Gate(), nn.Softmax(-1)):
        with pytest.raises(ArgumentError, match="tangent"):
            look.linearize(model, x, "secant")
    with pytest.raises(ArgumentError, match="choose one"):
        look.linearize(Gate(), x, "chord")


def test_the_toy_of_grad_cam_plus_plus():
    a = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[None, None]
    assert look.cam_weights(a, torch.full_like(a, 0.5)).item() == pytest.approx(2 / 7)
    assert look.cam_weights(a, torch.zeros_like(a)).item() == 0


class Head(nn.Module):
    """Features, their mean, a linear map."""

    def __init__(self, ndim, shift=0.0):
        super().__init__()
        torch.manual_seed(0)
        conv = getattr(nn, f"Conv{ndim}d")
        self.conv, self.act, self.fc, self.shift = (
            conv(2, 5, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Linear(5, 3),
            shift,
        )

    def forward(self, x):
        return self.fc(self.act(self.conv(x)).flatten(2).mean(2)) + self.shift


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_grad_cam_of_means_is_the_map_of_class_weights(ndim):
    model, x = Head(ndim), signal(ndim, 3)
    made = look.cam(model, x, target=1, layer="act", method="gradcam")
    assert made.shape == (3, *x.shape[2:])
    maps = torch.relu(model.conv(x))
    wanted = torch.einsum("bc...,c->b...", maps, model.fc.weight[1]).clamp(min=0).detach()
    low, high = (f(wanted.flatten(1), 1).reshape(-1, *(1,) * ndim) for f in (torch.amin, torch.amax))
    torch.testing.assert_close(made, (wanted - low) / (high - low), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", ["gradcam++", "gradcam", "layercam", "hires"])
def test_maps_of_evidence(method):
    model, x = net(), signal(2, 3)
    made = look.cam(model, x, method=method)
    assert made.shape == (3, 10, 10)
    assert made.min() >= 0
    assert made.max() <= 1
    for sample in range(3):
        torch.testing.assert_close(
            look.cam(model, x[sample : sample + 1], method=method)[0], made[sample], atol=1e-5, rtol=1e-4
        )
    torch.testing.assert_close(
        look.cam(Head(2, 5.0), x, 1, method=method), look.cam(Head(2), x, 1, method=method), atol=1e-5, rtol=1e-5
    )
    small = look.cam(model, x, [0, 1, 2], layer="4", method=method, resize=False)
    assert small.shape == (3, 3, 3)


def test_one_map_with_a_constant_gradient_is_the_map():
    class One(nn.Module):
        def forward(self, x):
            return (x * 1).flatten(1).sum(1, keepdim=True)

    x = torch.rand(1, 1, 4, 4)
    torch.testing.assert_close(look.cam(One(), x, 0, layer="mul"), (x[0] - x.min()) / (x.max() - x.min()))


def test_a_map_that_says_nothing_is_neutral():
    """All places are worth the same to the model and to the map: taking away and putting in are mirror images."""

    class Mean(nn.Module):
        def forward(self, x):
            seen = x.flatten(1).mean(1)
            return torch.stack([3 * seen, 3 * (1 - seen)], 1)

    x = torch.ones(2, 1, 8, 8)
    heat = torch.ones(2, 8, 8)
    away = look.faithfulness(Mean(), x, heat, "deletion", target=0, steps=32)
    torch.testing.assert_close(away, torch.full_like(away, 0.5), atol=1e-3, rtol=0)
    mixed = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        look.faithfulness(Mean(), x, mixed, "deletion", target=0, steps=32), away, atol=1e-5, rtol=0
    )


def test_maps_keep_no_memory():
    import gc

    model, x = Head(2), signal(2, 2)

    def held():
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    look.cam(model, x)
    before = held()
    for _ in range(25):
        look.cam(model, x)
    assert held() <= before
    assert all(p.grad is None for p in model.parameters())


def test_maps_of_compiled_models_and_wrong_calls():
    import warnings

    model, x = net(), signal()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(model)
    assert torch.equal(look.cam(compiled, x), look.cam(model, x))
    with pytest.raises(ArgumentError, match="spatial result"):
        look.cam(model, x, layer="8")
    with pytest.raises(ArgumentError, match="classes"):
        look.cam(nn.Conv1d(2, 2, 3), signal(1))
    with pytest.raises(ArgumentError, match="layercam"):
        look.cam(model, x, method="eigen")


@pytest.mark.parametrize("ndim", [1, 2])
@pytest.mark.parametrize("metric", ["deletion", "insertion", "road"])
def test_good_maps_are_more_faithful_than_bad_ones(ndim, metric):
    class Corner(nn.Module):
        """Only the first places decide."""

        def forward(self, x):
            seen = x[(slice(None), slice(None), *(slice(0, 4),) * ndim)].flatten(1).mean(1)
            return torch.stack([4 * seen, -4 * seen], 1)

    x = 1 + 0.1 * torch.rand(2, 1, *(12,) * ndim)
    x[(slice(None), slice(None), *(slice(4, None),) * ndim)] *= -1
    heat = torch.zeros(2, *(12,) * ndim)
    heat[(slice(None), *(slice(0, 4),) * ndim)] = 1
    good, bad = (look.faithfulness(Corner(), x, h, metric, target=0) for h in (heat, -heat))
    assert good.shape == (2,)
    assert ((good > bad) if metric == "insertion" else (good < bad)).all()


def test_faithfulness_asks_for_fitting_maps():
    with pytest.raises(ArgumentError, match="resize"):
        look.faithfulness(Head(2), signal(), torch.zeros(1, 3, 3))
    with pytest.raises(ArgumentError, match="road"):
        look.faithfulness(Head(2), signal(), torch.zeros(1, 10, 10), "erase")


def test_filling_in_is_harmonic():
    from faltung.look.attribution import _imputed

    x = torch.arange(20.0).reshape(1, 1, 20)
    gone = torch.zeros(1, 20, dtype=torch.bool)
    gone[0, 5:9] = True
    torch.testing.assert_close(_imputed(x, gone, 0), x, atol=0.1, rtol=0)
    assert torch.equal(_imputed(x, gone & False, 0), x)


# -- distances ----------------------------------------------------------------------------------------------------------


def drawn(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


def by_root(a, b):
    covs = [np.cov(x, rowvar=False) for x in (a, b)]
    root = sqrtm(covs[0] @ covs[1]).real
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covs[0] + covs[1] - 2 * root)


def test_the_distance_is_that_of_the_formula():
    a, b = drawn(200, 12), drawn(300, 12, 1) * np.linspace(0.5, 2, 12) + 0.3
    assert look.frechet(a, b) == pytest.approx(by_root(a, b), rel=1e-9)
    assert look.frechet(a, b) == pytest.approx(look.frechet(b, a), rel=1e-10)
    assert look.frechet(a + 7, b + 7) == pytest.approx(look.frechet(a, b), rel=1e-9)
    assert look.frechet(a, a) < 1e-10
    c = np.cov(drawn(99, 6), rowvar=False)
    assert look.frechet_of_moments(np.zeros(6), c, np.zeros(6), 4 * c) == pytest.approx(np.trace(c), rel=1e-10)


@settings(max_examples=20)
@given(st.integers(2, 12), st.integers(2, 12), st.integers(1, 20), st.integers(0, 99))
def test_few_samples_give_the_same_either_way(n, m, d, seed):
    a, b = drawn(n, d, seed), drawn(m, d, seed + 1)
    sums = [look.FrechetAccumulator(d).add(x[:1]).add(x[1:]) for x in (a, b)]
    found = look.frechet(a, b)
    assert np.isfinite(found)
    assert found == pytest.approx(look.frechet(*sums), rel=1e-6, abs=1e-8)
    np.testing.assert_allclose(sums[0].mean, a.mean(0), atol=1e-12)
    np.testing.assert_allclose(sums[0].covariance, np.cov(a, rowvar=False).reshape(d, d), atol=1e-8)


def test_kernel_distance_sees_what_means_hide():
    same = [look.kernel_distance(drawn(200, 4, s), drawn(200, 4, s + 50)) for s in range(8)]
    assert abs(np.mean(same)) < 0.03
    assert look.kernel_distance(drawn(200, 4), drawn(200, 4, 1) + 1) > 0.5


def test_wrong_features_are_refused():
    for a in (np.zeros((1, 3)), np.zeros(3), np.full((4, 3), np.nan)):
        with pytest.raises(ArgumentError, match="finite features"):
            look.frechet(a, drawn(4, 3))
    with pytest.raises(ArgumentError, match="one network"):
        look.frechet(drawn(4, 3), drawn(4, 2))
    with pytest.raises(ArgumentError, match="features"):
        look.FrechetAccumulator(3).add(drawn(4, 2))


# -- ranges -------------------------------------------------------------------------------------------------------------


def test_ranges_of_weights_and_values():
    model = nn.Sequential(nn.Conv1d(1, 3, 1, bias=False), nn.ReLU(inplace=True))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, -100.0, 0.0]).reshape(3, 1, 1))
    conv, relu = look.ranges(model, torch.tensor([[[1.0, -1000.0, 1e-7]]])).layers
    assert (conv.weight, conv.unequal) == (100, 100)
    assert conv.value == 1e5
    assert conv.margin == pytest.approx(0.65504)
    assert conv.margin_bfloat * conv.value == pytest.approx(torch.finfo(torch.bfloat16).max, rel=1e-12)
    assert conv.value_unequal == 100
    assert relu.broken == 0
    broken = look.ranges(model, torch.tensor([[[float("inf"), float("nan"), 1.0]]])).layers[0]
    assert broken.broken > 0
    only = look.ranges(model).layers[0]
    assert only.value is None
    assert only.weight == 100
    assert "half margin" in look.ranges(model).table()


def test_eight_bits_of_one_scale_lose_more():
    w = drawn(8, 27) * np.logspace(-3, 0, 8)[:, None]
    each, whole = look.quantisation_sqnr(w), look.quantisation_sqnr(w, per_channel=False)
    assert 35 < each < 55
    noise = look.quantisation_sqnr(w[:1]) - look.quantisation_sqnr(w[:1], bits=7)
    assert each >= whole - 0.5
    assert 3 < noise < 9  # six decibels a bit
    assert np.isnan(look.quantisation_sqnr(np.zeros((2, 2))))
