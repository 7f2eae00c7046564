"""The recursive convolution: cost, parameters, sizes, linearity, shifts, receptive field; and the resampling it rests on."""

import functools
import itertools

import pytest
import torch

from faltung import nn
from faltung.errors import ArgumentError
from faltung.nn.functional import add_resampled, resample
from faltung.nn.functional.resample import resample_by_matrices


@pytest.mark.parametrize(("levels", "ratio"), [(0, 1), (1, 1.5), (2, 1.625), (3, 1.65625), (4, 1.6640625)])
def test_cost_relative_to_one_depthwise_convolution(levels, ratio):
    layer = nn.RecConv2d(3, levels=levels)
    assert layer.multiply_adds((64, 64)) == ratio * 64 * 64 * 25 * 3
    assert ratio < 5 / 3


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"levels": 4}, 9600),
        ({"levels": 1}, 3 * 25 * 64),
        ({"levels": 4, "share_down": False}, 9 * 25 * 64),
        ({"levels": 2, "bias": True}, 4 * 26 * 64),
        ({"levels": 0}, 25 * 64),
    ],
)
def test_parameters(options, count):
    layer = nn.RecConv2d(64, **options)
    assert layer.parameter_count() == sum(p.numel() for p in layer.parameters()) == count


def test_without_levels_it_is_one_depthwise_convolution():
    layer = nn.RecConv2d(4, levels=0, dtype=torch.float64)
    x = torch.randn(2, 4, 7, 9, dtype=torch.float64)
    wanted = torch.nn.functional.conv2d(x, layer.refine[0].weight, padding=2, groups=4)
    torch.testing.assert_close(layer(x), wanted)


@pytest.mark.parametrize("upsample", ["bilinear", "nearest"])
def test_every_size_comes_back_and_the_result_is_the_definition(upsample):
    torch.manual_seed(0)
    layer = nn.RecConv2d(2, kernel_size=3, levels=3, upsample=upsample, dtype=torch.float64)
    for size in itertools.product((1, 2, 5, 8, 13), (3, 6, 16)):
        x = torch.randn(1, 2, *size, dtype=torch.float64)
        assert layer(x).shape == x.shape
        torch.testing.assert_close(layer(x), layer.definition(x))


