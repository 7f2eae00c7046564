"""Activations, batch norm and pools on the sphere: what is exact, what is nearly so, and what finer samples are good for."""

import numpy as np
import pytest
import torch

from faltung.certify import equivariance
from faltung.certify.actions import SphereTurn, named
from faltung.errors import ArgumentError, DtypeError
from faltung.nn import (
    SpectralPool,
    SphereOversampled,
    SpherePool,
    SphericalConv,
    SpinBatchNorm,
    SpinPhaseCollapse,
    SpinReLU,
)
from faltung.nn.sphere import SpinSHT, sphere_grid, turn

SPINS = (0, 1, -2)


def fields(batch, channels, spins, size, degree=None, seed=0):
    """Band-limited fields, complex."""
    sht = SpinSHT(size, spins, dtype=torch.float64, degree=degree)
    draw = torch.Generator().manual_seed(seed)
    a = torch.randn(batch, channels, len(spins), (sht.degree + 1) ** 2, dtype=torch.complex128, generator=draw)
    for n, s in enumerate(spins):
        a[:, :, n, : s * s] = 0
    return sht.inverse(a).flatten(1, 2), a, sht


def off(got, wanted):
    return ((got - wanted).norm() / wanted.norm()).item()


@pytest.mark.parametrize("training", [True, False])
def test_norms_of_samples_and_of_coefficients_agree(training):
    x, a, sht = fields(3, 2, SPINS, 12)
    torch.manual_seed(0)
    norms = [SpinBatchNorm(2, SPINS, 12, dtype=torch.complex128).train(training) for _ in range(2)]
    for norm in norms:
        torch.manual_seed(1)
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
        norm.running_mean[:, 0] = 0.3 + 0.2j
        norm.running_var.uniform_(0.5, 2)
    by_samples, by_coefficients = norms[0](x), norms[1].on_coefficients(a)
    assert off(sht.inverse(by_coefficients).flatten(1, 2), by_samples) < 1e-12
    torch.testing.assert_close(norms[0].running_var, norms[1].running_var, rtol=1e-12, atol=0)
    torch.testing.assert_close(norms[0].running_mean, norms[1].running_mean, rtol=1e-12, atol=1e-14)
    assert (norms[0].running_mean[:, 1:] == 0).all()


def test_the_batch_norm_turns_with_the_sphere_in_training_too():
    x, _, sht = fields(3, 2, SPINS, 12)
    norm = SpinBatchNorm(2, SPINS, 12, dtype=torch.complex128).train()
    rotation = (0.3, 1.9, 1.0)
    assert off(norm(turn(x, rotation, sht.grid, SPINS)), turn(norm(x), rotation, sht.grid, SPINS)) < 1e-12
    y = norm(x).unflatten(1, (2, 3))
    area = torch.tensor(sht.grid.weights)[:, None] / (4 * np.pi)
    torch.testing.assert_close(
        (y.abs().square() * area).sum((-2, -1)).mean(0), torch.ones(2, 3).double(), rtol=1e-4, atol=0
    )
    plain = torch.nn.BatchNorm2d(2).double()  # means over samples: poles count as much as the equator
    scalars, _, _ = fields(3, 2, (0,), 12)
    turned = turn(scalars.real, rotation, sht.grid)
    assert off(plain(turned), turn(plain(scalars.real), rotation, sht.grid)) > 1e-3


def test_a_norm_that_starts_at_zero_opens_no_branch():
    norm = SpinBatchNorm(2, (0, 1), 8, zero=True)
    assert (norm(torch.randn(2, 4, 8, 8, dtype=torch.complex64)) == 0).all()


@pytest.mark.parametrize(
    "layer", [SpinReLU(2, SPINS, dtype=torch.float64), SpinPhaseCollapse(2, SPINS, dtype=torch.complex128)]
)
def test_nonlinearities_are_nearly_equivariant_and_finer_samples_bring_them_nearer(layer):
    """On samples a kink is nearly equivariant (below 0.1 of the largest value, 5e-3 on average); finer samples are nearer."""
    with torch.no_grad():
        if isinstance(layer, SpinReLU):
            layer.bias.fill_(-0.1)
    x, _, sht = fields(2, 2, SPINS, 32, degree=5)
    x = x / x.abs().max()
    rotation = (1.0, 1.2, -0.5)
    errors = []
    for factor in (1, 2, 4):
        finer = SphereOversampled(layer, 32, SPINS, factor, dtype=torch.float64)
        gap = (finer(turn(x, rotation, sht.grid, SPINS)) - turn(finer(x), rotation, sht.grid, SPINS)).abs().detach()
        errors.append((gap.max() / finer(x).abs().max()).item())
        assert gap.mean() / finer(x).abs().max() < 5e-3
    assert errors[0] < 0.1
    assert errors[2] < errors[1] < errors[0]


