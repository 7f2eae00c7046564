"""Factorised layers: intra-channel blocks, channels on a torus, a mix at low resolution."""

import itertools

import pytest
import torch

from faltung.errors import ArgumentError, DtypeError
from faltung.nn import SICBlock, SICBlock2d, SpatialBottleneck, SpatialBottleneck2d, TopologicalLinear
from faltung.nn.functional import channel_mix, conv, named

TORI = [((16, 16), (4, 4)), ((4, 6), (3, 2)), ((5,), (5,)), ((2, 3, 4), (1, 2, 2)), ((8, 2), (1, 1))]


def layer_on(grid, window, dtype=torch.float64, **options):
    channels = torch.Size(grid).numel()
    return TopologicalLinear(channels, grid, window, dtype=dtype, **options)


# Channels on a torus


@pytest.mark.parametrize(("grid", "window"), TORI)
def test_masked_dense_layer_is_the_same(grid, window):
    """A dense layer whose weights are zero wherever two channels are not neighbours on the torus."""
    layer = layer_on(grid, window)
    x = torch.randn(2, layer.channels, 5, 3, dtype=torch.float64)
    mask = torch.ones(layer.channels, layer.channels, dtype=torch.float64)
    for n, u in enumerate(itertools.product(*map(range, grid))):
        for m, v in enumerate(itertools.product(*map(range, grid))):
            steps = [(b - a + (c - 1) // 2) % d for a, b, c, d in zip(u, v, window, grid, strict=True)]
            if any(s >= c for s, c in zip(steps, window, strict=True)):
                mask[n, m] = 0
    dense = layer.matrix().detach()
    assert ((dense != 0) == (mask != 0)).all()
    torch.testing.assert_close(layer(x), conv(x, dense[:, :, None, None], layer.bias))


def test_window_of_the_whole_grid_is_dense():
    layer, dense = layer_on((4, 3), (4, 3)), torch.randn(12, 12, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(dense.gather(1, layer.index))
    torch.testing.assert_close(layer.matrix().detach(), dense, rtol=0, atol=0)
    x = torch.randn(2, 12, 7, dtype=torch.float64)
    torch.testing.assert_close(layer(x), torch.conv1d(x, dense[:, :, None], layer.bias))


@pytest.mark.parametrize(("grid", "window"), TORI)
def test_the_pattern_moves_with_the_torus(grid, window):
    """Shifting weights and input along the torus shifts the result."""
    layer, moved = layer_on(grid, window, bias=False), layer_on(grid, window, bias=False)
    shift, axes = tuple(range(1, len(grid) + 1)), tuple(range(len(grid)))

    def roll(a, axis):
        a = a.movedim(axis, 0)
        return a.reshape(*grid, *a.shape[1:]).roll(shift, axes).reshape(a.shape).movedim(0, axis)

    with torch.no_grad():
        moved.weight.copy_(roll(layer.weight, 0))
    x = torch.randn(2, layer.channels, 4, dtype=torch.float64)
    torch.testing.assert_close(moved(roll(x, 1)), roll(layer(x), 1))


@pytest.mark.parametrize(("grid", "window"), TORI)
def test_sparse_lists_and_dense_products_agree_with_their_derivatives(grid, window):
    layer = layer_on(grid, window)
    x = torch.randn(2, layer.channels, 4, dtype=torch.float64)
    results = []
    for call in (
        lambda z: channel_mix(z, layer.weight, layer.index, layer.back),
        lambda z: torch.einsum("oc,ncp->nop", layer.matrix(), z),
    ):
        z = x.clone().requires_grad_()
        y = call(z)
        first = torch.autograd.grad(y.square().sum(), (z, layer.weight), create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), (z, layer.weight))
        results.append((y, *first, *second))
    torch.testing.assert_close(results[0], results[1])


def test_numbers_of_weights():
    assert layer_on((16, 16), (4, 4)).parameter_count() == 256 * 17
    assert SpatialBottleneck2d(64).parameter_count() == 2 * 9 * 64 + 64 * 64 + 64
    assert SICBlock2d(64, depth=2).parameter_count() == 2 * (9 * 64 + 64 * 64 + 128)


def test_wrong_tori_are_refused():
    for arguments in ((12, (4, 4), (2, 2)), (16, (4, 4), (5, 1)), (16, (4, 4), (2, 2, 2)), (16, (4, 4), (0, 1))):
        with pytest.raises(ArgumentError):
            TopologicalLinear(*arguments)
    index = torch.tensor([[0, 1], [0, 1]])
    with pytest.raises(ArgumentError, match="equally often"):
        named(torch.tensor([[0, 0], [0, 1]]), 2)
    with pytest.raises(ArgumentError, match="match the channels"):
        channel_mix(torch.zeros(1, 3, 4), torch.zeros(2, 2), index, named(index, 2))
    with pytest.raises(DtypeError):
        channel_mix(torch.zeros(1, 2, 4).half(), torch.zeros(2, 2), index, named(index, 2))


def test_half_precision_goes_the_dense_way():
    layer = layer_on((4, 4), (2, 2), torch.float32)
    x = torch.randn(2, 16, 9)
    got = layer.to(torch.bfloat16)(x.bfloat16())
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), layer.float()(x), rtol=2e-2, atol=2e-2)


# The mix at low resolution


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_bottleneck_keeps_every_size(k, stride):
    layer = SpatialBottleneck(2, 2, k, stride, dtype=torch.float64)
    for n, m in ((12, 6), (11, 7), (10, 9)):
        x = torch.randn(1, 2, n, m, dtype=torch.float64)
        assert layer(x).shape == x.shape
        torch.testing.assert_close(layer(x), layer.definition(x))
        low = layer.down(x).shape[2:]
        assert tuple(low) == tuple(-(-s // stride) if k % 2 else s // stride + 1 for s in (n, m))


def test_bottleneck_is_torchs_layers_in_a_row():
    layer = SpatialBottleneck2d(3, dtype=torch.float64)
    x = torch.randn(2, 3, 8, 6, dtype=torch.float64)
    low = torch.conv2d(x, layer.down.weight, stride=2, padding=1, groups=3)
    low = torch.conv2d(low, layer.mix.weight, layer.mix.bias)
    wanted = torch.conv_transpose2d(low, layer.up.weight, stride=2, padding=1, output_padding=1, groups=3)
    torch.testing.assert_close(layer(x), wanted)


# The block


def test_block_without_its_branch_is_the_shortcut():
    layer = SICBlock2d(3, depth=2).eval()
    for norm in layer.norms:
        torch.nn.init.zeros_(norm.weight)
    x = torch.randn(1, 3, 5, 5)
    torch.testing.assert_close(layer(x), x)


def test_block_is_torchs_layers_in_a_row():
    layer = SICBlock(2, 4, k=5, dtype=torch.float64)
    x = torch.randn(3, 4, 6, 7, dtype=torch.float64)
    y = torch.conv2d(x, layer.spatial[0].weight, padding=2, groups=4)
    y = torch.conv2d(y, layer.mixes[0].weight)
    norm = torch.nn.BatchNorm2d(4, dtype=torch.float64)
    torch.testing.assert_close(layer(x), x + norm(y).relu())
    torch.testing.assert_close(layer.norms[0].running_mean, norm.running_mean)
    with pytest.raises(ArgumentError, match="odd number"):
        SICBlock(2, 4, k=2)
