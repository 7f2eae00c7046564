"""Convolution-aware initialisation, as published and as meant."""

import pytest
import torch

from faltung.errors import ArgumentError, DtypeError
from faltung.init import conv_aware_

SHAPES = [(6, 4, 5), (8, 3, 3, 3), (5, 20, 3, 3), (4, 7, 3, 4), (3, 2, 3, 3, 3), (3, 1, 7), (6, 40, 2, 3)]


def made(shape, seed=0, dtype=torch.float64, **options):
    return conv_aware_(torch.empty(shape, dtype=dtype), generator=torch.Generator().manual_seed(seed), **options)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_variance_is_hes(shape, exact, dtype):
    w = made(shape, exact=exact, dtype=dtype).double()
    fan_in = w[0].numel()
    assert abs(w.var(correction=0) - 2 / fan_in) < 1e-6 * 2 / fan_in


@pytest.mark.parametrize("shape", SHAPES)
def test_exact_kernels_are_orthogonal_in_taps_and_frequencies(shape):
    w = made(shape, exact=True)
    taps = w[0, 0].numel()
    rows = w.flatten(2)
    for start in range(0, shape[1], taps):  # within each basis
        part = rows[:, start : start + taps]
        gram = part @ part.mT
        scale = gram[0, 0, 0]
        torch.testing.assert_close(gram / scale, torch.eye(part.shape[1]).double().expand_as(gram), rtol=0, atol=1e-6)
    spectra = torch.fft.fftn(w, dim=tuple(range(2, w.ndim))).flatten(2)[:, :taps]
    gram = spectra @ spectra.mH
    assert (gram - torch.diag_embed(gram.diagonal(dim1=1, dim2=2))).abs().max() < 1e-6 * gram.abs().max()


def test_bases_of_one_output_are_independent():
    rows = made((3, 18, 3, 3), exact=True).flatten(2)
    across = rows[:, :9] @ rows[:, 9:].mT
    assert across.abs().max() > 0.1 * (rows[0, 0] @ rows[0, 0])


@pytest.mark.parametrize("shape", SHAPES)
def test_energy_is_that_of_the_spectrum(shape):
    w = made(shape)
    axes = tuple(range(2, w.ndim))
    energy = torch.fft.fftn(w, dim=axes).abs().square().sum(axes)
    torch.testing.assert_close(energy, w[0, 0].numel() * w.square().sum(axes))


@pytest.mark.parametrize("shape", SHAPES)
def test_published_kernels_are_even_without_noise(shape):
    """w[−t] = w[t] modulo the kernel's size; noise and exactness undo it."""

    def mirrored(w):
        axes = tuple(range(2, w.ndim))
        return w.flip(axes).roll((1,) * len(axes), axes)

    w = made(shape, eps=0)
    torch.testing.assert_close(mirrored(w), w, rtol=0, atol=1e-12)
    for other in (made(shape), made(shape, exact=True)):
        assert (mirrored(other) - other).abs().max() > 1e-3


def test_published_kernels_are_not_orthogonal():
    """What makes `exact` worth having: off the diagonal the Gram matrix is of the order of the diagonal."""
    rows = made((200, 6, 3, 3), eps=0).flatten(2)
    gram = rows @ rows.mT
    off = (gram - torch.diag_embed(gram.diagonal(dim1=1, dim2=2))).abs().amax((1, 2)).mean()
    assert off > 0.2 * gram.diagonal(dim1=1, dim2=2).mean()


@pytest.mark.parametrize("exact", [False, True])
def test_the_generator_decides(exact):
    kept = torch.get_rng_state()
    a, b, c = made((4, 3, 3, 3), 1, exact=exact), made((4, 3, 3, 3), 1, exact=exact), made((4, 3, 3, 3), 2, exact=exact)
    assert (a == b).all()
    assert (a != c).any()
    assert (torch.get_rng_state() == kept).all()  # the global one is left alone


def test_groups_have_bases_of_their_own():
    """A grouped kernel (out, in / groups): orthogonal for every output of every group, whatever the groups."""
    layer = torch.nn.Conv2d(16, 32, 3, groups=4)
    conv_aware_(layer.weight, exact=True)
    rows = layer.weight.detach().flatten(2)
    gram = rows @ rows.mT
    torch.testing.assert_close(gram, gram[0, 0, 0] * torch.eye(4).expand(32, 4, 4), rtol=0, atol=1e-6)


def test_one_tap_is_gaussian():
    w = made((400, 50, 1, 1))
    assert abs(w.var() * 25 - 1) < 0.05
    assert abs((w**4).mean() / w.var() ** 2 - 3) < 0.2


def test_what_is_no_kernel_is_refused():
    for wrong, error in (
        (torch.empty(2, 3), ArgumentError), (torch.empty(2, 3, 3, 3, 3, 3), ArgumentError),
        (torch.empty(2, 3, 3, dtype=torch.complex64), DtypeError), (torch.zeros(2, 3, 3).long(), DtypeError), (None, DtypeError),
    ):  # fmt: skip
        with pytest.raises(error):
            conv_aware_(wrong)
    with pytest.raises(ArgumentError, match="standard deviation"):
        conv_aware_(torch.empty(2, 3, 3), eps=-1)
