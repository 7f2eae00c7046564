"""Scattering of signals in time: the definition, the certificate, the peer's numbers, and the kernel beside torch."""

import numpy as np
import pytest
import torch

from faltung.certify import Band, Bank, Scattering1d, Scattering2d
from faltung.errors import ArgumentError


def circular(x, spectrum):
    """Convolution on the circle by its definition: one shift for each tap."""
    return sum(tap * np.roll(x, place) for place, tap in enumerate(np.fft.ifft(spectrum)))


@pytest.mark.parametrize("filters", ["morlet", "tight"])
@pytest.mark.parametrize("sampled", [False, True])
def test_it_is_what_its_formula_says(filters, sampled):
    """By sums over taps; filters behind a sampling are those that keep every 2^j-th tap, times as much."""
    x = np.random.default_rng(0).standard_normal(128)
    layer = Scattering1d(4, (2, 1), filters=filters, padding_mode="circular", sampled=sampled)
    bank = layer.bank(128)

    def smooth(u, level):
        found = circular(u, bank.phi[level] if level >= 0 else bank.outer).real
        return found[:: 16 >> max(level, 0)] if sampled else found

    expected, deeper = [smooth(x, -1)], []
    for band in bank.first:
        level = band.level if sampled else 0
        for wave in band.filters[0]:
            u = abs(circular(x, wave))[:: 2**level]
            expected.append(smooth(u, level))
            for other in bank.second:
                if other.number > band.number:
                    below = other.level if sampled else 0
                    step = 2 ** (below - level)
                    deeper += [smooth(abs(circular(u, f))[::step], below) for f in other.filters[level]]
    ours = layer(torch.tensor(x))
    assert ours.shape[0] == layer.paths
    assert np.allclose(ours, np.array(expected + deeper), atol=1e-12)


def test_filters_behind_a_sampling_do_what_they_did_before():
    """A slow modulus: filtered at a lower rate it gives the samples of what is filtered at the full one."""
    bank = Scattering1d(5, 2, padding_mode="circular").bank(512)
    u = 2 + np.cos(2 * np.pi * np.arange(512) * 3 / 512)
    for band in bank.second:
        for level in range(1, band.level + 1):
            full = circular(u, band.filters[0][0])[:: 2**level]
            assert np.allclose(circular(u[:: 2**level], band.filters[level][0]), full, atol=1e-5)


@pytest.mark.parametrize(
    ("J", "Q", "n", "T"), [(6, 8, 1024, None), (5, (3, 2), 700, None), (5, 1, 900, None), (6, 4, 512, 16)]
)
def test_it_is_the_peers_up_to_what_the_peer_loses(J, Q, n, T, peer):
    """kymatio 0.3 takes the mean over aliases where the sum belongs: 2^j too little behind each sampling."""
    theirs = peer("Scattering1D")(J, n, Q, T=T)
    log = theirs.log2_T
    levels = [min(p["j"], log) for p in theirs.psi1_f]
    lost = [0, *levels]
    for level, one in zip(levels, theirs.psi1_f, strict=True):
        lost += [level + min(two["j"], log) for two in theirs.psi2_f if two["j"] > one["j"]]
    x = torch.randn(2, n)
    ours = Scattering1d(J, Q, T=T)(x)
    expected = theirs(x) * 2.0 ** torch.tensor(lost)[:, None]
    assert ours.shape == expected.shape
    assert (ours - expected).abs().max() < 1e-5 * expected.abs().max()


def test_images_are_the_peers(peer):
    x = torch.randn(2, 3, 32, 40)
    ours = Scattering2d(2)(x)
    assert (ours - peer("Scattering2D")(2, (32, 40))(x)).abs().max() < 1e-4 * ours.abs().max()


def test_constants_shifts_and_averages():
    layer = Scattering1d(4, 4, padding_mode="circular", filters="tight")
    assert abs(layer.bank(128).first[0].filters[0][:, 0]).max() < 1e-6
    constant = layer(torch.full((128,), 3.0, dtype=torch.float64))
    assert torch.allclose(constant[0], torch.full((8,), 3.0, dtype=torch.float64))
    assert constant[1:].abs().max() < 1e-6
    x = torch.randn(2, 128, dtype=torch.float64)
    assert torch.allclose(layer(x.roll(32, 1)), layer(x).roll(2, 2), atol=1e-12)


