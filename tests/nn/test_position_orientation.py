"""Points with directions: known invariants, motions that leave them, exact symmetries of the grid of directions, derivatives."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import nn
from faltung.errors import ArgumentError
from faltung.nn.symmetry.directions import cutoff, directions, lifted, position_invariants, spread_of, vectors_of

DOUBLE = torch.float64


def drawn(*shape, seed=0):
    return torch.randn(shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def rotation(dims, seed):
    q, r = torch.linalg.qr(drawn(dims, dims, seed=seed))
    q = q * r.diagonal().sign()
    q[:, 0] *= torch.linalg.det(q)
    return q


def about(axis, angle):
    x, y, z = torch.nn.functional.normalize(axis, dim=0)
    k = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=DOUBLE)
    return torch.eye(3, dtype=DOUBLE) + math.sin(angle) * k + (1 - math.cos(angle)) * k @ k


def test_known_invariants():
    found = position_invariants(torch.tensor([[1.0, 2, 2]], dtype=DOUBLE), torch.tensor([[0.0, 0, 1]], dtype=DOUBLE))
    assert torch.allclose(found[0, 0], torch.tensor([2, 5**0.5], dtype=DOUBLE))


@given(seed=st.integers(0, 999), dims=st.sampled_from([2, 3]))
@settings(max_examples=30, deadline=None)
def test_invariants_are_unchanged_and_complete(seed, dims):
    """A motion leaves them; and pairs with the same ones are moved to each other by a motion, which is solved for."""
    rel, o = drawn(1, dims, seed=seed), torch.nn.functional.normalize(drawn(1, dims, seed=seed + 1), dim=1)
    r = rotation(dims, seed + 2)
    own = position_invariants(rel, o)
    assert torch.allclose(position_invariants(rel @ r.T, o @ r.T), own, atol=1e-12)
    a, b = own[0, 0]
    other = torch.nn.functional.normalize(drawn(1, dims, seed=seed + 3), dim=1)[
        0
    ]  # a pair with these invariants about another o
    if dims == 2:
        again = a * other + b * torch.stack([-other[1], other[0]])
    else:
        side = torch.linalg.cross(other, drawn(3, seed=seed + 4))
        again = a * other + b * side / side.norm()
    assert torch.allclose(position_invariants(again[None], other[None])[0, 0], own[0, 0], atol=1e-10)
    left, right = torch.stack([o[0], rel[0]], 1), torch.stack([other, again], 1)
    if dims == 3:
        left, right = (torch.cat([m, torch.linalg.cross(m[:, 0], m[:, 1])[:, None]], 1) for m in (left, right))
    motion = right @ torch.linalg.inv(left)
    assert torch.allclose(motion @ motion.T, torch.eye(dims, dtype=DOUBLE), atol=1e-6)
    assert float(torch.linalg.det(motion)) == pytest.approx(1, abs=1e-6)


def test_the_window_falls_smoothly():
    assert cutoff(torch.tensor(0.5, dtype=DOUBLE)).item() == 0.85546875
    u = torch.tensor(1 - 1e-9, dtype=DOUBLE, requires_grad=True)
    value = cutoff(u)
    (first,) = torch.autograd.grad(value, u, create_graph=True)
    (second,) = torch.autograd.grad(first, u)
    assert max(abs(float(v)) for v in (value.detach(), first.detach(), second)) < 1e-6
    assert cutoff(torch.tensor(1.5)).item() == 0


SYMMETRIC = [
    (2, 8, None, 2 * math.pi / 8), (3, 6, (1.0, 1, 1), 2 * math.pi / 3), (3, 8, (0.0, 0, 1), math.pi / 2),
    (3, 20, (1.0, 1, 1), 2 * math.pi / 3), (3, 12, (0.0, 1, (1 + 5**0.5) / 2), 2 * math.pi / 5),
]  # fmt: skip


def turned_pair(dims, count, axis, angle):
    """A rotation that moves the grid of directions to itself, and where it takes each direction."""
    grid = torch.tensor(directions(dims, count))
    c, s = math.cos(angle), math.sin(angle)
    r = torch.tensor([[c, -s], [s, c]], dtype=DOUBLE) if dims == 2 else about(torch.tensor(axis, dtype=DOUBLE), angle)
    near = (grid @ r.T) @ grid.T  # row o: how close the turned direction o is to each
    assert torch.allclose(near.max(1).values, torch.ones(count, dtype=DOUBLE), atol=1e-12)
    return r, near.argmax(1)


@pytest.mark.parametrize(("dims", "count", "axis", "angle"), SYMMETRIC)
def test_exact_symmetries_of_the_grid(dims, count, axis, angle):
    layer = nn.PositionOrientationConv(3, count, 2.0, dims, hidden=8, dtype=DOUBLE)
    f, p = drawn(2, 5, count, 3), drawn(2, 5, dims, seed=1)
    wanted = layer(f, p)
    r, to = turned_pair(dims, count, axis, angle)
    moved = torch.empty_like(f)
    moved[:, :, to] = f
    got = layer(moved, p @ r.T + 3)
    assert torch.allclose(got[:, :, to], wanted, atol=1e-10)
    order = torch.tensor([3, 1, 4, 0, 2])
    assert torch.allclose(layer(f[:, order], p[:, order]), wanted[:, order], atol=1e-12)


def test_other_rotations_are_closer_on_finer_grids():
    """A vector lifted, convolved and read out turns with space, the better the more directions there are."""
    found = []
    for count in (12, 60, 240):
        torch.manual_seed(0)
        layer = nn.PositionOrientationConv(1, count, 3.0, hidden=6, dtype=DOUBLE)
        v, p, r = drawn(4, 3), drawn(1, 4, 3, seed=1), rotation(3, 7)

        def answer(v, p, layer=layer):
            return vectors_of(layer(lifted(v, layer.grid)[None, ..., None], p)[..., 0], layer.grid)

        wanted = answer(v, p) @ r.T
        found.append(float((answer(v @ r.T, p @ r.T) - wanted).detach().abs().max() / wanted.detach().abs().max()))
    assert found[2] < found[0]
    assert found[2] < 0.02
    assert spread_of(directions(3, 240)) < spread_of(directions(3, 12))


@pytest.mark.parametrize("count", [6, 8, 12, 20])
def test_vectors_come_back_from_designs(count):
    v = drawn(7, 3)
    assert torch.allclose(vectors_of(lifted(v, directions(3, count)), directions(3, count)), v, atol=1e-12)


def test_derivatives_exist_where_points_meet_and_lie_along_directions():
    layer = nn.PositionOrientationConv(1, 6, 2.0, hidden=4, dtype=DOUBLE)
    p = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 0, 0]]], dtype=DOUBLE, requires_grad=True)
    (slope,) = torch.autograd.grad(layer(drawn(1, 3, 6, 1), p).square().sum(), p)
    assert slope.isfinite().all()


def test_points_that_leave_are_forgotten_smoothly():
    layer = nn.PositionOrientationConv(1, 6, 1.0, hidden=4, dtype=DOUBLE)
    f = drawn(1, 2, 6, 1)
    alone = layer(f[:, :1], torch.zeros(1, 1, 3, dtype=DOUBLE))
    for far, close in ((1.0, 1e-12), (0.999, 1e-5)):
        p = torch.tensor([[[0.0, 0, 0], [far, 0, 0]]], dtype=DOUBLE)
        assert (layer(f, p)[:, :1] - alone).abs().max() < close


def test_edges_are_what_pairs_are():
    """All pairs of each cloud, or only those within the radius, in any order, side by side."""
    layer = nn.PositionOrientationConv(3, 6, 1.5, hidden=8, dtype=DOUBLE)
    f, p = drawn(2, 4, 6, 3), drawn(2, 4, 3, seed=1)
    pairs = torch.cartesian_prod(torch.arange(4), torch.arange(4)).T
    edges = torch.cat([pairs, pairs + 4], 1)[:, torch.randperm(32)]
    flat, places = f.flatten(0, 1), p.flatten(0, 1)
    wanted = layer(f, p).flatten(0, 1)
    assert torch.allclose(layer(flat, places, edges), wanted, atol=1e-13)
    near = edges[:, (places[edges[0]] - places[edges[1]]).norm(dim=1) < 1.5]
    assert near.shape[1] < 32
    assert torch.allclose(layer(flat, places, near), wanted, atol=1e-13)
    one = layer(flat, places, near[:, :1])
    others = torch.arange(8) != near[1, 0]
    assert torch.equal(one[others], layer.bias.expand(7, 6, 3))
    shared = layer.kernels(flat, places, near)
    assert torch.equal(layer.mix(flat, shared, near), layer(flat, places, near))
    leaves = [drawn(3, 6, 3).requires_grad_(), drawn(3, 3, seed=2).requires_grad_()]
    assert torch.autograd.gradcheck(lambda f, p: layer(f, p, torch.tensor([[0, 1, 2], [1, 0, 0]])), leaves)


def test_a_grid_of_places_is_a_cloud_of_points():
    """The same networks at every offset of a full patch, for images and volumes, zeros beyond the edge."""
    for dims, count, sizes in ((2, 8, (4, 5)), (3, 6, (3, 4, 3))):
        grid = nn.PositionOrientationGrid(dims, 2, count, 3, padding=1, radius=1.9, hidden=4, dtype=DOUBLE)
        points = nn.PositionOrientationConv(2, count, 1.9, dims, hidden=4, dtype=DOUBLE)
        points.load_state_dict(grid.state_dict())
        x = drawn(1, 2 * count, *sizes)
        places = torch.cartesian_prod(*(torch.arange(n, dtype=DOUBLE) for n in sizes))
        features = x.reshape(2, count, -1).permute(2, 1, 0)
        wanted = points(features[None], places[None])[0].permute(2, 1, 0).reshape(x.shape)
        assert torch.allclose(grid(x), wanted, atol=1e-10)
        frozen = grid.freeze()
        assert torch.allclose(frozen(x), wanted, atol=1e-10)


def test_unlike_steps_and_directions_without_turns_promise_less():
    def names(*arguments, **settings):
        layer = nn.PositionOrientationGrid(*arguments, padding=1, hidden=2, **settings)
        return [s.name for s in layer.symmetries()]

    assert len(names(2, 1, 8, 3)) == 3
    assert len(names(2, 1, 6, 3)) == 1  # half a turn alone moves six directions to themselves
    assert len(names(2, 1, 8, 3, steps=(1.0, 2.0))) == 1
    assert names(3, 1, 7, 3) == []


def test_charges_rest_at_solids():
    """Energies known for the Thomson problem: 4, 6 and 12 charges; more evenly spread than the spiral."""
    for count, energy in ((4, 3.674234614), (6, 9.985281374), (12, 49.165253058)):
        found = directions(3, count, "repelled")
        gaps = [((found[a] - found[b]) ** 2).sum() ** -0.5 for a in range(count) for b in range(a)]
        assert sum(gaps) == pytest.approx(energy, rel=1e-6)
        assert ((found**2).sum(1) - 1).max() < 1e-12
    assert spread_of(directions(3, 17, "repelled")) < spread_of(directions(3, 17))
    assert nn.PositionOrientationConv(1, 12, 1.0, arrangement="repelled").grid.shape == (12, 3)


def test_calibrated_steps_keep_the_deviation():
    layer = nn.PositionOrientationConv(4, 8, 2.0, hidden=8, dtype=DOUBLE)
    f, p = drawn(2, 6, 8, 4), drawn(2, 6, 3, seed=1)
    assert not 0.8 < (layer(f, p).std() / f.std()).item() < 1.25
    layer.calibrate(f, p)
    assert (layer(f, p).std() / f.std()).item() == pytest.approx(1, rel=1e-6)
    with pytest.raises(ArgumentError):
        layer.calibrate(torch.ones_like(f), p)


def test_blocks_keep_what_convolutions_keep():
    block = nn.PositionOrientationBlock(2, 12, 2.0, hidden=4, layer_scale=0.7, dtype=DOUBLE)
    f, p = drawn(2, 5, 12, 2), drawn(2, 5, 3, seed=1)
    r, to = turned_pair(3, 12, (0.0, 1, (1 + 5**0.5) / 2), 2 * math.pi / 5)
    moved = torch.empty_like(f)
    moved[:, :, to] = f
    assert torch.allclose(block(moved, p @ r.T - 2)[:, :, to], block(f, p), atol=1e-10)
    edges = torch.cartesian_prod(torch.arange(5), torch.arange(5)).T
    assert torch.allclose(block(f[0], p[0], edges), block(f, p)[0], atol=1e-12)


def test_wrong_settings_are_refused():
    with pytest.raises(ArgumentError):
        nn.PositionOrientationConv(1, 6, 1.0, arrangement="random")
    with pytest.raises(ArgumentError):
        nn.PositionOrientationGrid(2, 1, 4, 3, steps=(1.0, 1.0, 1.0))
    with pytest.raises(ArgumentError):
        nn.PositionOrientationConv(1, 6, 1.0)(torch.zeros(3, 6, 1), torch.zeros(3, 3), torch.tensor([[0], [3]]))
    for wrong in ({"radius": 0}, {"degree": 4}, {"dims": 4}, {"count": 0}):
        with pytest.raises(ArgumentError):
            nn.PositionOrientationConv(**{"channels": 1, "count": 6, "radius": 1.0} | wrong)
    with pytest.raises(ArgumentError):
        nn.PositionOrientationConv(1, 6, 1.0)(torch.zeros(1, 3, 6, 1), torch.zeros(1, 3, 2))
