"""Cosine transforms, global filters, Fourier mixing, spectral convolutions and T1: their laws."""

import math

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import faltung
from faltung.errors import ArgumentError, DtypeError
from faltung.nn import T1, Conv2d, FourierMix, GlobalFilter, SpectralConv, T1Block, functional

F64 = torch.float64


def normal(*shape, seed=0, dtype=F64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# The cosine transform


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 6), st.sampled_from(["ortho", "backward"]))
def test_dct_is_scipys_and_idct_undoes_it(n, m, norm):
    x = normal(3, n, m, seed=n + m)
    wanted = scipy.fft.dctn(x.numpy(), axes=(1, 2), norm=norm)
    got = functional.dct(x, (1, 2), norm)
    np.testing.assert_allclose(got.numpy(), wanted, atol=1e-11 * max(1, abs(wanted).max()))
    torch.testing.assert_close(functional.idct(got, (1, 2), norm), x, rtol=0, atol=1e-12)
    single = functional.idct(functional.dct(x.float(), (1, 2), norm), (1, 2), norm)
    torch.testing.assert_close(single, x.float(), rtol=0, atol=1e-5)


@given(st.integers(1, 65))
def test_parseval(n):
    x = normal(n, seed=n)
    assert math.isclose(functional.dct(x).norm().item(), x.norm().item(), rel_tol=1e-12)
    # Scaled as SciPy does, it is not an isometry: the law above can fail.
    assert n == 1 or not math.isclose(functional.dct(x, norm="backward").norm().item(), x.norm().item(), rel_tol=1e-3)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 24), st.data())
def test_products_of_cosine_coefficients_are_convolutions_with_mirrored_borders(n, data):
    reach = data.draw(st.integers(0, n))
    x, h = normal(n, seed=n), normal(reach + 1, seed=reach + 1)
    k = torch.arange(n, dtype=F64)
    spectrum = h[0] + 2 * sum(h[j] * torch.cos(math.pi * k * j / n) for j in range(1, reach + 1))
    got = functional.idct(spectrum * functional.dct(x))
    both = torch.cat([h.flip(0), h[1:]])
    wanted = np.convolve(np.pad(x.numpy(), reach, mode="symmetric"), both.numpy(), mode="valid")
    np.testing.assert_allclose(got.numpy(), wanted, atol=1e-10)
    ours = faltung.convolve(x.numpy(), both.numpy(), mode="same", boundary="symmetric")
    if len(both) <= n:
        np.testing.assert_allclose(got.numpy(), ours, atol=1e-10)
    layer = SpectralConv(1, 1, 1, n, basis="dct", dtype=F64)
    with torch.no_grad():
        layer.weight.copy_(spectrum.reshape(1, 1, -1))
        torch.testing.assert_close(layer(x.reshape(1, 1, -1)).flatten(), torch.from_numpy(wanted), rtol=0, atol=1e-10)


def test_dct_of_half_precision_and_refusals():
    x = normal(5).bfloat16()
    assert functional.dct(x).dtype == torch.bfloat16
    torch.testing.assert_close(functional.dct(x).float(), functional.dct(x.float()), rtol=1e-2, atol=1e-2)
    with pytest.raises(DtypeError, match="real numbers"):
        functional.dct(torch.zeros(3, dtype=torch.complex64))
    with pytest.raises(DtypeError, match="list"):
        functional.idct([1.0])
    with pytest.raises(ArgumentError, match="ortho"):
        functional.dct(x, norm="forward")
    with pytest.raises(ArgumentError, match="at least one sample"):
        functional.dct(torch.zeros(3, 0))


# Convolution by Fourier transforms, global filters, mixing


def test_a_layer_can_be_told_to_use_fourier_transforms():
    plain = torch.nn.Conv2d(4, 6, 15, padding=7)
    ours = Conv2d(4, 6, 15, padding=7, policy=faltung.Policy(only="fft"))
    ours.load_state_dict(plain.state_dict())
    x = normal(2, 4, 32, 32, dtype=torch.float32)
    torch.testing.assert_close(ours(x), plain(x), rtol=1e-4, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 8), st.integers(0, 8))
