"""Depthwise-separable layers, and plain layers taken apart into them."""

import pytest
import torch

import faltung
from faltung.errors import ArgumentError, DtypeError
from faltung.methods.separable import SEPARABLE
from faltung.nn import Conv, SeparableConv, SeparableConv2d
from faltung.nn.functional import conv, separable_conv
from faltung.nn.functional.separable import _together
from faltung.tools import merge, separate


def test_weights_of_128_to_256():
    assert sum(p.numel() for p in SeparableConv2d(128, 256, 3, bias=False).parameters()) == 33_920
    assert torch.nn.Conv2d(128, 256, 3, bias=False).weight.numel() == 294_912


@pytest.mark.parametrize("order", ["spatial-first", "channel-first"])
@pytest.mark.parametrize("multiplier", [1, 3])
def test_two_calls_of_torch_and_the_merged_layer_agree(order, multiplier):
    layer = SeparableConv2d(
        4, 6, 3, stride=2, padding=1, groups=2, multiplier=multiplier, order=order, dtype=torch.float64
    )
    x = torch.randn(2, 4, 7, 8, dtype=torch.float64)
    if order == "spatial-first":
        u = torch.conv2d(x, layer.depthwise, stride=2, padding=1, groups=4)
        wanted = torch.conv2d(u, layer.pointwise, layer.bias, groups=2)
    else:
        u = torch.conv2d(x, layer.pointwise, groups=2)
        wanted = torch.conv2d(u, layer.depthwise, layer.bias, stride=2, padding=1, groups=6 // multiplier)
    torch.testing.assert_close(layer(x), wanted)
    merged = merge(layer)
    assert type(merged) is torch.nn.Conv2d
    torch.testing.assert_close(merged(x), wanted)


ONE_KERNEL = [
    ((2, 5, 30), (10, 1, 4), 7, {"padding": 2}),
    ((1, 8, 28, 28), (8, 1, 3, 3), 20, {"padding": 1}),
    ((3, 2, 9, 70), (6, 1, 5, 4), 13, {"padding": "same"}),
    ((1, 3, 5, 4), (3, 1, 5, 4), 2, {}),
    ((2, 4, 3, 3), (4, 1, 3, 3), 5, {"padding": (4, 0)}),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("size", "filters", "out", "options"), ONE_KERNEL)
def test_one_kernel_does_what_two_calls_do(size, filters, out, options, dtype):
    """Without a derivative to be asked for both halves are computed together, else one after the other."""
    x, d = torch.randn(size, dtype=dtype), torch.randn(filters, dtype=dtype)
    p, bias = torch.randn(out, filters[0], *[1] * (x.ndim - 2), dtype=dtype), torch.randn(out, dtype=dtype)
    spatial = (1, options.get("padding", 0), 1)
    assert _together(x, d, p, bias, spatial, 1, "zeros")
    assert not _together(x, d.requires_grad_(), p, bias, spatial, 1, "zeros")
    watched = separable_conv(x, d, p, bias, **options)
    assert watched.requires_grad
    alone = separable_conv(x, d.detach(), p, bias, **options)
    torch.testing.assert_close(alone, watched.detach(), rtol=1e-4 if dtype == torch.float32 else 1e-10, atol=1e-4)


def test_what_one_kernel_cannot_do_goes_by_two_calls():
    x, d, p = torch.randn(1, 4, 9, 9), torch.randn(4, 1, 3, 3), torch.randn(6, 4, 1, 1)
    for options in (
        {"stride": 2},
        {"dilation": 2},
        {"padding_mode": "reflect", "padding": 1},
        {"policy": faltung.Policy(threads=1)},
    ):
        spatial = {k: v for k, v in options.items() if k != "policy"}
        wanted = conv(conv(x, d, groups=4, **spatial), p)
        torch.testing.assert_close(separable_conv(x, d, p, **options), wanted)
    torch.testing.assert_close(separable_conv(x[0], d, p), separable_conv(x, d, p)[0])
    last = x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(separable_conv(last, d, p), separable_conv(x, d, p), rtol=1e-4, atol=1e-4)
    for wrong in (
        torch.randn(1, 3, 9, 9),
        torch.randn(1, 4, 2, 2),
        torch.randn(4, 9),
        torch.randn(1, 4, 9, 9).double(),
    ):
        with pytest.raises((ArgumentError, DtypeError)):
            separable_conv(wrong, d, p)


def test_the_merge_is_the_product():
    layer = SeparableConv2d(3, 5, 3, dtype=torch.float64)
    wanted = layer.pointwise * layer.depthwise[None, :, 0]
    torch.testing.assert_close(merge(layer).weight, wanted, rtol=0, atol=0)


LAYERS = [
    lambda: torch.nn.Conv1d(3, 5, 4, stride=2),
    lambda: torch.nn.Conv2d(4, 6, 3, padding=1, groups=2, bias=False),
    lambda: torch.nn.Conv2d(3, 16, (3, 5), dilation=2, padding_mode="circular", padding=1),
    lambda: torch.nn.Conv3d(2, 3, 2),
    lambda: Conv(4, 2, 3, 2, padding="same", padding_mode="symmetric"),
    lambda: torch.nn.Conv1d(2, 4, 3, dtype=torch.complex128),
]


@pytest.mark.parametrize("make", LAYERS)
def test_full_rank_gives_the_layer_back(make):
    plain = make()
    plain = plain if plain.weight.is_complex() else plain.double()
    taps = plain.weight[0, 0].numel()
    made = separate(plain, min(plain.out_channels // plain.groups, taps))
    x = torch.randn(2, plain.in_channels, *(9,) * (plain.weight.ndim - 2), dtype=plain.weight.dtype)
    torch.testing.assert_close(made(x), plain(x))
    torch.testing.assert_close(merge(made).weight, plain.weight)
    assert type(merge(made)) is type(plain)


@pytest.mark.parametrize("rank", range(1, 7))
def test_the_error_is_the_tail_of_the_singular_values(rank):
    plain = torch.nn.Conv2d(4, 12, 3, groups=2)
    error = (merge(separate(plain, min(rank, 6))).weight - plain.weight).norm()
    tail = 0.0
    for i in range(2):
        for group in range(2):
            values = torch.linalg.svdvals(plain.weight[6 * group : 6 * group + 6, i].flatten(1).double())
            tail += values[rank:].square().sum()
    assert abs(error - tail**0.5) <= 1e-4 * tail**0.5 + 1e-6


def test_lower_rank_is_the_nearest():
    """Moving either half any way makes the distance larger."""
    plain = torch.nn.Conv2d(3, 8, 3).double()
    made = separate(plain, 2)
    best = (made.kernel() - plain.weight).square().sum()
    best.backward()
    for half in (made.depthwise, made.pointwise):
        assert half.grad.abs().max() < 1e-10


def test_separate_keeps_bias_mode_and_dtype_and_leaves_the_layer_alone():
    plain = torch.nn.Conv2d(3, 8, 3).eval()
    kept = plain.weight.detach().clone()
    made = separate(plain, 1)
    assert not made.training
    assert made.depthwise.dtype == torch.float32
    with torch.no_grad():
        made.bias.zero_()
    assert plain.bias.abs().max() > 0
    assert (plain.weight == kept).all()


def test_wrong_calls_are_refused():
    for rank in (0, 10, 1.0, True):
        with pytest.raises(ArgumentError, match="from 1 to 9"):
            separate(torch.nn.Conv2d(3, 16, 3), rank)
    with pytest.raises(DtypeError):
        separate(torch.nn.Linear(3, 3), 1)
    with pytest.raises(DtypeError):
        merge(torch.nn.Conv2d(1, 1, 1))
    for settings in ({"order": "both"}, {"mid": 5}, {"order": "channel-first", "multiplier": 4}):
        with pytest.raises(ArgumentError):
            SeparableConv2d(4, 6, 3, **settings)


def test_the_planner_takes_spatially_separable_kernels_apart():
    """A long kernel that is a column times a row is computed along one axis after the other; one that is not is not."""
    column, row = torch.randn(2, 1, 31)
    outer, full = column.T @ row, torch.randn(31, 31)
    plan = faltung.plan(torch.randn(256, 256), outer, policy=faltung.Policy(without=("fft", "overlap", "segments")))
    chosen = {name: plan.prepare(k).way.method for name, k in (("outer", outer), ("full", full))}
    assert chosen["outer"].structured
    assert not chosen["full"].structured
    only = faltung.plan(torch.randn(256, 256), outer, policy=faltung.Policy(only="separable"))
    assert only.prepare(outer).way.method is SEPARABLE


def test_separable_kernels_through_the_layer_are_right():
    x = torch.randn(2, 4, 64, 64)
    weight = torch.randn(4, 1, 21, 1) * torch.randn(4, 1, 1, 21)
    wanted = torch.conv2d(x.double(), weight.double(), padding=10, groups=4)
    got = conv(x, weight, padding=10, groups=4)
    assert (got - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    alone = conv(x, weight, padding=10, groups=4, policy=faltung.Policy(only="separable"))
    assert (alone - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_merged_layers_have_four_dimensions_too():
    layer = SeparableConv(4, 2, 4, 2, dtype=torch.float64)
    x = torch.randn(1, 2, 3, 3, 3, 3, dtype=torch.float64)
    assert isinstance(merge(layer), Conv)
    torch.testing.assert_close(merge(layer)(x), layer(x))
