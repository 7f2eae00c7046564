"""Convolution over places and scales: filters that are one filter stretched, what zooms do to results, kernels projected."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import nn
from faltung.errors import ArgumentError
from faltung.nn.functional.definition import conv_by_taps

DOUBLE = torch.float64


def drawn(*shape, seed=0):
    return torch.randn(shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def scaled(kind, *fields, seed=0, **settings):
    torch.manual_seed(seed)
    return kind(*fields, dtype=DOUBLE, **settings)


def by_scale(y, scales):
    """(batch, fields, scales, *n)."""
    return y.unflatten(1, (-1, scales))


def with_zeros_between(x, ratio, ndim):
    """ratio − 1 zeros between the samples along the last axes."""
    for axis in range(-ndim, 0):
        shape = list(x.shape)
        shape[axis] = ratio * (shape[axis] - 1) + 1
        wide = x.new_zeros(shape)
        wide.movedim(axis, -1)[..., ::ratio] = x.movedim(axis, -1)
        x = wide
    return x


# Filters


@settings(max_examples=12, deadline=None)
@given(
    ratio=st.sampled_from([2, 3]), order=st.integers(0, 4), width=st.floats(0.4, 1.2), ndim=st.sampled_from([1, 2]),
    reach=st.floats(1.5, 4),
)  # fmt: skip
def test_every_scale_has_the_same_filter_stretched(ratio, order, width, ndim, reach):
    layer = scaled(
        nn.ScaleConv, ndim, 1, 1, scales=3, ratio=ratio, in_type="trivial", order=order, width=width, reach=reach
    )
    kernel, half = layer.kernel()[:, 0].detach(), layer.kernel_size[0] // 2
    window = math.floor(reach * width + 1e-9)
    small = kernel[0][(slice(half - window, half + window + 1),) * ndim]
    for j in (1, 2):
        far, step = window * ratio**j, ratio**j
        large = kernel[j][(slice(half - far, half + far + 1, step),) * ndim]
        torch.testing.assert_close(large * step**ndim, small, rtol=0, atol=1e-13)
        outside = kernel[j].clone()
        room = math.floor(reach * width * ratio**j + 1e-9)
        outside[(slice(half - room, half + room + 1),) * ndim] = 0
        assert not outside.any()


def test_functions_are_orthonormal_at_the_smallest_scale():
    """And shorter by ratio^(−d/2) at each further one: white noise is the weaker, the wider the filter."""
    bank = scaled(nn.ScaleConv2d, 1, 1, order=3, width=1.7, reach=8, scales=3, ratio=1.5).bank()
    unit = torch.eye(16, dtype=DOUBLE)
    for j, functions in enumerate(bank):
        torch.testing.assert_close(functions @ functions.T, unit / 1.5 ** (2 * j), rtol=0, atol=1e-5)


def test_a_constant_image_has_the_same_value_at_all_scales():
    """What the amplitude ratio^(−d·j) is for."""
    for ndim in (1, 2):
        layer = scaled(nn.ScaleConv, ndim, 1, 3, in_type="trivial", width=1.2, reach=7)
        sums = layer.kernel().flatten(1).sum(1).unflatten(0, (3, 4))
        assert (sums - sums[:, :1]).abs().max() < 1e-8
        assert sums[:, 0].abs().min() > 1e-2


# Scales


@settings(max_examples=10, deadline=None)
@given(
    ratio=st.sampled_from([2, 3]), ndim=st.sampled_from([1, 2]), neighbours=st.integers(0, 2), seed=st.integers(0, 99)
)
def test_impulses_move_exactly_along_whole_scales(ratio, ndim, neighbours, seed):
    """ratio^d·x with zeros between samples: every ratio-th result at scale j + 1 is that of x at scale j."""
    scales = 6 - ratio
    lift = {"in_type": "trivial"} if not neighbours else {"neighbours": neighbours}
    layer = scaled(
        nn.ScaleConv, ndim, 2, 2, scales=scales, ratio=ratio, width=0.6, reach=2.5, padding="same", seed=seed, **lift
    )
    x = drawn(1, 2, *([] if not neighbours else [scales]), *(5, 4)[:ndim], seed=seed)
    wide = with_zeros_between(x, ratio, ndim) * ratio**ndim
    if neighbours:
        wide = torch.cat([drawn(*wide[:, :, :1].shape), wide[:, :, :-1]], 2).flatten(1, 2)
        x = x.flatten(1, 2)
    before, after = by_scale(layer(x), scales), by_scale(layer(wide), scales)
    last = scales - max(neighbours, 1)  # results below it have all their neighbours among scales that stay
    found = after[(slice(None), slice(None), slice(1, last + 1), *[slice(None, None, ratio)] * ndim)]
    assert last > 0
    torch.testing.assert_close(found, before[:, :, :last], rtol=0, atol=1e-12)


def blobs(size, unit):
    """A smooth image (1, 1, size, size), `unit` samples for a unit of length, from its formula: nothing is interpolated."""
    at = (torch.arange(size, dtype=DOUBLE) - (size - 1) / 2) / unit
    places = torch.stack(torch.meshgrid(at, at, indexing="ij"), -1)
    spots = ((2.0, -1.0, 2.6, 1.0), (-2.5, 1.5, 2.2, -0.8), (0.5, 3.0, 2.4, 0.6))
    parts = (a * torch.exp(-((places - torch.tensor([r, c])) ** 2).sum(-1) / (2 * s**2)) for r, c, s, a in spots)
    return sum(parts)[None, None]


def zoomed(width, neighbours, activation, reach):
    """The error ‖y'(j + 2)(2t) − y(j)(t)‖ / ‖y‖ of two layers for an image of twice the size."""
    common = {"scales": 5, "ratio": math.sqrt(2), "width": width, "reach": reach, "padding": "same", "bias": False}
    lift = scaled(nn.ScaleConv2d, 1, 3, in_type="trivial", **common)
    conv = scaled(nn.ScaleConv2d, 3, 2, neighbours=neighbours, **common, seed=1)
    net = torch.nn.Sequential(lift, activation, conv)
    with torch.no_grad():
        small, large = by_scale(net(blobs(31, 1.0)), 5), by_scale(net(blobs(61, 2.0)), 5)
    stay = 3 - (neighbours - 1)
    small, large = small[:, :, :stay, 8:-8, 8:-8], large[:, :, 2 : 2 + stay, 16:-16:2, 16:-16:2]
    return ((large - small).norm() / small.norm()).item()


