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


def test_wrong_settings_are_refused():
    for wrong in ({"radius": 0}, {"degree": 4}, {"dims": 4}, {"count": 0}):
        with pytest.raises(ArgumentError):
            nn.PositionOrientationConv(**{"channels": 1, "count": 6, "radius": 1.0} | wrong)
    with pytest.raises(ArgumentError):
        nn.PositionOrientationConv(1, 6, 1.0)(torch.zeros(1, 3, 6, 1), torch.zeros(1, 3, 2))
