"""Blocks that depend on scalars of an edge: they turn with edge and features, and are plain blocks for each edge's scalars."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import nn
from faltung.errors import ArgumentError
from faltung.nn.base import Example
from faltung.nn.symmetry.so2_conv import GatedBlock
from faltung.nn.symmetry.so3 import rotate, wigner
from faltung.testing import layer_cases, layer_symmetry

DOUBLE = torch.float64


def drawn(*shape, seed=0):
    return torch.randn(shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def rotation(seed=0):
    q, r = torch.linalg.qr(drawn(3, 3, seed=seed))
    q = q * r.diagonal().sign()
    return q * torch.linalg.det(q)


def stirred(layer):
    """The layer with nothing left at the zeros it starts from."""
    with torch.no_grad():
        for n, p in enumerate(layer.parameters()):
            p.add_(0.3 * drawn(*p.shape, seed=n))
    return layer


@given(l_in=st.integers(0, 3), l_out=st.integers(0, 3), highest=st.integers(0, 3), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_conditioned_blocks_turn_with_edge_and_features(l_in, l_out, highest, seed):
    """Random rotations; edges at and near the poles too; scalars stay what they are."""
    layer = stirred(nn.SO2Conv(2, 3, l_in, l_out, highest, True, dtype=DOUBLE, edge_dim=4, hidden=5))
    edge = torch.cat([torch.tensor([[0, 1, 0], [0, -2, 0], [1e-7, 1, 0]], dtype=DOUBLE), drawn(4, 3, seed=seed)])
    x, scalars = drawn(7, (l_in + 1) ** 2, 2, seed=seed + 1), drawn(7, 4, seed=seed + 2)
    r = rotation(seed)
    d = wigner(max(l_in, l_out), r)
    got = layer(rotate(x, d[: l_in + 1]), edge @ r.T, scalars)
    assert torch.allclose(got, rotate(layer(x, edge, scalars), d[: l_out + 1]), atol=1e-10)


def test_a_bias_beyond_order_zero_or_two_gates_break_it():
    """The check finds what is not admissible: a constant on order 1, and gates of their own for m and −m."""
    x, edge, scalars, r = drawn(5, 9, 2), drawn(5, 3, seed=1), drawn(5, 4, seed=2), rotation(3)
    d = wigner(2, r)

    def gap(layer):
        return float(
            (layer(rotate(x, d), edge @ r.T, scalars) - rotate(layer(x, edge, scalars), d)).detach().abs().max()
        )

    def made():
        return stirred(nn.SO2Conv(2, 3, 2, 2, dtype=DOUBLE, edge_dim=4, hidden=5))

    layer = made()
    assert gap(layer) < 1e-10
    right, row = layer._mixed, layer._stacked().index((1, 1))
    layer._mixed = lambda turned, given=None: right(turned, given) + torch.eye(9, dtype=DOUBLE)[row, :, None]
    assert gap(layer) > 1e-2

    class TwoGates(GatedBlock):
        def forward(self, signs, part, scalars):
            return [
                own for n, x in enumerate(signs) for own in super(TwoGates, self).forward([x], part, scalars * (1 + n))
            ]

    layer = made()
    for block in layer.blocks:
        block.__class__ = TwoGates
    assert gap(layer) > 1e-2


def test_with_one_kind_of_edge_it_is_the_plain_layer():
    """The matrices that the scalars of an edge make, put into a layer without scalars."""
    layer = stirred(nn.SO2Conv(2, 3, 3, 2, 1, True, dtype=DOUBLE, edge_dim=4, hidden=5))
    plain = nn.SO2Conv(2, 3, 3, 2, 1, True, dtype=DOUBLE)
    x, edge, scalars = drawn(6, 16, 2), drawn(6, 3, seed=1), drawn(6, 4, seed=2)
    got = layer(x, edge, scalars)
    with torch.no_grad():
        plain.bias.copy_(layer.bias)
        for n in range(6):
            for own, block in zip(plain.blocks, layer.blocks, strict=True):
                own.copy_(block.definition(scalars[n : n + 1])[0])
            assert torch.allclose(plain(x[n : n + 1], edge[n : n + 1]), got[n : n + 1], atol=1e-12)
    changed = layer(x, edge, scalars + 1)
    assert (changed - got).abs().amax((1, 2)).min() > 1e-3


def test_derivatives_reach_scalars_edges_and_features():
    layer = stirred(nn.SO2Conv(1, 2, 1, 2, bias=True, dtype=DOUBLE, edge_dim=2, hidden=3))
    inputs = [drawn(2, 4, 1), drawn(2, 3, seed=1), drawn(2, 2, seed=2)]
    torch.autograd.gradcheck(layer, [a.requires_grad_() for a in inputs])


def test_results_start_with_the_variance_of_plain_blocks():
    torch.manual_seed(0)
    x, edge, scalars = torch.randn(400, 16, 8), torch.randn(400, 3), torch.randn(400, 6)
    gated, plain = nn.SO2Conv(8, 8, 3, 3, edge_dim=6)(x, edge, scalars), nn.SO2Conv(8, 8, 3, 3)(x, edge)
    assert float((gated.var() / plain.var()).detach()) == pytest.approx(1, abs=0.2)


def test_what_was_stored_before_still_loads():
    """Without scalars names and shapes of parameters are those of blocks alone, and calls take two arguments."""
    names = {name: tuple(p.shape) for name, p in nn.SO2Conv(2, 3, 1, 2, bias=True).named_parameters()}
    assert names == {"bias": (3, 3), "blocks.0": (1, 9, 4), "blocks.1": (2, 6, 2)}


def test_steps_between_one_pair_of_rotations():
    """Two layers and scalars within one frame are the two layers one after the other."""
    first = nn.SO2Conv(2, 3, 2, 2, dtype=DOUBLE, edge_dim=4, hidden=5)
    second = nn.SO2Conv(3, 1, 2, 2, dtype=DOUBLE)
    x, edge, scalars = drawn(5, 9, 2), drawn(5, 3, seed=1), drawn(5, 4, seed=2)
    frame = first.frame(edge)
    together = rotate(second.within(first.within(rotate(x, frame), scalars)), frame, back=True)
    assert torch.allclose(together, second(first(x, edge, scalars), edge), atol=1e-12)


def test_scalars_that_do_not_fit_are_refused():
    x, edge = torch.zeros(3, 9, 1), torch.ones(3, 3)
    layer = nn.SO2Conv(1, 1, 2, 2, edge_dim=4, hidden=5)
    for scalars in (None, torch.zeros(3, 5), torch.zeros(2, 4), torch.zeros(3, 4, dtype=torch.int64)):
        with pytest.raises(ArgumentError, match="scalars"):
            layer(x, edge, scalars)
    with pytest.raises(ArgumentError, match="edge_dim"):
        nn.SO2Conv(1, 1, 2, 2)(x, edge, torch.zeros(3, 4))
    for turned in (torch.zeros(3, 9, 2), torch.zeros(3, 4, 1)):
        with pytest.raises(ArgumentError):
            nn.SO2Conv(1, 1, 2, 2).within(turned)
    for wrong in ({"edge_dim": 0}, {"edge_dim": 2, "hidden": 0}):
        with pytest.raises(ArgumentError):
            nn.SO2Conv(1, 1, 2, 2, **wrong)


def test_other_kinds_of_inputs_are_refused_before_anything_is_turned():
    x, edge, layer = torch.zeros(3, 9, 1), torch.ones(3, 3), nn.SO2Conv(1, 1, 2, 2, highest=1)
    for wrong in ([[1.0, 0.0, 0.0]] * 3, None, edge.long(), edge[:2]):
        with pytest.raises(ArgumentError, match=r"SO2Conv: expected x .* and edge"):
            layer(x, wrong)
    with pytest.raises(ArgumentError, match=r"scalars .* but got list"):
        nn.SO2Conv(1, 1, 2, 2, edge_dim=2)(x, edge, [[0.0, 0.0]] * 3)
    frame = layer.frame(edge)
    for wrong in (torch.zeros(3, 4, 1), torch.zeros(3, 9, 2)):
        with pytest.raises(ArgumentError, match=r"SO2Conv: expected (an input .batch, 9|1 channels)"):
            layer.mix(wrong, frame)


class Skewed(nn.SO2Conv):
    """Wrong with mirrors: an order has a part B after all, as large as A."""

    def _block(self, m, part, signs, scalars):
        found = super()._block(m, part, signs, scalars)
        return [found[0] - found[1], found[1] + found[0]] if m else found

    def definition(self, *inputs):
        return self.forward(*inputs)


def test_the_contract_sees_a_mirror_that_is_broken():
    few = {"in_channels": 1, "out_channels": 2, "l_in": 2, "l_out": 2}
    for mirrors in (False, True):
        case = layer_cases.Case(Skewed, Example({**few, "mirrors": mirrors}, ((2, 9, 1), (2, 3))))
        if not mirrors:
            layer_symmetry.symmetric(case)  # rotations do not see it
            continue
        with pytest.raises(AssertionError, match="mirror"):
            layer_symmetry.symmetric(case)


@pytest.mark.parametrize(
    "make", [lambda **how: nn.SO2Conv(1, 1, 1, 1, **how), lambda **how: nn.ESCNConv(1, 1, 1, 1, **how)]
)
def test_mirrors_are_declared_where_they_are_kept(make):
    def names(layer):
        drawn = [one for seed in range(20) for one in layer.random_symmetries(np.random.default_rng(seed))]
        return [{one.name for one in found} for found in (layer.symmetries(), drawn)]

    assert names(make()) == [{"a rotation"}] * 2
    assert names(make(mirrors=True)) == [{"a rotation", "a rotation with a mirror"}] * 2
