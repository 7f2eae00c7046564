"""Fields of space: e3nn's voxel convolution is one of ours, turns of volumes, points as voxels, any motion of points."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import nn
from faltung.errors import ArgumentError
from faltung.nn.symmetry import grid_group
from faltung.nn.symmetry.irreps import irreps, turned
from faltung.nn.symmetry.shells import bumps, degrees, shells, voxels
from faltung.nn.symmetry.steerable_space import turn_volume

DOUBLE = torch.float64
MANY = "2x0e + 0o + 1o + 1e + 2e"


def drawn(*shape, seed=0):
    return torch.randn(shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def rotation(seed):
    q, r = torch.linalg.qr(drawn(3, 3, seed=seed))
    q = q * r.diagonal().sign()
    return q * torch.linalg.det(q)


def test_matrices_and_texts_are_e3nns():
    o3 = pytest.importorskip("e3nn.o3")
    fields, theirs = irreps(MANY, "o3"), o3.Irreps(MANY)
    assert fields.dim == theirs.dim
    for sign in (1, -1):
        r = sign * rotation(1)
        wanted = theirs.D_from_matrix(r.float()).numpy()
        assert abs(fields.matrix(r.numpy()) - wanted).max() < 1e-4  # e3nn's in single precision
    for wrong in ("2x1", "0", "1p", "", "0x1e"):
        with pytest.raises(ArgumentError):
            irreps(wrong, "o3")


def test_bumps_are_e3nns():
    e3nn_math = pytest.importorskip("e3nn.math")
    r = torch.linspace(0, 3.5, 50, dtype=DOUBLE)
    wanted = e3nn_math.soft_one_hot_linspace(r, 0.0, 3.0, 4, basis="smooth_finite", cutoff=True)
    assert torch.allclose(bumps(r, 3.0, 4), wanted, atol=1e-12)
    x = torch.tensor([0.0, 0.6, 1.2, 3.0], dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: bumps(v, 3.0, 4), x)


@pytest.mark.parametrize("steps", [(1.0, 1.0, 1.0), (1.0, 1.0, 2.0)])
def test_e3nns_voxel_convolution_is_one_of_ours(steps):
    """Its kernel and self-connection, projected, stay what they are, and results agree: any weights, unlike steps too."""
    voxel = pytest.importorskip("e3nn.nn.models.v2104.voxel_convolution")
    from e3nn import o3

    torch.manual_seed(0)
    before, after = "2x0e + 1x1o", "1x0e + 1x1o + 1x1e + 1x2e"
    theirs = voxel.Convolution(
        before, after, irreps_sh=o3.Irreps.spherical_harmonics(3), diameter=5.0, num_radial_basis=3, steps=steps
    )
    kernel = theirs.kernel().detach()
    middle = tuple(n // 2 for n in kernel.shape[2:])
    sc = theirs.sc(torch.eye(o3.Irreps(before).dim)).detach().T
    kernel[(slice(None), slice(None), *middle)] += sc
    ours = nn.VoxelConv(before, after, kernel.shape[2:], steps, radius=2.5, count=3, padding="same", bias=False).take(
        kernel
    )
    assert (ours.kernel() - kernel).abs().max() < 1e-5 * kernel.abs().max()
    x = torch.randn(1, 5, 6, 7, 5)
    wanted = theirs(x)
    assert (ours(x) - wanted).abs().max() < 1e-4 * wanted.abs().max()
    wrong = kernel.clone()
    wrong[0, 2] += 1  # from a vector to a scalar the same number everywhere
    assert (ours.take(wrong).kernel() - wrong).abs().max() > 0.1


def test_every_basis_kernel_turns_with_space():
    """κ(R x) = D κ(x) Dᵀ for all 48 symmetries of the voxels; elements are independent; there is one for each degree and shell."""
    acting, places = grid_group("oh", 3), voxels((3, 3, 3), (1.0, 1.0, 1.0))
    for source, to in [("0e", "0e"), ("0e", "1o"), ("1o", "1o"), ("1e", "2o"), ("0o", "2o"), ("1o", "2e")]:
        basis = shells((3, 3, 3), (1.0, 1.0, 1.0), 2.0, 1, source, to)
        flat = basis.reshape(len(basis), -1)
        assert np.linalg.matrix_rank(flat) == len(basis) == len(degrees(source, to)) + (source == to)
        for m in acting.matrices:
            there = [int(np.flatnonzero((np.abs(places - m @ p) < 1e-9).all(1))[0]) for p in places]
            wanted = np.einsum("ab,nbct,dc->nadt", turned(to, m), basis, turned(source, m))
            assert abs(basis[..., there] - wanted).max() < 1e-12


def test_a_net_of_volumes_commutes_while_it_trains():
    torch.manual_seed(0)
    same, between = {"kernel_size": 3, "padding": 1, "dtype": DOUBLE}, "2x0e + 1o + 1e + 2e"
    first, last = nn.VoxelConv("0e", "2x0e + 1o + 2e", **same), nn.VoxelConv(between, "0e + 1o", **same)
    net = torch.nn.Sequential(first, nn.VoxelConv("2x0e + 1o + 2e", between, **same), last)
    x, acting = drawn(1, 1, 4, 3, 4), grid_group("oh", 3)
    optimiser = torch.optim.SGD(net.parameters(), 0.05)
    for _ in range(2):
        for g in range(0, 48, 5):
            wanted = turn_volume(acting, g, last.after, net(x))
            assert torch.allclose(net(turn_volume(acting, g, first.before, x)), wanted, atol=1e-12)
        optimiser.zero_grad()
        net(x).square().mean().backward()
        optimiser.step()


def test_unlike_steps_keep_fewer_turns():
    layer = nn.VoxelConv("0e", "1o", 3, steps=(1.0, 1.0, 2.0), padding=1, dtype=DOUBLE)
    assert len(layer.kept) == 16
    x, acting = drawn(1, 1, 4, 4, 4), grid_group("oh", 3)
    lost = next(g for g in range(48) if g not in layer.kept)
    assert not torch.allclose(
        layer(turn_volume(acting, lost, layer.before, x)), turn_volume(acting, lost, layer.after, layer(x)), atol=1e-3
    )


def points_like(layer):
    """A layer on points with the kernels of one on voxels: weights divided by what normalised the voxels' elements."""
    made = nn.PointConv(MANY, MANY, layer.radius, layer.count, bias=False, dtype=DOUBLE)
    at, rows = 0, {}
    paths = list(made._paths())
    for p, q in layer.joined:
        (many, to), (each, source) = layer.after.parts[p], layer.before.parts[q]
        basis = shells(layer.kernel_size, layer.steps, layer.radius, layer.count, source, to)
        count = many * each * len(basis)
        rows[p, q] = layer.weight[at : at + count].detach().reshape(many, each, len(basis))
        at += count
    for n, (p, q, l) in enumerate(paths):
        to, source = layer.after.parts[p][1], layer.before.parts[q][1]
        before = sum(layer.count + (k == 0) for k in degrees(source, to) if k < l)
        own = rows[p, q][..., before : before + layer.count + (l == 0)]
        basis = shells(layer.kernel_size, layer.steps, layer.radius, layer.count, source, to)
        for k in range(own.shape[-1]):
            element = basis[before + k]
            with torch.no_grad():
                made.weights[n][k] = own[..., k] * scale_of(made, n, element, layer, k - (l == 0), l)
    return made


