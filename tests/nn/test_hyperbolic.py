"""The Poincaré ball and its layers: published values, laws of the geometry, limits, derivatives, what never leaves the ball."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import certify, nn
from faltung.certify.actions import BallMotion
from faltung.errors import ArgumentError
from faltung.nn import hyperbolic as H
from faltung.nn.hyperbolic.planes import by_formula
from faltung.nn.hyperbolic.radial import radial

DOUBLE = torch.float64
CURVATURES = st.sampled_from([1e-8, 0.1, 1.0, 3.0])


def drawn(*shape, seed=0, scale=1.0):
    return torch.randn(shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed)) * scale


def points(*shape, c, seed=0, scale=0.5):
    return H.expmap0(drawn(*shape, seed=seed, scale=scale), c)


def close(a, b, off=1e-10):
    return torch.allclose(a, b, rtol=0, atol=off)


# Published values


def test_half_the_identity_is_the_identity():
    layer = nn.PoincareLinear(3, 3, c=1.0, space="ball", dtype=DOUBLE)
    x = points(10, 3, c=1.0)
    assert close(layer(x), x, 1e-12)
    assert close(by_formula(x, torch.eye(3, dtype=DOUBLE) / 2, torch.zeros(3, dtype=DOUBLE), 1.0), x, 1e-12)
    tangent = nn.PoincareLinear(3, 3, c=1.0, dtype=DOUBLE)
    assert close(tangent(H.logmap0(x, 1.0)), H.logmap0(x, 1.0), 1e-12)


def test_the_midpoint_of_two_known_points():
    pair = torch.tensor([[0.6, 0.0], [0.0, 0.0]], dtype=DOUBLE)
    assert close(H.midpoint(pair, 1.0), torch.tensor([1 / 3, 0], dtype=DOUBLE), 1e-14)


@pytest.mark.parametrize(("channels", "wanted"), [(4, 0.31551), (16, 0.32874)])
def test_ratios_of_beta_functions(channels, wanted):
    assert H.beta_ratio(channels, 9) == pytest.approx(wanted, abs=5e-6)
    assert H.beta_ratio(channels, 1) == pytest.approx(1)


# The geometry


@settings(max_examples=25, deadline=None)
@given(c=CURVATURES, seed=st.integers(0, 1000), scale=st.sampled_from([1e-9, 0.05, 0.2]))
def test_laws_of_the_ball(c, seed, scale):
    x, y, a, v = (points(4, 3, c=c, seed=seed + k, scale=scale) for k in range(4))
    assert close(H.logmap0(H.expmap0(v, c), c), v, 1e-6)
    assert close(H.expmap(x, H.logmap(x, y, c), c), y, 1e-6)
    assert close(H.logmap(x, H.expmap(x, v, c), c), v, 1e-6)
    moved = H.dist(H.mobius_add(a, x, c), H.mobius_add(a, y, c), c)
    assert close(moved, H.dist(x, y, c), 1e-8)
    assert close(H.dist(x, y, c), H.dist(y, x, c), 1e-10)
    assert close(H.dist(x, x, c), torch.zeros(4, dtype=DOUBLE), 1e-7)
    assert close(H.mobius_add(-x, H.mobius_add(x, y, c), c), y, 1e-9)  # left cancellation
    # Gyrations say how far the sum is from associative, keep lengths, and carry tangent vectors.
    left = H.mobius_add(x, H.mobius_add(y, a, c), c)
    assert close(left, H.mobius_add(H.mobius_add(x, y, c), H.gyration(x, y, a, c), c), 1e-9)
    assert close(H.gyration(x, y, a, c).norm(dim=-1), a.norm(dim=-1), 1e-9)
    carried = H.transport(x, y, v, c)
    ratio = H.conformal(y, c) * carried.norm(dim=-1, keepdim=True)
    assert close(ratio, H.conformal(x, c) * v.norm(dim=-1, keepdim=True), 1e-8)
    assert close(H.transport(y, x, carried, c), v, 1e-8)


@settings(max_examples=20, deadline=None)
@given(c=CURVATURES, seed=st.integers(0, 1000))
def test_midpoints_move_with_isometries(c, seed):
    x, a = points(5, 3, c=c, seed=seed), points(3, c=c, seed=seed + 1)
    weights = torch.rand(5, 1, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))
    m = H.midpoint(x, c, weights=weights)
    assert close(H.midpoint(H.mobius_add(a, x, c), c, weights=weights), H.mobius_add(a, m, c), 1e-9)
    assert close(H.midpoint(x[:1], c), x[0], 1e-12)
    assert close(H.midpoint(torch.stack([x[0], -x[0]]), c), torch.zeros(3, dtype=DOUBLE), 1e-12)


def test_curvature_zero_is_euclidean():
    x, y = drawn(4, 3), drawn(4, 3, seed=1)
    assert close(H.expmap0(x, 0.0), x)
    assert close(H.mobius_add(x, y, 0.0), x + y)
    assert close(H.dist(x, y, 0.0), 2 * (x - y).norm(dim=-1))
    assert close(H.midpoint(x, 0.0), x.mean(0))


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_layers_become_euclidean_as_the_curvature_fades(kind):
    """2⟨x, z⟩ − 2‖z‖r to 1e-6 at c = 1e-8, and exactly at c = 0."""
    for c, off in ((1e-8, 1e-6), (0.0, 1e-12)):
        torch.manual_seed(0)
        if kind == "linear":
            layer, x = nn.PoincareLinear(3, 4, c=c, init="normal", dtype=DOUBLE), drawn(5, 3)
        else:
            layer, x = nn.PoincareConv2d(3, 4, 3, padding=1, c=c, init="normal", dtype=DOUBLE), drawn(2, 3, 5, 4)
        with torch.no_grad():
            layer.bias.normal_()
        shift = 2 * layer.weight.flatten(1).norm(dim=1) * layer.bias
        if kind == "linear":
            wanted = 2 * x @ layer.weight.T - shift
        else:
            flat = torch.nn.functional.conv2d(x, layer.weight, padding=1)
            wanted = 2 * layer.ratio * flat - shift.reshape(-1, 1, 1)
        assert close(layer(x), wanted, off * wanted.abs().max().item())


# Derivatives


@pytest.mark.parametrize("name", ["tanh", "artanh", "sinh", "arsinh", "cosh"])
def test_radial_functions_are_right_on_both_sides_of_their_seam(name):
    s = torch.tensor([0.0, 1e-30, 1e-12, 1e-5, 0.0099999, 0.0100001, 0.3, 0.97], dtype=DOUBLE)
    root = s.clamp(min=1e-24).sqrt()
    plain = {"tanh": torch.tanh, "artanh": torch.atanh, "sinh": torch.sinh, "arsinh": torch.asinh, "cosh": torch.cosh}[
        name
    ]
    wanted = plain(root) / (1 if name == "cosh" else root)
    assert torch.allclose(radial(name, s), wanted, rtol=1e-14)
    inside = s[2:].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda t: radial(name, t), (inside,), eps=1e-7, atol=1e-6)
    assert torch.autograd.gradgradcheck(
        lambda t: radial(name, t), (s[-2:].clone().requires_grad_(),), eps=1e-7, atol=1e-5
    )
    at_zero = torch.zeros(1, dtype=DOUBLE, requires_grad=True)
    (slope,) = torch.autograd.grad(radial(name, at_zero).sum(), at_zero)
    third = {"tanh": -1 / 3, "artanh": 1 / 3, "sinh": 1 / 6, "arsinh": -1 / 6, "cosh": 1 / 2}[name]
    assert slope.item() == pytest.approx(third)


@pytest.mark.parametrize("c", [0.0, 0.3])
def test_derivatives_of_the_maps_for_curvature_too(c):
    curvature = torch.tensor(c, dtype=DOUBLE, requires_grad=c > 0)
    x, y = (points(2, 3, c=0.3, seed=k).requires_grad_() for k in (0, 1))
    for function in (
        lambda a, b, k: H.expmap0(a, k), lambda a, b, k: H.logmap0(a, k), H.mobius_add, H.dist, H.expmap, H.logmap,
        lambda a, b, k: H.midpoint(a, k), lambda a, b, k: H.transport(a, b, a * b, k),
    ):  # fmt: skip
        assert torch.autograd.gradcheck(function, (x, y, curvature), atol=1e-6)
    assert torch.autograd.gradgradcheck(H.mobius_add, (x, y, curvature), atol=1e-5)
    zero = torch.zeros(1, 3, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: H.expmap0(a, 0.3), (zero,))
    assert torch.autograd.grad(H.dist(zero, zero, 0.3).sum(), zero)[0].isfinite().all()


def test_sums_broadcast_and_so_do_their_derivatives():
    x, y = points(3, c=0.5).requires_grad_(), points(2, 4, 3, c=0.5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: H.mobius_add(a, b, 0.5), (x, y))


# Layers


def test_identities_keep_lengths():
    """Twenty convolutions of one tap to 1e-4; one of 3 × 3 with its gain to 5 % in the middle of a constant map, c = 0.1."""
    x = drawn(2, 4, 5, 5)
    x = x / x.norm(dim=1, keepdim=True) * torch.rand(2, 1, 5, 5, dtype=DOUBLE)
    y = torch.nn.Sequential(*(nn.PoincareConv2d(4, 4, 1, dtype=DOUBLE) for _ in range(20)))(x)
    assert close(y, x, 1e-4)
    lonely = torch.zeros(6, 4, 3, 3, dtype=DOUBLE)
    lonely[:, :, 1, 1] = x.movedim(1, -1).reshape(-1, 4)[:6]
    kept = nn.PoincareConv2d(4, 4, 3, gain="preserve", dtype=DOUBLE)(lonely)[:, :, 0, 0]
    ratio = kept.norm(dim=1) / lonely[:, :, 1, 1].norm(dim=1)
    assert (ratio - 1).abs().max() < 0.05
    shrunk = nn.PoincareConv2d(4, 4, 3, dtype=DOUBLE)(lonely)[:, :, 0, 0]
    assert ((shrunk.norm(dim=1) / lonely[:, :, 1, 1].norm(dim=1)) - H.beta_ratio(4, 9)).abs().max() < 0.02


def test_the_first_weights_sit_on_the_middle_tap():
    layer = nn.PoincareConv2d(3, 6, 3)
    rest = layer.weight.detach().clone()
    assert rest[:, :, 1, 1].square().sum().item() == pytest.approx(3 / 4)
    rest[:, :, 1, 1] = 0
    assert not rest.any()


def test_a_convolution_of_one_tap_is_the_linear_layer_at_every_pixel():
    torch.manual_seed(0)
    conv = nn.PoincareConv2d(3, 5, 1, init="normal", dtype=DOUBLE)
    linear = nn.PoincareLinear(3, 5, dtype=DOUBLE)
    with torch.no_grad():
        conv.bias.normal_()
        linear.weight.copy_(conv.weight[:, :, 0, 0])
        linear.bias.copy_(conv.bias)
    x = drawn(2, 3, 4, 5)
    assert close(conv(x), linear(x.movedim(1, -1)).movedim(-1, 1), 1e-12)


def test_turned_fibres_and_planes():
    """Features and planes turned together change nothing; outputs turn with nothing."""
    torch.manual_seed(0)
    layer = nn.PoincareConv2d(3, 4, 3, init="normal", dtype=DOUBLE)
    q = torch.linalg.qr(drawn(3, 3)).Q
    x = drawn(2, 3, 5, 5, seed=1)
    before = layer(x)
    with torch.no_grad():
        layer.weight.copy_(torch.einsum("ij,ojhw->oihw", q, layer.weight))
    assert close(layer(torch.einsum("ij,bjhw->bihw", q, x)), before, 1e-12)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_nothing_leaves_the_ball_and_nothing_is_nan(size, dtype):
    torch.manual_seed(0)
    c, rim = 0.1, {torch.float32: 4e-3, DOUBLE: 1e-5}[dtype]
    for module, shape in (
        (nn.PoincareConv2d(3, 4, 3, padding=1, init="normal", gain=30.0, dtype=dtype), (2, 3, 5, 5)),
        (nn.PoincareLinear(3, 4, init="normal", gain=30.0, dtype=dtype), (2, 3)),
        (nn.PoincareBatchNorm2d(3, dtype=dtype), (2, 3, 5, 5)),
        (nn.PoincareBlock2d(3, 5, 2, dtype=dtype), (2, 3, 5, 5)),
        (nn.PoincarePool(), (2, 3, 5, 5)),
    ):
        x = (drawn(*shape, seed=3) * size).to(dtype).requires_grad_()
        y = module.train()(x)
        axis = y.ndim - 1 if isinstance(module, nn.PoincareLinear) else 1
        assert y.isfinite().all()
        assert (math.sqrt(c) * H.expmap0(y, c, axis).norm(dim=axis)).max() <= 1 - rim * 0.99
        # ReLU only shortens; everything else is cut at the rim.
        assert (math.sqrt(c) * y.norm(dim=axis)).max() <= math.atanh(1 - rim) * (1 + 1e-3)
        y.square().sum().backward()
        assert x.grad.isfinite().all()
        assert all(p.grad.isfinite().all() for p in module.parameters())


def test_norms_in_evaluation_do_not_see_the_batch_and_running_values_follow():
    torch.manual_seed(0)
    norm = nn.PoincareBatchNorm2d(3, c=0.2, momentum=0.3, dtype=DOUBLE)
    x = drawn(8, 3, 4, 4, scale=0.4) + torch.tensor([0.5, -0.2, 0.1], dtype=DOUBLE).reshape(3, 1, 1)
    y = norm(x)
    here = H.expmap0(y, 0.2, 1)
    mean = H.midpoint(here, 0.2, (0, 2, 3), 1)
    assert close(mean, torch.zeros(3, dtype=DOUBLE), 1e-2)  # stretching about a midpoint moves it a little
    away = H.dist(here, torch.zeros(1, 3, 1, 1, dtype=DOUBLE), 0.2, 1)
    assert away.square().mean().item() == pytest.approx(1, abs=1e-4)
    for _ in range(60):
        norm(x)
    wanted = H.midpoint(H.expmap0(x, 0.2, 1), 0.2, (0, 2, 3), 1)
    assert close(H.expmap0(norm.running_mean, 0.2), wanted, 1e-8)
    norm.eval()
    assert close(norm(x), y, 1e-6)
    assert close(norm(x[:1]), norm(x)[:1], 1e-14)
    with torch.no_grad():
        norm.bias.copy_(torch.tensor([0.3, 0.1, -0.2]))
        norm.weight.fill_(0.5)
    moved = H.expmap0(norm.train()(x), 0.2, 1)
    there = H.expmap0(norm.bias, 0.2)
    assert close(H.midpoint(moved, 0.2, (0, 2, 3), 1), there, 1e-2)
    spread = H.dist(moved, there.reshape(1, 3, 1, 1), 0.2, 1).square().mean()
    assert spread.item() == pytest.approx(0.25, abs=1e-4)
    with (
        torch.no_grad()
    ):  # by the batch's own deviation nothing is stretched: an isometry takes the midpoint to the learnt one
        own = H.dist(H.expmap0(x, 0.2, 1), wanted.reshape(1, 3, 1, 1), 0.2, 1).square().mean()
        norm.weight.fill_((own + norm.eps).sqrt())
    moved = H.expmap0(norm(x), 0.2, 1)
    assert close(H.midpoint(moved, 0.2, (0, 2, 3), 1), there, 1e-9)


def test_skips_add_over_channels():
    """The reference adds along the last axis; here a map of one column is not special."""
    x, y = drawn(2, 3, 4, 1, scale=0.5), drawn(2, 3, 4, 1, seed=1, scale=0.5)
    got = nn.PoincareAdd(0.3)(x, y)
    for b in range(2):
        for r in range(4):
            pair = (H.expmap0(t[b, :, r, 0], 0.3) for t in (x, y))
            assert close(got[b, :, r, 0], H.logmap0(H.mobius_add(*pair, 0.3), 0.3), 1e-12)


def test_the_network_trains_and_its_sizes_follow_strides():
    torch.manual_seed(0)
    net = H.poincare_resnet(1, 3, 6, (4, 6))
    x, labels = torch.randn(16, 1, 9, 7), torch.arange(16) % 3
    x[:, :, :, :3] += labels.reshape(-1, 1, 1, 1) * 1.0
    optimizer = torch.optim.Adam(net.parameters(), 2e-2)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.65 * losses[0]
    block = nn.PoincareBlock2d(2, 3, 2)
    assert block(torch.zeros(1, 2, 9, 7)).shape == block.shapes((1, 2, 9, 7)) == (1, 3, 5, 4)


def test_certify_knows_motions_of_the_ball():
    """Midpoints move along and distances stay; the mean of tangent vectors does neither."""
    x = drawn(3, 4, 5, scale=0.7)
    assert certify.equivariance(nn.PoincarePool(0.3), BallMotion(0.3), x, count=5).error < 1e-9
    pairs = certify.equivariance(
        lambda t: H.dist(H.expmap0(t[..., :1], 0.1, 1), H.expmap0(t[..., 2:], 0.1, 1), 0.1, 1), "ball", x, count=5
    )
    assert pairs.error < 1e-8
    assert certify.equivariance(lambda t: t.mean(2), "ball", x, count=5).error > 1e-3
    inside = H.expmap0(x, 0.5, 1)
    found = certify.equivariance(lambda p: H.midpoint(p, 0.5, 2, 1), BallMotion(0.5, space="ball"), inside, count=5)
    assert found.error < 1e-9


@pytest.mark.parametrize(
    "call",
    [
        lambda: nn.PoincareConv2d(2, 3, 3, c=-1.0),
        lambda: nn.PoincareConv2d(2, 3, 3, gain=0),
        lambda: nn.PoincareConv2d(2, 3, 3, gain="keep"),
        lambda: nn.PoincareConv2d(2, 3, 3, init="zeros"),
        lambda: nn.PoincareConv2d(3, 4, 3, groups=2),
        lambda: nn.PoincareLinear(2, 3, space="sphere"),
        lambda: nn.PoincareLinear(2, 3)(torch.zeros(4, 3)),
        lambda: nn.PoincareAdd()(torch.zeros(1, 2, 3), torch.zeros(1, 3, 3)),
        lambda: nn.PoincarePool()(torch.zeros(2, 3)),
        lambda: nn.PoincareBatchNorm2d(3, momentum=2.0),
        lambda: H.poincare_resnet(depth=9),
        lambda: H.midpoint(torch.zeros(2, 3), 1.0, over=-1),
        lambda: H.mobius_add(torch.zeros(3, 1), torch.zeros(2, 3, 1), 1.0, 1),
        lambda: BallMotion(0.0),
    ],
)
def test_wrong_calls_are_refused(call):
    with pytest.raises(ArgumentError):
        call()
