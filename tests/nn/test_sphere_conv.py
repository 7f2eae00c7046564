"""Convolution on the sphere: equivariance, round filters, realness, filters of few parameters, and a known defect."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung.certify import equivariance
from faltung.errors import ArgumentError, DtypeError
from faltung.nn import SphericalConv
from faltung.nn.sphere import SpinSHT, harmonics, sphere_grid, turn
from faltung.nn.sphere.conv import BUCKET, between_knots
from faltung.nn.sphere.wigner import random_rotation

SPINS = [((0,), (0,)), ((0,), (0, 1)), ((0, 1, -2), (2, 0)), ((1,), (-1, 3))]


def signal(*shape, complex=True, seed=0):
    kind = torch.complex128 if complex else torch.float64
    return torch.randn(*shape, dtype=kind, generator=torch.Generator().manual_seed(seed))


def off(got, wanted):
    return ((got - wanted).norm() / wanted.norm()).item()


@pytest.mark.parametrize(("source", "to"), SPINS)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_turned_input_gives_the_turned_result(source, to, seed):
    torch.manual_seed(seed)
    rotation = random_rotation(np.random.default_rng(seed))
    layer = SphericalConv(2, 3, source, to, 12, out_resolution=(10, 14), out_grid="gauss", dtype=torch.complex128)
    x = signal(2, 2 * len(source), 12, 12, seed=seed)
    wanted = turn(layer(x), rotation, layer.out_grid, to)
    assert off(layer(turn(x, rotation, layer.grid, source)), wanted) < 1e-13
    single = layer.float()
    assert off(single(turn(x, rotation, layer.grid, source).to(torch.complex64)), wanted) < 1e-5


def test_gradients_turn_with_the_sphere_too():
    """The gradient of a loss that no rotation changes turns like the input; that for the weights stays."""
    layer = SphericalConv(2, 2, (0, 1), (0, 1), (10, 12), grid="gauss", dtype=torch.complex128)
    area = torch.tensor(layer.grid.weights)[:, None]
    rotation = (0.7, 2.0, -1.1)

    def gradients(x):
        x = x.clone().requires_grad_()
        loss = (layer(x).abs().square() * area).sum()
        first, *rest = torch.autograd.grad(loss, (x, layer.weight))
        return first / area, *rest  # a density, as functions are

    x = signal(1, 4, 10, 12)
    x = turn(x, (0.0, 0.0, 0.0), layer.grid, (0, 1))
    (gx, gw), (hx, hw) = gradients(x), gradients(turn(x, rotation, layer.grid, (0, 1)))
    assert off(hx, turn(gx, rotation, layer.grid, (0, 1))) < 1e-12
    assert off(hw, gw) < 1e-12


def test_it_is_equivariant_after_training():
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        SphericalConv(1, 4, (0,), (0, 1), 10, num_filter_params=3),
        SphericalConv(4, 1, (0, 1), (0,), 10, dtype=torch.complex64),
    ).double()
    optimizer = torch.optim.Adam(layers.parameters(), 0.05)
    x, y = signal(4, 1, 10, 10), signal(4, 1, 10, 10, seed=1)
    before = [p.detach().clone() for p in layers.parameters()]
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = (layers(x) - y).abs().square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(not torch.equal(p, q) for p, q in zip(layers.parameters(), before, strict=True))
    report = equivariance(layers, "sphere", x, count=6, layers=None)
    assert report.kept
    assert report.error < 1e-12


def test_longitudes_roll_exactly():
    layer = SphericalConv(2, 2, (0,), (0,), 16, out_resolution=8, dtype=torch.float64)
    x = signal(1, 2, 16, 16, complex=False)
    assert off(layer(x.roll(6, -1)), layer(x).roll(3, -1)) < 1e-14


def test_spin_0_is_the_convolution_with_a_round_filter():
    """Driscoll and Healy's: `2π √(4π/(2l + 1)) f_lm k_l0`, the integral of f(q) k(angle of p and q) over all q, times 2π."""
    grid = sphere_grid(14)
    layer = SphericalConv(1, 1, (0,), (0,), 14, bias=False, dtype=torch.float64)
    cosine = np.clip(np.einsum("ijk,mnk->ijmn", grid.points, grid.points), -1, 1)
    f = turn(signal(1, 1, 14, 14, complex=False), (0.0, 0.0, 0.0), grid)
    area = torch.tensor(grid.weights)[:, None]
    kernel = lambda t: 1 + 0.5 * t - 2 * t**3 + t**5  # noqa: E731 - of the cosine
    wanted = 2 * np.pi * torch.einsum("ijmn,bcmn->bcij", torch.tensor(kernel(cosine)), f * area)
    zonal = SpinSHT(14, dtype=torch.float64)(torch.tensor(kernel(grid.points[..., 2])))
    l = torch.arange(layer.degree + 1)
    scale = 2 * np.pi * (4 * np.pi / (2 * l.double() + 1)).sqrt()
    with torch.no_grad():
        layer.weight[0, 0, 0, 0] = scale * zonal[l * l + l].real
    assert off(layer(f), wanted) < 1e-13
    angle = np.arccos(np.clip(cosine[3, 4], -1, 1))
    torch.testing.assert_close(
        layer.profile(angle)[0, 0], 2 * np.pi * torch.tensor(kernel(cosine[3, 4])), rtol=0, atol=1e-11
    )


