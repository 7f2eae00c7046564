"""HadamardPerceptron: XOR convolution, orders, identity, exact integers, and what it is equivariant to."""

import itertools
import math

import pytest
import torch

import faltung
from faltung import nn
from faltung.engine.walsh import rows_of
from faltung.errors import ArgumentError, DtypeError


def plain(sizes, order="natural", **settings):
    """A layer of one path and channel that mixes and thresholds nothing."""
    layer = nn.HadamardPerceptron(len(sizes), 1, 1, sizes, paths=1, order=order, **settings)
    with torch.no_grad():
        layer.weight.fill_(1)
        if layer.threshold is not None:
            layer.threshold.copy_(-layer.threshold)
    return layer


@pytest.mark.parametrize("sizes", [(16,), (8, 4), (2, 4, 8)])
def test_one_plain_path_is_an_xor_convolution(sizes):
    torch.manual_seed(0)
    layer, x = plain(sizes), torch.randn(1, 1, *sizes)
    k = layer.scale.detach()[0]
    for axis in range(k.ndim):
        k = faltung.fwht(k, axis, norm="forward")
    wanted = torch.zeros(sizes)
    for w in itertools.product(*map(range, sizes)):
        for u in itertools.product(*map(range, sizes)):
            wanted[w] += x[(0, 0, *u)] * k[tuple(a ^ b for a, b in zip(u, w, strict=True))]
    torch.testing.assert_close(layer(x)[0, 0], wanted, rtol=1e-5, atol=1e-5)
    if len(sizes) == 1:
        ours = faltung.convolve(x[0, 0].numpy(), k.numpy(), on="dyadic")
        torch.testing.assert_close(layer(x)[0, 0].detach(), torch.from_numpy(ours), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("order", ["sequency", "dyadic"])
def test_orders_give_the_same_layer_when_scales_and_thresholds_are_permuted_alike(order):
    settings = {"in_channels": 2, "out_channels": 3, "size": (5, 8), "paths": 2, "dtype": torch.float64}
    natural, other = nn.HadamardPerceptron2d(**settings), nn.HadamardPerceptron2d(**settings, order=order)
    with torch.no_grad():
        other.weight.copy_(natural.weight)
        for name in ("scale", "threshold"):
            values = getattr(natural, name)
            for axis, n in enumerate(natural.padded):
                values = values[(slice(None),) * (axis + 1) + (rows_of(order, n).tolist(),)]
            getattr(other, name).copy_(values)
    x = torch.randn(2, 2, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(other(x), natural(x), rtol=1e-12, atol=1e-12)
    other.scale.data.copy_(natural.scale)
    assert (other(x) - natural(x)).abs().max() > 1e-3


@pytest.mark.parametrize("size", [(7,), (4, 6), (2, 3, 5)])
def test_unit_scales_and_mix_are_the_identity(size):
    layer = nn.HadamardPerceptron(len(size), 3, 3, size, paths=1, dtype=torch.float64)
    with torch.no_grad():
        layer.scale.fill_(1)
        layer.threshold.fill_(-1)
        layer.weight.copy_(torch.eye(3).reshape(layer.weight.shape))
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(layer(x), x)


def test_parameters_by_formula():
    layer = nn.HadamardPerceptron2d(5, 7, (6, 9), paths=3)
    assert sum(p.numel() for p in layer.parameters()) == 3 * (2 * 8 * 16 + 5 * 7)


def test_integers_are_transformed_exactly():
    x = torch.randint(-(2**40), 2**40, (3, 64))
    y = faltung.fwht(faltung.fwht(x))
    assert y.dtype == torch.int64
    assert torch.equal(y, 64 * x)


def test_the_transform_is_its_own_adjoint():
    x, g = torch.randn(2, 5, 16, dtype=torch.float64).requires_grad_(), torch.randn(2, 5, 16, dtype=torch.float64)
    (got,) = torch.autograd.grad(faltung.fwht(x), x, g)
    torch.testing.assert_close(got, faltung.fwht(g))
    torch.testing.assert_close((faltung.fwht(x) * g).sum(), (x * faltung.fwht(g)).sum())


def test_xor_of_positions_passes_even_through_thresholds_and_shifts_do_not():
    torch.manual_seed(0)
    layer = nn.HadamardPerceptron2d(1, 1, 8, dtype=torch.float64)
    torch.nn.init.constant_(layer.threshold, 2.0)
    x = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    thresholded = layer(x)
    layer.threshold.data.fill_(-1)
    assert (thresholded - layer(x)).abs().max() > 1e-3  # so that there is a threshold to pass through
    layer.threshold.data.fill_(2.0)
    for a in range(8):
        at = torch.arange(8) ^ a
        torch.testing.assert_close(layer(x[..., at, :]), thresholded[..., at, :])
    assert (layer(x.roll(1, -1)) - thresholded.roll(1, -1)).abs().max() > 1e-3


def test_thresholds_scale_with_the_number_of_places():
    """The transform is unnormalised: an impulse has coefficients of 1 whatever the size, a constant one of Π n."""
    for n in (8, 32):
        layer = plain((n,), dtype=torch.float64)
        layer.scale.data.fill_(1)
        layer.threshold.data.fill_(n / 2)
        torch.testing.assert_close(layer(torch.ones(1, 1, n, dtype=torch.float64)), torch.full((1, 1, n), 0.5).double())
        impulse = torch.zeros(1, 1, n, dtype=torch.float64)
        impulse[..., 0] = 1
        assert layer(impulse).abs().max() == 0


def test_strides_average_first_and_residuals_add_what_was_averaged():
    layer = nn.HadamardPerceptron2d(2, 2, (9, 8), stride=2, residual=True)
    torch.nn.init.zeros_(layer.weight)
    x = torch.randn(3, 2, 9, 8)
    torch.testing.assert_close(layer(x), torch.nn.functional.avg_pool2d(x, 2))


def test_the_work_of_padding_is_what_the_page_says():
    layer = nn.HadamardPerceptron2d(1, 1, 56)
    assert layer.padded == (64, 64)
    assert math.isclose(64 * 64 / 56**2 - 1, 0.31, abs_tol=0.005)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"ndim": 4}, "1 to 3 dimensions"),
        ({"size": 0}, "size"),
        ({"stride": 9}, "stride within the size"),
        ({"residual": True}, "as many outputs as inputs"),
        ({"order": "random"}, "natural, sequency"),
        ({"paths": 0}, "paths"),
    ],
)
def test_wrong_settings_are_refused(arguments, said):
    with pytest.raises(ArgumentError, match=said):
        nn.HadamardPerceptron(**{"ndim": 2, "in_channels": 1, "out_channels": 2, "size": 8} | arguments)


def test_wrong_inputs_are_refused():
    layer = nn.HadamardPerceptron1d(1, 1, 8)
    with pytest.raises(ArgumentError, match="spatial sizes"):
        layer(torch.zeros(1, 1, 7))
    with pytest.raises(DtypeError, match="real"):
        layer(torch.zeros(1, 1, 8, dtype=torch.complex64))