@pytest.mark.parametrize("neighbours", [1, 2])
def test_the_error_of_a_zoom_falls_with_the_width(neighbours):
    """By the sampling of the filters: about exp(−2π² width²), a factor of 14 and of 110 for these steps."""
    errors = [zoomed(width, neighbours, torch.nn.Tanh(), 6.0) for width in (0.4, 0.55, 0.75)]
    assert errors[0] > 0.1
    assert errors[1] < errors[0] / 4
    assert errors[2] < errors[1] / 20
    assert errors[2] < 5e-3


def test_the_usual_window_is_enough_and_the_scale_axis_must_move():
    layer = {"activation": torch.nn.Tanh(), "neighbours": 1}
    assert zoomed(0.8, reach=None, **layer) < 2e-3
    common = {"scales": 5, "ratio": math.sqrt(2), "padding": "same", "in_type": "trivial"}
    lift = scaled(nn.ScaleConv2d, 1, 3, **common)
    small, large = by_scale(lift(blobs(31, 1.0)), 5), by_scale(lift(blobs(61, 2.0)), 5)
    assert (large[:, :, 2:, ::2, ::2] - small[:, :, :3])[..., 8:-8, 8:-8].norm() < 1e-2 * small.norm()
    assert (large[:, :, :3, ::2, ::2] - small[:, :, :3])[..., 8:-8, 8:-8].norm() > 0.1 * small.norm()


def test_the_pool_keeps_a_maximum_whose_scale_stays():
    """One blob and the second derivative across it: largest at the scale that fits it, whatever the zoom."""
    lift = scaled(nn.ScaleConv2d, 1, 1, 6, math.sqrt(2), "trivial", padding="same", bias=False)
    with torch.no_grad():  # minus the Laplacian of the Gauss function: ψ₀ψ₀ − (ψ₂ψ₀ + ψ₀ψ₂)/√2
        lift.weight.zero_()
        lift.weight[0, 0, 0, 0, 0] = 1.0
        lift.weight[0, 0, 0, 2, 0] = lift.weight[0, 0, 0, 0, 2] = -1 / math.sqrt(2)
    pool = nn.ScalePool2d(1, 6)

    def blob(deviation, size):
        at = torch.arange(size, dtype=DOUBLE) - size // 2
        return torch.exp(-(at[:, None] ** 2 + at**2) / (2 * deviation**2))[None, None]

    small, large = lift(blob(1.9, 65)), lift(blob(3.8, 65))
    here = small[0, :, 32, 32].argmax().item()
    assert 0 < here < 4
    assert large[0, :, 32, 32].argmax().item() == here + 2
    before, after = pool(small)[0, 0, 32, 32], pool(large)[0, 0, 32, 32]
    assert after.item() == pytest.approx(before.item(), rel=2e-3)