def test_superposition_in_single_precision():
    torch.manual_seed(0)
    layer = nn.RecConv2d(4, levels=3)
    x, z = torch.randn(2, 1, 4, 23, 30).unbind()
    wanted = 2 * layer(x) - 3 * layer(z)
    assert (layer(2 * x - 3 * z) - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_shifts_by_two_to_the_levels(levels):
    torch.manual_seed(0)
    settings = {"kernel_size": 3, "levels": levels, "padding_mode": "circular", "dtype": torch.float64}
    step = 2**levels
    nearest, linear = (nn.RecConv2d(2, upsample=way, **settings) for way in ("nearest", "bilinear"))
    x = torch.randn(1, 2, 8 * step, 8 * step, dtype=torch.float64)
    moved = x.roll((step, 2 * step), (2, 3))
    torch.testing.assert_close(nearest(moved), nearest(x).roll((step, 2 * step), (2, 3)))
    half = x.roll((step // 2, 0), (2, 3))
    assert (nearest(half) - nearest(x).roll((step // 2, 0), (2, 3))).abs().max() > 1e-3
    # Linear enlarging clamps at the edges of every scale: what the edges do not reach is equivariant.
    impulse = torch.zeros(1, 2, 32 * step, 32 * step, dtype=torch.float64)
    impulse[:, :, 16 * step, 16 * step] = 1
    moved = impulse.roll((step, -step), (2, 3))
    torch.testing.assert_close(linear(moved), linear(impulse).roll((step, -step), (2, 3)))
    assert (linear(x.roll(step, 2)) - linear(x).roll(step, 2)).abs().max() > 1e-3


@pytest.mark.parametrize(("k", "levels"), [(3, 1), (3, 3), (5, 2), (5, 4)])
@pytest.mark.parametrize("upsample", ["bilinear", "nearest"])
def test_receptive_field(k, levels, upsample):
    layer = nn.RecConv1d(1, k, levels, upsample, dtype=torch.float64)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(p.abs() + 0.1)
    x = torch.zeros(1, 1, 64 * 2**levels, dtype=torch.float64)
    x[..., x.shape[-1] // 2] = 1
    seen = layer(x)[0, 0].nonzero().flatten()
    width = (seen.max() - seen.min() + 1).item()
    # The coarsest kernel spans k · 2^levels; all finer ones, on the way down and up, add as much again, and two per level to
    # interpolate.
    down, up = (k - 1) * (2**levels - 1), (k - 1) * (2 ** (levels + 1) - 1)
    between = 2 * (2**levels - 1) if upsample == "bilinear" else 0
    assert k * 2**levels <= width <= down + up + between + 2**levels


@pytest.mark.parametrize("upsample", ["bilinear", "nearest"])
def test_adjoint(upsample):
    torch.manual_seed(0)
    layer = nn.RecConv2d(2, 3, 2, upsample, dtype=torch.float64)
    x, y = torch.randn(2, 1, 2, 7, 10, dtype=torch.float64).unbind()
    (back,) = torch.func.vjp(layer, x)[1](y)
    torch.testing.assert_close((layer(x) * y).sum(), (x * back).sum())
    matrix = layer.effective_matrix((2, 7, 10))
    torch.testing.assert_close((matrix.T @ y.flatten()).reshape(x.shape), back)


@pytest.mark.parametrize(
    "wrong", [{"kernel_size": 4}, {"levels": -1}, {"upsample": "bicubic"}, {"padding_mode": "none"}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ArgumentError):
        nn.RecConv2d(4, **wrong)


# -- resampling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["nearest", "linear", "aligned"])
@pytest.mark.parametrize("sizes", [((5,), (9,)), ((4, 7), (8, 3)), ((2, 3, 4), (3, 6, 2)), ((3, 2, 4, 5), (4, 5, 4, 2)),
                                   ((2, 1, 3, 2, 2), (3, 2, 3, 4, 1))])  # fmt: skip
def test_resampling_is_its_definition(mode, sizes):
    torch.manual_seed(0)
    before, after = sizes
    x = torch.randn(2, 3, *before, dtype=torch.float64)
    options = ("linear", True) if mode == "aligned" else (mode, False)
    torch.testing.assert_close(resample(x, after, *options), resample_by_matrices(x, after, *options))


def test_resampling_is_torch_s():
    x = torch.randn(2, 3, 5, 4)
    for options in ({"mode": "nearest"}, {"mode": "bilinear"}, {"mode": "bilinear", "align_corners": True}):
        wanted = torch.nn.functional.interpolate(x, (11, 6), **options)
        torch.testing.assert_close(resample_by_matrices(x.double(), (11, 6), **options).float(), wanted)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("sizes", [((3,), (6,)), ((5, 4), (10, 8)), ((4, 3), (7, 6)), ((2, 3, 2), (4, 6, 3))])
def test_resampling_with_a_sum_and_its_derivatives(mode, sizes):
    torch.manual_seed(0)
    small, large = sizes
    x = torch.randn(2, 3, *small, dtype=torch.float64, requires_grad=True)
    base = torch.randn(2, 3, *large, dtype=torch.float64, requires_grad=True)
    wanted = base + resample_by_matrices(x, large, mode)
    torch.testing.assert_close(add_resampled(base, x, mode), wanted)
    call = functools.partial(add_resampled, mode=mode)
    assert torch.autograd.gradcheck(call, (base, x), check_batched_grad=True)
    assert torch.autograd.gradgradcheck(call, (base, x))
    z = torch.randn_like(wanted)
    found = [torch.autograd.grad(y, (base, x), z) for y in (call(base, x), wanted)]
    torch.testing.assert_close(*found)
    with torch.no_grad():
        torch.testing.assert_close(torch.vmap(call)(base[None], x[None])[0], wanted)
        torch.testing.assert_close(call(base.float(), x.float()), wanted.float())


def test_resampling_keeps_infinity_local():
    x = torch.tensor([[[1.0, float("inf"), 2.0, 3.0]]])
    y = add_resampled(torch.zeros(1, 1, 8), x, "nearest")
    assert y.tolist() == [[[1.0, 1.0, float("inf"), float("inf"), 2.0, 2.0, 3.0, 3.0]]]
    assert add_resampled(torch.zeros(1, 1, 8), x).isfinite()[0, 0].tolist() == [
        True,
        False,
        False,
        False,
        False,
        True,
        True,
        True,
    ]


def test_resampling_refuses():
    with pytest.raises(ArgumentError, match="sizes"):
        resample(torch.zeros(1, 1, 4, 4), (8,))
    with pytest.raises(ArgumentError, match="bicubic"):
        resample(torch.zeros(1, 1, 4), (8,), "bicubic")
