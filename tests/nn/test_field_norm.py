"""Activations and norms of fields of space: against e3nn's, under any turn and mirror, on volumes and on points."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import nn
from faltung.errors import ArgumentError
from faltung.nn.symmetry.groups import grid_group
from faltung.nn.symmetry.irreps import irreps
from faltung.nn.symmetry.steerable_space import turn_volume

DOUBLE = torch.float64
FIELDS = "3x0e + 2x1o + 2x0o + 1e + 2e"


def drawn(*shape, seed=0):
    return torch.randn(shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def orthogonal(seed):
    """Any orthogonal matrix: every second one has a mirror."""
    q = torch.linalg.qr(drawn(3, 3, seed=seed))[0]
    return q * torch.linalg.det(q) * (-1 if seed % 2 else 1)


def turned(x, text, r):
    return x @ torch.from_numpy(irreps(text, "o3").matrix(r.numpy())).T


def stirred(layer):
    with torch.no_grad():
        for n, p in enumerate(layer.parameters()):
            p.add_(0.5 * drawn(*p.shape, seed=n + 5))
    return layer


@given(st.integers(0, 99), st.booleans(), st.booleans())
@settings(max_examples=20, deadline=None)
def test_nodes_turn(seed, training, batched):
    """Norm, gates and lengths under any element of O(3), in training mode too: two layers with the same past."""
    r, shape = orthogonal(seed), (2, 5) if batched else (7,)
    gated = nn.GatedFields(FIELDS, "o3", last=True)
    whole = f"{FIELDS} + {gated.gates}x0e"
    x = drawn(*shape, irreps(FIELDS, "o3").dim, seed=seed)
    relu = stirred(nn.NormReLU(FIELDS, "o3", dtype=DOUBLE, last=True))
    assert torch.allclose(relu(turned(x, FIELDS, r)), turned(relu(x), FIELDS, r), atol=1e-12)
    wide = drawn(*shape, irreps(whole, "o3").dim, seed=seed)
    assert torch.allclose(gated(turned(wide, whole, r)), turned(gated(wide), FIELDS, r), atol=1e-12)
    norms = [stirred(nn.FieldBatchNorm(FIELDS, last=True, dtype=DOUBLE)).train(training) for _ in range(2)]
    for step in range(2):
        y = x * (step + 1) + step
        got, wanted = norms[0](turned(y, FIELDS, r)), turned(norms[1](y), FIELDS, r)
        assert torch.allclose(got, wanted, atol=1e-12)
    assert torch.allclose(norms[0].running_second, norms[1].running_second, atol=1e-12)


def test_a_norm_of_each_number_would_not_turn():
    """torch's own, with one mean and variance for each number, is what the check finds."""
    x, r = drawn(7, irreps(FIELDS, "o3").dim), orthogonal(0)
    plain = torch.nn.BatchNorm1d(x.shape[1], dtype=DOUBLE)
    assert (plain(turned(x, FIELDS, r)) - turned(plain(x), FIELDS, r)).abs().max() > 0.1


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shape", [(9,), (3, 4)])
def test_the_norm_is_e3nns(shape, affine):
    """Results, derivatives and running values over steps of training, then evaluation."""
    e3nn = pytest.importorskip("e3nn.nn")
    ours = nn.FieldBatchNorm(FIELDS, last=True, affine=affine, dtype=DOUBLE)
    theirs = e3nn.BatchNorm(FIELDS, affine=affine).double()
    if affine:
        stirred(ours)
        with torch.no_grad():
            theirs.weight.copy_(ours.weight)
            theirs.bias.copy_(ours.bias)
    for step in range(4):
        if step == 3:
            ours.eval(), theirs.eval()
        x = (drawn(*shape, irreps(FIELDS, "o3").dim, seed=step) + step).requires_grad_()
        results = [layer(x) for layer in (ours, theirs)]
        assert torch.allclose(*results, atol=1e-12)
        slopes = [torch.autograd.grad((y * drawn(*y.shape, seed=8)).sum(), x)[0] for y in results]
        assert torch.allclose(*slopes, atol=1e-12)
        assert torch.allclose(ours.running_mean, theirs.running_mean, atol=1e-14)
        assert torch.allclose(ours.running_second, theirs.running_var, atol=1e-14)


def test_gates_are_e3nns_but_for_their_scale():
    """e3nn divides relu by √½ and the sigmoid by its root mean square; its gates stand before the fields."""
    e3nn = pytest.importorskip("e3nn.nn")
    theirs = e3nn.Gate("3x0e", [torch.relu], "4x0e", [torch.sigmoid], "2x1o + 1e + 2e")
    ours = nn.GatedFields("3x0e + 2x1o + 1e + 2e", "o3", last=True)
    x = drawn(5, 3 + 4 + 6 + 3 + 5)
    wanted = theirs.double()(torch.cat([x[:, :3], x[:, -4:], x[:, 3:-4]], 1)) if _in_order(theirs) else None
    assert wanted is not None
    z = torch.linspace(-12, 12, 200_001, dtype=DOUBLE)
    density = torch.exp(-z * z / 2) / (2 * torch.pi) ** 0.5
    sizes = [torch.trapezoid(f(z) ** 2 * density, z) ** 0.5 for f in (torch.relu, torch.sigmoid)]
    got = ours(x)
    # e3nn finds its constants from a million draws, to about 1e-3.
    assert torch.allclose(got[:, :3] / sizes[0], wanted[:, :3], rtol=5e-3)
    assert torch.allclose(got[:, 3:] / sizes[1], wanted[:, 3:], rtol=5e-3)


