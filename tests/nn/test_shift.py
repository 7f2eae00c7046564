"""Shifts: the directions, permutations and their inverses, one-hot kernels, the fused convolution, expressivity, sizes."""

import pytest
import torch

from faltung import nn
from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.functional.shift import directions

EIGHT = [(-1, 0), (1, 0), (0, -1), (0, 1), (1, 1), (1, -1), (-1, 1), (-1, -1)]


@pytest.mark.parametrize("grad", [True, False])
def test_the_eight_directions_read_the_neighbours(grad):
    x = torch.arange(8 * 25.0).reshape(1, 8, 5, 5).requires_grad_(grad)
    y = nn.Shift2d(8)(x)
    for group, (dy, dx) in enumerate(EIGHT):
        for row in range(5):
            for column in range(5):
                inside = 0 <= row + dy < 5 and 0 <= column + dx < 5
                wanted = x[0, group, row + dy, column + dx] if inside else 0.0
                assert y[0, group, row, column] == wanted


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_there_are_three_to_the_n_minus_one_directions(ndim):
    found = directions(ndim)
    assert len(set(found)) == 3**ndim - 1
    assert (0,) * ndim not in found
    assert {tuple(-v for v in o) for o in found} == set(found)
    assert all(sum(map(abs, o)) == 1 for o in found[: 2 * ndim])
    assert nn.Shift(ndim, 3**ndim - 1, f"{3**ndim - 1}-neighbour").offsets == found
    assert nn.Shift(ndim, 2 * ndim, "axes").offsets == found[: 2 * ndim]


def test_the_shift_is_a_frozen_depthwise_convolution_of_single_ones():
    layer = nn.Shift2d(16, step=2, dtype=torch.float64)
    x = torch.randn(2, 16, 7, 6, dtype=torch.float64)
    kernel = layer.effective_kernel()
    assert kernel.shape == (16, 1, 5, 5)
    assert (kernel.flatten(1).sort(1).values == torch.eye(25, dtype=torch.float64)[-1]).all()
    assert torch.equal(torch.nn.functional.conv2d(x, kernel, padding=2, groups=16), layer(x))
    assert torch.equal(layer.freeze()(x), layer(x))


@pytest.mark.parametrize("step", [1, 2, 9])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_the_opposite_shift_gives_the_interior_back(ndim, step):
    layer = nn.Shift(ndim, 2 * (3**ndim - 1), step=step)
    x = torch.randn(2, layer.in_channels, *[8] * ndim)
    back = layer.opposite()(layer(x))
    inside = (..., *[slice(step, max(step, 8 - step))] * ndim)
    assert torch.equal(back[inside], x[inside])
    assert (back == 0).any()
    with pytest.raises(ArgumentError, match="circular"):
        layer.inverse(x)


@pytest.mark.parametrize("step", [1, 3, 11])
def test_a_circular_shift_is_a_permutation(step):
    layer = nn.Shift2d(8, padding_mode="circular", step=step)
    x = torch.randn(2, 8, 5, 6)
    y = layer(x)
    assert torch.equal(y.flatten().sort().values, x.flatten().sort().values)  # the very same numbers
    assert torch.equal(layer.inverse(y), x)


@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_the_fused_convolution_is_shift_and_then_1x1(ndim, mode):
    torch.manual_seed(0)
    layer = nn.ShiftConv(ndim, 2 * (3**ndim - 1), 5, padding_mode=mode, dtype=torch.float64)
    x = torch.randn(2, layer.in_channels, *[5] * ndim, dtype=torch.float64)
    moved = nn.Shift(ndim, layer.in_channels, padding_mode=mode)(x)
    wanted = torch.einsum("oi,bi...->bo...", layer.weight.flatten(1), moved) + layer.bias.reshape(-1, *[1] * ndim)
    torch.testing.assert_close(layer(x), wanted)


def test_nine_copies_of_the_channels_reproduce_any_3x3_convolution():
    torch.manual_seed(0)
    weight = torch.randn(5, 4, 3, 3, dtype=torch.float64)
    taps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    layer = nn.ShiftConv2d(36, 5, offsets=taps, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(weight.flatten(2).permute(0, 2, 1).reshape(5, 36, 1, 1))
    x = torch.randn(2, 4, 8, 7, dtype=torch.float64)
    torch.testing.assert_close(layer(x.repeat(1, 9, 1, 1)), torch.nn.functional.conv2d(x, weight, padding=1))


def test_parameters_of_the_residual_block():
    block = nn.ShiftResBlock2d(64)
    assert sum(p.numel() for p in block.parameters()) == block.parameter_count() == 8320
    assert sum(torch.nn.Conv2d(64, 64, 3).weight.numel() + 64 for _ in range(2)) == 73856


def test_the_residual_block_is_its_formula():
    torch.manual_seed(0)
    block = nn.ShiftResBlock2d(16, dtype=torch.float64)
    x = torch.randn(1, 16, 6, 5, dtype=torch.float64)
    inner = torch.nn.functional.conv2d(x, block.first.weight, block.first.bias)
    inner = torch.relu(
        torch.nn.functional.conv2d(inner, nn.Shift2d(16, dtype=torch.float64).kernel(), padding=1, groups=16)
    )
    torch.testing.assert_close(block(x), x + torch.nn.functional.conv2d(inner, block.second.weight, block.second.bias))


@pytest.mark.parametrize("scale", [2, 4])
def test_the_network_starts_from_the_enlarged_image_and_keeps_the_count(scale):
    network = nn.ShiftSuperResolution2d(features=16, blocks=3, scale=scale)
    assert network.parameter_count() == sum(p.numel() for p in network.parameters())
    x = torch.rand(1, 3, 9, 7)
    with torch.no_grad():
        network.tail.weight.zero_()
        network.tail.bias.zero_()
    wanted = torch.nn.functional.interpolate(x, scale_factor=scale, mode="bilinear")
    torch.testing.assert_close(network(x), wanted)


def test_shift_functional_and_its_derivative():
    x = torch.randn(2, 6, 5, 4, dtype=torch.float64, requires_grad=True)
    for mode in ("zeros", "circular"):
        assert torch.autograd.gradcheck(
            lambda x, mode=mode: functional.shift(x, [(0, 1), (-2, 0), (7, -9)], mode), (x,)
        )
    assert functional.shift(x, [(6, 0), (0, -5), (9, 9)]).abs().sum() == 0
    with torch.no_grad():
        assert functional.shift(x, [(6, 0), (0, -5), (9, 9)]).abs().sum() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"channels": 12},
        {"channels": 8, "offsets": "6-neighbour"},
        {"channels": 8, "offsets": [(1, 0, 0)]},
        {"channels": 8, "offsets": []},
        {"channels": 8, "offsets": [(0.5, 1)]},
        {"channels": 8, "padding_mode": "reflect"},
        {"channels": 8, "step": 0},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ArgumentError):
        nn.Shift2d(**wrong)


def test_wrong_calls_are_refused():
    with pytest.raises(ArgumentError, match="power of two"):
        nn.ShiftSuperResolution2d(scale=3)
    for offsets, mode in (([(1,)], "zeros"), ([(1, 0)] * 4, "zeros"), ([(1, 0)] * 3, "edge")):
        with pytest.raises(ArgumentError):
            functional.shift(torch.zeros(1, 6, 3, 3), offsets, mode)
