"""Large-small convolution: its kernels' special cases are the layers that they make, its parameters those of the paper."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from faltung import nn
from faltung.errors import ArgumentError
from faltung.nn.functional import conv, conv_per_pixel
from faltung.testing.layer_cases import stirred


def groups_of(channels, kernels, share):
    """The kernel of each channel."""
    channel = torch.arange(channels)
    return channel % kernels if share == "interleave" else channel * kernels // channels


@pytest.mark.parametrize("share", ["interleave", "block"])
@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "replicate", "circular", "symmetric"])
@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_kernels_that_are_everywhere_the_same_make_a_depthwise_convolution(ndim, padding_mode, share):
    size, stride, dilation = (7, 5, 4, 3)[:ndim], (2, 1, 1, 1)[:ndim], (1, 2, 1, 1)[:ndim]
    taps = (3, 2, 1, 2)[:ndim]
    x, kernels = torch.randn(2, 6, *size, dtype=torch.float64), torch.randn(3, 1, *taps, dtype=torch.float64)
    options = {"stride": stride, "dilation": dilation, "padding": 1, "padding_mode": padding_mode}
    wanted = conv(x, kernels[groups_of(6, 3, share)], groups=6, **options)
    w = kernels.reshape(1, 3, -1, *[1] * ndim).expand(2, -1, -1, *wanted.shape[2:])
    torch.testing.assert_close(conv_per_pixel(x, w, taps, share, **options), wanted, rtol=1e-10, atol=1e-10)


def test_a_one_in_the_centre_is_the_identity():
    x, w = torch.randn(2, 16, 9, 33), torch.zeros(2, 2, 9, 9, 33)
    w[:, :, 4] = 1
    assert torch.equal(conv_per_pixel(x, w, 3, padding=1), x)


def test_kernels_of_a_locally_connected_layer_make_that_layer():
    local = nn.LocallyConnected2d(6, 6, 3, (5, 7), stride=2, padding=1, groups=6, bias=False, dtype=torch.float64)
    x = torch.randn(4, 6, 5, 7, dtype=torch.float64)
    w = local.weight.flatten(1, 3).expand(4, -1, -1, -1, -1)
    came = conv_per_pixel(x, w, 3, stride=2, padding=1)
    torch.testing.assert_close(came, local(x), rtol=1e-12, atol=1e-12)


def test_samples_have_kernels_of_their_own():
    """Every value of a random weight is used where it belongs: sums written out index by index."""
    x, w = torch.randn(2, 4, 3, 3, dtype=torch.float64), torch.randn(2, 2, 9, 3, 3, dtype=torch.float64)
    wide = torch.nn.functional.pad(x, (1, 1, 1, 1))
    for share in ("interleave", "block"):
        wanted = torch.zeros_like(x)
        for n, c, h, v in torch.cartesian_prod(*map(torch.arange, x.shape)).tolist():
            g = groups_of(4, 2, share)[c]
            window = wide[n, c, h : h + 3, v : v + 3].reshape(-1)
            wanted[n, c, h, v] = (w[n, g, :, h, v] * window).sum()
        torch.testing.assert_close(conv_per_pixel(x, w, 3, share, padding=1), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("share", ["interleave", "block"])
def test_derivatives_for_input_and_kernels(share):
    x = torch.randn(2, 4, 4, 5, dtype=torch.float64, requires_grad=True)
    w = torch.randn(2, 2, 6, 2, 5, dtype=torch.float64, requires_grad=True)

    def call(x, w):
        return conv_per_pixel(x, w, (2, 3), share, (2, 1), 1, (0, 1), "circular")

    assert gradcheck(call, (x, w))
    assert gradgradcheck(call, (x, w), fast_mode=True)


def test_the_number_of_parameters_is_that_of_the_paper():
    layer = nn.LSConv2d(128)
    assert layer.parameter_count() == sum(p.numel() for p in layer.parameters()) == 25_712


def test_the_block_follows_circular_shifts():
    torch.manual_seed(0)
    layer = nn.LSConv2d(16, padding_mode="circular", dtype=torch.float64)
    stirred(layer)
    layer.eval()
    x = torch.randn(2, 16, 10, 9, dtype=torch.float64)
    for shift in ((1, 0), (3, -4)):
        torch.testing.assert_close(layer(x.roll(shift, (2, 3))), layer(x).roll(shift, (2, 3)), rtol=1e-10, atol=1e-10)


def test_every_place_has_a_kernel_of_its_own():
    """The predicted kernels vary over the image, so the block is no convolution of its input."""
    torch.manual_seed(0)
    layer = nn.LSConv2d(16).eval()
    kernels = layer.kernels(torch.randn(1, 16, 8, 8))
    assert kernels.shape == (1, 2, 9, 8, 8)
    assert kernels.std((3, 4)).mean() > 0.1


def test_a_tap_looks_where_its_number_says():
    """Tap 3a + b of a kernel reads the neighbour (a − 1, b − 1)."""
    x = torch.zeros(1, 2, 5, 5)
    x[0, 1, 2, 3] = 1
    w = torch.zeros(1, 1, 9, 5, 5)
    w[0, 0, 5] = 1
    assert conv_per_pixel(x, w, 3, padding=1).nonzero().tolist() == [[0, 1, 2, 2]]


@pytest.mark.parametrize(
    "settings", [{"channels": 12}, {"channels": 9, "share": 3}, {"channels": 16, "small_kernel": 0}]
)
def test_settings_that_name_no_block_are_refused(settings):
    with pytest.raises(ArgumentError, match="expected"):
        nn.LSConv2d(**settings)