def test_real_functions_stay_real_where_filters_are():
    """K_(−s)(−s') = conj K_ss' up to the sign of the spins' conjugation keeps real fields real; spin 0 takes a real K."""
    layer = SphericalConv(1, 2, (0,), (0,), 12, dtype=torch.complex128)
    with torch.no_grad():
        layer.weight.imag.zero_()
    x = signal(2, 1, 12, 12, complex=False)
    assert layer(x).imag.abs().max() < 1e-14 * layer(x).abs().max()
    assert layer(x + 0j).imag.abs().max() < 1e-14 * layer(x).abs().max()
    first = SphericalConv(1, 2, (0,), (1, 0, -1), 12, bias=False, dtype=torch.complex128)
    second = SphericalConv(2, 1, (1, 0, -1), (0,), 12, bias=False, dtype=torch.complex128)
    with torch.no_grad():
        for weight, axis in ((first.weight, 1), (second.weight, 3)):
            mirrored = weight.conj().flip(axis) * torch.tensor([-1.0, 1, -1]).reshape(
                [-1 if n == axis else 1 for n in range(5)]
            )
            weight.copy_((weight + mirrored) / 2)
    between, y = first(x), second(first(x))
    assert y.imag.abs().max() < 1e-14 * y.abs().max()
    assert between.imag.abs().max() > 0.1  # a vector field lies between
    with torch.no_grad():
        second.weight[:, :, :, 0] *= 1j  # and no other filters do
    assert second(first(x)).imag.abs().max() > 0.01


@pytest.mark.filterwarnings("ignore")
def test_complex_weights_on_half_a_spectrum_are_not_equivariant_and_ours_are_no_such():
    """The defect of torch-harmonics' spectral convolution (its issue 55): m and −m get conjugate weights, which rotations mix."""
    peer = pytest.importorskip("torch_harmonics")
    torch.manual_seed(0)
    theirs = peer.SpectralConvS2((16, 32), (16, 32), 2, 2)
    ours = SphericalConv(2, 2, (0,), (0,), (16, 32), bias=False)
    x = turn(torch.randn(2, 2, 16, 32), (0.0, 0.0, 0.0), ours.grid)
    with torch.compiler.set_stance("force_eager"):  # theirs asks to be compiled
        assert equivariance(theirs, "sphere", x, count=4, layers=None).error > 0.1
        assert equivariance(ours, "sphere", x, count=4, layers=None).error < 1e-5
        with torch.no_grad():  # with real weights theirs is ours
            theirs.weight.imag.zero_()
            ours.weight.copy_(theirs.weight.real[0].permute(1, 0, 2)[:, None, :, None])
        assert equivariance(theirs, "sphere", x, count=4, layers=None).error < 1e-5
        assert off(ours(x), theirs(x)) < 1e-5


