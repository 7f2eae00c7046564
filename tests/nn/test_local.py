"""Locally connected layers: convolutions where weights are equal, none where they are not, and their transposes."""

import math

import pytest
import torch

from faltung import nn
from faltung.errors import ArgumentError, DtypeError
from faltung.nn.functional import conv_local, conv_local_transpose

MODES = ["zeros", "reflect", "replicate", "circular", "symmetric"]
SETTINGS = [
    {"kernel_size": 3},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 2, "dilation": 2, "groups": 2, "bias": False},
    {"kernel_size": 3, "stride": 3, "padding": 2, "dilation": 2},
]
TORCH = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}


def test_the_number_of_parameters_and_tied_places():
    layer = nn.LocallyConnected2d(3, 64, 3, 32)
    assert layer.parameter_count() == sum(p.numel() for p in layer.parameters()) == 1_612_800
    conv, x = torch.nn.Conv2d(3, 64, 3), torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(nn.LocallyConnected2d.func.from_conv(conv, 32)(x), conv(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tie", ["none", "conv", 2])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_from_a_convolution_and_back(ndim, settings, tie):
    size = (9, 8, 7)[:ndim]
    conv = TORCH[ndim](4, 6, **settings, dtype=torch.float64)
    layer, x = nn.LocallyConnected.from_conv(conv, size, tie), torch.randn(3, 4, *size, dtype=torch.float64)
    torch.testing.assert_close(layer(x), conv(x), rtol=1e-10, atol=1e-10)
    back = layer.to_conv()
    assert torch.equal(back.weight, conv.weight)
    assert (back.bias is None) == (conv.bias is None)
    torch.testing.assert_close(back(x), conv(x), rtol=1e-10, atol=1e-10)


def test_from_our_own_layers():
    conv = nn.Conv(4, 2, 3, 2, padding="same", padding_mode="symmetric", dtype=torch.float64)
    x = torch.randn(2, 2, 3, 2, 3, 2, dtype=torch.float64)
    torch.testing.assert_close(nn.LocallyConnected.from_conv(conv, x.shape[2:])(x), conv(x), rtol=1e-10, atol=1e-10)
    for other in (nn.ConvTranspose1d(2, 2, 3), torch.nn.ConvTranspose1d(2, 2, 3), torch.nn.Linear(2, 2)):
        with pytest.raises(DtypeError, match="convolution"):
            nn.LocallyConnected.from_conv(other, 5)


def test_places_that_differ_make_no_convolution():
    layer = nn.LocallyConnected1d(1, 1, 3, 8)
    with pytest.raises(ArgumentError, match="weights"):
        layer.to_conv()
    layer = nn.LocallyConnected.from_conv(torch.nn.Conv1d(1, 1, 3), 8)
    with torch.no_grad():
        layer.bias[0, 2] += 1
    with pytest.raises(ArgumentError, match="biases"):
        layer.to_conv()


def circular(tie, size=12):
    torch.manual_seed(0)
    return nn.LocallyConnected(
        2, 2, 3, 3, size, padding="same", padding_mode="circular", tie=tie, dtype=torch.float64
    ).eval()  # fmt: skip


def off(layer, shift):
    """By how much layer and shift fail to commute."""
    x = torch.randn(2, 2, 12, 12, dtype=torch.float64)
    return (layer(x.roll(shift, (2, 3))) - layer(x).roll(shift, (2, 3))).abs().max().item()


def test_random_weights_do_not_follow_shifts():
    layer = circular("none")
    assert all(off(layer, shift) > 0.1 for shift in ((1, 0), (0, 1), (3, 5), (6, 6)))


def test_tied_weights_follow_shifts_by_the_period():
    layer = circular((2, 3))
    assert off(layer, (2, 3)) < 1e-12
    assert off(layer, (-4, 6)) < 1e-12
    assert off(layer, (2, 0)) < 1e-12
    assert off(layer, (1, 0)) > 0.1
    assert off(layer, (2, 1)) > 0.1
    assert off(circular("conv"), (1, 5)) < 1e-12


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_matrix_has_the_sparsity_of_a_convolution(settings):
    settings = {**settings, "bias": False, "dtype": torch.float64}
    local, conv = nn.LocallyConnected2d(2, 4, input_size=(6, 7), **settings), nn.Conv2d(2, 4, **settings)
    ours, theirs = local.effective_matrix((2, 6, 7)), conv.effective_matrix((2, 6, 7))
    assert torch.equal(ours != 0, theirs != 0)
    assert len(ours.unique()) > len(theirs.unique())  # no value stands twice


@pytest.mark.parametrize("padding_mode", MODES)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_the_transpose_is_the_transpose(ndim, settings, padding_mode):
    """⟨y, A x⟩ = ⟨Aᵀ y, x⟩."""
    size = (9, 8, 7)[:ndim]
    settings = {**settings, "bias": False, "padding_mode": padding_mode, "dtype": torch.float64}
    layer, x = nn.LocallyConnected(ndim, 4, 6, input_size=size, **settings), torch.randn(2, 4, *size).double()
    forward = layer(x)
    least = nn.LocallyConnectedTranspose(ndim, 6, 4, input_size=forward.shape[2:], **settings)
    extra = [n - m for n, m in zip(size, least.shapes(forward.shape)[2:], strict=True)]
    back = nn.LocallyConnectedTranspose(ndim, 6, 4, input_size=forward.shape[2:], output_padding=extra, **settings)
    back.weight = layer.weight
    y = torch.randn_like(forward)
    torch.testing.assert_close((y * forward).sum(), (back(y) * x).sum(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("settings", SETTINGS[1:], ids=str)
def test_a_tied_transpose_is_torch_s(settings):
    theirs = torch.nn.ConvTranspose2d(4, 6, **settings)
    ours = nn.LocallyConnectedTranspose(2, 4, 6, input_size=(5, 4), tie="conv", **settings)
    with torch.no_grad():
        ours.weight.copy_(theirs.weight[..., None, None])
        if ours.bias is not None:
            ours.bias.copy_(theirs.bias[:, None, None])
    x = torch.randn(2, 4, 5, 4)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


def test_first_values_are_those_of_a_convolution_at_each_place():
    torch.manual_seed(0)
    weight = nn.LocallyConnected2d(8, 16, 3, 20).weight
    bound = 1 / math.sqrt(8 * 9)
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=1e-2)
    assert weight.std((0, 1, 2, 3)).min() > 0.8 * bound / math.sqrt(3)


def test_second_derivatives():
    x = torch.randn(2, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    w = torch.randn(4, 1, 2, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    options = {"stride": (2, 1), "padding": (0, 1), "dilation": (1, 2), "groups": 2, "padding_mode": "reflect"}
    assert torch.autograd.gradgradcheck(lambda x, w: conv_local(x, w, None, **options), (x, w), fast_mode=True)
    y = torch.randn(2, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(
        lambda y, w: conv_local_transpose(y, w, None, **options), (y, w), fast_mode=True
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"input_size": 2},
        {"input_size": 8, "tie": "some"},
        {"input_size": 8, "tie": 7},
        {"input_size": 8, "tie": 0},
        {"input_size": 8, "bias": "each"},
        {"input_size": 8, "groups": 3},
        {"input_size": 0},
    ],
    ids=str,
)
def test_settings_that_name_no_layer_are_refused(settings):
    with pytest.raises(ArgumentError, match="expected"):
        nn.LocallyConnected1d(2, 4, 3, **settings)


def test_inputs_of_other_sizes_are_refused():
    with pytest.raises(ArgumentError, match="input_size"):
        nn.LocallyConnected1d(2, 4, 3, 8)(torch.zeros(1, 2, 9))