def test_global_filter_commutes_with_circular_shifts_and_is_a_circular_convolution(h, w, down, right):
    layer = GlobalFilter(2, 2, (h, w), dtype=F64)
    x = normal(3, 2, h, w, seed=h * w)
    y = layer(x)
    torch.testing.assert_close(layer(x.roll((down, right), (2, 3))), y.roll((down, right), (2, 3)), rtol=0, atol=1e-10)
    taps = torch.fft.irfft2(layer.response(), (h, w))
    wanted = torch.zeros_like(x)
    for i in range(h):
        for j in range(w):
            wanted += taps[:, i, j, None, None] * x.roll((i, j), (2, 3))
    torch.testing.assert_close(y, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", [(4, 6), (5, 6), (4, 5), (5, 7)])
def test_imaginary_parts_of_self_conjugate_bins_do_nothing(size):
    layer, x = GlobalFilter(2, 1, size, dtype=F64), normal(2, 1, *size)
    y = layer(x)
    h, w = size
    own = [(i, j) for i in range(h) for j in range(w // 2 + 1) if (2 * i) % h == 0 and (2 * j) % w == 0]
    with torch.no_grad():
        for i, j in own:
            layer.weight[0, i, j, 1] += 3
    torch.testing.assert_close(layer(x), y, rtol=0, atol=1e-12)
    with torch.no_grad():
        layer.weight[0, 1, 1, 1] += 3
    assert (layer(x) - y).abs().max() > 1e-2
    with torch.no_grad():
        layer.weight[0, *own[0], 0] += 3
    assert (layer(x) - y).abs().max() > 1e-2


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 9), st.integers(3, 9), st.integers(3, 9), st.integers(3, 9))
def test_a_global_filter_keeps_its_response_or_its_taps_at_another_size(h, w, tall, wide):
    layer = GlobalFilter(2, 1, (h, w), dtype=F64)
    # A wave of one period is seen by both samplings.
    rows, columns = torch.arange(h, dtype=F64) / h, torch.arange(w, dtype=F64) / w
    coarse = torch.cos(2 * math.pi * (rows[:, None] + columns)) + torch.sin(2 * math.pi * columns)
    rows, columns = torch.arange(tall, dtype=F64) / tall, torch.arange(wide, dtype=F64) / wide
    fine = torch.cos(2 * math.pi * (rows[:, None] + columns)) + torch.sin(2 * math.pi * columns)
    other = layer.resized((tall, wide), keep="bins")
    y, z = layer(coarse[None, None]), other(fine[None, None])
    for a, b in ((0, 1), (1, 0), (1, 1)):
        one = (torch.fft.fft2(y)[0, 0, a, b] / y.numel()).item()
        two = (torch.fft.fft2(z)[0, 0, a, b] / z.numel()).item()
        assert abs(one - two) < 1e-12
    larger = layer.resized((h + tall, w + wide))
    x = torch.zeros(1, 1, h + tall, w + wide, dtype=F64)
    x[0, 0, (h + tall) // 2, (w + wide) // 2] = 1  # far from the border: the impulse's result is the kernel
    seen = larger(x).roll((-((h + tall) // 2), -((w + wide) // 2)), (2, 3))
    assert math.isclose(seen.sum().item(), layer.taps().sum().item(), abs_tol=1e-10)
    torch.testing.assert_close(
        seen[0, 0, : (h + 1) // 2, : (w + 1) // 2], layer.taps()[0, : (h + 1) // 2, : (w + 1) // 2]
    )
    with pytest.raises(ArgumentError, match="taps, bins"):
        layer.resized(4, keep="pixels")


def test_a_global_filter_takes_a_kernel():
    layer, other = (GlobalFilter(2, 3, (4, 5), bias=True, dtype=F64) for _ in range(2))
    x = normal(2, 3, 4, 5)
    other.take(layer.effective_kernel(), torch.ones(3, dtype=F64))
    torch.testing.assert_close(other(x), layer(x) + 1)


def test_fourier_mix_as_published_is_the_real_part_of_fft2():
    x = normal(2, 5, 8)
    torch.testing.assert_close(FourierMix(1, norm="backward")(x), torch.fft.fft2(x).real)
    x = normal(2, 5, 8, 3)
    torch.testing.assert_close(FourierMix(2, channels=False)(x), torch.fft.fft2(x, norm="ortho").real)
    with pytest.raises(ArgumentError, match="real"):
        FourierMix(1)(torch.zeros(1, 2, 3, dtype=torch.complex64))
    with pytest.raises(ArgumentError, match="ortho"):
        FourierMix(1, norm="forward")


# Spectral convolutions and T1


@pytest.mark.parametrize("basis", ["dct", "fourier"])
@pytest.mark.parametrize("modes", [16, 64, 512])
def test_the_first_values_keep_the_variance(basis, modes):
    torch.manual_seed(0)
    layer = SpectralConv(1, 16, 64, modes, basis=basis, size=1024)
    x = normal(16, 16, 1024, seed=1, dtype=torch.float32)
    ratio = (layer(x).var() / x.var()).item()
    assert 0.9 < ratio < 1.1
    shrunk = SpectralConv(1, 16, 64, modes, basis=basis, init="naive", size=1024)
    assert shrunk(x).var() < 0.1 * x.var()


def test_the_first_values_keep_the_variance_in_two_dimensions():
    for basis in ("dct", "fourier"):
        torch.manual_seed(0)
        layer = SpectralConv(2, 16, 32, (8, 12), basis=basis, size=(32, 32))
        x = normal(8, 16, 32, 32, dtype=torch.float32)
        assert 0.9 < (layer(x).var() / x.var()).item() < 1.1


@pytest.mark.parametrize("basis", ["dct", "fourier"])
def test_another_resolution_gives_the_same_prediction_of_a_band_limited_signal(basis):
    layer = SpectralConv(2, 2, 3, (4, 3), basis=basis, dtype=F64)
    waves = normal(2, 4, 3, seed=5)

    def sampled(n, m):
        if basis == "dct":
            rows, columns = (torch.arange(n, dtype=F64) + 0.5) / n, (torch.arange(m, dtype=F64) + 0.5) / m
            turn = math.pi
        else:
            rows, columns, turn = torch.arange(n, dtype=F64) / n, torch.arange(m, dtype=F64) / m, 2 * math.pi
        first = torch.cos(turn * torch.arange(4, dtype=F64)[:, None] * rows)
        second = torch.cos(turn * torch.arange(3, dtype=F64)[:, None] * columns)
        return torch.einsum("cij,ip,jq->cpq", waves, first, second)[None]

    step = 3  # every third of the fine samples is a coarse one; cell middles need an odd step
    coarse, fine = layer(sampled(8, 7)), layer(sampled(8 * step, 7 * step))
    start = step // 2 if basis == "dct" else 0
    torch.testing.assert_close(fine[..., start::step, start::step], coarse, rtol=0, atol=1e-10)


def test_t1_keeps_its_prediction_at_another_resolution():
    torch.manual_seed(0)
    layer = T1(2, 1, 2, (5, 4), width=3, layers=2, dtype=F64)
    torch.nn.init.normal_(layer.head[1].weight)
    torch.nn.init.normal_(layer.head[1].bias)
    waves = normal(5, 4, seed=5)

    def sampled(n, m):
        first = torch.cos(math.pi * torch.arange(5, dtype=F64)[:, None] * (torch.arange(n, dtype=F64) + 0.5) / n)
        second = torch.cos(math.pi * torch.arange(4, dtype=F64)[:, None] * (torch.arange(m, dtype=F64) + 0.5) / m)
        return torch.einsum("ij,ip,jq->pq", waves, first, second)[None, None]

    coarse, fine = layer(sampled(8, 6)), layer(sampled(24, 18))
    assert coarse.std() > 0.1
    torch.testing.assert_close(fine[..., 1::3, 1::3], coarse, rtol=0, atol=1e-9)


def test_t1_starts_at_nearly_nothing_and_a_zero_head_gives_zero():
    torch.manual_seed(0)
    layer, x = T1(1, 2, 3, 8, width=4, layers=2), normal(2, 2, 32, dtype=torch.float32)
    assert 0 < layer(x).abs().max() < 1e-5
    torch.nn.init.zeros_(layer.head[1].weight)
    assert not layer(x).any()


def test_a_loss_of_coefficients_is_the_loss_of_signals():
    torch.manual_seed(0)
    layer = T1(2, 1, 1, (4, 4), width=3, layers=1, dtype=F64)
    torch.nn.init.normal_(layer.head[1].weight)
    x, target = normal(2, 1, 9, 7), layer(normal(2, 1, 9, 7, seed=3)).detach()
    among = (layer.coefficients(x) - functional.dct(target, (2, 3))[..., :4, :4]).square().sum()
    torch.testing.assert_close((layer(x) - target).square().sum(), among)


def test_variance_stays_in_a_t1_block():
    torch.manual_seed(0)
    block = T1Block(1, 64, 64, activation="sin")
    x = 0.05 * normal(32, 64, 64, seed=1, dtype=torch.float32)  # so small that the sine is the identity
    added = (block(x) - x).var() / x.var()
    assert 0.9 < added.item() < 1.1


def test_refusals():
    for wrong in ({"basis": "wavelet"}, {"init": "xavier"}, {"modes": 0}, {"modes": 6, "size": 9}):
        with pytest.raises(ArgumentError):
            SpectralConv(**({"ndim": 1, "in_channels": 1, "out_channels": 1, "modes": 2} | wrong))
    with pytest.raises(ArgumentError, match="fewer modes"):
        SpectralConv(2, 1, 1, 3)(torch.zeros(1, 1, 4, 8))
    with pytest.raises(ArgumentError, match="fewer modes"):
        T1(1, 1, 1, 9)(torch.zeros(1, 1, 8))
    with pytest.raises(ArgumentError, match="activation"):
        T1Block(1, 1, 2, activation="relu")
    with pytest.raises(ArgumentError, match="axes"):
        T1Block(5, 1, 2)
    with pytest.raises(ArgumentError, match="modes"):
        T1Block(1, 1, 2)(torch.zeros(1, 1, 3))
    with pytest.raises(ArgumentError, match="keep_high"):
        T1(1, 1, 1, 2, keep_high=1)
    with pytest.raises(ArgumentError, match="channels"):
        FourierMix(1, channels=3)
