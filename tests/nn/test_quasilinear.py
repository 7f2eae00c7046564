"""Networks of products: degree, spheres, parameters, and a continuous group that moves weights and leaves the function."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from faltung import nn
from faltung.errors import ArgumentError, DtypeError
from faltung.nn.polynomial import quasilinear_network
from faltung.nn.polynomial.quasilinear import folded
from faltung.tools import streams, transform_weights

DOUBLE = torch.float64


@torch.no_grad()
def trained(model, shape, seed=0):
    """The model with stirred weights and running statistics of some data, in evaluation mode."""
    torch.manual_seed(seed)
    for p in model.parameters():
        p.add_(torch.randn_like(p), alpha=0.05)
    dtype = next(model.parameters()).dtype
    for _ in range(30):
        model.train()(torch.randn(8, *shape, dtype=dtype))
    return model.eval()


def turned(n, dtype=DOUBLE, seed=0):
    return torch.linalg.qr(torch.randn(n, n, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))).Q.to(dtype)


def sheared(n, seed=0):
    return turned(n, seed=seed) @ torch.diag(torch.linspace(0.5, 2, n, dtype=DOUBLE)) @ turned(n, seed=seed + 1)


@pytest.mark.parametrize(("dtype", "off"), [(torch.float32, 1e-4), (DOUBLE, 1e-10)])
def test_orthogonal_maps_of_all_streams_leave_the_scores(dtype, off):
    model = trained(quasilinear_network(2, 7, (8, 12), (2, 2), patch=2).to(dtype), (2, 12, 12))
    found = streams(model)
    assert [(s.channels, s.group, s.writer, s.reader) for s in found] == [(8, "O", "0", "5"), (12, "O", "5", "10")]
    moved = transform_weights(model, {k: turned(s.channels, dtype, k) for k, s in enumerate(found)})
    x = torch.randn(4, 2, 12, 12, dtype=dtype)
    with torch.no_grad():
        before, after = model(x), moved(x)
        assert (before - after).abs().max() <= off
        assert torch.equal(before.argmax(1), after.argmax(1))
        inner, other = model[:3](x), moved[:3](x)
    assert not torch.allclose(inner, other, atol=0.1)  # features did turn
    assert torch.allclose(torch.einsum("ij,bjhw->bihw", turned(8, dtype, 0), inner), other, atol=max(off, 1e-9) * 100)


def chain():
    """Stages without spheres, a strided block between them, a linear head with two modules nested."""
    stage = torch.nn.Sequential(nn.QuasilinearBlock(2, 6, 2), torch.nn.Identity(), nn.QuasilinearBlock(2, 6, 1))
    return torch.nn.Sequential(
        torch.nn.Conv2d(2, 6, 3, padding=1), torch.nn.BatchNorm2d(6), stage, nn.QuasilinearBlock(2, 6, 1, 5, 2),
        nn.QuasilinearBlock(2, 5, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(5, 4),
    )  # fmt: skip


def test_any_invertible_map_within_a_stage_leaves_the_scores():
    model = trained(chain().to(DOUBLE), (2, 8, 8))
    kept = copy.deepcopy(model.state_dict())
    assert [(s.group, s.inside) for s in streams(model)] == [("GL", ("2.0", "2.2")), ("GL", ("4",))]
    x = torch.randn(3, 2, 8, 8, dtype=DOUBLE)
    wanted = model(x)
    for q in ({0: sheared(6)}, {1: sheared(5)}, {0: sheared(6), 1: sheared(5, 7)}):
        moved = transform_weights(model, q)
        assert torch.allclose(moved(x), wanted, rtol=0, atol=1e-10)
        again = transform_weights(moved, {k: torch.linalg.inv(m) for k, m in q.items()})
        assert torch.allclose(again(x), wanted, rtol=0, atol=1e-10)
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())
    wrong = transform_weights(model, {0: sheared(6)})
    with torch.no_grad():
        wrong[2][0].last.weight.mul_(1.01)
    assert not torch.allclose(wrong(x), wanted, atol=1e-6)


def test_activations_and_shared_weights_end_a_stream():
    block = nn.QuasilinearBlock2d(4, 1)
    with_relu = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 1), torch.nn.ReLU(), block, torch.nn.Conv2d(4, 2, 1))
    assert streams(with_relu) == ()
    twice = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 1), block, torch.nn.Conv2d(4, 4, 1), block, torch.nn.Conv2d(4, 2, 1)
    )
    assert streams(twice) == ()
    grouped = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 1), block, torch.nn.Conv2d(4, 4, 1, groups=2))
    assert streams(grouped) == ()
    places = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 1), block, torch.nn.Flatten(), torch.nn.Linear(16, 2))
    assert streams(places) == ()


def test_the_branch_is_homogeneous_of_degree_two():
    """With norms folded and their shifts zero; with shifts it is not."""
    block = trained(nn.QuasilinearBlock2d(3, 2, dtype=DOUBLE), (3, 6, 6))
    x = torch.randn(2, 3, 6, 6, dtype=DOUBLE)
    plain = block.fold()
    assert torch.allclose(plain(x), block(x), atol=1e-12)
    assert not torch.allclose(plain.branch(3 * x), 9 * plain.branch(x), rtol=1e-3)
    with torch.no_grad():
        for conv in (plain.first, plain.mix, plain.last):
            conv.bias.zero_()
    assert torch.allclose(plain.branch(3 * x), 9 * plain.branch(x), rtol=1e-10)
    assert torch.allclose(plain.branch(-x), plain.branch(x), rtol=1e-12)


def test_folding_a_norm_without_learnt_numbers():
    norm = torch.nn.BatchNorm1d(3, affine=False, dtype=DOUBLE)
    norm(torch.randn(20, 3, dtype=DOUBLE) * 2 + 1)
    weight, x = torch.randn(3, 2, dtype=DOUBLE), torch.randn(5, 2, dtype=DOUBLE)
    made, bias = folded(weight, None, norm.eval())
    assert torch.allclose(F.linear(x, made, bias), norm(x @ weight.T), atol=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_spheres_have_their_radius(scale):
    x = torch.randn(2, 7, 4, 5, generator=torch.Generator().manual_seed(0)) * scale
    y = nn.ChannelSphere()(x)
    assert torch.allclose(y.norm(dim=1), torch.full((2, 4, 5), math.sqrt(7)), rtol=1e-6)
    assert torch.allclose(nn.ChannelSphere(2.5)(x).norm(dim=1), torch.full((2, 4, 5), 2.5), rtol=1e-6)
    q = turned(7, torch.float32)
    mapped = nn.ChannelSphere()(torch.einsum("ij,bjhw->bihw", q, x))
    assert torch.allclose(mapped, torch.einsum("ij,bjhw->bihw", q, y), atol=1e-5)


def test_a_zero_stays_and_its_derivative_is_finite():
    x = torch.zeros(1, 3, 2, requires_grad=True)
    y = nn.ChannelSphere()(x)
    y.sum().backward()
    assert not y.any()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(("channels", "wide"), [(16, 64), (128, 512), (129, 258), (256, 512)])
def test_the_width_and_the_parameters_follow_the_rule(channels, wide):
    block = nn.QuasilinearBlock2d(channels, device="meta")
    assert block.wide == wide
    convs = 2 * wide * channels + 2 * wide * 9 + 2 * wide * channels
    assert block.parameter_count() == convs + 2 * (2 * wide + 2 * wide + channels)
    assert block.parameter_count() == sum(p.numel() for p in block.parameters())


def test_products_of_halves_do_not_overflow():
    """300² is more than float16 holds; multiplied and filtered as float32 it is normalised before it is narrow again."""
    torch.manual_seed(0)
    block = nn.QuasilinearBlock2d(4, 2)
    with torch.no_grad():
        block.norms["first"].weight.fill_(400.0)
    x = torch.randn(4, 4, 6, 6)
    wanted = block.train()(x)
    with torch.autocast("cpu", dtype=torch.float16):
        got = block(x)
    assert got.isfinite().all()
    assert (got.float() - wanted).norm() < 0.05 * wanted.norm()


def test_the_network_learns():
    torch.manual_seed(0)
    net = quasilinear_network(1, 3, (6, 8), (1, 1), patch=2)
    x, labels = torch.randn(24, 1, 8, 8), torch.arange(24) % 3
    x += labels.reshape(-1, 1, 1, 1) * torch.linspace(-1, 1, 8)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(14):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda m: transform_weights(m, torch.eye(6)), ArgumentError),
        (lambda m: transform_weights(m, {2: torch.eye(6)}), ArgumentError),
        (lambda m: transform_weights(m, {0: torch.eye(5)}), ArgumentError),
        (lambda m: transform_weights(m, {0: torch.zeros(6, 6)}), ArgumentError),
        (lambda m: transform_weights(quasilinear_network(1, 2, (4,), (1,)), 2 * torch.eye(4)), ArgumentError),
        (lambda m: transform_weights(m[0], torch.eye(6)), DtypeError),
        (lambda m: nn.QuasilinearBlock2d(4, kernel_size=2), ArgumentError),
        (lambda m: nn.ChannelSphere(0.0), ArgumentError),
        (lambda m: nn.ChannelSphere()(torch.zeros(3)), ArgumentError),
        (lambda m: quasilinear_network(1, 2, (4,), (1, 2)), ArgumentError),
    ],
)
def test_wrong_calls_are_refused(call, error):
    with pytest.raises(error):
        call(chain())
