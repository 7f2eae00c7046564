"""Distributions and kernels on spheres, and Matérn kernels, against closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import kstest
from scipy.stats import vonmises_fisher as scipys

from faltung import gram
from faltung.errors import ArgumentError
from faltung.gram.sphere import concentration, log_normaliser
from faltung.special import bessel_ratio, log_iv
from faltung.special.log_bessel import ratio_slope


def test_known_normalisers_and_resultants():
    assert abs(log_normaliser(3, 10.0) - math.log(10 / (4 * math.pi * math.sinh(10)))) < 1e-13
    assert abs(log_normaliser(3, 10.0) + 9.535291971354146) < 1e-13
    assert abs(gram.von_mises_fisher(3, kappa=10.0).resultant() - 0.9000000041223074) < 1e-15
    assert abs(log_normaliser(2048, 500.0) - 4839.0359844028) < 1e-9
    assert abs(gram.von_mises_fisher(2048, kappa=500.0).resultant() - 0.231111853004267) < 1e-14
    assert abs(log_normaliser(32768, 1e4) - 122385.07526670801) < 1e-8


@pytest.mark.parametrize("dim", [2, 3, 5, 10])
@pytest.mark.parametrize("kappa", [0.0, 1e-8, 0.5, 20.0])
def test_the_density_integrates_to_one(dim, kappa):
    vmf = gram.von_mises_fisher(dim, kappa=kappa)
    band = math.log(2) + (dim - 1) / 2 * math.log(math.pi) - math.lgamma((dim - 1) / 2)  # area of the sphere below

    def density(angle):
        x = np.zeros(dim)
        x[:2] = math.cos(angle), math.sin(angle)
        return math.exp(float(vmf.log_prob(x)) + band) * math.sin(angle) ** (dim - 2)

    assert abs(quad(density, 0, math.pi, epsabs=1e-12)[0] - 1) < 1e-10


@pytest.mark.parametrize("dim", [2, 3, 7])
def test_scipys_density_and_entropy_are_the_same(dim):
    random = np.random.default_rng(0)
    mean, x = (
        a / np.linalg.norm(a, axis=-1, keepdims=True)
        for a in (random.standard_normal(dim), random.standard_normal((9, dim)))
    )
    ours = gram.von_mises_fisher(dim, mean, 3.7)
    np.testing.assert_allclose(ours.log_prob(x), scipys(mean, 3.7).logpdf(x), rtol=1e-12)
    assert abs(ours.entropy() - scipys(mean, 3.7).entropy()) < 1e-12


@pytest.mark.parametrize(("dim", "kappa"), [(3, 5.0), (64, 40.0), (2048, 500.0)])
def test_fit_recovers_the_concentration(dim, kappa):
    """Within three standard errors, 1/√(n A′), of 10⁴ samples."""
    mean = np.eye(dim)[1]
    fitted = gram.von_mises_fisher(dim).fit(gram.von_mises_fisher(dim, mean, kappa).sample(10_000, rng=11))
    slope = float(ratio_slope(dim / 2 - 1, kappa))
    assert abs(fitted.kappa - kappa) < 3 / math.sqrt(10_000 * slope)
    assert fitted.mean @ mean > 0.97


def test_samples_follow_the_density():
    kappa, mean = 4.0, np.array([0.6, 0.0, 0.8])
    x = gram.von_mises_fisher(3, mean, kappa).sample(20_000, rng=5)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, atol=1e-12)
    # On the sphere in space the cosine with the mean has the distribution function below.
    along = kstest(x @ mean, lambda w: np.expm1(kappa * (w + 1)) / math.expm1(2 * kappa))
    assert along.pvalue > 1e-3
    around = np.arctan2(x[:, 1], x @ np.array([0.8, 0.0, -0.6]))
    assert kstest(around, "uniform", args=(-math.pi, 2 * math.pi)).pvalue > 1e-3
    uniform = gram.von_mises_fisher(4).sample(20_000, rng=6)
    assert np.abs(uniform.mean(0)).max() < 5 / math.sqrt(4 * 20_000)


@pytest.mark.parametrize("dim", [2, 3, 100, 10_000])
@pytest.mark.parametrize("kappa", [1e-3, 1.0, 50.0, 1e5])
def test_concentration_inverts_the_resultant(dim, kappa):
    length = float(bessel_ratio(dim / 2 - 1, kappa))
    slack = 2.0**-52 * length / float(ratio_slope(dim / 2 - 1, kappa))
    assert abs(concentration(dim, length) - kappa) <= 1e-12 * kappa + 500 * slack


def test_gradients_of_the_density():
    mean = torch.nn.functional.normalize(torch.randn(5, dtype=torch.float64), dim=0).requires_grad_()
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    kappa = torch.tensor(2.5, dtype=torch.float64, requires_grad=True)
    call = lambda m, k, t: gram.sphere.VonMisesFisher(5, m, k).log_prob(t)  # noqa: E731
    assert torch.autograd.gradcheck(call, (mean, kappa, x))
    assert torch.autograd.gradcheck(lambda k: gram.sphere.VonMisesFisher(5, mean.detach(), k).entropy(), kappa)
    zero = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(call(mean.detach(), zero, x.detach()).sum(), zero)
    assert torch.isfinite(slope)


@pytest.mark.parametrize("dim", [2, 3, 5, 50])
def test_the_spectrum_of_the_density_is_a_ratio_of_bessel_functions(dim):
    kappa, v = 6.0, dim / 2 - 1
    vmf = lambda t: np.exp(kappa * t + float(log_normaliser(dim, kappa) - log_normaliser(dim, 0.0)))  # noqa: E731
    came = gram.zonal_spectrum(vmf, dim, 8)
    wanted = [math.exp(float(log_iv(v + ell, kappa) - log_iv(v, kappa))) for ell in range(9)]
    np.testing.assert_allclose(came, wanted, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("r", [0.0, 1e-9, 0.3, 2.0, 40.0])
def test_matern_of_half_integers_and_of_infinity(r):
    np.testing.assert_allclose(gram.matern(0.5).radial(r), math.exp(-r), rtol=1e-13)
    s = math.sqrt(3) * r / 2
    np.testing.assert_allclose(gram.matern(1.5, 2.0, 3.0).radial(r), 3 * (1 + s) * math.exp(-s), rtol=1e-13)
    s = math.sqrt(5) * r
    np.testing.assert_allclose(gram.matern(2.5).radial(r), (1 + s + s * s / 3) * math.exp(-s), rtol=1e-13)
    np.testing.assert_allclose(gram.matern(math.inf).radial(r), math.exp(-r * r / 2), rtol=1e-13)
    if r < 3:
        np.testing.assert_allclose(gram.matern(1e5).radial(r), math.exp(-r * r / 2), rtol=1e-4)


def test_matern_matrices_and_gradients():
    x = np.random.default_rng(0).standard_normal((6, 3))
    matrix = gram.matern(0.8, 0.7)(x, x)
    assert np.linalg.eigvalsh(matrix).min() > 0
    assert np.array_equal(np.diag(matrix), np.ones(6))
    r = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64, requires_grad=True)
    nu, length = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (1.3, 0.8))
    assert torch.autograd.gradcheck(lambda t, n, s: gram.matern(n, s).radial(t), (r, nu, length))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: gram.von_mises_fisher(1), "at least 2"),
        (lambda: gram.von_mises_fisher(3, kappa=-1.0), "turn the mean"),
        (lambda: gram.von_mises_fisher(3, np.ones(3)), "unit vector"),
        (lambda: gram.von_mises_fisher(3, np.ones(2)), "unit vector"),
        (lambda: gram.von_mises_fisher(3).log_prob(np.ones(4)), "3 coordinates"),
        (lambda: gram.von_mises_fisher(3).fit(np.ones((5, 3))), "divide each"),
        (lambda: gram.von_mises_fisher(3).fit(np.eye(3)[[0, 0]]), "all alike"),
        (lambda: gram.zonal_spectrum(np.cos, 3, 10, nodes=5), "more nodes"),
        (lambda: gram.matern(0.0), "positive"),
    ],
)
def test_refusals(call, words):
    with pytest.raises(ArgumentError, match=words):
        call()
