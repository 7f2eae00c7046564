"""Group convolution: published values, equivariance in training, what would break it, kernels projected."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import nn
from faltung.errors import ArgumentError
from faltung.nn.symmetry import act, grid_group
from faltung.nn.symmetry.group_fourier import GroupProduct, products, real_irreps
from faltung.nn.symmetry.groups import sharing
from faltung.nn.symmetry.spread import places, spread

DOUBLE = torch.float64
IMAGE = torch.tensor(
    [[1, 2, 3, 4, 5], [6, 0, 1, 2, 3], [4, 5, 6, 0, 1], [2, 3, 4, 5, 6], [0, 1, 2, 3, 4]], dtype=DOUBLE
)
PSI = torch.tensor([[1, 2, 0], [0, -1, 3], [0, 1, 0]], dtype=DOUBLE)
LIFTED = torch.tensor(
    [
        [[13, 19, 18], [22, 0, 13], [24, 30, 22]],
        [[23, 15, 21], [11, 10, 23], [20, 26, 11]],
        [[36, 14, 6], [17, 23, 36], [12, 18, 17]],
        [[26, 25, 10], [21, 13, 26], [16, 15, 21]],
    ],
    dtype=DOUBLE,
)


def drawn(*shape, seed=0):
    return torch.randn(shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def lifting():
    layer = nn.GroupConv2d(1, 1, 3, "p4", "trivial", bias=False, dtype=DOUBLE)
    layer.weight.copy_(PSI.reshape(1, 1, 9))
    return layer


@torch.no_grad()
def regular():
    layer = nn.GroupConv2d(1, 1, 3, "p4", bias=False, dtype=DOUBLE)
    psi = layer.weight.zero_().view(4, 3, 3)
    psi[0, 0, 0], psi[1, 0, 1], psi[1, 2, 2], psi[2, 1, 1], psi[3, 1, 0] = 1, 1, 2, 1, -1
    return layer


def test_lifting_of_a_known_image():
    got = lifting()(IMAGE[None, None])[0]
    assert torch.equal(got.round(), LIFTED)
    assert torch.allclose(got, LIFTED, atol=1e-12)
    turned = lifting()(torch.rot90(IMAGE)[None, None])[0]
    assert torch.allclose(turned, torch.rot90(LIFTED, 1, (1, 2)).roll(1, 0), atol=1e-12)


def test_group_convolution_of_known_values():
    for image, wanted in ((IMAGE, [52, 32, 61, 67]), (torch.rot90(IMAGE), [67, 52, 32, 61])):
        got = regular()(lifting()(image[None, None]))[0, :, 0, 0]
        assert torch.allclose(got, torch.tensor(wanted, dtype=DOUBLE), atol=1e-12)


@pytest.mark.parametrize(("group", "wanted"), [("c4", (1, 3, 7, 13)), ("d4", (1, 3, 6, 10))])
def test_dimension_of_invariant_kernels(group, wanted):
    found = [nn.GroupConv2d(1, 1, k, group, "trivial", "trivial").weight.shape[-1] for k in (1, 3, 5, 7)]
    assert tuple(found) == wanted


def test_projection_of_a_single_tap():
    kernel = torch.zeros(1, 1, 3, 3, dtype=DOUBLE)
    kernel[0, 0, 0, 1] = 1
    layer = nn.GroupConv2d(1, 1, 3, "c4", "trivial", "trivial", bias=False, dtype=DOUBLE).take(kernel)
    assert 0.5 * (kernel - layer.kernel().detach()).square().sum() == pytest.approx(0.375)


@pytest.mark.parametrize("types", [("regular", "regular"), ("trivial", "d1"), ("c2", "regular")])
def test_projection_is_one(types):
    """P² = P, the rest is orthogonal to every equivariant kernel, and what is equivariant stays."""
    layer = nn.GroupConv2d(2, 2, 3, "p4m", *types, dtype=DOUBLE)
    kernel = drawn(*layer.weight_shape)
    taken = layer.take(kernel, drawn(layer.out_channels)).kernel().detach().clone()
    assert torch.allclose(layer.take(taken).kernel(), taken, atol=1e-14)
    other = nn.GroupConv2d(2, 2, 3, "p4m", *types, dtype=DOUBLE).kernel().detach()
    assert abs(float(((kernel - taken) * other).sum())) < 1e-12


def test_the_trivial_group_is_torchs_layer():
    torch.manual_seed(3)
    ours = nn.GroupConv2d(4, 6, 3, "c1", padding=1, groups=2)
    torch.manual_seed(3)
    theirs = torch.nn.Conv2d(4, 6, 3, padding=1, groups=2)
    assert torch.equal(ours.weight.flatten(), theirs.weight.flatten())
    assert torch.equal(ours.bias, theirs.bias)
    x = drawn(2, 4, 5, 6).float()
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)


def test_parameters_of_p4m_and_what_a_state_dict_holds():
    layer = nn.GroupConv2d(5, 7, 3, "p4m", padding=1)
    assert layer.parameter_count() == 7 * 5 * 8 * 9 + 7
    assert {name: tuple(value.shape) for name, value in layer.state_dict().items()} == {
        "weight": (7, 5, 72),
        "bias": (7,),
    }


CASES = [
    ("p4", 2, 3), ("p4m", 2, 3), ("p4m", 2, 4), ("d1", 1, 4), ("d2", 2, 5), ("o", 3, 3), ("c4", 3, 2), ("c8", 2, 5), ("d8", 2, 3),
    ("oh", 3, 3), ("p6", 2, 3), ("p6m", 2, 3),
]  # fmt: skip
HEXAGONS = [("p6", "zeros"), ("p6m", "zeros")]  # the margin of a rhombus is not symmetric


@pytest.mark.parametrize(
    ("group", "ndim", "taps", "mode"),
    [(*case, mode) for case in CASES for mode in ("zeros", "circular") if (case[0], mode) not in HEXAGONS],
)
def test_a_net_commutes_with_the_group_while_it_trains(group, ndim, taps, mode):
    """Two layers, ReLU, norm and pool: to 1e-10 before and after steps of training, on even and odd sizes, gradients too.

    After the steps under every element that moves the grid to itself.
    """
    torch.manual_seed(0)
    acting = grid_group(group, ndim)
    pad = {"padding": taps // 2 if taps % 2 else taps // 2 - 1, "padding_mode": mode, "dtype": DOUBLE}
    lift = nn.GroupConv(ndim, 2, 2, taps, group, "trivial", **pad)
    norm = nn.GroupBatchNorm(ndim, 2, group, dtype=DOUBLE)
    second = nn.GroupConv(ndim, 2, 2, taps, group, **pad)
    net = torch.nn.Sequential(lift, norm, torch.nn.ReLU(), second, nn.GroupPool(ndim, 2, group))
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    sizes = (5,) * ndim if acting.order > 8 else (5, 6, 4)[:ndim] if ndim < 3 else (4, 5, 5)
    sizes = (3,) * ndim if acting.order > 24 else (6,) * ndim if acting.hexagonal else sizes
    x = drawn(2, 2, *sizes)
    for step in range(3):
        net.eval()
        every = [g for g in range(acting.order) if acting.integral[g]]
        for g in every if step == 2 else every[:: max(1, acting.order // 8)]:
            moved = act(x, acting, g)
            if mode == "circular" and lift(x).shape[2:] != x.shape[2:]:
                break
            wanted = act(net(x), acting, g)
            assert (net(moved) - wanted).abs().max() <= 1e-10 * wanted.abs().max(), (g, step)
        net.train()
        optimiser.zero_grad()
        net(x).square().mean().backward()
        optimiser.step()
    g = int([g for g in range(acting.order) if acting.integral[g]][-1])
    net.eval()
    a, b = x.clone().requires_grad_(), act(x, acting, g).clone().requires_grad_()
    (one,) = torch.autograd.grad(net(a).square().sum(), a)
    (two,) = torch.autograd.grad(net(b).square().sum(), b)
    assert torch.allclose(act(one, acting, g), two, atol=1e-10)


def test_single_precision_is_as_exact_as_it_can_be():
    layer, acting = nn.GroupConv2d(4, 4, 5, "p4m", padding=2), grid_group("p4m", 2)
    x, regular = drawn(1, 32, 16, 16).float(), acting.fibre("regular")
    for g in range(8):
        wanted = act(layer(x), acting, g, regular)
        assert (layer(act(x, acting, g, regular)) - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@given(
    n=st.integers(5, 9), k=st.integers(1, 4), s=st.integers(2, 3), p=st.integers(0, 2), group=st.sampled_from(["p4", "d1"])
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_a_stride_is_symmetric_or_refused(n, k, s, p, group):
    """Where the lattice of results is not symmetric, the plain convolution would break the symmetry, and the layer says so."""
    layer = nn.GroupConv2d(1, 1, k, group, "trivial", stride=s, padding=p, bias=False, dtype=DOUBLE)
    acting, x = grid_group(group, 2), drawn(1, 1, n, n, seed=n)
    if (n + 2 * p - k) % s:
        with pytest.raises(ArgumentError, match="stride"):
            layer(x)
        return
    for g in range(acting.order):
        wanted = act(layer(x), acting, g, acting.fibre("regular"))
        assert torch.allclose(layer(act(x, acting, g)), wanted, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "ndim", "count"),
    [
        ("c4", 2, 6),
        ("c8", 2, 14),
        ("d4", 2, 12),
        ("d8", 2, 28),
        ("o", 3, 64),
        ("oh", 3, 128),
        ("d2", 2, 4),
        ("p6m", 2, 20),
    ],
)
def test_irreducible_blocks(name, ndim, count):
    """Representations, orthogonal to each other, squares of sizes that add up; published numbers of products; the convolution."""
    acting = grid_group(name, ndim)
    table, order = acting.group.table, acting.order
    kinds = real_irreps(acting.group)
    for r in kinds:
        assert abs(r[:, None] @ r[None] - r[table]).max() < 1e-9
        assert abs(r @ r.transpose(0, 2, 1) - torch.eye(r.shape[1]).numpy()).max() < 1e-9
    traces = torch.stack([torch.from_numpy(r).diagonal(dim1=1, dim2=2).sum(1) for r in kinds])
    norms = traces @ traces.T / order
    assert torch.allclose(norms - norms.diagonal().diag(), torch.zeros_like(norms), atol=1e-9)
    assert sum(r.shape[1] ** 2 / float(n.round()) for r, n in zip(kinds, norms.diagonal(), strict=True)) == order
    assert products(acting.group) == count
    x, psi = drawn(2, 3, order, 5), drawn(4, 3, order, seed=1)
    wanted = torch.zeros(2, 4, order, 5, dtype=DOUBLE)
    for g in range(order):
        for h in range(order):
            k = int(table[acting.group.inverses[g], h])
            wanted[:, :, g] += torch.einsum("oi,nip->nop", psi[:, :, k], x[:, :, h])
    assert torch.allclose(GroupProduct(acting.group, dtype=DOUBLE)(x, psi), wanted, atol=1e-12)


@pytest.mark.parametrize(("group", "filters"), [("p4m", "taps"), ("c8", "taps"), ("d8", "harmonics"), ("p6", "taps")])
def test_one_tap_by_blocks(group, filters):
    """The same numbers and gradients as the plain convolution; wider kernels and other settings are refused."""
    torch.manual_seed(0)
    layer = nn.GroupConv2d(5, 4, 1, group, filters=filters, method="blocks", dtype=DOUBLE)
    x = drawn(2, layer.in_channels, 3, 2)
    assert torch.allclose(layer(x), layer.freeze()(x), atol=1e-12)
    assert torch.allclose(layer(x[0]), layer.freeze()(x[0]), atol=1e-12)
    weights = torch.autograd.grad(layer(x).square().sum(), layer.weight)[0]
    layer.along = None
    assert torch.allclose(torch.autograd.grad(layer(x).square().sum(), layer.weight)[0], weights, atol=1e-9)
    for other in ({"kernel_size": 3, "padding": 1}, {"in_type": "trivial"}, {"padding": 1}, {"groups": 4}):
        settings = {"in_fields": 4, "out_fields": 4, "kernel_size": 1, "group": group, "method": "blocks"} | other
        with pytest.raises(ArgumentError, match="blocks"):
            nn.GroupConv2d(**settings)


def test_wrong_settings_are_refused():
    for wrong in (
        {"group": "p5x"},
        {"group": "o"},
        {"kernel_size": (3, 5)},
        {"kernel_size": 2, "padding": "same"},
        {"group": "c8", "out_type": "trivial"},
        {"group": "p6", "kernel_size": 2},
        {"in_type": "c3"},
        {"in_type": (9,)},
        {"stride": (1, 2)},
    ):
        with pytest.raises(ArgumentError):
            nn.GroupConv2d(**{"in_fields": 1, "out_fields": 1, "kernel_size": 3} | wrong)
    with pytest.raises(ArgumentError):
        nn.GroupPool2d(1, "p4m", "c4", "c2")
    with pytest.raises(ArgumentError):
        act(torch.zeros(1, 1, 3, 3), grid_group("c8", 2), 1)
    nn.GroupConv2d(1, 1, (3, 5), "d2")  # reflections exchange no axes


def test_elements_are_torchs_turns():
    x, acting = drawn(1, 1, 4, 6), grid_group("p4m", 2)
    for g, (turn, mirror) in enumerate(acting.group.elements):
        wanted = torch.rot90(x.flip(-1) if mirror else x, turn, (2, 3))
        assert torch.equal(act(x, acting, g), wanted)


@pytest.mark.parametrize(("name", "ndim"), [("p4m", 2), ("p6m", 2), ("oh", 3), ("d5", 2), ("d1", 1), ("c4", 3)])
def test_matrices_multiply_as_elements_do(name, ndim):
    acting = grid_group(name, ndim)
    product = acting.matrices[:, None] @ acting.matrices[None]
    assert abs(product - acting.matrices[acting.group.table]).max() < 1e-12


@pytest.mark.parametrize("group", ["c8", "d8", "c3", "c16"])
def test_interpolated_turns_are_exact_where_the_grid_is(group):
    acting = grid_group(group, 2)
    turns, table = acting.turns((5, 5)), acting.group.table
    for g in range(acting.order):
        for h in range(acting.order):
            if acting.integral[g] or acting.integral[h]:
                assert abs(turns[g] @ turns[h] - turns[table[g, h]] @ turns[0]).max() < 1e-12
    assert nn.GroupConv2d(1, 1, 5, group).interpolation_error() > 0.1
    assert nn.GroupConv2d(1, 1, 5, "p4m").interpolation_error() == 0


def test_interpolation_errs_less_for_smooth_filters():
    """The stated error is for the worst filter; for a Gaussian derivative it falls with the number of taps."""
    found = []
    for taps, sigma in ((5, 0.8), (9, 1.6), (17, 3.2)):
        acting = grid_group("c8", 2)
        turns = acting.turns((taps, taps))
        at = torch.arange(taps, dtype=DOUBLE) - taps // 2
        bell = torch.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * sigma**2)) * at[:, None]
        bell = turns[0] @ bell.flatten().numpy()
        found.append(abs(turns[1] @ (turns[1] @ bell) - turns[2] @ bell).max() / abs(bell).max())
    assert found[0] > found[1] > found[2]
    assert found[2] < 0.06


def test_hexagons_keep_their_symmetry_and_their_corners_are_zero():
    layer = nn.GroupConv2d(1, 1, 3, "p6", "trivial", bias=False, padding=1, padding_mode="circular", dtype=DOUBLE)
    assert layer.weight.shape[-1] == 7
    kernel = layer.kernel()[0, 0]
    assert kernel[0, 0] == kernel[2, 2] == 0
    assert (
        sharing(grid_group("p6m", 2), (5, 5), frozenset(range(12)), frozenset(range(12))).max() + 1 == 4
    )  # rings 0, 1, 2, 2'


def test_reverse_complement_of_strands():
    """DNA read from the other strand: bases A, C, G, T as two fields (A, T) and (C, G) under reversal."""
    layer = nn.GroupConv1d(2, 3, 4, "d1", dtype=DOUBLE)
    strand = torch.tensor([0, 2, 1, 1, 3, 0, 2, 2])

    def coded(s):
        order = torch.tensor([0, 2, 3, 1])  # A, C, G, T to the places of (A, T), (C, G)
        return torch.nn.functional.one_hot(order[s], 4).T[None].to(DOUBLE)

    there, back = layer(coded(strand)), layer(coded(3 - strand.flip(0)))
    assert torch.allclose(back.unflatten(1, (3, 2)), there.unflatten(1, (3, 2)).flip(2, 3), atol=1e-12)


def test_frozen_layer_is_plain_and_the_same():
    layer = nn.GroupConv2d(3, 4, 3, "p4m", "trivial", padding=1)
    frozen, x = layer.freeze(), drawn(2, 3, 7, 6).float()
    assert type(frozen) is torch.nn.Conv2d
    assert torch.allclose(frozen(x), layer(x), atol=1e-6)


def test_spreading_is_indexing_any_number_of_times():
    table = torch.tensor([[0, 2, -1], [2, 1, 2]])
    back, values = places(table, 3), drawn(2, 3).requires_grad_()
    wanted = torch.where(table < 0, torch.tensor(0.0, dtype=DOUBLE), values[:, table.clamp(min=0)])
    assert torch.equal(spread(values, table, back), wanted)
    assert torch.autograd.gradcheck(lambda v: spread(v, table, back), values)
    assert torch.autograd.gradgradcheck(lambda v: spread(v.sin(), table, back), values)
    rows = torch.func.vmap(lambda v: spread(v, table, back))(values.detach())
    assert torch.equal(rows, wanted.detach())


def test_construction_is_quick_for_large_groups():
    """|G| = 48 in three dimensions: every one of 1296 numbers stands at 48 places of the kernel."""
    layer = nn.GroupConv3d(1, 1, 3, "oh")
    counts = torch.bincount(layer.table.flatten())
    assert len(counts) == 48 * 27
    assert (counts == 48).all()
    assert math.isclose(layer.kernel().square().sum().item(), 48 * layer.weight.square().sum().item(), rel_tol=1e-5)


@pytest.mark.parametrize(("kind", "affine"), [("c4", False), ("regular", True)])
def test_norm_of_quotient_fields(kind, affine):
    """One mean and variance for a fibre, in training too; torch's norm on every value of it would break the symmetry."""
    norm, acting = nn.GroupBatchNorm3d(2, "o", kind, affine=affine, dtype=DOUBLE), grid_group("o", 3)
    fibre = acting.fibre(kind)
    x = drawn(2, 2 * fibre.size, 2, 3, 2)
    values = norm(x).detach().unflatten(1, (2, fibre.size)).transpose(0, 1).flatten(1)
    assert torch.allclose(values.mean(1), torch.zeros(2, dtype=DOUBLE), atol=1e-12)
    assert torch.allclose(values.var(1, correction=0), torch.ones(2, dtype=DOUBLE), atol=1e-4)
    wrong = torch.nn.BatchNorm3d(2 * fibre.size, dtype=DOUBLE)
    moved = act(x, acting, 5, fibre)
    assert torch.allclose(norm(moved), act(norm(x), acting, 5, fibre), atol=1e-12)
    wrong.weight.data.normal_()
    assert not torch.allclose(wrong(moved), act(wrong(x), acting, 5, fibre), atol=1e-2)


def test_lengths_of_fibres():
    pool, x = nn.GroupPool1d(2, "d1", pool="norm"), torch.tensor([[3.0, 4.0, 0.0, 0.0]])[..., None].requires_grad_()
    y = pool(x)
    y.sum().backward()
    assert y.flatten().tolist() == [5.0, 0.0]
    assert torch.allclose(x.grad.flatten(), torch.tensor([0.6, 0.8, 0, 0]))
    for kind in ("max", "mean", "norm"):
        layer, fields = nn.GroupPool2d(3, "p4m", "d1", "trivial", kind), drawn(2, 12, 3, 4)
        assert torch.allclose(layer(fields), layer.definition(fields), atol=1e-12)
