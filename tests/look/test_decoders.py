"""What decoders do to frequencies: gains as they are expected, and what margins and functions leave of exactness."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from faltung import look
from faltung.errors import ArgumentError


def chain(mode, act=nn.Identity, channels=(2, 3, 2), k=3, **how):
    torch.manual_seed(0)
    parts = []
    for a, b in itertools.pairwise(channels):
        parts += [nn.Conv2d(a, b, k, padding=k // 2, padding_mode=mode, bias=False, **how), act()]
    return nn.Sequential(*parts).double()


def test_of_a_chain_it_is_said_what_is_left_out():
    x = torch.zeros(1, 2, 9, 8, dtype=torch.float64)
    exact = look.transfer(chain("circular"), (9, 8), x)
    assert not exact.linear_only
    assert exact.zero_padding_error < 1e-12
    bent = look.transfer(chain("circular", nn.ReLU), (9, 8), x)
    assert bent.linear_only
    np.testing.assert_array_equal(bent, exact)
    assert np.asarray(exact).shape == (9, 8, 2, 2)
    valid = nn.Sequential(nn.Conv2d(2, 2, 3, bias=False))
    assert np.isnan(look.transfer(valid, (9, 8), x.float()).zero_padding_error)


@pytest.mark.parametrize("pads", [((2, 0),), ((0, 2),), ((1, 0), (1, 0)), ((3, 1),)], ids=str)
@pytest.mark.parametrize("own", [0, 1])
@pytest.mark.parametrize("kind", [nn.CircularPad1d, nn.ZeroPad1d])
def test_pads_in_front_may_be_uneven(pads, own, kind):
    """Margins delay by what stands in front: of a signal in the middle, which no margin repeats, the gains say all."""
    torch.manual_seed(0)
    taps = sum(map(sum, pads)) + 2 * own + 1
    layer = nn.Conv1d(2, 3, taps, padding=own, bias=False).double()
    model = nn.Sequential(*(kind(pad) for pad in pads), layer)
    x = torch.zeros(1, 2, 16, dtype=torch.float64)
    x[..., 8] = torch.randn(2, dtype=torch.float64)
    made = look.transfer(model, 16, x)
    with torch.no_grad():
        after = np.fft.fft(model(x)[0].numpy())
    np.testing.assert_allclose(np.einsum("noi,in->on", made.gains, np.fft.fft(x[0].numpy())), after, atol=1e-10)
    if kind is nn.CircularPad1d and len(pads) == 1 and not own:
        assert made.zero_padding_error < 1e-12


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate"])
def test_what_other_margins_miss_is_measured(mode):
    """The same number by the network itself, on the same white signal; it falls as the signal grows."""
    model = chain(mode)
    found = []
    for n in (8, 32):
        x = np.random.default_rng(0).standard_normal((2, n, n))
        with torch.no_grad():
            after = np.fft.fft2(model(torch.from_numpy(x)[None])[0].numpy())
        made = look.transfer(model, n, torch.from_numpy(x)[None])
        wanted = np.einsum("...oi,i...->o...", made.gains, np.fft.fft2(x))
        missed = np.linalg.norm(after - wanted) / np.linalg.norm(wanted)
        assert made.zero_padding_error == pytest.approx(missed, rel=1e-9)
        found.append(missed)
    assert found[0] > 1.5 * found[1] > 0.05


def test_measured_gains_of_random_decoders_are_the_expected_ones():
    """Many filters are many draws; and of a chain each layer's own, so that low frequencies win again and again."""
    torch.manual_seed(0)
    layer = nn.Conv2d(1, 4000, 3, padding=1, padding_mode="circular", bias=False)
    nn.init.normal_(layer.weight, 0.3, 0.7)
    x = torch.randn(4, 1, 12, 12)
    row = look.decoder_spectrum(nn.Sequential(layer), x).layers[0]
    line = 2 * np.pi * np.fft.fftfreq(12)
    omega = np.stack(np.meshgrid(line, line, indexing="ij"), -1)
    power = (np.abs(np.fft.fft2(x.numpy())) ** 2).mean((0, 1))
    bins = np.rint(np.hypot(*np.moveaxis(omega, -1, 0)) * 12 / 2 / np.pi).astype(int)
    wanted = [
        (power * look.expected_gain(3, 0.3, 0.7, omega))[bins == r].sum() / power[bins == r].sum() for r in range(7)
    ]
    np.testing.assert_allclose(row.gains, wanted, rtol=0.06)
    assert row.tilt < 1
    assert row.factor == (1, 1)


@pytest.mark.parametrize("n", [(10,), (6, 8), (4, 4, 6)])
def test_repeating_pixels_is_a_box_on_copies(n):
    """Nearest: gain ∏ |1 + e^(iω)|², at 0 that is 4^D; zeros between: 1 everywhere, and the copies of 0 stand out."""
    torch.manual_seed(0)
    ndim = len(n)
    x = torch.randn(3, 2, *n) + 1
    (row,) = look.decoder_spectrum(nn.Sequential(nn.Upsample(scale_factor=2)), x).layers
    assert row.factor == (2,) * ndim
    assert row.gains[0] == pytest.approx(4**ndim, rel=1e-5)
    assert row.tilt < 0.3
    conv = getattr(nn, f"ConvTranspose{ndim}d")(2, 2, 1, stride=2, output_padding=1, groups=2, bias=False)
    nn.init.ones_(conv.weight)
    (row,) = look.decoder_spectrum(nn.Sequential(conv), x).layers
    np.testing.assert_allclose(row.gains, 1, rtol=1e-5)
    assert row.replica > 10
    assert "tilt" in look.decoder_spectrum(nn.Sequential(conv), x).table()


def test_without_layers_there_is_nothing_to_measure():
    with pytest.raises(ArgumentError, match="whole number"):
        look.decoder_spectrum(nn.Sequential(nn.Conv1d(1, 1, 3)), torch.zeros(2, 1, 8))
