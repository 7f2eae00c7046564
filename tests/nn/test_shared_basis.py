"""Kernels of several layers from one basis, and kernels of distance alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import nn
from faltung.errors import ArgumentError
from faltung.nn.symmetry import share_basis

DOUBLE = torch.float64


def drawn(*shape, seed=0):
    return torch.randn(shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def conv(channels=2, **settings):
    return nn.PositionOrientationConv(channels, 6, 3.0, **({"hidden": 5, "degree": 2, "dtype": DOUBLE} | settings))


def test_kernels_are_linear_maps_of_the_basis():
    layer, f, p = conv(), drawn(2, 4, 6, 2), drawn(2, 4, 3, seed=1)
    edges = torch.tensor([[0, 1, 2], [1, 0, 3]])
    for given_ in ((f, p), (f[0], p[0], edges)):
        basis = layer.basis(*given_)
        assert basis[0].shape == (*layer.kernels(*given_)[0].shape[:-1], 5)
        for a, b in zip(layer.kernels_of(basis), layer.kernels(*given_), strict=True):
            assert torch.allclose(a, b, atol=1e-14)
    i, j = 1, 3
    pair = torch.stack([layer.networks.pair(p[0, j] - p[0, i], o) for o in range(6)])
    assert torch.allclose(layer.kernels(f, p)[0][0, i, j], pair, atol=1e-13)


def test_blocks_with_one_basis_compute_it_once_and_say_what_they_say_alone():
    torch.manual_seed(0)
    blocks = [nn.PositionOrientationBlock(2, 6, 3.0, hidden=5, degree=2, dtype=DOUBLE) for _ in range(3)]
    last = conv(4)
    convs = share_basis([*blocks, last])
    assert convs == (*(b.conv for b in blocks), last)
    calls = []
    convs[0].networks.of_positions[0].register_forward_hook(lambda *_: calls.append(1))
    f, p = drawn(1, 4, 6, 2), drawn(1, 4, 3, seed=1)
    basis, shared = convs[0].basis(f, p), f
    for block in blocks:
        shared = block(shared, p, basis=basis)
    wide = torch.cat([shared, shared], -1)
    shared_last = last.mix(wide, last.kernels_of(basis))
    assert len(calls) == 1
    alone = f
    for block in blocks:
        alone = block(alone, p)
    assert len(calls) == 4
    assert torch.allclose(shared, alone, atol=1e-12)
    assert torch.allclose(shared_last, last(torch.cat([alone, alone], -1), p), atol=1e-12)
    assert not torch.allclose(blocks[0].conv.kernels_of(basis)[0], blocks[1].conv.kernels_of(basis)[0])
    model = torch.nn.ModuleList([*blocks, last])
    network = (2 + 4) * 5 + 5 + 5 * 5 + 5 + 2 * 5 + 5 + 5 * 5 + 5  # both, before their last maps
    rest = sum(p_.numel() for b in blocks for p_ in b.after.parameters())
    assert sum(p_.numel() for p_ in model.parameters()) == network + 2 * 5 * (3 * 2 + 4) + 3 * 2 + 4 + rest
    shared_last.sum().backward()
    assert all(p_.grad is not None and p_.grad.abs().sum() > 0 for p_ in convs[0].networks.of_positions.parameters())


def test_what_cannot_share_is_refused():
    for layers in (
        [], [torch.nn.Linear(2, 2)], [conv(), torch.nn.Linear(2, 2)], [conv(), conv(hidden=4)], [conv(), conv(degree=1)],
        [conv(), nn.PositionOrientationConv(2, 8, 3.0, hidden=5, degree=2, dtype=DOUBLE)],
        [conv(), nn.PositionOrientationConv(2, 6, 2.0, hidden=5, degree=2, dtype=DOUBLE)],
        [conv(), conv(arrangement="repelled")],
    ):  # fmt: skip
        with pytest.raises(ArgumentError):
            share_basis(layers)


def test_a_refusal_changes_no_layer():
    alike, other = conv(), conv(hidden=4)
    layers = [conv(), alike, other]
    before = [list(layer.modules()) for layer in layers]
    with pytest.raises(ArgumentError, match="alike but for channels"):
        share_basis(layers)
    for layer, modules in zip(layers, before, strict=True):
        assert all(a is b for a, b in zip(layer.modules(), modules, strict=True))


def test_layers_on_different_devices_are_refused():
    with pytest.raises(ArgumentError, match="layers on one device, cpu"):
        share_basis([conv(), conv().to("meta")])


@settings(max_examples=20, deadline=None)
@given(dims=st.integers(1, 4), seed=st.integers(0, 99))
def test_distances_do_not_change_with_motions(dims, seed):
    """Turns, mirrors, shifts, other orders of points; lists of edges say what whole clouds say."""
    layer = nn.RadialConv(3, 2.5, dims, hidden=4, dtype=DOUBLE)
    f, p = drawn(2, 5, 3, seed=seed), drawn(2, 5, dims, seed=seed + 1)
    q, shift = torch.linalg.qr(drawn(dims, dims, seed=seed + 2))[0], drawn(dims, seed=seed + 3)
    y = layer(f, p)
    assert torch.allclose(layer(f, p @ q.T + shift), y, atol=1e-11)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    assert torch.allclose(layer(f[:, order], p[:, order]), y[:, order], atol=1e-12)
    edges = torch.cartesian_prod(torch.arange(5), torch.arange(5)).T
    assert torch.allclose(layer(f[1], p[1], edges), y[1], atol=1e-12)
    assert not torch.allclose(layer(f, p * 0.5), y, atol=1e-3)


def test_kernels_end_at_the_radius_smoothly():
    layer = nn.RadialConv(3, 2.0, hidden=4, dtype=DOUBLE)
    at = torch.tensor([1.999, 2.0, 2.001, 5.0], dtype=DOUBLE)
    found = layer.kernel_at(at)
    assert found[0].abs().max() < 1e-6
    assert found[1:].abs().max() == 0
    f, p = drawn(2, 3, seed=1), torch.zeros(2, 3, dtype=DOUBLE, requires_grad=True)
    layer(f[None], p[None]).sum().backward()
    assert p.grad.isfinite().all()
    for wrong in ({"radius": 0}, {"radius": 1.0, "dims": 0}, {"radius": 1.0, "degree": 0}):
        with pytest.raises(ArgumentError):
            nn.RadialConv(1, **wrong)
