"""Deformable convolution: still offsets are convolutions, moved ones look where they say, and everything has derivatives."""

import itertools
import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from faltung import nn
from faltung.errors import ArgumentError, DtypeError
from faltung.nn.functional import conv, deform_conv
from faltung.testing.layer_cases import stirred

KINDS = ["free", "bounded", "square", "dilation"]
SETTINGS = [
    {},
    {"padding": 1},
    {"stride": 2, "padding": 1},
    {"padding": 2, "dilation": 2},
    {"padding": "same"},
    {"stride": 3, "padding": 4, "dilation": 2},
]


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def by_definition(x, offset, weight, stride, pads, dilation, groups, deform_groups, mask):
    """Place by place and tap by tap in Python: samples between are read off the straight lines along the axes."""
    ndim, taps = weight.ndim - 2, weight.shape[2:]
    m, count = offset.shape[2:], math.prod(weight.shape[2:])
    y = torch.zeros(x.shape[0], weight.shape[0], *m, dtype=x.dtype)
    for n, o, place in itertools.product(range(x.shape[0]), range(weight.shape[0]), itertools.product(*map(range, m))):
        group = o * groups // weight.shape[0]
        for i, (number, tap) in itertools.product(
            range(weight.shape[1]), enumerate(itertools.product(*map(range, taps)))
        ):
            channel = group * weight.shape[1] + i
            moved = channel * deform_groups // x.shape[1] * count + number
            at = [
                place[a] * stride - pads + tap[a] * dilation + offset[(n, moved * ndim + a, *place)].item()
                for a in range(ndim)
            ]
            value = 0.0
            for corner in itertools.product((0, 1), repeat=ndim):
                near = [math.floor(p) + up for p, up in zip(at, corner, strict=True)]
                if all(0 <= q < size for q, size in zip(near, x.shape[2:], strict=True)):
                    factor = math.prod(1 - abs(p - q) for p, q in zip(at, near, strict=True))
                    value += factor * x[(n, channel, *near)].item()
            scale = 1 if mask is None else mask[(n, moved, *place)].item()
            y[(n, o, *place)] += weight[(o, i, *tap)].item() * scale * value
    return y


