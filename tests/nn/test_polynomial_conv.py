"""PolynomialConv: its degree on lines, its Volterra kernels, what it is at degree 1, and how it scales."""

import itertools
import math

import pytest
import torch

from faltung import nn
from faltung.errors import ArgumentError
from faltung.nn.functional.definition import padded

DOUBLE = {"dtype": torch.float64}


def differences(values, order):
    """The finite differences of that order along the first axis."""
    for _ in range(order):
        values = values[1:] - values[:-1]
    return values


@pytest.mark.parametrize("degree", [1, 2, 3, 5])
def test_on_a_line_the_layer_is_a_polynomial_of_its_degree(degree):
    torch.manual_seed(0)
    layer = nn.PolynomialConv1d(2, 3, 3, degree=degree, padding=1, **DOUBLE)
    torch.nn.init.normal_(layer.branches.weight)
    z = torch.randn(1, 2, 6, **DOUBLE)
    values = torch.cat([layer(t * z) for t in torch.linspace(-1, 1, degree + 3, **DOUBLE)])
    size = values.abs().max()
    assert differences(values, degree + 1).abs().max() < 1e-11 * size
    assert differences(values, degree).abs().max() > 1e-4 * size


def volterra_sum(layer, z):
    """Every order's sum over all tuples of channels and taps, as written."""
    conv = layer.branches
    ndim, groups = conv.ndim, layer.groups
    taps = list(itertools.product(*map(range, conv.kernel_size)))
    sizes = conv.shapes(z.shape)[2:]
    z = padded(z, conv.pads, conv.padding_mode).unflatten(1, (groups, -1))
    windows = []
    for tap in taps:
        steps = zip(tap, conv.dilation, sizes, conv.stride, strict=True)
        windows.append(z[(..., *(slice(t * d, t * d + (m - 1) * s + 1, s) for t, d, m, s in steps))])
    seen = torch.stack(windows, 3)  # (batch, groups, channels, taps, *sizes)
    seen = seen.flatten(2, 3)
    y = torch.zeros(())
    for order in range(1, layer.degree + 1):
        kernel = layer.volterra(order).reshape(groups, -1, *(seen.shape[2],) * order)
        for at in itertools.product(range(seen.shape[2]), repeat=order):
            product = math.prod(seen[:, :, i] for i in at)
            y = y + (kernel[(..., *at)].reshape(1, groups, -1, *[1] * ndim) * product.unsqueeze(2)).flatten(1, 2)
    return y + (0 if layer.mix.bias is None else layer.mix.bias.reshape(-1, *[1] * ndim))


@pytest.mark.parametrize(
    ("ndim", "settings", "shape"),
    [
        (1, {"degree": 2, "rank": 4, "padding": 1}, (2, 2, 5)),
        (1, {"degree": 3, "stride": 2, "dilation": 2, "bias": False}, (1, 2, 9)),
        (2, {"degree": 2, "rank": 2, "groups": 2, "padding": 1, "padding_mode": "reflect"}, (1, 2, 3, 4)),
    ],
)
def test_the_layer_is_the_explicit_volterra_sum(ndim, settings, shape):
    torch.manual_seed(1)
    layer = nn.PolynomialConv(ndim, 2, 2, 3 if ndim == 1 else 2, **settings)
    z = torch.randn(shape)
    torch.testing.assert_close(layer(z), volterra_sum(layer, z), rtol=1e-5, atol=1e-5)


def test_a_quadratic_kernel_of_rank_r_is_a_sum_of_r_outer_products():
    layer = nn.PolynomialConv1d(1, 1, 5, degree=2, rank=3, bias=False, **DOUBLE)
    h = layer.volterra(2)[0, 0, :, 0]
    a, b = layer.factors[0, 0, :, 0], layer.factors[0, 1, :, 0]
    wanted = sum(c * torch.outer(u, v) for c, u, v in zip(layer.mix.weight.flatten(), a, b, strict=True))
    torch.testing.assert_close(h, wanted)
    assert torch.linalg.matrix_rank(h) == 3


@pytest.mark.parametrize("degree", [2, 4])
def test_without_further_factors_it_is_a_convolution(degree):
    layer = nn.PolynomialConv2d(3, 4, 3, degree=degree, padding=1, **DOUBLE)
    single = nn.PolynomialConv2d(3, 4, 3, degree=1, padding=1, **DOUBLE)
    with torch.no_grad():
        layer.factors[:, 1:] = 0
        single.factors[:, 0] = layer.factors[:, 0]
        single.mix.load_state_dict(layer.mix.state_dict())
    x = torch.randn(2, 3, 5, 4, **DOUBLE)
    torch.testing.assert_close(layer(x), single(x))
    kernel = single.volterra(1)
    torch.testing.assert_close(single(x), torch.nn.functional.conv2d(x, kernel, single.mix.bias, padding=1))


def test_a_factor_that_is_one_everywhere_doubles_and_a_mask_of_ones_is_the_identity():
    """A factor m makes x into (m + 1) x: with m = 0 the mask is one everywhere, and nothing changes."""
    layer = nn.PolynomialConv1d(1, 1, 1, degree=2, bias=False, **DOUBLE)
    x = torch.ones(1, 1, 4, **DOUBLE) * 3
    with torch.no_grad():
        layer.factors[:, 0], layer.mix.weight[:] = 1, 1
        layer.factors[:, 1] = 0
        assert torch.equal(layer(x), x)
        layer.factors[:, 1] = 1 / 3
        torch.testing.assert_close(layer(x), 2 * x)


def test_shifts_pass_through():
    layer = nn.PolynomialConv2d(2, 2, 3, degree=3, padding=1, padding_mode="circular", **DOUBLE)
    x = torch.randn(1, 2, 6, 5, **DOUBLE)
    torch.testing.assert_close(layer(x.roll((2, 1), (2, 3))), layer(x).roll((2, 1), (2, 3)))


def test_the_variance_does_not_grow_with_the_degree():
    torch.manual_seed(0)
    x = torch.randn(16, 8, 64)
    plain, high = (
        torch.stack(
            [nn.PolynomialConv1d(8, 8, 3, degree=degree, rank=32, bias=False)(x).var() for _ in range(5)]
        ).mean()
        for degree in (1, 9)
    )
    assert high < 1.15 * math.exp(1 / 3) * plain


def test_halves_are_multiplied_wide():
    layer = nn.PolynomialConv1d(1, 1, 1, degree=3, bias=False)
    with torch.no_grad():
        layer.factors[:] = torch.tensor([300.0, 300.0, -1.0]).reshape(layer.factors.shape)
        layer.mix.weight[:] = 1.0
    x = torch.ones(1, 1, 2)
    with torch.autocast("cpu", dtype=torch.float16):
        got = layer(x)
    assert torch.equal(got.float(), torch.zeros(1, 1, 2))  # 300 · 301 is beyond float16, and its product with 0 is 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"degree": 0}, "degree"),
        ({"rank": 0}, "rank"),
        ({"rank": 3, "groups": 2}, "rank that 2 groups divide"),
        ({"padding_mode": "mirror"}, "padding_mode"),
    ],
)
def test_wrong_settings_are_refused(arguments, said):
    with pytest.raises(ArgumentError, match=said):
        nn.PolynomialConv2d(4, 4, 3, **arguments)


def test_there_is_no_kernel_beyond_the_degree():
    with pytest.raises(ArgumentError, match="up to the degree 2"):
        nn.PolynomialConv1d(1, 1, 2).volterra(3)