def test_a_polynomial_on_fine_enough_samples_is_exact():
    x, _, sht = fields(1, 2, (0,), 12)
    rotation = (1.0, 1.2, -0.5)
    errors = []
    for factor in (1, 2):
        square = SphereOversampled(torch.square, 12, factor=factor, dtype=torch.float64)
        errors.append(off(square(turn(x.real, rotation, sht.grid)), turn(square(x.real), rotation, sht.grid)))
    assert errors[1] < 1e-13 < 1e-2 < errors[0]


def test_phases_of_spins_pass_through():
    layer = SpinReLU(1, (1,), dtype=torch.float64)
    z = torch.randn(1, 1, 3, 3, dtype=torch.complex128)
    torch.testing.assert_close(layer(1j * z), 1j * layer(z))
    torch.testing.assert_close(layer(z).abs(), z.abs(), rtol=1e-4, atol=0)


def test_pooling_keeps_the_low_degrees():
    x, a, _ = fields(1, 1, (0, 1), 16)
    pooled = SpectralPool(1, (0, 1), 16, 8, dtype=torch.complex128)(x)
    small = SpinSHT(8, (0, 1), dtype=torch.float64)
    torch.testing.assert_close(
        small(pooled.unflatten(1, (1, 2))), a[..., : (small.degree + 1) ** 2], rtol=0, atol=1e-13
    )
    back = SpectralPool(1, (0, 1), 8, 16, dtype=torch.complex128)(pooled)
    again = SpectralPool(1, (0, 1), 16, 8, dtype=torch.complex128)(back)
    torch.testing.assert_close(again, pooled, rtol=0, atol=1e-13)


def test_invariants_are_invariant():
    x, a, _ = fields(2, 1, SPINS, 12)
    power = SpherePool(1, 12, SPINS, "power", dtype=torch.complex128)
    torch.testing.assert_close(power(x), a.abs().square().sum(-1)[:, 0] / (4 * np.pi), rtol=1e-12, atol=0)
    assert equivariance(power, SphereTurn(SPINS), x, count=4, layers=None).error < 1e-13
    mean = SpherePool(2, 12, dtype=torch.float64)
    scalars = fields(2, 2, (0,), 12)[0].real
    assert equivariance(mean, "sphere", scalars, count=4, layers=None).error < 1e-12
    flat = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())  # means over samples are not
    assert equivariance(flat, "sphere", scalars, count=4, layers=None).error > 1e-2


def test_certify_says_where_a_network_on_the_sphere_loses_its_symmetry():
    torch.manual_seed(0)
    wide = {"dtype": torch.complex128}
    network = torch.nn.Sequential(
        SphericalConv(1, 3, (0,), (0, 1), 12, **wide),
        SpinBatchNorm(3, (0, 1), 12, **wide),
        SpinPhaseCollapse(3, (0, 1), **wide),
        SphericalConv(3, 2, (0, 1), (0,), 12, out_resolution=8, **wide),
    )
    report = equivariance(network, SphereTurn((0,), (0, 1)), fields(2, 1, (0,), 12)[0], count=3)
    assert [row.error < 1e-12 for row in report.rows[:3]] == [True, True, False]
    assert report.lost[0].name == "2"
    assert "lost here" in str(report)


def test_the_action_names_itself_and_refuses_what_it_cannot_turn():
    assert isinstance(named("sphere"), SphereTurn)
    action = SphereTurn(angle=0.1)
    assert all(action.sample(np.random.default_rng(k), None)[1] <= 0.1 for k in range(20))
    assert "°" in action.words((0.1, 0.2, 0.3))
    with pytest.raises(ArgumentError, match="spins"):
        equivariance(torch.nn.Identity(), SphereTurn((0, 1)), torch.zeros(1, 3, 8, 8), count=2)
    for wrong in (lambda: SphereTurn(angle=4), lambda: SphereTurn(grid="healpix"), lambda: SphereTurn((0, 0))):
        with pytest.raises(ArgumentError):
            wrong()


def test_a_plain_layer_is_found_out():
    x = fields(1, 2, (0,), 12)[0].real
    plain = torch.nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular").double()
    assert equivariance(plain, "sphere", x, count=4, layers=None).error > 0.1


def test_wrong_calls_say_what_to_do():
    for wrong in (
        lambda: SpinPhaseCollapse(2, (1, 2)),
        lambda: SpinBatchNorm(2, (0,), 8, eps=0),
        lambda: SpinBatchNorm(2, (0,), 8)(torch.zeros(1, 2, 8, 7)),
        lambda: SpherePool(1, 8, (1,)),
        lambda: SpherePool(1, 8, how="median"),
        lambda: SpectralPool(1, (0,), 8, 1),
    ):
        with pytest.raises(ArgumentError):
            wrong()
    with pytest.raises(DtypeError):
        SpinPhaseCollapse(2, (0, 1))(torch.zeros(1, 4, 8, 8))
    assert sphere_grid(8) == sphere_grid((8, 8))
