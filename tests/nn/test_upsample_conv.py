"""Enlarging before a convolution: what the ways have in common, what each leaves in a spectrum, and when a grid shows."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from faltung import look, nn
from faltung.errors import ArgumentError

some = settings(max_examples=40, deadline=None)
F64 = {"dtype": torch.float64}
ALL = ("nearest", "bilinear", "zero", "pixelshuffle", "transposed")


def drawn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def agree(got, wanted):
    torch.testing.assert_close(got, wanted, rtol=1e-11, atol=1e-12)


def stuffed(x, scale):
    fine = x.new_zeros(*x.shape[:2], *(n * r for n, r in zip(x.shape[2:], scale, strict=True)))
    fine[(..., *(slice(None, None, r) for r in scale))] = x
    return fine


@some
@given(
    taps=st.tuples(st.integers(1, 5), st.integers(1, 5)), scale=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    groups=st.sampled_from([1, 2]), around=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_stuffing_zeros_is_the_transpose_with_the_same_kernel(taps, scale, groups, around, seed):
    settings = {"groups": groups, "padding_mode": "circular" if around else "zeros", **F64}
    zero = nn.UpsampleConv2d(4, 6, taps, scale, mode="zero", **settings)
    other = nn.UpsampleConv2d(4, 6, taps, scale, mode="transposed", **settings)
    apart = zero.weight.detach().reshape(groups, 6 // groups, 4 // groups, *taps).transpose(1, 2)
    other.load_state_dict({"weight": apart.reshape(4, 6 // groups, *taps).flip(-1, -2), "bias": zero.bias.detach()})
    x = drawn(seed, 2, 4, 4, 3)
    agree(zero(x), other(x))
    # The convolution of the stuffed signal with torch's own pieces, margins laid by hand.
    fronts = [max(0, -(-(k - r) // 2)) for k, r in zip(taps, scale, strict=True)]
    (top, low), (left, right) = [(k - 1 - p, p) for k, p in zip(taps, fronts, strict=True)]
    wide = F.pad(stuffed(x, scale), (left, right, top, low), mode="circular" if around else "constant")
    agree(zero(x), F.conv2d(wide, zero.weight, zero.bias, groups=groups))


@pytest.mark.parametrize(
    ("k", "s", "p", "more"), [(4, 2, 1, 0), (3, 2, 1, 1), (2, 2, 0, 0), (5, 2, 2, 1), (2, 3, 0, 1)]
)
def test_the_transposes_of_torch_decoders(k, s, p, more):
    theirs = torch.nn.ConvTranspose2d(4, 2, k, s, p, more, groups=2, **F64)
    ours = nn.UpsampleConv2d(4, 2, k, s, mode="transposed", groups=2, **F64)
    ours.load_state_dict(theirs.state_dict())
    x = drawn(0, 2, 4, 5, 3)
    agree(ours(x), theirs(x))
    assert isinstance(ours.freeze(), torch.nn.ConvTranspose2d)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_the_published_step_of_zeros_and_a_convolution(k):
    ours, x = nn.UpsampleConv2d(2, 3, k, mode="zero", **F64), drawn(0, 1, 2, 4, 6)
    # For one tap P is held at 0, as torch's transposes do; elsewhere the margins are those that keep the size.
    agree(ours(x), F.conv2d(stuffed(x, (2, 2)), ours.weight, ours.bias, padding=k // 2))


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_torch_s_upsample_and_convolution(mode):
    up, conv = torch.nn.Upsample(scale_factor=(2, 3), mode=mode), torch.nn.Conv2d(4, 2, 3, padding=1, groups=2, **F64)
    ours = nn.UpsampleConv2d(4, 2, 3, (2, 3), mode=mode, groups=2, **F64)
    ours.load_state_dict(conv.state_dict())
    x = drawn(1, 2, 4, 5, 3)
    agree(ours(x), conv(up(x)))


def test_the_sub_pixel_convolution_and_its_even_start():
    ours, theirs = (
        nn.UpsampleConv2d(2, 3, 3, (2, 3), mode="pixelshuffle", **F64),
        nn.SubPixelConv2d(2, 3, 3, (2, 3), **F64),
    )
    x = drawn(2, 2, 2, 4, 3)
    blocks = ours(x).unfold(2, 2, 2).unfold(3, 3, 3).flatten(-2)
    agree(blocks, blocks[..., :1].expand_as(blocks))
    with torch.no_grad():
        ours.weight.copy_(drawn(3, *ours.weight_shape))
    theirs.load_state_dict(ours.state_dict())
    agree(ours(x), theirs(x))


def spectra(x, y, kernel, scale):
    """The spectrum of a result, that of the signal repeated, and what a correlation makes of each fine frequency."""
    sizes = y.shape[2:]
    place = torch.zeros(sizes, dtype=torch.float64)
    place[: kernel.shape[0], : kernel.shape[1]] = kernel
    return torch.fft.fft2(y)[0, 0], torch.fft.fft2(x)[0, 0].repeat(*scale), torch.fft.fft2(place).conj()


def waves(sizes):
    return torch.meshgrid(*(2 * torch.pi * torch.fft.fftfreq(n, dtype=torch.float64) for n in sizes), indexing="ij")


def box(omega, r):
    return torch.stack([torch.exp(-1j * omega * j) for j in range(r)]).sum(0)


@pytest.mark.parametrize("scale", [(2, 2), (3, 2), (1, 4)])
@pytest.mark.parametrize("mode", ["zero", "nearest"])
def test_spectra_are_copies_weighed_by_box_and_kernel(mode, scale):
    layer = nn.UpsampleConv2d(1, 1, 3, scale, mode=mode, bias=False, padding_mode="circular", **F64)
    x = drawn(4, 1, 1, 6, 5)
    made, copies, told = spectra(x, layer(x), layer.weight.detach()[0, 0], scale)
    u, v = waves(made.shape)
    wanted = copies * told * torch.exp(-1j * (u * layer.pads[0][0] + v * layer.pads[1][0]))
    if mode == "nearest":
        first, second = box(u, scale[0]), box(v, scale[1])
        dirichlet = torch.sin(scale[0] * u / 2) / torch.sin(u / 2)
        agree(first.abs()[u != 0], dirichlet.abs()[u != 0])
        wanted = wanted * first * second
    agree(made, wanted)


@pytest.mark.parametrize("r", [2, 3])
def test_lines_weigh_by_the_square_of_the_box(r):
    """A signal that repeats, seen in its middle period, which is as on a circle."""
    layer = nn.UpsampleConv2d(1, 1, 1, r, mode="bilinear", bias=False, **F64)
    torch.nn.init.ones_(layer.weight)
    x = drawn(5, 1, 1, 6, 7)
    made = torch.fft.fft2(layer(x.repeat(1, 1, 3, 3))[..., 6 * r : 12 * r, 7 * r : 14 * r])[0, 0]
    u, v = waves(made.shape)
    # For odd r the hat of linear interpolation is a box with a box. For even r its top lies between samples: each value is the mean
    # of two neighbours on such a hat, a factor of cos(ω/2).
    weight = (box(u, r) * box(v, r)).abs() ** 2 / r**2
    if r % 2 == 0:
        weight = weight * (torch.cos(u / 2) * torch.cos(v / 2)).abs()
    agree(made.abs(), torch.fft.fft2(x)[0, 0].repeat(r, r).abs() * weight)
    copies = [(a * 6, b * 7) for a, b in itertools.product(range(r), repeat=2) if a or b]
    assert all(made[at].abs() < 1e-10 for at in copies)


@some
@given(
    mode=st.sampled_from(ALL), taps=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    scale=st.tuples(st.integers(1, 4), st.integers(1, 3)), seed=st.integers(0, 99),
)  # fmt: skip
def test_constants_become_the_sums_of_taps_of_each_phase(mode, taps, scale, seed):
    layer = nn.UpsampleConv2d(4, 2, taps, scale, mode=mode, groups=2, bias=False, padding_mode="circular", **F64)
    with torch.no_grad():
        layer.weight.copy_(drawn(seed, *layer.weight_shape))
    value = drawn(seed + 1, 4)
    y = layer(value.reshape(1, 4, 1, 1).expand(1, 4, 5, 6))
    wanted = torch.einsum("goiab,gi->goab", layer.phase_sums().unflatten(0, (2, 1)), value.reshape(2, 2)).flatten(0, 1)
    agree(y, wanted.repeat(1, 5, 6)[None])


@pytest.mark.parametrize(("k", "s"), list(itertools.product(range(1, 7), (2, 3))))
def test_a_grid_shows_in_constants_unless_the_stride_divides_the_taps(k, s):
    flat = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    for mode in ALL:
        layer = nn.UpsampleConv2d(1, 1, k, s, mode=mode, padding_mode="circular", **F64)
        torch.nn.init.ones_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
        even = (layer(flat) - layer(flat).mean()).abs().max() < 1e-12
        assert even == (mode not in ("zero", "transposed") or k % s == 0), mode
        sums = layer.phase_sums()
        assert even == ((sums - sums.mean()).abs().max() < 1e-12).item()


def test_copies_of_frequency_zero_stay_after_zeros_and_go_after_neighbours():
    random = np.random.default_rng(0)
    place = np.hypot(*np.meshgrid(np.fft.fftfreq(32), np.fft.fftfreq(32), indexing="ij"))
    smooth = np.fft.ifft2(np.fft.fft2(random.standard_normal((4, 1, 32, 32))) * np.exp(-((place / 0.1) ** 2))).real
    x = torch.tensor(smooth + 1)
    row, middle = torch.tensor([1.0, 4, 6, 4, 1], **F64) / 16, torch.tensor([0.0, 0, 1, 0, 0], **F64)
    peaks = {}
    for mode, taps in (("zero", middle), ("nearest", row), ("bilinear", row)):
        layer = nn.UpsampleConv2d(1, 1, 5, mode=mode, bias=False, padding_mode="circular", **F64)
        layer.load_state_dict({"weight": torch.outer(taps, taps)[None, None]})
        peaks[mode] = look.replica_peak(layer(x), (2, 2))
    assert peaks["zero"] > 10
    assert peaks["nearest"] < 2
    assert peaks["bilinear"] < 2


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")  # torch on its own padding
@pytest.mark.parametrize("mode", ALL)
@pytest.mark.parametrize(("k", "scale"), [(3, (2, 2)), (4, (1, 3)), (1, (3, 2))])
def test_the_frozen_layer_is_the_same_map(mode, k, scale):
    layer, x = nn.UpsampleConv2d(2, 2, k, scale, mode=mode, **F64).eval(), drawn(6, 2, 2, 4, 3)
    agree(layer.freeze()(x), layer(x))
    assert not layer.freeze().training


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mode": "cubic"}, "pixelshuffle"),
        ({"scale": 0}, "scale"),
        ({"mode": "zero", "padding_mode": "reflect"}, "zeros or circular"),
        ({"mode": "transposed", "padding_mode": "replicate"}, "zeros or circular"),
        ({"groups": 3}, "groups"),
    ],
)
def test_wrong_settings_are_refused(given, said):
    with pytest.raises(ArgumentError, match=said):
        nn.UpsampleConv2d(2, 2, 3, **given)
