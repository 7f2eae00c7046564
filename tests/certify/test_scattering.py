"""Scattering: the published counts and frame bounds, the definition in space, and what a tight bank guarantees."""

import numpy as np
import pytest
import torch

from faltung.certify import Scattering2d
from faltung.errors import ArgumentError, DtypeError


@pytest.mark.parametrize(("J", "L", "paths"), [(2, 8, 81), (3, 8, 217), (4, 8, 417), (2, 4, 25)])
def test_numbers_of_paths(J, L, paths):
    assert Scattering2d(J, L).paths == paths
    x = torch.randn(1, 2**J * 4, 2**J * 4)
    assert Scattering2d(J, L)(x).shape == (1, paths, 4, 4)


def test_frame_bounds_of_the_usual_bank():
    for J, size, upper in ((2, 32, 1.0), (3, 64, 1.01861)):
        layer = Scattering2d(J)
        assert layer.bank((size, size)).phi[0].shape == (40 if J == 2 else 80,) * 2
        frame = layer.frame((size, size))
        assert abs(frame.lower - 0.12298) < 1e-5
        assert abs(frame.upper - upper) < 1e-5
        assert frame.nonexpansive == (J == 2)
        tight = Scattering2d(J, filters="tight").frame((size, size))
        assert tight.nonexpansive
        assert abs(tight.lower - 1) < 1e-12


def test_wavelets_have_no_mean_and_the_low_pass_keeps_it():
    for filters in ("morlet", "tight"):
        bank = Scattering2d(3, filters=filters).bank((32, 48))
        assert max(abs(band.filters[0][:, 0, 0]).max() for band in bank.first) < 1e-6
        assert abs(bank.phi[0][0, 0] - 1) < 1e-6
    features = Scattering2d(2)(torch.full((1, 16, 16), 3.0, dtype=torch.float64))
    assert torch.allclose(features[0, 0], torch.full((4, 4), 3.0, dtype=torch.float64))
    assert features[0, 1:].abs().max() < 1e-6


def circular(x, kernel):
    """Convolution on the torus by its definition: one shift for each tap."""
    result = np.zeros(x.shape, complex)
    for place in np.ndindex(kernel.shape):
        result += kernel[place] * np.roll(x, place, (0, 1))
    return result


@pytest.mark.parametrize("filters", ["morlet", "tight"])
def test_it_is_what_its_formula_says_in_space(filters):
    """By sums over taps: without sampling between the stages, and with it, each filter then that of its stage's resolution."""
    x = np.random.default_rng(0).standard_normal((16, 16))
    for sampled in (False, True):
        layer = Scattering2d(2, 2, filters=filters, padding_mode="circular", sampled=sampled)
        bank = layer.bank((16, 16))

        def smooth(u, level, bank=bank, sampled=sampled):
            kernel = np.fft.ifft2(bank.phi[level if sampled else 0])
            return circular(u, kernel).real[:: 4 >> level, :: 4 >> level] if sampled else circular(u, kernel).real

        moduli = []
        for j, band in enumerate(bank.first):
            step = 2**j if sampled else 1
            moduli.append([abs(circular(x, np.fft.ifft2(wave)))[::step, ::step] for wave in band.filters[0]])
        expected = [smooth(x, 0)] + [smooth(m, j) for j, scale in enumerate(moduli) for m in scale]
        for m in moduli[0]:
            step = 2 if sampled else 1
            deep = [abs(circular(m, np.fft.ifft2(wave)))[::step, ::step] for wave in bank.second[1].filters[0]]
            expected += [smooth(u, 1) for u in deep]
        ours = layer(torch.tensor(x)[None])[0]
        assert np.allclose(ours, np.array(expected), atol=1e-10)


def test_shifts_by_the_sampling_shift_the_features():
    layer = Scattering2d(2, 4, padding_mode="circular")
    x = torch.randn(2, 16, 24, dtype=torch.float64)
    assert torch.allclose(layer(x.roll((4, 8), (1, 2))), layer(x).roll((1, 2), (2, 3)), atol=1e-12)


