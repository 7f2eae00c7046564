"""Learnt activations: variance at first, evaluation, degrees through a network, tropical laws, fits."""

import math

import numpy as np
import pytest
import torch

import faltung
from faltung import nn
from faltung.errors import ArgumentError, DtypeError
from faltung.nn.polynomial.activation import NODES

KINDS = (nn.HermiteActivation, nn.FourierActivation, nn.TropicalActivation)
NODE, WEIGHT = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(NODES))
WEIGHT = WEIGHT / WEIGHT.sum()


def mean(values):
    """The mean over normal numbers of a function known at the nodes."""
    return (WEIGHT * values).sum().item()


def slopes(layer, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(layer(x).sum(), x)[0]


@pytest.mark.parametrize("degree", range(1, 9))
def test_hermite_keeps_variance_forwards_and_backwards(degree):
    layer = nn.HermiteActivation(degree, dtype=torch.float64)
    wanted = sum(1 / math.factorial(k) for k in range(degree)) / math.e
    assert math.isclose(mean(layer(NODE).detach() ** 2), wanted, rel_tol=1e-9)
    assert math.isclose(mean(slopes(layer, NODE) ** 2), wanted, rel_tol=1e-9)
    if degree == 3:
        assert abs(wanted - 0.919699) < 1e-6


@pytest.mark.parametrize("degree", range(1, 13))
def test_clenshaw_is_the_explicit_sum(degree):
    torch.manual_seed(degree)
    layer = nn.HermiteActivation(degree, dtype=torch.float64)
    torch.nn.init.normal_(layer.coefficient)
    x = torch.linspace(-3, 3, 201, dtype=torch.float64)
    wanted = layer.definition(x)
    assert ((layer(x) - wanted).abs() / wanted.abs().max()).max() < 1e-12
    single = layer.float()(x.float())
    assert ((single - wanted).abs() / wanted.abs().max()).max() < 1e-6


def test_degree_one_is_the_identity():
    layer, x = nn.HermiteActivation(1), torch.randn(100)
    layer.coefficient.data.copy_(torch.tensor([[0.0, 1.0]]))
    assert torch.equal(layer(x), x)


@pytest.mark.parametrize(("degree", "depth"), [(2, 1), (2, 3), (3, 2)])
def test_a_network_of_polynomials_is_a_polynomial(degree, depth):
    torch.manual_seed(0)
    blocks = [
        part
        for _ in range(depth)
        for part in (torch.nn.Linear(3, 3, dtype=torch.float64), nn.HermiteActivation(degree, dtype=torch.float64))
    ]
    model, total = torch.nn.Sequential(*blocks), degree**depth
    for linear in blocks[::2]:
        torch.nn.init.normal_(linear.weight)
    line = torch.linspace(-2, 2, total + 3, dtype=torch.float64)[:, None] * torch.randn(3, dtype=torch.float64)
    values = model(line)
    size = values.abs().max()
    for _ in range(total):
        values = values[1:] - values[:-1]
    assert values.abs().max() > 1e-9 * size
    assert (values[1:] - values[:-1]).abs().max() < 1e-11 * size


def test_fourier_starts_as_the_paper_says():
    layer = nn.FourierActivation(4, dtype=torch.float64)
    assert abs(layer.amplitude[0, 1].item() - 0.66232645879) < 1e-7  # the published constant, of single precision
    assert math.isclose(
        layer.amplitude[0, 1].item(), 1 / math.sqrt(float(torch.special.i0(torch.tensor(2.0).double())))
    )
    x = torch.arange(64, dtype=torch.float64) * 2 * math.pi / 64
    half = layer.amplitude[0, 1].item() ** 2 / 2
    inner = sum(1 / math.factorial(k) ** 2 for k in range(4))
    assert math.isclose((slopes(layer, x) ** 2).mean().item(), half * inner, rel_tol=1e-12)
    assert math.isclose((layer(x) ** 2).mean().item(), half * (inner + 1 - 1 / 24**2), rel_tol=1e-12)


@pytest.mark.parametrize("degree", [1, 2, 6])
def test_tropical_starts_as_a_rectifier(degree):
    x = torch.randn(500, dtype=torch.float64)
    wanted = math.sqrt(2) * (x.relu() + 1 / degree)
    torch.testing.assert_close(nn.TropicalActivation(degree, dtype=torch.float64)(x), wanted)


def test_tropical_keeps_infinities_and_nan_apart():
    x = torch.tensor([-math.inf, math.inf, math.nan])
    got = nn.TropicalActivation(2)(x)
    assert got[0].item() == pytest.approx(math.sqrt(2) / 2)
    assert got[1].item() == math.inf
    assert got[2].isnan()
    assert nn.TropicalActivation(2, rational=True)(x)[2].isnan()


@pytest.mark.parametrize("degree", [1, 3, 6])
def test_tropical_is_convex_of_at_most_so_many_straight_pieces(degree):
    torch.manual_seed(degree)
    layer = nn.TropicalActivation(degree, dtype=torch.float64)
    torch.nn.init.normal_(layer.intercept, std=3)
    x = torch.linspace(-20, 20, 100_001, dtype=torch.float64)
    with torch.no_grad():
        steps = layer(x).diff() / x.diff()
    assert (steps.diff() > -1e-9).all()
    flat = torch.cat((torch.tensor([True]), steps.diff().abs() < 1e-9))
    found = torch.unique((steps[flat] * degree / math.sqrt(2)).round(decimals=6))
    whole = torch.unique(slopes(layer, x) * degree / math.sqrt(2))
    assert len(found) <= degree + 1
    torch.testing.assert_close(whole.round(), whole, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("first", "second"), [(1, 1), (3, 2), (5, 6)])
def test_sums_of_tropical_polynomials_are_max_plus_convolutions(first, second):
    torch.manual_seed(first)
    a, b = (nn.TropicalActivation(n, dtype=torch.float64) for n in (first, second))
    product = nn.TropicalActivation(first + second, dtype=torch.float64)
    for layer in (a, b):
        torch.nn.init.normal_(layer.intercept)
    both = faltung.convolve(a.intercept[0].detach().numpy(), b.intercept[0].detach().numpy(), over="max-plus")
    product.intercept.data.copy_(torch.from_numpy(both))
    x = torch.linspace(-5, 5, 301, dtype=torch.float64)
    got = product(x) * (first + second)
    torch.testing.assert_close(got, a(x) * first + b(x) * second, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_groups_have_functions_of_their_own(kind):
    layer = kind(3, groups=2, dtype=torch.float64)
    alone = [kind(3, dtype=torch.float64) for _ in range(2)]
    with torch.no_grad():
        for name, values in layer.named_parameters():
            values += torch.randn_like(values)
            for g, other in enumerate(alone):
                getattr(other, name).copy_(values[g : g + 1])
    x = torch.randn(2, 6, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(x), torch.cat((alone[0](x[:, :3]), alone[1](x[:, 3:])), 1))
    with pytest.raises(ArgumentError, match="groups divide"):
        layer(torch.zeros(2, 5, 4))


def error(layer, act):
    return math.sqrt(mean((layer(NODE) - act(NODE)).detach() ** 2))


@pytest.mark.parametrize("act", [torch.tanh, torch.nn.functional.gelu, torch.nn.functional.silu])
def test_hermite_fits_are_projections(act):
    """The coefficients are E act(z) He_k(z), and the error falls with the degree."""
    errors = []
    for degree in (2, 4, 8):
        layer = nn.HermiteActivation(degree, dtype=torch.float64).fit(act)
        basis = torch.from_numpy(np.polynomial.hermite_e.hermevander(NODE.numpy(), degree))
        wanted = (WEIGHT[:, None] * act(NODE)[:, None] * basis).sum(0)
        torch.testing.assert_close(layer.coefficient[0].detach(), wanted, rtol=1e-7, atol=1e-8)
        errors.append(error(layer, act))
    assert errors[0] > errors[1] > errors[2]


def test_hermite_fits_return_polynomials_with_and_without_slopes():
    for weight in (0.0, 1.0):
        layer = nn.HermiteActivation(3, groups=2, dtype=torch.float64)
        assert layer.fit(lambda x: 1 - 2 * x + x**3, weight) is layer
        x = torch.randn(5, 4, dtype=torch.float64)
        torch.testing.assert_close(layer(x), 1 - 2 * x + x**3)


@pytest.mark.parametrize(
    "layer", [nn.HermiteActivation(4, dtype=torch.float64), nn.FourierActivation(3, dtype=torch.float64)]
)
def test_fits_are_least_squares_of_values_and_slopes(layer):
    """No small change of the linear coefficients makes the weighted sum of squares smaller."""
    name = "coefficient" if isinstance(layer, nn.HermiteActivation) else "amplitude"
    for weight in (0.0, 0.5):
        layer.fit(torch.tanh, weight)
        x = NODE.clone().requires_grad_()
        y = layer(x)
        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        off = WEIGHT * ((y - x.tanh()) ** 2 + weight * (slope - 1 + x.tanh() ** 2) ** 2)
        (gradient,) = torch.autograd.grad(off.sum(), getattr(layer, name))
        assert gradient.abs().max() < 1e-9


def test_fourier_fits_waves_exactly():
    layer = nn.FourierActivation(3, dtype=torch.float64).fit(lambda x: 2 + torch.sin(x) - 3 * torch.cos(3 * x + 1))
    x = torch.randn(100, dtype=torch.float64)
    torch.testing.assert_close(layer(x), 2 + torch.sin(x) - 3 * torch.cos(3 * x + 1), rtol=1e-6, atol=1e-6)


def test_tropical_fits():
    softplus = torch.nn.functional.softplus
    errors = [error(nn.TropicalActivation(n, dtype=torch.float64).fit(softplus), softplus) for n in (2, 6, 24)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.02
    for act, bound in ((torch.tanh, 0.02), (torch.sin, 0.03), (torch.nn.functional.gelu, 0.02)):
        layer = nn.TropicalActivation(4, rational=True, dtype=torch.float64).fit(act)
        assert error(layer, act) < bound
    for act in (torch.abs, torch.relu):
        layer = nn.TropicalActivation(2, rational=True, dtype=torch.float64).fit(act)
        assert error(layer, act) < 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_settings_fits_and_inputs_are_refused(kind):
    with pytest.raises(ArgumentError, match="degree"):
        kind(0)
    with pytest.raises(ArgumentError, match="groups"):
        kind(2, groups=0)
    layer = kind(2)
    with pytest.raises(ArgumentError, match="derivative of at least 0"):
        layer.fit(torch.tanh, -1.0)
    with pytest.raises(ArgumentError, match="finite values"):
        layer.fit(torch.log)
    with pytest.raises(ArgumentError, match="finite values"):
        layer.fit(torch.sum)
    with pytest.raises(DtypeError, match="real"):
        layer(torch.zeros(2, 2, dtype=torch.complex64))
