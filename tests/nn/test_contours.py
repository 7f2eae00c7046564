"""Layers for closed curves: the law of turns, starts and places; transposes; pools; reflections; Fourier's form; curvature."""

import cmath

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import nn
from faltung.certify import equivariance
from faltung.certify.actions import ContourMotion
from faltung.data.contours import fourier_contours, resample_contour
from faltung.errors import ArgumentError, DtypeError
from faltung.nn.complex import ModReLU

motion = st.tuples(st.floats(0, 6.28), st.integers(0, 23), st.floats(-5, 5))


def curves(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        nn.ContourConv(1, 4, 5, dtype=torch.complex128), nn.ModBatchNorm(4, dtype=torch.complex128),
        ModReLU(4, start=-0.1, dtype=torch.complex128), nn.CosetPool(2), nn.ContourConv(4, 6, 3, dtype=torch.complex128),
        nn.SigLog(), nn.InvariantPool(), torch.nn.Linear(6, 3).double(),
    )  # fmt: skip


def test_mod_relu_of_the_reference_and_of_zero():
    layer = ModReLU(1, start=-1.0, dtype=torch.complex128)
    z = torch.tensor([[[3 + 4j, 0j]]], dtype=torch.complex128, requires_grad=True)
    y = layer(z)
    torch.testing.assert_close(y, torch.tensor([[[2.4 + 3.2j, 0j]]], dtype=torch.complex128))
    y.abs().sum().backward()
    assert z.grad.isfinite().all()


@settings(max_examples=20, deadline=None)
@given(motion, st.integers(1, 8), st.integers(1, 2))
def test_the_convolution_turns_and_begins_with_the_curve(how, taps, dilation):
    angle, start, place = how
    layer = nn.ContourConv(2, 3, taps, dilation=dilation, dtype=torch.complex128)
    z = curves(2, 2, 24)
    turn = cmath.exp(1j * angle)
    moved = layer(turn * z.roll(start, -1) + complex(place, -2 * place))
    torch.testing.assert_close(moved, turn * layer(z).roll(start, -1), rtol=0, atol=1e-12)


def test_the_fourier_form_and_real_curves():
    layer = nn.ContourConv(1, 1, 7, dtype=torch.complex128)
    z = curves(1, 1, 32)
    taps = torch.zeros(32, dtype=torch.complex128)
    taps[(torch.arange(7) - 3) % 32] = layer.weight.detach()[0, 0]
    centred = z[0, 0] - z.mean()
    waves = torch.fft.fft(centred) * torch.fft.fft(taps.roll(-1).flip(0))  # a correlation: taps run backwards
    torch.testing.assert_close(layer(z)[0, 0].detach(), torch.fft.ifft(waves), rtol=0, atol=1e-12)
    real = torch.nn.Conv1d(1, 1, 7, padding=3, padding_mode="circular", bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(real.weight)
        x = z.real
        torch.testing.assert_close(layer(x.to(z.dtype)).real, real(x - x.mean()), rtol=0, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 7), st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.sampled_from([1, 2]), st.booleans(),
    st.integers(0, 99),
)  # fmt: skip
def test_the_transpose_is_the_adjoint(m, taps, stride, dilation, groups, center, seed):
    """With conjugated weights; of means, which the convolution forgets, only centred curves have none."""
    how = {"stride": stride, "dilation": dilation, "groups": groups, "center": center, "dtype": torch.complex128}
    layer, back = nn.ContourConv(2, 4, taps, **how), nn.ContourConvTranspose(4, 2, taps, **how)
    with torch.no_grad():
        back.weight.copy_(layer.weight.conj())
        x, y = curves(1, 2, m * stride, seed=seed), curves(1, 4, m, seed=seed + 100)
        inner = y - y.mean(-1, keepdim=True) if center else y
        near, far = torch.vdot(layer(x).flatten(), inner.flatten()), torch.vdot(x.flatten(), back(y).flatten())
    torch.testing.assert_close(near, far, rtol=0, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(motion, st.integers(1, 8), st.integers(1, 3), st.integers(1, 2))
def test_the_transpose_turns_and_begins_with_the_curve(how, taps, stride, dilation):
    angle, start, place = how
    layer = nn.ContourConvTranspose(2, 3, taps, stride=stride, dilation=dilation, dtype=torch.complex128)
    z = curves(2, 2, 24)
    turn = cmath.exp(1j * angle)
    moved = layer(turn * z.roll(start, -1) + complex(place, -2 * place))
    torch.testing.assert_close(moved, turn * layer(z).roll(start * stride, -1), rtol=0, atol=1e-12)


def test_the_transpose_in_fourier_s_form_and_reflected():
    layer, mirror = (nn.ContourConvTranspose(1, 1, 7, stride=3, dtype=torch.complex128) for _ in range(2))
    z = curves(1, 1, 10)
    taps = torch.zeros(30, dtype=torch.complex128)
    taps[(torch.arange(7) - 3) % 30] = layer.weight.detach()[0, 0]
    waves = torch.fft.fft(z[0, 0] - z.mean()).repeat(3)  # two zeros behind every sample repeat the spectrum
    found = layer(z).detach()
    torch.testing.assert_close(found[0, 0], torch.fft.ifft(waves * torch.fft.fft(taps)), rtol=0, atol=1e-12)
    with torch.no_grad():
        mirror.weight.copy_(layer.weight.conj().flip(-1))
        torch.testing.assert_close(mirror(z.conj().flip(-1)), found.conj().flip(-1).roll(-2, -1))


def test_a_decoder_turns_with_the_curve():
    torch.manual_seed(0)
    wide = {"dtype": torch.complex128}
    model = torch.nn.Sequential(
        nn.ContourConv(1, 4, 5, stride=2, **wide), nn.SigLog(), nn.ContourConv(4, 6, 3, stride=2, **wide), nn.ModTanh(),
        nn.ContourConvTranspose(6, 4, 3, stride=2, **wide), nn.SigLog(), nn.ContourConvTranspose(4, 1, 5, stride=2, **wide),
    )  # fmt: skip
    z = curves(3, 1, 24)
    assert model(z).shape == z.shape
    assert equivariance(model, ContourMotion(step=4), z).error < 1e-10
    assert equivariance(model, ContourMotion(), z).error > 1e-3


def test_reflections_with_conjugated_reversed_kernels():
    layer, mirror = (nn.ContourConv(2, 3, 5, dtype=torch.complex128) for _ in range(2))
    with torch.no_grad():
        mirror.weight.copy_(layer.weight.conj().flip(-1))
    z = curves(1, 2, 12)
    torch.testing.assert_close(mirror(z.conj().flip(-1)), layer(z).conj().flip(-1))


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([2, 3, 4]), st.integers(-20, 20), st.sampled_from(["max", "mean", "mix"]))
def test_pools_and_shifts(p, t, mode):
    z = curves(2, 2, 24)
    coset, window = nn.CosetPool(p, mode, dtype=torch.complex128), nn.ContourPool(p, mode, dtype=torch.complex128)
    torch.testing.assert_close(coset(z.roll(t, -1)), coset(z).roll(t, -1))
    torch.testing.assert_close(window(z.roll(p * t, -1)), window(z).roll(t, -1))
    if mode == "mean":
        assert not torch.allclose(window(z.roll(1, -1)), window(z))