def test_what_a_shift_changes_falls_with_the_scale():
    """∝ |t| / 2^J: doubling the scale or halving the shift halves it, about."""
    x = torch.randn(8, 4096, dtype=torch.float64)
    found = {}
    for J in (5, 7, 9):
        layer = Scattering1d(J, 2, padding_mode="circular", order=1, sampled=False)
        base = layer(x)
        for t in (1, 4):
            found[J, t] = float((layer(x.roll(t, 1)) - base)[:, 1:].norm() / base[:, 1:].norm())
    for J in (5, 7, 9):
        assert 3 < found[J, 4] / found[J, 1] < 4.5
    assert found[5, 1] / found[7, 1] > 2.5
    assert found[7, 1] / found[9, 1] > 2.5


def test_a_tight_bank_is_nonexpansive_and_keeps_energy():
    x = torch.randn(6, 256, dtype=torch.float64)
    y = x + 1e-2 * torch.randn_like(x)
    for sampled in (True, False):
        layer = Scattering1d(5, (4, 2), filters="tight", padding_mode="circular", sampled=sampled)
        assert layer.frame(256).nonexpansive
        assert ((layer(x) - layer(y)).flatten(1).norm(dim=1) <= (x - y).norm(dim=1) * (1 + 1e-12)).all()
    kept = [
        Scattering1d(5, (4, 2), order, filters="tight", padding_mode="circular", sampled=False)(x).square().sum((1, 2))
        for order in (0, 1, 2)
    ]
    assert (kept[0] < kept[1]).all()
    assert (kept[1] < kept[2]).all()
    assert (kept[2] <= x.square().sum(1) * (1 + 1e-12)).all()


def test_a_bank_of_ones_own():
    """Two halves of the spectrum of a circle: an exact frame."""

    def halves(size):
        (n,) = size
        low = (abs(np.fft.fftfreq(n)) < 0.125).astype(float)
        high = np.sqrt(2) * (np.fft.fftfreq(n) >= 0.125) + (np.fft.fftfreq(n) == -0.5)
        band = Band(0, 0, {0: high[None]})
        return Bank((band,), (), (low,), low, ((low,),))

    layer = Scattering1d(1, filters=halves, padding_mode="circular", sampled=False)
    assert layer.paths == 2
    assert layer.frame(64).nonexpansive
    x = torch.randn(64, dtype=torch.float64)
    assert layer(x)[0].square().sum() < x.square().sum()
    usual = Scattering1d(3, 2, padding_mode="circular")
    own = Scattering1d(3, filters=lambda size: usual.usual(size, False), padding_mode="circular")
    assert torch.equal(own(x), usual(x))


@pytest.mark.parametrize("n", [96, 105, 77])
def test_the_kernel_does_what_torch_does(n, monkeypatch):
    """With a gradient torch computes; without, the kernel; for lengths with odd factors too."""
    x = torch.randn(3, n, n if n != 105 else 60, dtype=torch.float64)
    for layer, signal in ((Scattering2d(2, 3), x), (Scattering1d(3, 3), x[0])):
        watched = signal.clone().requires_grad_()
        assert torch.allclose(layer(signal), layer(watched).detach(), atol=1e-13)
        (gradient,) = torch.autograd.grad(layer(watched).square().sum(), watched)
        assert gradient.isfinite().all()


def test_the_kernel_is_used_and_a_bank_without_axes_goes_by_torch(monkeypatch):
    from faltung.kernels.scattering.layout import Scale

    calls = []
    run = Scale.run
    monkeypatch.setattr(Scale, "run", lambda *args: (calls.append(1), run(*args))[1])
    Scattering2d(3, 2)(torch.randn(1, 16, 16))
    assert len(calls) == 3
    Scattering2d(2, 2, filters="tight")(torch.randn(1, 16, 16))
    Scattering2d(2, 2)(torch.randn(1, 16, 16).requires_grad_())
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: Scattering1d(3, (1, 2, 3)), "one or two"),
        (lambda: Scattering1d(3, T=9), "T up to"),
        (lambda: Scattering1d(3, 0), "Q"),
        (lambda: Scattering1d(3)(torch.zeros(5)), "at least 8"),
        (lambda: Scattering1d(3, padding_mode="circular")(torch.zeros(20)), "multiples of 8"),
        (lambda: Scattering1d(3, filters="haar"), "haar"),
    ],
)
def test_wrong_calls_are_refused(call, word):
    with pytest.raises(ArgumentError, match=word):
        call()