@pytest.mark.parametrize(("groups", "deform_groups"), [(1, 1), (2, 1), (1, 2), (4, 2)])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_the_definition(ndim, groups, deform_groups):
    size, taps = (4, 3, 3)[:ndim], (3, 2, 2)[:ndim]
    x, weight = normal(2, 4, *size), normal(4, 4 // groups, *taps)
    m = [(n + 2 - 2 * (t - 1) - 1) // 2 + 1 for n, t in zip(size, taps, strict=True)]
    count = deform_groups * math.prod(taps)
    offset, mask = 2 * normal(2, count * ndim, *m), torch.rand(2, count, *m, dtype=torch.float64)
    for factors in (None, mask):
        wanted = by_definition(x, offset, weight, 2, 1, 2, groups, deform_groups, factors)
        came = deform_conv(x, offset, weight, None, 2, 1, 2, groups, deform_groups, factors)
        torch.testing.assert_close(came, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("offset", KINDS)
def test_a_new_layer_is_a_convolution(offset, settings):
    layer, x = nn.DeformConv2d(4, 6, 3, groups=2, offset=offset, **settings), torch.randn(2, 4, 9, 8)
    wanted = torch.nn.functional.conv2d(x, layer.weight, layer.bias, groups=2, **settings)
    torch.testing.assert_close(layer(x), wanted, rtol=1e-6, atol=1e-6)


def test_a_new_depthwise_layer_is_a_separable_convolution():
    layer, x = nn.DepthwiseDeformConv2d(4, 6, 3, padding=1, dtype=torch.float64), normal(2, 4, 7, 8)
    u = torch.nn.functional.conv2d(x, layer.pointwise.weight)
    wanted = torch.nn.functional.conv2d(u, layer.weight, layer.bias, padding=1, groups=6)
    torch.testing.assert_close(layer(x), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", [nn.DeformConv2d, nn.DepthwiseDeformConv2d])
@pytest.mark.parametrize("s", [1, 2])
def test_a_square_offset_is_a_dilation(kind, s):
    layer, x = kind(4, 6, 3, padding=1, offset="square", bias=False, dtype=torch.float64), normal(2, 4, 9, 8)
    with torch.no_grad():
        layer.offsets.conv.bias.fill_(s)
    u = conv(x, layer.pointwise.weight) if kind is nn.DepthwiseDeformConv2d else x
    wanted = conv(u, layer.weight, None, 1, 1 + s, 1 + s, layer.groups)
    torch.testing.assert_close(layer(x), wanted, rtol=1e-10, atol=1e-10)


def test_a_dilation_of_each_axis():
    layer, x = nn.DeformConv2d(2, 3, 3, padding=1, offset="dilation", dtype=torch.float64), normal(1, 2, 9, 12)
    with torch.no_grad():
        layer.offsets.conv.bias.copy_(torch.tensor([1.0, 3.0]))
    wanted = conv(x, layer.weight, layer.bias, 1, (2, 4), (2, 4))
    torch.testing.assert_close(layer(x), wanted, rtol=1e-10, atol=1e-10)


def test_a_free_offset_that_is_everywhere_the_same_is_a_shift():
    """Rows come before columns in the order of the offsets."""
    x, weight = normal(2, 3, 9, 8), normal(4, 3, 3, 3)
    offset = torch.tensor([2.0, -1.0], dtype=torch.float64).repeat(9).reshape(1, 18, 1, 1).expand(2, -1, 9, 8)
    moved = torch.nn.functional.pad(x, (1, 0, 0, 2))[:, :, 2:, :-1]  # x[h + 2, w − 1]
    came, wanted = deform_conv(x, offset, weight, padding=1), conv(moved, weight, padding=1)
    inside = (..., slice(1, 6), slice(2, 7))
    torch.testing.assert_close(came[inside], wanted[inside], rtol=1e-10, atol=1e-10)


def test_bounded_offsets_look_no_further_than_they_may():
    """However large the head's numbers, one result depends on the window and the bound around it only."""
    bound, dilation = 2, 2
    layer = nn.DeformConv2d(1, 1, 3, padding=2, dilation=dilation, offset="bounded", offset_bound=bound)
    with torch.no_grad():
        layer.offsets.conv.weight.normal_(0, 100)
        layer.offsets.conv.bias.normal_(0, 100)
    reach, touched = bound + dilation, torch.zeros(21, 21, dtype=torch.bool)
    for _ in range(20):
        x = torch.randn(1, 1, 21, 21, requires_grad=True)
        (g,) = torch.autograd.grad(layer(x)[0, 0, 10, 10], x)
        touched |= g[0, 0] != 0
    rows, columns = touched.nonzero().unbind(1)
    assert max((rows - 10).abs().max(), (columns - 10).abs().max()) == reach


def test_free_offsets_look_anywhere():
    layer = nn.DeformConv2d(1, 1, 3, padding=1)
    with torch.no_grad():
        layer.offsets.conv.bias.fill_(7)
    x = torch.randn(1, 1, 21, 21, requires_grad=True)
    (g,) = torch.autograd.grad(layer(x)[0, 0, 10, 10], x)
    assert (g[0, 0].nonzero() - 10).abs().max() == 8


def test_torchvision_gives_the_same():
    torchvision = pytest.importorskip("torchvision")
    x, weight, bias = torch.randn(2, 4, 9, 8), torch.randn(6, 2, 3, 3), torch.randn(6)
    offset, mask = 2 * torch.randn(2, 36, 5, 4), torch.rand(2, 18, 5, 4)
    wanted = torchvision.ops.deform_conv2d(x, offset, weight, bias, 2, 1, 1, mask)
    torch.testing.assert_close(deform_conv(x, offset, weight, bias, 2, 1, 1, 2, 2, mask), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_derivatives_of_first_and_second_order(ndim):
    """Away from whole positions, where the derivative for an offset jumps."""
    x, weight = normal(2, 2, *(4, 3, 3)[:ndim]), normal(2, 2, *[2] * ndim)
    m = (5, 4, 4)[:ndim]
    offset = torch.randint(-2, 3, (2, 2**ndim * ndim, *m)) + 0.2 + 0.6 * torch.rand(2, 2**ndim * ndim, *m).double()
    mask = torch.rand(2, 2**ndim, *m, dtype=torch.float64)
    operands = [a.requires_grad_() for a in (x, offset, weight, mask)]

    def call(x, offset, weight, mask):
        return deform_conv(x, offset, weight, None, 1, 1, 1, 1, 1, mask)

    assert gradcheck(call, operands, fast_mode=True)
    assert gradgradcheck(call, operands, fast_mode=True)


@pytest.mark.parametrize("offset", KINDS)
def test_the_layer_has_second_derivatives_where_offsets_are_cut_off(offset):
    """A head of large numbers is clamped, and its own numbers stay as they were."""
    layer = nn.DeformConv2d(2, 2, 3, padding=1, offset=offset, offset_bound=0.5, dtype=torch.float64)
    stirred(layer)
    x = normal(1, 2, 4, 4).requires_grad_()
    kept = []
    layer.offsets.conv.register_forward_hook(lambda _, args, found: kept.append((found, found.detach().clone())))
    y = layer(x)
    (g,) = torch.autograd.grad((y**2).sum(), x, create_graph=True)
    (again,) = torch.autograd.grad((g**2).sum(), x)
    assert again.isfinite().all()
    assert again.abs().max() > 0
    assert torch.equal(*kept[0])


def test_the_head_of_a_square_is_the_smaller_one():
    def head(kind, channels, groups):
        layer = nn.DeformConv2d(channels, 8, 5, offset=kind, deform_groups=groups)
        return layer.offsets.conv.weight.numel()

    for channels, groups in ((16, 1), (64, 4)):
        assert head("free", channels, groups) == 2 * 5**2 * groups * channels
        assert head("square", channels, groups) == groups * 9 * channels
    assert nn.DepthwiseDeformConv2d(16, 8, 5).offsets.conv.weight.numel() == 8


def test_rounded_offsets_interpolate_nothing_and_still_learn():
    torch.manual_seed(0)
    layer = nn.DeformConv2d(2, 3, 3, padding=1, round_offsets=True, dtype=torch.float64)
    with torch.no_grad():
        layer.offsets.conv.bias.uniform_(-2, 2)
        layer.weight.fill_(1)
        layer.bias.zero_()
    x = torch.randint(0, 100, (1, 2, 9, 9)).double()
    y = layer(x)
    assert torch.equal(y, y.round())
    y.pow(2).sum().backward()
    assert layer.offsets.conv.bias.grad.abs().max() > 0


def test_what_no_tap_looks_at_does_not_matter():
    """A NaN beyond the clamped offsets' reach stays there, and samples outside are zeros, not copies."""
    x = torch.ones(1, 1, 6, 6)
    x[0, 0, 0, 0] = math.nan
    y = deform_conv(x, torch.zeros(1, 18, 6, 6), torch.ones(1, 1, 3, 3), padding=1)
    assert y[0, 0, 3:, 3:].isfinite().all()
    assert y[0, 0, 5, 5] == 4
    far = deform_conv(x, torch.full((1, 18, 6, 6), 100.0), torch.ones(1, 1, 3, 3), padding=1)
    assert torch.equal(far, torch.zeros_like(far))


def test_a_mask_scales_samples():
    x, weight, offset = normal(1, 2, 5, 5), normal(3, 2, 3, 3), normal(1, 18, 3, 3)
    half = torch.full((1, 9, 3, 3), 0.5, dtype=torch.float64)
    torch.testing.assert_close(deform_conv(x, offset, weight, mask=half), 0.5 * deform_conv(x, offset, weight))
    layer = nn.DeformConv2d(2, 3, 3, modulated=True, bias=False, dtype=torch.float64)
    torch.testing.assert_close(layer(x), 0.5 * conv(x, layer.weight))


X, STILL, W = torch.zeros(1, 4, 5, 5), torch.zeros(1, 18, 3, 3), torch.zeros(2, 4, 3, 3)
WRONG = [
    (ArgumentError, lambda: deform_conv(X, STILL, W, padding=1)),
    (ArgumentError, lambda: deform_conv(X, STILL[:, :9], W)),
    (ArgumentError, lambda: deform_conv(X, STILL, W, deform_groups=3)),
    (ArgumentError, lambda: deform_conv(X, STILL, W, groups=2)),
    (ArgumentError, lambda: deform_conv(X, STILL, W, torch.zeros(3))),
    (ArgumentError, lambda: deform_conv(X, STILL, W, mask=STILL)),
    (ArgumentError, lambda: deform_conv(X[0], STILL, W)),
    (ArgumentError, lambda: deform_conv(X, STILL, torch.zeros(2, 4, 7, 7))),
    (DtypeError, lambda: deform_conv(X, STILL.double(), W)),
    (DtypeError, lambda: deform_conv(X.long(), STILL.long(), W.long())),
    (DtypeError, lambda: deform_conv(X, None, W)),
    (ArgumentError, lambda: nn.DeformConv2d(4, 6, 3, offset="round")),
    (ArgumentError, lambda: nn.DeformConv2d(4, 6, 3, offset_bound=0)),
    (ArgumentError, lambda: nn.DeformConv2d(4, 6, 3, deform_groups=3)),
    (ArgumentError, lambda: nn.DeformConv2d(4, 6, 3, groups=4)),
    (ArgumentError, lambda: nn.DepthwiseDeformConv2d(4, 6, 3, deform_groups=4)),
    (ArgumentError, lambda: nn.DeformConv2d(4, 6, 7)(X)),
]


@pytest.mark.parametrize(("error", "call"), WRONG)
def test_wrong_calls_are_refused(error, call):
    with pytest.raises(error, match="expected"):
        call()