@pytest.mark.parametrize("neighbours", [1, 2, 3])
def test_results_look_at_their_own_and_the_next_larger_scales_only(neighbours):
    layer = scaled(nn.ScaleConv1d, 2, 2, 4, neighbours=neighbours, padding="same", width=0.5)
    x = drawn(1, 8, 9)
    base = by_scale(layer(x), 4)
    for h in range(4):
        other = by_scale(x.clone(), 4).clone()
        other[:, :, h] += 1
        moved = (by_scale(layer(other.flatten(1, 2)), 4) - base).abs().amax((0, 1, 3))
        for j in range(4):
            assert (moved[j] > 1e-3) == (0 <= h - j < neighbours)


# Kernels


@pytest.mark.parametrize(
    "settings",
    [
        {"in_type": "trivial"}, {"neighbours": 2}, {"neighbours": 3, "groups": 2}, {"in_type": "trivial", "groups": 2},
    ],
)  # fmt: skip
def test_a_kernel_is_taken_by_its_nearest(settings):
    """Its own kernel exactly; of any other what is left is at right angles to all kernels of this kind."""
    layer = scaled(nn.ScaleConv2d, 2, 4, 3, width=0.5, reach=2.5, **settings)
    own, weight = layer.kernel().detach(), layer.weight.detach().clone()
    bias = layer.effective_bias().detach()
    layer.take(torch.zeros_like(own)).take(own, bias)
    torch.testing.assert_close(layer.weight.detach(), weight, rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.effective_bias().detach(), bias)
    other = drawn(*own.shape, seed=3)
    rest = other - layer.take(other).kernel()
    (slope,) = torch.autograd.grad(rest.square().sum(), layer.weight)
    assert slope.abs().max() < 1e-11
    assert rest.norm() < other.norm()


def test_frozen_it_is_one_plain_convolution_and_casts_lose_nothing():
    layer = nn.ScaleConv2d(1, 2, in_type="trivial", width=0.7, padding="same")
    x = drawn(1, 1, 12, 11)
    wide = layer.double()
    plain = wide.freeze()
    assert type(plain) is torch.nn.Conv2d
    torch.testing.assert_close(plain(x), wide(x), rtol=0, atol=1e-12)
    pads = tuple((k // 2, k // 2) for k in wide.kernel_size)
    wanted = conv_by_taps(x, wide.definition_kernel(), wide.effective_bias(), (1, 1), pads, (1, 1), 1, "zeros")
    torch.testing.assert_close(wide(x), wanted, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "call",
    [
        lambda: nn.ScaleConv2d(1, 1, 0),
        lambda: nn.ScaleConv2d(1, 1, ratio=1.0),
        lambda: nn.ScaleConv2d(1, 1, ratio="2"),
        lambda: nn.ScaleConv2d(1, 1, width=0),
        lambda: nn.ScaleConv2d(1, 1, reach=-1.0),
        lambda: nn.ScaleConv2d(1, 1, width=math.inf),
        lambda: nn.ScaleConv2d(1, 1, in_type="quotient"),
        lambda: nn.ScaleConv2d(1, 1, 3, neighbours=4),
        lambda: nn.ScaleConv2d(1, 1, in_type="trivial", neighbours=2),
        lambda: nn.ScaleConv2d(3, 2, groups=2),
        lambda: nn.ScaleConv2d(1, 1, order=-1),
        lambda: nn.ScaleConv2d(2, 1, 3, padding="same")(torch.zeros(1, 2, 9, 9)),
        lambda: nn.ScaleConv2d(1, 1).take(torch.zeros(4, 4, 3, 3)),
        lambda: nn.ScalePool2d(1, 2, pool="median"),
        lambda: nn.ScalePool2d(2, 3)(torch.zeros(1, 5, 4, 4)),
    ],
)
def test_wrong_calls_are_refused(call):
    with pytest.raises(ArgumentError):
        call()