def scale_of(made, n, element, layer, bump, l):
    """What an element of the voxels' basis is times that of the points, at the tap where it is largest."""
    from faltung.nn.symmetry.so3 import spherical_harmonics

    places = torch.from_numpy(voxels(layer.kernel_size, layer.steps))
    if bump < 0:
        middle = len(places) // 2
        return element[0, 0, middle]
    tap = int(np.argmax(abs(element).max((0, 1))))
    r = places[tap].norm()
    around = spherical_harmonics(l, (places[tap] / r)[None])[0, l * l :]
    own = torch.einsum("b,abc->ca", around, getattr(made, f"coupling_{n}")) * bumps(r, layer.radius, layer.count)[bump]
    where = np.unravel_index(np.argmax(abs(element[..., tap])), element.shape[:2])
    return element[(*where, tap)] / float(own[where])


def test_points_on_a_lattice_are_voxels():
    """The same kernels, scattered over edges and slid over a grid with zeros around it."""
    torch.manual_seed(0)
    layer = nn.VoxelConv(MANY, MANY, 3, padding=1, bias=False, dtype=DOUBLE)
    made = points_like(layer)
    x = drawn(1, layer.before.dim, 3, 4, 3)
    grid = torch.cartesian_prod(*(torch.arange(n, dtype=DOUBLE) for n in x.shape[2:]))
    near = torch.cdist(grid, grid, p=math.inf) < 1.5
    edges = near.nonzero().T.contiguous()
    features = x[0].flatten(1).T
    got = made(features, grid, edges)
    assert torch.allclose(got, layer(x)[0].flatten(1).T, atol=1e-10)