def test_few_parameters_are_interpolated_over_degrees():
    layer = SphericalConv(1, 1, (0,), (0,), 20, num_filter_params=4, dtype=torch.float64)
    k = layer.by_degree()[0, 0, 0, 0]
    assert k.shape == (10,)
    torch.testing.assert_close(k[[0, 3, 6, 9]], layer.weight[0, 0, 0, 0])
    torch.testing.assert_close(k[1], (2 * layer.weight[0, 0, 0, 0, 0] + layer.weight[0, 0, 0, 0, 1]) / 3)
    assert between_knots(1, 5).tolist() == [[1.0] * 6]  # one parameter is a multiple of the input
    assert layer.parameter_count() == 5


def test_filters_of_few_parameters_are_local():
    """Linear in few degrees' pieces: the filter's energy lies nearer its centre than that of free values."""
    torch.manual_seed(0)
    angle = np.linspace(0, np.pi, 200)
    shares = []
    for knots in (3, None):
        layer = SphericalConv(8, 8, (0,), (0,), 32, num_filter_params=knots, dtype=torch.float64)
        energy = layer.profile(angle).square().mean((0, 1)) * torch.tensor(np.sin(angle))
        shares.append((energy[:50].sum() / energy.sum()).item())
    assert shares[0] > 0.9 > shares[1]


@pytest.mark.parametrize("spins", [(0, 1), (0,)])
def test_buckets_of_degrees_change_nothing(spins):
    """More degrees than a bucket holds, for complex fields and for real ones, of which half the orders are kept."""
    degree, real = 2 * BUCKET + 3, spins == (0,)
    wide = torch.float64 if real else torch.complex128
    layer = SphericalConv(1, 2, spins, spins, 2 * degree + 2, dtype=wide, bias=False)
    sht = SpinSHT(layer.grid, spins, dtype=torch.float64)
    x = turn(
        signal(1, len(spins), 2 * degree + 2, 2 * degree + 2, complex=not real), (0.0, 0.0, 0.0), layer.grid, spins
    )
    a = sht(x.unsqueeze(1))
    l = torch.repeat_interleave(torch.arange(degree + 1), 2 * torch.arange(degree + 1) + 1)
    wanted = torch.einsum("osim,bim->bosm", layer.weight[:, :, 0][..., l].to(a.dtype), a[:, 0])
    if not real:
        wanted[:, :, 1, 0] = 0  # no degree 0 of spin 1
    found = sht(layer(x).unflatten(1, (2, len(spins))))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-11)


def test_the_filter_of_a_higher_spin_is_not_round():
    """An impulse at the pole answers with e^(imφ), m = −s: through spins filters have directions."""
    layer = SphericalConv(1, 1, (0,), (1,), (12, 12), grid="gauss", dtype=torch.complex128)
    impulse = SpinSHT(layer.grid, dtype=torch.float64).inverse(torch.tensor(harmonics(5, 0, 0.0, 0.0).conj()))
    ring = layer(impulse[None, None])[0, 0, 3]
    assert (ring - ring[0]).abs().max() < 1e-13  # in the frame of (θ, φ) it is a vector of one direction all around
    assert ring.abs().min() > 1e-3


def test_wrong_calls_say_what_to_do():
    for wrong in (
        lambda: SphericalConv(1, 1, (0, 0), (0,), 8),
        lambda: SphericalConv(1, 1, (), (0,), 8),
        lambda: SphericalConv(1, 1, (0,), (0,), 8, num_filter_params=9),
        lambda: SphericalConv(1, 1, (0,), (0,), 8)(torch.zeros(1, 1, 8, 9)),
        lambda: SphericalConv(1, 1, (0,), (0,), 8)(torch.zeros(1, 1, 8, 8, dtype=torch.complex64)),
        lambda: SphericalConv(1, 1, (0,), (1,), 8).profile(0.1),
    ):
        with pytest.raises(ArgumentError):
            wrong()
    with pytest.raises(DtypeError):
        SphericalConv(1, 1, (0,), (0,), 8)(torch.zeros(1, 1, 8, 8, dtype=torch.int64))