def test_small_shifts_matter_less_at_larger_scales():
    x = torch.randn(4, 64, 64, dtype=torch.float64)
    moved = []
    for J in (1, 2, 3, 4):
        layer = Scattering2d(J, 4, padding_mode="circular")
        moved.append(float((layer(x.roll(1, 2)) - layer(x)).norm() / layer(x).norm()))
    assert moved == sorted(moved, reverse=True)
    assert moved[3] < moved[0] / 4


@pytest.mark.parametrize("sampled", [True, False])
def test_a_tight_bank_is_nonexpansive(sampled):
    torch.manual_seed(0)
    for J in (1, 2, 3):
        layer = Scattering2d(J, 4, filters="tight", padding_mode="circular", sampled=sampled)
        for scale in (1e-3, 1.0):
            x = torch.randn(5, 16, 16, dtype=torch.float64)
            y = x + scale * torch.randn_like(x)
            assert ((layer(x) - layer(y)).flatten(1).norm(dim=1) <= (x - y).flatten(1).norm(dim=1) * (1 + 1e-12)).all()


def test_a_bank_that_is_not_tight_can_expand():
    """The checkers of the usual bank at J = 3: the certificate says so, and one wave shows it."""
    usual = Scattering2d(3, padding_mode="circular", order=1, sampled=False)
    assert not usual.frame((80, 80)).nonexpansive
    sums = usual.bank((80, 80)).littlewood_paley()
    row, column = np.unravel_index(sums.argmax(), sums.shape)
    places = np.arange(80) * 2 * np.pi / 80
    wave = torch.tensor(np.cos(row * places[:, None] + column * places))
    spectrum = torch.fft.fft2(wave)
    bank = usual.bank((80, 80))
    energy = sum(float((spectrum * torch.tensor(band.filters[0])).abs().square().sum()) for band in bank.first)
    energy += float((spectrum * torch.tensor(bank.phi[0])).abs().square().sum())
    assert energy > 1.01 * float(spectrum.abs().square().sum())


def test_energy_grows_with_order_towards_that_of_the_image():
    x = torch.randn(3, 32, 32, dtype=torch.float64)
    energies = [
        Scattering2d(3, 4, order, "tight", "circular", sampled=False)(x).square().sum((1, 2, 3)) for order in (0, 1, 2)
    ]
    assert (energies[0] < energies[1]).all()
    assert (energies[1] < energies[2]).all()
    assert (energies[2] <= x.square().sum((1, 2)) * (1 + 1e-12)).all()


def test_gradients_also_where_a_modulus_is_zero():
    layer = Scattering2d(1, 2)
    x = torch.randn(1, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)
    flat = torch.zeros(1, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(Scattering2d(2, 2)(flat).sum(), flat)
    assert gradient.isfinite().all()
    with torch.no_grad():
        assert torch.allclose(layer(x), layer(x.detach()))
    assert torch.allclose(layer(x).detach(), layer(x.detach()))


def test_any_size_batch_and_margin():
    layer = Scattering2d(2, 2)
    assert layer(torch.randn(13, 18)).shape == (9, 3, 4)
    batch = torch.randn(2, 3, 13, 18, dtype=torch.float64)
    assert torch.allclose(layer(batch)[1, 2], layer(batch[1, 2]))
    for mode in ("zeros", "replicate"):
        assert Scattering2d(2, 2, padding_mode=mode)(batch).shape == (2, 3, 9, 3, 4)


@pytest.mark.parametrize(
    ("call", "kind", "word"),
    [
        (lambda: Scattering2d(0), ArgumentError, "J"),
        (lambda: Scattering2d(2, filters="haar"), ArgumentError, "haar"),
        (lambda: Scattering2d(2, order=3), ArgumentError, "order up to 2"),
        (lambda: Scattering2d(3)(torch.zeros(7, 9)), ArgumentError, "at least 8"),
        (lambda: Scattering2d(2, padding_mode="circular")(torch.zeros(10, 8)), ArgumentError, "multiples"),
        (lambda: Scattering2d(2)(torch.zeros(8, 8, dtype=torch.complex64)), DtypeError, "real"),
    ],
)
def test_wrong_calls_are_refused(call, kind, word):
    with pytest.raises(kind, match=word):
        call()
