"""Scattering of volumes: turns and shifts, the definition, the certificate, the peer's numbers."""

import numpy as np
import pytest
import torch

from faltung.certify import Scattering3d
from faltung.errors import ArgumentError, DtypeError


def blobs(n, seed=0, width=2.0):
    """A few Gaussians in the middle of a volume."""
    random = np.random.default_rng(seed)
    at = np.stack(np.meshgrid(*[np.arange(a) for a in n], indexing="ij")).astype(float)
    centres = random.uniform([a / 3 for a in n], [2 * a / 3 for a in n], (3, 3))
    return torch.tensor(sum(np.exp(-((at - c[:, None, None, None]) ** 2).sum(0) / (2 * width**2)) for c in centres))


def test_shapes_and_orders():
    x = torch.randn(2, 12, 16, 10)
    assert Scattering3d(1, 2)(x).shape == (2, 3, 3, 3)
    assert Scattering3d(2, 1, order=1, powers=(2.0,))(x).shape == (2, 3, 2, 1)
    assert Scattering3d(1, 2, powers=None)(x).shape == (2, 1 + 3 * 3, 6, 8, 5)


def test_it_is_what_its_formula_says_in_space():
    """By sums over taps of complex filters, whose degrees' sums of squares the real ones share."""
    x = torch.randn(4, 6, 5, dtype=torch.float64)
    layer = Scattering3d(1, 2, sigma=1.3)
    bank = layer.bank((4, 6, 5))

    def modulus(u, waves, l):
        total = 0
        for wave in waves:
            taps = np.fft.ifftn((-1j) ** l * wave)
            assert abs(taps.imag).max() < 1e-12
            found = sum(taps[place].real * np.roll(u, place, (0, 1, 2)) for place in np.ndindex(u.shape))
            total = total + found**2
        return np.sqrt(total)

    for l in range(3):
        one = [modulus(x.numpy(), bank.waves[l][j], l) for j in range(2)]
        two = modulus(one[0], bank.waves[l][1], l)
        expected = [[(u**p).sum() for p in layer.powers] for u in (*one, two)]
        assert np.allclose(layer(x)[:, l], expected, rtol=1e-10)


@pytest.mark.parametrize("sigma", [1.0, 1.7])
def test_it_is_the_peers(sigma, peer):
    x = blobs((24, 24, 24)).float()[None]
    ours = Scattering3d(2, sigma=sigma)(x)
    theirs = peer("HarmonicScattering3D")(J=2, shape=(24, 24, 24), L=3, sigma_0=sigma)(x)
    assert ((ours - theirs).abs() < 2e-3 * theirs.abs()).all()
    assert ((ours - theirs)[..., 1:].abs() < 1e-4 * theirs[..., 1:].abs()).all()


def test_shifts_and_turns_leave_integrals():
    layer = Scattering3d(2)
    x = blobs((16, 16, 16))
    found = layer(x)
    for moved in (x.roll((3, 5, -2), (0, 1, 2)), x.rot90(1, (0, 1)), x.rot90(1, (1, 2)).flip(0), x.permute(2, 0, 1)):
        assert torch.allclose(layer(moved), found, rtol=1e-9)


def test_turns_between_the_axes_leave_nearly_all():
    """A blob turned by 45°: exact up to what the grid resolves."""
    n = 32
    at = np.stack(np.meshgrid(*[np.arange(n) - 15.5] * 3, indexing="ij"))
    turned = np.stack([(at[0] + at[1]) / np.sqrt(2), (at[0] - at[1]) / np.sqrt(2), at[2]])
    one, two = (torch.tensor(np.exp(-(g[0] ** 2 / 24 + g[1] ** 2 / 8 + g[2] ** 2 / 16))) for g in (at, turned))
    layer = Scattering3d(1, powers=(1.0, 2.0))
    assert torch.allclose(layer(one), layer(two), rtol=1e-2)
    assert not torch.allclose(layer(one), layer(two.transpose(0, 1) * 1.03), rtol=1e-2)


def test_a_tight_bank_is_nonexpansive():
    x = torch.randn(3, 8, 8, 8, dtype=torch.float64)
    y = x + 0.1 * torch.randn_like(x)
    tight = Scattering3d(1, powers=None, filters="tight")
    assert tight.frame((8, 8, 8)).nonexpansive
    assert abs(tight.frame((8, 8, 8)).lower - 1) < 1e-12
    assert not Scattering3d(1).frame((8, 8, 8)).nonexpansive
    assert ((tight(x) - tight(y)).flatten(1).norm(dim=1) <= (x - y).flatten(1).norm(dim=1) * (1 + 1e-12)).all()


def test_gradients_also_where_a_modulus_is_zero():
    layer = Scattering3d(1, 1, powers=(1.0, 2.0))
    x = torch.randn(4, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)
    flat = torch.zeros(4, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(Scattering3d(1, 2)(flat).sum(), flat)
    assert gradient.isfinite().all()
    assert torch.allclose(layer(x).detach(), layer(x.detach()))


@pytest.mark.parametrize(
    ("call", "kind", "word"),
    [
        (lambda: Scattering3d(0), ArgumentError, "J"),
        (lambda: Scattering3d(1, sigma=0.0), ArgumentError, "sigma"),
        (lambda: Scattering3d(1, order=3), ArgumentError, "order"),
        (lambda: Scattering3d(1, powers=(0.0,)), ArgumentError, "powers"),
        (lambda: Scattering3d(2, powers=None)(torch.zeros(8, 8, 6)), ArgumentError, "multiples"),
        (lambda: Scattering3d(1)(torch.zeros(8, 8)), DtypeError, "depth"),
    ],
)
def test_wrong_calls_are_refused(call, kind, word):
    with pytest.raises(kind, match=word):
        call()