def test_an_invariant_network_stays_also_after_training():
    model, z = network(), curves(6, 1, 24)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(z), torch.arange(6) % 3).backward()
        optimizer.step()
    report = equivariance(model, ContourMotion(), z)
    assert report.error < 1e-10
    assert report.consistency == 1
    strided = torch.nn.Sequential(
        nn.ContourConv(1, 4, 5, dtype=torch.complex128), nn.ContourPool(2), nn.InvariantPool("max")
    )
    assert equivariance(strided, ContourMotion(step=2), z).error < 1e-10
    assert equivariance(strided, ContourMotion(), z).error > 1e-3


def test_derivatives_of_complex_parameters():
    layer = nn.ContourConv(1, 2, 3, dtype=torch.complex128)
    z = curves(1, 1, 6).requires_grad_()

    def loss(z, weight):
        return torch.func.functional_call(layer, {"weight": weight}, (z,))

    assert torch.autograd.gradcheck(loss, (z, layer.weight))


def test_the_norm_in_training():
    layer = nn.ModBatchNorm(1, start=1.0, momentum=1.0, dtype=torch.complex128).train()
    z = curves(64, 1, 32)
    log = layer(z).abs().log()
    assert abs(log.mean()) < 1e-12
    assert log.var(correction=0).item() == pytest.approx(1, abs=1e-3)
    still = layer(torch.zeros(2, 1, 4, dtype=torch.complex128))
    assert torch.equal(still, torch.zeros_like(still))


def test_points_at_equal_distances():
    square = np.array([0, 1, 1 + 1j, 1j])
    z = resample_contour(square, 40)
    np.testing.assert_allclose(np.abs(np.diff(z)), 0.1, atol=1e-12)
    np.testing.assert_allclose(resample_contour(np.append(square, 0), 40), z)
    for wrong in (np.array([1j, 1j]), np.ones((2, 2)), np.array([1.0])):
        with pytest.raises(ArgumentError):
            resample_contour(wrong, 8)


def test_curvature_by_three_points():
    z, curvature = fourier_contours(3, 4000, 3, seed=1)
    a, b, c = np.roll(z, 1, 1), z, np.roll(z, -1, 1)
    area = ((b - a).conj() * (c - a)).imag / 2
    found = 4 * area / (np.abs(b - a) * np.abs(c - b) * np.abs(a - c))
    np.testing.assert_allclose(found, curvature, rtol=1e-3, atol=1e-2)
    np.testing.assert_array_equal(fourier_contours(3, 16, seed=5)[0], fourier_contours(3, 16, seed=5)[0])


def test_wrong_settings_are_refused():
    with pytest.raises(DtypeError):
        nn.ContourConv(1, 1, 3, dtype=torch.float32)
    with pytest.raises(DtypeError):
        nn.ContourConv(1, 1, 3)(torch.randn(1, 1, 8))
    with pytest.raises(ArgumentError):
        nn.ContourConv(2, 3, 3, groups=2)
    with pytest.raises(DtypeError, match="ContourConvTranspose"):
        nn.ContourConvTranspose(1, 1, 3, dtype=torch.float32)
    with pytest.raises(DtypeError, match="ContourConvTranspose"):
        nn.ContourConvTranspose(1, 1, 3)(torch.randn(1, 1, 8))
    with pytest.raises(ArgumentError, match="ContourConvTranspose"):
        nn.ContourConvTranspose(2, 3, 3, groups=2)
    with pytest.raises(ArgumentError, match="2 channels"):
        nn.ContourConvTranspose(2, 3, 3)(curves(1, 3, 8))
    with pytest.raises(ArgumentError):
        nn.ContourPool(3)(curves(1, 1, 8))
    with pytest.raises(ArgumentError):
        nn.InvariantPool("median")
