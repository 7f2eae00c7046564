"""Sub-pixel convolution: the shuffle and its orders, the transposed form, first values, strided identities."""

import itertools
import math

import pytest
import torch

from faltung import init, nn
from faltung.errors import ArgumentError
from faltung.nn.functional import conv, conv_transpose, pixel_shuffle, pixel_unshuffle

TORCH = {1: torch.nn.ConvTranspose1d, 2: torch.nn.ConvTranspose2d, 3: torch.nn.ConvTranspose3d}


def agree(got, wanted):
    torch.testing.assert_close(got, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("r", [1, 2, 3])
def test_in_the_plane_it_is_torch_s_shuffle(r):
    x = torch.randn(2, 3 * r * r, 4, 5)
    assert torch.equal(pixel_shuffle(x, r), torch.nn.PixelShuffle(r)(x))
    assert torch.equal(nn.PixelShuffleNd(r)(x), torch.nn.PixelShuffle(r)(x))
    y = torch.randn(2, 3, 4 * r, 5 * r)
    assert torch.equal(nn.PixelUnshuffleNd(r)(y), torch.nn.PixelUnshuffle(r)(y))


@pytest.mark.parametrize("order", ["torch", "tf"])
@pytest.mark.parametrize("scale", [(2,), (3, 2), (2, 1, 3), (1, 2, 2, 2)])
def test_shuffle_after_unshuffle_is_the_identity_and_the_other_way_round(scale, order):
    sizes = [s * n for s, n in zip(scale, (2, 3, 1, 2), strict=False)]
    x = torch.randn(2, 3, *sizes)
    assert torch.equal(pixel_shuffle(pixel_unshuffle(x, scale, order), scale, order), x)
    z = torch.randn(2, 3 * math.prod(scale), *[2] * len(scale))
    assert torch.equal(pixel_unshuffle(pixel_shuffle(z, scale, order), scale, order), z)
    assert torch.equal(nn.PixelUnshuffleNd(scale, order).inverse(z), nn.PixelShuffleNd(scale, order)(z))


def test_the_definition_sample_by_sample():
    z = torch.randn(1, 12, 3, 4)
    for order in ("torch", "tf"):
        y = pixel_shuffle(z, 2, order)
        for c, a, b, i, j in itertools.product(range(3), range(2), range(2), range(3), range(4)):
            source = c * 4 + 2 * a + b if order == "torch" else (2 * a + b) * 3 + c
            assert y[0, c, 2 * i + a, 2 * j + b] == z[0, source, i, j]


def test_the_orders_differ_by_a_permutation_of_channels():
    z = torch.randn(2, 12, 3, 4)
    to_tf = torch.arange(12).reshape(3, 4).T.flatten()  # channel-last place of every channel-first one
    assert torch.equal(pixel_shuffle(z, 2, "torch"), pixel_shuffle(z[:, to_tf], 2, "tf"))
    layer, other = (nn.SubPixelConv2d(2, 3, 3, 2, order=order) for order in ("torch", "tf"))
    other.load_state_dict({name: value[to_tf] for name, value in layer.state_dict().items()})
    x = torch.randn(1, 2, 5, 5)
    torch.testing.assert_close(layer(x), other(x))


def test_reference_transposed_form_in_one_dimension():
    layer = nn.SubPixelConv1d(3, 2, 3, 2, bias=False, dtype=torch.float64)
    made = layer.to_transposed()
    assert (made.kernel_size, made.stride, made.padding) == ((6,), (2,), (2,))
    x = torch.randn(2, 3, 7, dtype=torch.float64)
    wanted = torch.nn.functional.conv_transpose1d(x, made.weight, stride=2, padding=2)
    assert (layer(x) - wanted).abs().max() < 1e-15 * 100


@pytest.mark.parametrize("order", ["torch", "tf"])
@pytest.mark.parametrize(
    ("ndim", "options"),
    [
        (1, {"kernel_size": 3, "scale": 2}),
        (1, {"kernel_size": 4, "scale": 3, "padding": 0}),
        (1, {"kernel_size": 3, "scale": 2, "dilation": 2, "padding": 3}),
        (2, {"kernel_size": 3, "scale": 2}),
        (2, {"kernel_size": (1, 5), "scale": (3, 2), "padding": (0, 1)}),
        (3, {"kernel_size": 3, "scale": 2}),
        (3, {"kernel_size": (3, 1, 2), "scale": (1, 2, 3), "padding": (1, 0, 1), "dilation": (1, 1, 2)}),
    ],
)
def test_sub_pixel_is_transposed_convolution(ndim, options, order):
    torch.manual_seed(0)
    layer = nn.SubPixelConv(ndim, 4, 2, order=order, dtype=torch.float64, init="icnr", **options)
    with torch.no_grad():
        layer.weight.normal_()
    x = torch.randn(2, 4, *(6, 5, 4)[:ndim], dtype=torch.float64)
    made = layer.to_transposed()
    agree(made(x), layer(x))
    agree(made.to_torch()(x), layer(x))
    again = nn.SubPixelConv.from_transposed(made, order)
    agree(again(x), layer(x))
    agree(layer.freeze()(x), layer(x))


def test_groups_go_along():
    layer = nn.SubPixelConv2d(4, 6, 3, 2, groups=2, dtype=torch.float64)
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    agree(layer.to_transposed()(x), layer(x))
    agree(nn.SubPixelConv.from_transposed(layer.to_transposed())(x), layer(x))


@pytest.mark.parametrize(
    ("ndim", "options"),
    [
        (1, {"kernel_size": 4, "stride": 2, "padding": 1}),
        (1, {"kernel_size": 5, "stride": 3, "padding": 1}),
        (1, {"kernel_size": 2, "stride": 3, "output_padding": 1}),
        (1, {"kernel_size": 7, "stride": 2, "padding": 0, "output_padding": 1}),
        (1, {"kernel_size": 3, "stride": 2, "dilation": 2, "padding": 2, "output_padding": 1}),
        (2, {"kernel_size": (4, 3), "stride": (2, 3), "padding": (1, 0)}),
        (2, {"kernel_size": 2, "stride": 2, "groups": 2}),
        (3, {"kernel_size": 4, "stride": 2, "padding": 1, "bias": False}),
    ],
)
@pytest.mark.parametrize("order", ["torch", "tf"])
def test_any_transposed_convolution_becomes_sub_pixel(ndim, options, order):
    if options.get("groups", 1) > 1 and order == "tf":
        order = "torch"
    torch.manual_seed(0)
    layer = TORCH[ndim](4, 2, **options).double()
    x = torch.randn(2, 4, *(6, 5, 4)[:ndim], dtype=torch.float64)
    agree(nn.SubPixelConv.from_transposed(layer, order)(x), layer(x))


@pytest.mark.parametrize("order", ["torch", "tf"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_icnr_starts_as_an_enlargement_by_nearest_neighbours(ndim, order):
    layer = nn.SubPixelConv(ndim, 3, 2, 3, 2, order=order)
    y = layer(torch.randn(1, 3, *[4] * ndim))
    blocks = pixel_unshuffle(y, 2).unflatten(1, (2, 2**ndim))
    assert (blocks == blocks[:, :, :1]).all()  # constant on r^n blocks, to the bit
    assert y.std() > 0
    other = nn.SubPixelConv(ndim, 3, 2, 3, 2, order=order, init="uniform")(torch.randn(1, 3, *[4] * ndim))
    blocks = pixel_unshuffle(other, 2).unflatten(1, (2, 2**ndim))
    assert (blocks != blocks[:, :, :1]).any()


def test_icnr_takes_any_initialiser_and_refuses():
    weight = init.icnr_(torch.empty(12, 5), 3, "tf", torch.nn.init.orthogonal_)
    assert torch.equal(weight[:4], weight[4:8])
    torch.testing.assert_close(weight[:4] @ weight[:4].T, torch.eye(4))
    with pytest.raises(ArgumentError):
        init.icnr_(torch.empty(10, 5), 3)
    with pytest.raises(ArgumentError):
        init.icnr_(torch.empty(9, 5), 3, "last")


@pytest.mark.parametrize("ndim", [1, 2])
def test_unshuffle_turns_strided_convolutions_into_plain_ones(ndim):
    """A stride of r with r·k taps is a plain convolution with k taps of the unshuffled signal."""
    torch.manual_seed(0)
    r, k = 2, 3
    x = torch.randn(2, 3, *[8] * ndim, dtype=torch.float64)
    weight = torch.randn(5, 3, *[r * k] * ndim, dtype=torch.float64)
    strided = conv(x, weight, stride=r, padding=r)
    agree(conv(pixel_unshuffle(x, r), pixel_unshuffle(weight, r), padding=1), strided)


def test_unshuffle_after_a_convolution_is_strided_convolutions_at_every_phase():
    torch.manual_seed(0)
    x = torch.randn(1, 3, 8, 10, dtype=torch.float64)
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    apart = pixel_unshuffle(conv(x, weight, padding=1), 2).unflatten(1, (4, 2, 2))
    wide = torch.nn.functional.pad(x, (1, 1, 1, 1))
    for a, b in itertools.product(range(2), repeat=2):
        agree(apart[:, :, a, b], conv(wide[:, :, a:, b:], weight, stride=2)[..., :4, :5])


def test_in_four_dimensions_it_is_our_transposed_convolution():
    layer = nn.SubPixelConv(4, 2, 1, 2, 2, padding=0, dtype=torch.float64)
    x = torch.randn(1, 2, 2, 3, 2, 2, dtype=torch.float64)
    made = layer.to_transposed()
    agree(conv_transpose(x, made.weight, made.bias, stride=2, padding=made.padding), layer(x))


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": 0},
        {"scale": (2, 2, 2)},
        {"scale": 2, "order": "last"},
        {"scale": 2, "init": "zeros"},
        {"scale": 2, "stride": 2},
        {"scale": 2, "groups": 2, "order": "tf", "in_channels": 4},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ArgumentError):
        nn.SubPixelConv2d(**{"in_channels": 2, "out_channels": 2, "kernel_size": 3, **wrong})


def test_what_has_no_other_form_is_refused():
    same = {"in_channels": 2, "out_channels": 2, "scale": 2}
    for options in (
        {"kernel_size": 4},
        {"kernel_size": 3, "padding": 3},
        {"kernel_size": 3, "padding_mode": "circular"},
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": 3, "init": "uniform"},
    ):
        with pytest.raises(ArgumentError):
            nn.SubPixelConv2d(**same, **options).to_transposed()
    with pytest.raises(ArgumentError, match="multiple of 2"):
        nn.SubPixelConv.from_transposed(torch.nn.ConvTranspose1d(1, 1, 3, 2))
    with pytest.raises(ArgumentError, match="zeros"):
        nn.SubPixelConv.from_transposed(nn.ConvTranspose1d(1, 1, 2, 2, padding_mode="circular"))
    with pytest.raises(ArgumentError):
        pixel_shuffle(torch.zeros(1, 6, 2, 2), 2)
    with pytest.raises(ArgumentError):
        pixel_unshuffle(torch.zeros(1, 6, 3, 2), 2)