@given(seed=st.integers(0, 999), mirrored=st.booleans())
@settings(max_examples=15, deadline=None)
def test_points_turn_mirror_move_and_change_places(seed, mirrored):
    layer = nn.PointConv(MANY, "0e + 0o + 1o + 2e", 2.5, 3, dtype=DOUBLE)
    with torch.no_grad():
        layer.bias.normal_()
    features, p = drawn(6, 14, seed=seed), drawn(6, 3, seed=seed + 1)
    edges = torch.tensor([[0, 1, 2, 3, 4, 4, 1], [1, 2, 0, 5, 4, 3, 1]])
    r = rotation(seed) * (-1 if mirrored else 1)
    before, after = (torch.from_numpy(f.matrix(r.numpy())) for f in (layer.before, layer.after))
    wanted = layer(features, p, edges) @ after.T
    got = layer(features @ before.T, p @ r.T + 4, edges[:, torch.randperm(7)])
    assert torch.allclose(got, wanted, atol=1e-11)


def test_edges_are_what_pairs_are():
    """All pairs of a sample, or a list of them; points beyond the radius are not felt; where points meet derivatives exist."""
    layer = nn.PointConv("2x0e + 1o", "0e + 1o", 1.5, 2, neighbours=3.0, dtype=DOUBLE)
    features, p = drawn(2, 4, 5), drawn(2, 4, 3, seed=1)
    both = torch.cat([torch.cartesian_prod(torch.arange(4), torch.arange(4)).T + 4 * n for n in range(2)], 1)
    wanted = layer(features, p)
    got = layer(features.flatten(0, 1), p.flatten(0, 1), both)
    assert torch.allclose(got.reshape(wanted.shape), wanted, atol=1e-13)
    places = p.flatten(0, 1)
    near = both[:, (places[both[0]] - places[both[1]]).norm(dim=1) < 1.5]
    assert near.shape[1] < both.shape[1]
    assert torch.allclose(layer(features.flatten(0, 1), places, near), got, atol=1e-13)
    alone = layer(features[0], p[0], torch.zeros(2, 0, dtype=torch.int64))
    assert torch.allclose(alone, layer(features[0, :, None], p[0, :, None])[:, 0], atol=1e-13)
    meeting = torch.zeros(1, 3, 3, dtype=DOUBLE, requires_grad=True)
    (slope,) = torch.autograd.grad(layer(features[:1, :3], meeting).square().sum(), meeting)
    assert slope.isfinite().all()


def test_derivatives_of_positions_and_weights_over_edges():
    layer = nn.PointConv("0e + 1o", "1o", 3.0, 2, dtype=DOUBLE)
    edges = torch.tensor([[0, 1, 2, 2], [1, 0, 0, 1]])
    f, p = drawn(3, 4).requires_grad_(), drawn(3, 3, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda f, p: layer(f, p, edges), (f, p))


def test_wrong_settings_are_refused():
    for wrong in ({"steps": 0}, {"steps": (1, 2)}, {"radius": -1.0}, {"out_irreps": "0o"}, {"padding": (0, 1, 1)}):
        with pytest.raises(ArgumentError):
            nn.VoxelConv(**{"in_irreps": "0e", "out_irreps": "0e", "kernel_size": 3} | wrong)
    for wrong in ({"radius": 0.0}, {"neighbours": 0.0}, {"out_irreps": "0o"}, {"count": 0}):
        with pytest.raises(ArgumentError):
            nn.PointConv(**{"in_irreps": "0e", "out_irreps": "0e", "radius": 1.0} | wrong)
    layer, f, p = nn.PointConv("0e", "0e", 1.0), torch.zeros(3, 1), torch.zeros(3, 3)
    for edges in (
        torch.tensor([[0], [3]]),
        torch.tensor([[-1], [0]]),
        torch.zeros(3, 2, dtype=torch.int64),
        torch.zeros(2, 2),
    ):
        with pytest.raises(ArgumentError):
            layer(f, p, edges)
    with pytest.raises(ArgumentError):
        layer(f, p)
    with pytest.raises(ArgumentError, match="stride"):
        nn.VoxelConv("0e", "0e", 3, stride=2)(torch.zeros(1, 1, 4, 5, 5))
