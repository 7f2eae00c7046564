"""Re-dilation as a function: factor 1 is the layer, whole factors are dilations, results keep their size."""

import itertools
import math

import pytest
import torch

from faltung import F, nn
from faltung.errors import ArgumentError, DtypeError

TORCH = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}
SETTINGS = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3},
    {"kernel_size": 3, "padding": 1, "stride": 2, "bias": False},
    {"kernel_size": 5, "padding": "same", "padding_mode": "circular", "groups": 2},
    {"kernel_size": 3, "padding": 2, "dilation": 2, "padding_mode": "reflect"},
    {"kernel_size": 4, "padding": "same"},
    {"kernel_size": 1},
]


def drawn(ndim, settings, sizes=(9, 8, 7)):
    torch.manual_seed(0)
    layer = TORCH[ndim](2, 4, dtype=torch.float64, **settings)
    return layer, torch.randn(2, 2, *sizes[:ndim], dtype=torch.float64)


@pytest.mark.parametrize(("settings", "ndim"), list(itertools.product(SETTINGS, (1, 2, 3))))
def test_factor_one_is_the_layer(settings, ndim):
    layer, x = drawn(ndim, settings)
    ours = nn.Conv.from_torch(layer)
    wanted = ours(x)
    for form in (layer, ours):
        assert torch.equal(F.redilate(form, x, 1), wanted)
        assert torch.equal(F.redilate(form, x, 1.0), wanted)
    own = {name: getattr(layer, name) for name in ("bias", "stride", "padding", "dilation", "groups", "padding_mode")}
    assert torch.equal(F.redilate(layer.weight, x, (1,) * ndim, **own), wanted)


@pytest.mark.parametrize(("settings", "ndim", "factor"), list(itertools.product(SETTINGS, (1, 2, 3), (2, 3))))
def test_whole_factors_are_dilations(settings, ndim, factor):
    layer, x = drawn(ndim, settings)
    spread = layer.dilation[0] * factor
    other = dict(settings, dilation=spread)
    if settings.get("padding") != "same":
        before = settings.get("padding", 0)
        other["padding"] = before + (spread - layer.dilation[0]) * (settings["kernel_size"] - 1) // 2
    dilated = nn.Conv(ndim, 2, 4, dtype=torch.float64, **other)
    dilated.load_state_dict(layer.state_dict())
    y = F.redilate(layer, x, factor)
    torch.testing.assert_close(y, dilated(x), rtol=1e-12, atol=1e-12)
    assert y.shape == nn.Conv.from_torch(layer)(x).shape


@pytest.mark.parametrize(("stride", "padding", "taps"), list(itertools.product((1, 2, 3), (0, 1, 3), (1, 2, 3, 4, 5))))
def test_results_keep_their_size(stride, padding, taps):
    for n, factor in itertools.product((7, 8, 11), (0.5, 1, 1.25, 1.5, 2, 2.5, 3)):
        x, weight = torch.randn(1, 1, n), torch.randn(1, 1, taps)
        wanted = torch.nn.functional.conv1d(x, weight, stride=stride, padding=padding).shape
        assert F.redilate(weight, x, factor, stride=stride, padding=padding).shape == wanted


@pytest.mark.parametrize(("factor", "stride"), [(1.5, 1), (2.5, 1), (1.25, 2), (0.5, 1)])
def test_fractional_factors_resize_before_and_behind(factor, stride):
    layer, x = drawn(2, {"kernel_size": 3, "padding": 1, "stride": stride}, (12, 10))
    spread = math.ceil(factor)
    resize = torch.nn.functional.interpolate
    enlarged = resize(x, [round(n * spread / factor) for n in (12, 10)], mode="bilinear")
    y = torch.nn.functional.conv2d(enlarged, layer.weight, layer.bias, stride=stride, padding=spread, dilation=spread)
    wanted = resize(y, layer(x).shape[2:], mode="bilinear")
    torch.testing.assert_close(F.redilate(layer, x, factor), wanted, rtol=1e-12, atol=1e-12)


def test_each_axis_has_its_factor():
    layer, x = drawn(2, {"kernel_size": 3, "padding": 1})
    wanted = torch.nn.functional.conv2d(x, layer.weight, layer.bias, padding=(2, 1), dilation=(2, 1))
    torch.testing.assert_close(F.redilate(layer, x, (2, 1)), wanted, rtol=1e-12, atol=1e-12)


def test_four_dimensions_complex_numbers_and_single_samples():
    torch.manual_seed(0)
    weight = torch.randn(1, 1, 3, 1, 1, 1, dtype=torch.float64)
    line = torch.randn(1, 1, 6, 1, 1, 1, dtype=torch.float64)
    wanted = F.redilate(weight.flatten(2), line.flatten(2), 1.5, padding=1).reshape(1, 1, 6, 1, 1, 1)
    got = F.redilate(weight, line, (1.5, 1, 1, 1), padding=(1, 0, 0, 0))
    torch.testing.assert_close(got, wanted)
    x, k = torch.randn(1, 2, 8, dtype=torch.complex128), torch.randn(3, 2, 3, dtype=torch.complex128)
    real = [[F.redilate(b, a, 1.5, padding=1) for b in (k.real, k.imag)] for a in (x.real, x.imag)]
    wanted = torch.complex(real[0][0] - real[1][1], real[0][1] + real[1][0])
    torch.testing.assert_close(F.redilate(k, x, 1.5, padding=1), wanted)
    torch.testing.assert_close(F.redilate(k, x[0], 1.5, padding=1), wanted[0])
    assert F.redilate(k, x[:0], 1.5, padding=1).shape == (0, 3, 8)


def test_it_is_differentiable():
    x, k = torch.randn(1, 1, 6, dtype=torch.float64), torch.randn(1, 1, 3, dtype=torch.float64)
    for factor in (2, 1.5):
        torch.autograd.gradcheck(
            lambda k, x, factor=factor: F.redilate(k, x, factor, padding=1), (k.requires_grad_(), x.requires_grad_())
        )


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf"), "2", True, (1, 2, 3), None])
def test_wrong_factors_are_refused(factor):
    with pytest.raises(ArgumentError, match="factor above 0"):
        F.redilate(torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 4, 4), factor)


def test_wrong_layers_are_refused():
    x = torch.zeros(1, 2, 4, 4)
    for layer in (
        torch.nn.Linear(2, 2),
        torch.nn.ConvTranspose2d(2, 2, 3),
        nn.ConvTranspose2d(2, 2, 3),
        nn.ECA(2),
        None,
    ):
        with pytest.raises(DtypeError, match="convolution layer"):
            F.redilate(layer, x, 2)
    with pytest.raises(DtypeError, match="convolution layer"):
        F.redilate(nn.CoordConv2d(2, 2, 3), x, 2)
    with pytest.raises(ArgumentError, match="stride"):
        F.redilate(nn.Conv2d(2, 2, 3), x, 2, stride=2)
    with pytest.raises(DtypeError, match="tensor"):
        F.redilate(torch.zeros(1, 1, 3), [1, 2], 2)