def _in_order(gate):
    """Whether e3nn took the fields as they were given."""
    return str(gate.irreps_in) == "7x0e+2x1o+1x1e+1x2e" and str(gate.irreps_out) == "3x0e+2x1o+1x1e+1x2e"


def test_a_network_of_voxels_turns_with_the_cube_after_training():
    torch.manual_seed(0)
    middle = "2x0e + 1e + 2x1o + 2e"
    gated = nn.GatedFields(middle, "o3")
    net = torch.nn.Sequential(
        nn.VoxelConv("0e + 1o", f"{middle} + {gated.gates}x0e", 3, padding=1, dtype=DOUBLE), gated,
        nn.FieldBatchNorm(middle, dtype=DOUBLE), nn.VoxelConv(middle, middle, 3, padding=1, dtype=DOUBLE),
        nn.NormReLU(middle, "o3", dtype=DOUBLE), nn.VoxelConv(middle, "0e + 1o", 3, padding=1, dtype=DOUBLE),
    )  # fmt: skip
    fields, acting, x = irreps("0e + 1o", "o3"), grid_group("oh", 3), drawn(2, 4, 4, 3, 5)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(3):
        optimiser.zero_grad()
        (net(x) - 1).square().sum().backward()
        optimiser.step()
    net.eval()
    for g in range(1, 48, 5):
        wanted = turn_volume(acting, g, fields, net(x))
        got = net(turn_volume(acting, g, fields, x))
        assert (got - wanted).abs().max() < 1e-11 * wanted.abs().max()


def test_points_through_gates_and_norms():
    """Between two `PointConv`, positions and features turned together."""
    middle = "2x0e + 2x1o + 2e"
    gated = nn.GatedFields(middle, "o3", last=True)
    first = nn.PointConv("0e + 1o", f"{middle} + {gated.gates}x0e", 3.0, dtype=DOUBLE)
    norm, second = (
        nn.FieldBatchNorm(middle, last=True, dtype=DOUBLE),
        nn.PointConv(middle, "0e + 1o", 3.0, dtype=DOUBLE),
    )
    x, places, r = drawn(2, 5, 4), drawn(2, 5, 3, seed=1), orthogonal(3)

    def net(x, places):
        return second(norm(gated(first(x, places))), places)

    wanted = turned(net(x, places), "0e + 1o", r)
    assert torch.allclose(net(turned(x, "0e + 1o", r), places @ r.T), wanted, atol=1e-11)


def test_in_training_scalars_have_variance_one_and_vectors_lengths_of_three():
    layer = nn.FieldBatchNorm("2x0e + 2x1o", last=True, dtype=DOUBLE)
    y = layer(5 * drawn(4000, 8) + 2)
    assert torch.allclose(y[:, :2].mean(0), torch.zeros(2).double(), atol=1e-12)
    assert torch.allclose(y[:, :2].var(0, correction=0), torch.ones(2).double(), atol=1e-5)
    lengths = y[:, 2:].unflatten(1, (2, 3)).square().sum(2).mean(0)
    assert torch.allclose(lengths, torch.full((2,), 3.0).double(), atol=1e-5)
    assert (y[:, 2:].mean(0).abs() > 0.1).all(), "the mean of a vector stays"


def test_derivatives_reach_zero_lengths():
    layer = nn.NormReLU("1o", "o3", dtype=DOUBLE, last=True)
    x = torch.zeros(2, 3, dtype=DOUBLE, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.isfinite().all()


def test_what_does_not_fit_is_refused():
    for call in (
        lambda: nn.NormReLU("1o", "so3"), lambda: nn.NormReLU("1", "o3"), lambda: nn.FieldBatchNorm("1o", eps=0),
        lambda: nn.FieldBatchNorm("1o", momentum=2), lambda: nn.FieldBatchNorm("1o")(torch.zeros(2, 3)),
        lambda: nn.FieldBatchNorm("1o", last=True)(torch.zeros(2, 4)),
        lambda: nn.FieldBatchNorm("1o", last=True)(torch.zeros(0, 3)),
        lambda: nn.GatedFields("1o", "o3", last=True)(torch.zeros(2, 3)),
    ):  # fmt: skip
        with pytest.raises(ArgumentError):
            call()


@pytest.mark.parametrize(("group", "text"), [("so2", "2x1 + 0"), ("o2", "1 + 2 + 0"), ("o3", "0e + 1o + 2e")])
def test_fields_at_points_are_drawn_any_turn(group, text):
    layer = nn.FieldBatchNorm(text, group, last=True).double().eval()
    x, seen = torch.randn(7, layer.fields.dim, dtype=torch.float64), set()
    for seed in range(12):
        (one,) = layer.random_symmetries(np.random.default_rng(seed))
        seen.add(one.name)
        torch.testing.assert_close(layer(*one.moved((x,))), one.wanted(layer(x)))
    assert seen == ({"a rotation"} if group == "so2" else {"a rotation", "a rotation with a mirror"})
