"""Gains, alias fractions and shifts: reference values, dense matrices, and networks that keep or break the laws."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from faltung import certify, look
from faltung.errors import ArgumentError
from faltung.filters.symbol import Symbol
from faltung.look.spectrum import folded_scale, symbol_of
from faltung.readers import read


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def binomial(n):
    row = np.array([1.0])
    for _ in range(n - 1):
        row = np.convolve(row, [1, 1])
    return row


def square(row):
    return np.multiply.outer(row, row)[None, None]


@pytest.mark.parametrize(
    ("kernel", "value"),
    [
        (square(np.ones(1)), 0.75),
        (square(np.ones(2)), 1 - ((np.pi / 2 + 1) / np.pi) ** 2),
        (square(np.ones(2)), 0.3303689),
        (square(binomial(3)), 0.1454603),
        (square(np.ones(3)), 1 - ((3 * np.pi + 8) / (6 * np.pi)) ** 2),
        (square(binomial(5)), 1 - ((35 + 112 / np.pi - 16 / (3 * np.pi)) / 70) ** 2),
        # The closed form above, of the taps 1, 4, 6, 4, 1 along each axis, is 0.0296890. A value of 0.0296962 is quoted for this
        # kernel as well; it is 7e-6 more than the integral is.
        (square(binomial(5)), 0.0296890),
    ],
)
def test_alias_fractions_of_known_kernels(kernel, value):
    assert look.kernel_alias_fraction(kernel, 2) == pytest.approx(value, abs=1e-7)


def test_longer_binomials_alias_less():
    fractions = [look.kernel_alias_fraction(square(binomial(n)), 2) for n in range(1, 12, 2)]
    assert all(a > b for a, b in itertools.pairwise(fractions))


@settings(max_examples=30)
@given(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.integers(0, 99))
def test_the_alias_fraction_is_the_integral(ndim, stride, dilation, seed):
    kernel = drawn(2, 2, *(3,) * ndim, seed=seed)
    n = 24 * stride
    axes = [
        2 * np.pi * (np.arange(n) + 0.5) / n - np.pi
    ] * ndim  # the middle rule, with the band's limits on its borders
    omega = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    power = (np.abs(Symbol(kernel, dilation=dilation).at(omega)) ** 2).sum((0, -1, -2))
    inside = (np.abs(omega) < np.pi / stride).all(-1)
    assert look.kernel_alias_fraction(kernel, stride, dilation) == pytest.approx(
        1 - power[inside].sum() / power.sum(), abs=0.02
    )
    assert look.kernel_alias_fraction(kernel, 1, dilation) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_the_alias_fraction_of_white_noise_is_that_of_the_kernel(ndim):
    kernel = drawn(3, 2, *(3,) * ndim)
    x = drawn(4 if ndim < 3 else 1, 2, *{1: (4096,), 2: (96, 96), 3: (32, 32, 32)}[ndim], seed=1)
    axes = tuple(range(2, ndim + 2))
    response = np.fft.fftn(kernel, x.shape[2:], axes)
    y = np.fft.ifftn(np.einsum("oi...,bi...->bo...", response, np.fft.fftn(x, axes=axes)), axes=axes).real
    assert look.signal_alias_fraction(y, 2) == pytest.approx(look.kernel_alias_fraction(kernel, 2), abs=0.02)
    assert np.isnan(look.signal_alias_fraction(0 * y, 2))


def test_layers_that_change_the_sampling():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 4, 1, 2), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.AvgPool2d(3, 2, 1),
        nn.ConvTranspose2d(4, 2, 3, 2), nn.ConvTranspose2d(2, 2, 4, 2, 1), nn.Conv2d(2, 2, 3, 3, dilation=3),
    )  # fmt: skip
    x = torch.randn(4, 1, 48, 48)
    rows = look.aliasing(net, x).layers
    assert [r.name for r in rows] == ["0", "1", "3", "4", "5", "6", "7"]
    assert [r.skips for r in rows] == [False, True, False, False, False, False, True]
    assert [r.checkers for r in rows] == [False, False, False, False, True, False, False]
    assert rows[0].kernel == look.kernel_alias_fraction(net[0].weight.detach(), 2)
    assert rows[0].signal == pytest.approx(rows[0].kernel, abs=0.06)  # the example is white noise
    assert rows[2].kernel is None
    assert 0 < rows[2].signal < 1
    assert rows[3].kernel == pytest.approx(0.1454603, abs=1e-7)
    assert rows[4].signal is None
    assert "alias" in look.aliasing(net, x).table()
    (given,) = [r for r in look.aliasing(read(net, x)).layers if r.name == "0"]
    assert given.signal is None
    with pytest.raises(ArgumentError, match="pass an example"):
        look.aliasing(net)


def test_what_a_layer_makes_of_the_example_has_the_layers_own_margin():
    torch.manual_seed(0)
    layer = nn.Conv1d(1, 3, 5, stride=2, padding=2, padding_mode="circular").double()
    import faltung.nn

    ours = faltung.nn.Conv(1, 1, 3, 5, stride=2, padding=2, padding_mode="circular", dtype=torch.float64)
    with torch.no_grad():
        ours.weight.copy_(layer.weight)
    x = 5 + torch.randn(2, 1, 10).double()
    dense = nn.functional.conv1d(nn.functional.pad(x, (2, 2), "circular"), layer.weight.detach())
    wanted = look.signal_alias_fraction(dense.numpy(), 2)
    for made in (layer, ours):
        (row,) = look.aliasing(made, x).layers
        assert row.signal == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("rows", "value"),
    [(np.outer([1, 2, 1], [1, 0, -1]), 8), ([[0, 1, 0], [1, -4, 1], [0, 1, 0]], 8), (np.ones((3, 3)), 9)],
)
def test_the_gains_of_known_kernels(rows, value):
    found = look.gains(Symbol(np.asarray(rows, float)[None, None]), 16)
    assert found.largest == pytest.approx(value, abs=1e-12)
    assert found.upper >= found.largest


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 99))
def test_kernels_without_negative_taps_gain_most_at_zero(ndim, taps, seed):
    kernel = np.abs(drawn(1, 1, *(taps,) * ndim, seed=seed))
    found = look.gains(Symbol(kernel))
    assert found.largest == pytest.approx(kernel.sum(), rel=1e-12)
    assert found.dc == pytest.approx(kernel.sum(), rel=1e-12)


def test_no_padded_operator_gains_more_than_the_bound():
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, 3, padding=1, bias=False).double()
    found = look.gains(Symbol(layer.weight.detach().numpy()))
    for n in (2, 3, 5, 8):
        dense = torch.func.jacrev(lambda v, n=n: layer(v.reshape(1, 2, n, n)).flatten())(
            torch.zeros(2 * n * n).double()
        )
        assert torch.linalg.matrix_norm(dense, 2).item() <= found.upper


@pytest.mark.parametrize("options", [{}, {"dilation": 2}, {"stride": 2, "groups": 2}])
@pytest.mark.parametrize("ndim", [1, 2])
def test_gains_are_those_of_the_dense_matrix(ndim, options):
    torch.manual_seed(0)
    n = 6 if ndim == 1 else 5
    layer = getattr(nn, f"Conv{ndim}d")(4, 6, 3, bias=False, **options).double()
    size = n * layer.stride[0]

    def circular(x):
        reach = 2 * layer.dilation[0]
        x = nn.functional.pad(x.reshape(1, 4, *(size,) * ndim), (0, reach) * ndim, mode="circular")
        return layer(x).flatten()

    dense = torch.func.jacrev(circular)(torch.zeros(4 * size**ndim, dtype=torch.float64))
    values = torch.linalg.svdvals(dense.detach())
    (row,) = look.spectrum(layer, torch.zeros(1, 4, *(size + 4,) * ndim, dtype=torch.float64), n=n).layers
    assert row.largest == pytest.approx(float(values[0]), rel=1e-10)
    assert row.smallest == pytest.approx(float(values[-1]), rel=1e-8)
    assert row.condition == pytest.approx(float(values[0] / values[-1]), rel=1e-8)
    fine = look.gains(
        symbol_of(read(layer, torch.zeros(1, 4, *(size + 4,) * ndim, dtype=torch.float64)).convolutions[0]), 48
    )
    assert row.upper >= fine.largest >= row.largest * (1 - 1e-12) or n % 2
    assert row.upper >= fine.largest


def test_constants_checkers_and_the_place_of_the_largest_gain():
    kernel = np.array([[[1.0, -2.0, 1.0]]])
    row = look.gains(Symbol(kernel), 16)
    assert (row.dc, row.nyquist, row.at) == (pytest.approx(0, abs=1e-12), pytest.approx(4), (np.pi,))
    assert row.smallest == pytest.approx(0, abs=1e-12)
    assert row.rank == pytest.approx(1)
    eye = look.gains(Symbol(np.eye(8)[..., None]))
    assert (eye.largest, eye.smallest, eye.rank, eye.condition) == pytest.approx((1, 1, 8, 1))


def test_norms_are_folded_in():
    torch.manual_seed(0)
    for conv in (nn.Conv1d(2, 4, 3, bias=False), nn.ConvTranspose1d(2, 4, 3, groups=2, bias=False)):
        net = nn.Sequential(conv, nn.BatchNorm1d(4)).eval()
        nn.init.uniform_(net[1].weight)
        nn.init.uniform_(net[1].running_var, 0.5, 2)
        nn.init.zeros_(net[1].running_mean)
        network = read(net, torch.zeros(1, 2, 9))
        scale = folded_scale(network, network.convolutions[0])
        symbol = symbol_of(network.convolutions[0], scale)
        plain = nn.ConvTranspose1d if conv.transposed else nn.Conv1d
        folded = plain(2, 4, 3, groups=conv.groups, bias=False).double()
        folded.weight.data = torch.from_numpy(symbol.weight.copy())
        x = torch.randn(1, 2, 9)
        torch.testing.assert_close(folded(x.double()).float(), net(x) - net(0 * x), atol=1e-5, rtol=1e-5)
        assert look.spectrum(net, x, fold=True).layers[0].largest == look.gains(symbol).largest
    assert "condition" in look.spectrum(net, x).table()
    assert look.spectrum(net).skipped


class Circular(nn.Module):
    def __init__(self, stride=1, padding="circular"):
        super().__init__()
        self.a = nn.Conv2d(1, 4, 3, padding=1, padding_mode=padding, stride=stride)
        self.b = nn.Conv2d(4, 3, 3, padding=1, padding_mode=padding)

    def features(self, x):
        return self.b(torch.relu(self.a(x)))

    def forward(self, x):
        return self.features(x).mean((2, 3))


def test_circular_networks_do_not_see_shifts_and_others_do():
    torch.manual_seed(0)
    x = torch.randn(16, 1, 20, 20)
    steady = look.shift_consistency(Circular(), x)
    assert steady.agree == 1
    assert steady.deviation < 1e-5
    strided = look.shift_consistency(Circular(stride=4), x)
    assert strided.deviation > 100 * steady.deviation
    crops = look.shift_consistency(Circular(), x, crop=12, most=8)
    assert crops.kind == "crop"
    assert 0 <= crops.agree <= 1
    assert "agree" in crops.table()
    with pytest.raises(ArgumentError, match="smaller crop"):
        look.shift_consistency(Circular(), x, crop=16, most=8)
    with pytest.raises(ArgumentError, match="classes"):
        look.shift_consistency(nn.Identity(), x)


class Only(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net.features(x)


def test_equivariance_to_whole_and_broken_shifts():
    torch.manual_seed(0)
    x = torch.randn(2, 1, 15, 15)
    linear = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")
    assert certify.equivariance(Only(Circular()), "shift", x, count=8).error < 1e-6
    assert certify.equivariance(Circular(), "shift", x, count=8).error < 1e-6
    assert certify.equivariance(linear, "fractional shift", x, count=8).error < 1e-5
    assert certify.equivariance(Only(Circular()), "fractional shift", x, count=8).error > 1e-3


def test_borders_reach_inwards_with_depth():
    torch.manual_seed(0)
    zeros = nn.Sequential(*[nn.Conv1d(1, 1, 3, padding=1) for _ in range(6)])
    found = look.border_influence(zeros, torch.zeros(1, 1, 9))
    assert found.depth == 3  # after four layers the margin has come to the neighbours of the middle
    assert found.layers[0][1] > 1e-3
    circular = nn.Sequential(*[nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular") for _ in range(6)])
    assert max(row[1] for row in look.border_influence(circular, torch.zeros(1, 1, 9)).layers) < 1e-4
    assert "centre" in found.table()
