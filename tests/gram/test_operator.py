"""Fast Gram operators, likelihoods, processes and integrals against dense matrices and known integrals."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import gram
from faltung.errors import ArgumentError, RefusedError
from faltung.gram import reversed_fft
from faltung.gram.lattices import reversal

CASES = st.tuples(
    st.sampled_from(["lattice", "prime", "net"]),
    st.integers(0, 6),
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(0, 99),
)
PRIMES = (2, 3, 5, 11, 31, 61, 61)


def built(case, noise=0.05):
    kind, m, dim, alpha, seed = case
    random = np.random.default_rng(seed)
    weights, scale = random.uniform(0.05, 1, dim), random.uniform(0.5, 2)
    if kind == "net":
        design, kernel = (
            gram.digital_net(1 << m, dim, rng=seed, most=1 << 8),
            gram.digital_shift_invariant(alpha, weights, scale),
        )
    else:
        n = 1 << m if kind == "lattice" else PRIMES[m]
        design, kernel = gram.lattice(n, dim, shift=seed), gram.shift_invariant(alpha, weights, scale)
    return gram.operator(design, kernel, noise), random


def near(came, wanted, tolerance=1e-9):
    assert np.abs(came - wanted).max() <= tolerance * max(np.abs(wanted).max(), 1e-300)


@given(CASES)
@settings(max_examples=80)
def test_everything_equals_the_dense_matrix(case):
    fast, random = built(case)
    dense, n = fast.dense(), fast.design.n
    y = random.standard_normal((n, 3))
    near(fast @ y, dense @ y)
    near(fast @ y[:, 0], dense @ y[:, 0])
    near(fast.solve(y), np.linalg.solve(dense, y))
    assert abs(fast.logdet() - np.linalg.slogdet(dense)[1]) <= 1e-9 * max(1, abs(fast.logdet()))
    near(fast.first_column, dense[0] - fast.noise * np.eye(n)[0])
    near(np.sort(np.repeat(fast.eigenvalues, fast.multiplicity.astype(int))) + fast.noise, np.linalg.eigvalsh(dense))
    assert (fast.eigenvalues > -fast.floor).all()
    if case[0] != "prime":
        larger, wanted = fast.double(), gram.operator(fast.design.double(), fast.kernel, fast.noise)
        near(larger.eigenvalues, wanted.eigenvalues, 1e-12)
        near(larger @ np.arange(2.0 * n), wanted.dense() @ np.arange(2.0 * n))


@given(CASES)
@settings(max_examples=40)
def test_likelihood_and_its_gradient_equal_the_dense_ones(case):
    fast, random = built(case)
    y, kernel = random.standard_normal(fast.design.n), fast.kernel
    process = gram.gp(fast.design, kernel, fast.noise)
    value, slope = process.log_likelihood(y, gradient=True)
    theta = torch.tensor(np.log([kernel.scale, *kernel.weights, fast.noise]), requires_grad=True)
    points = fast.design.points
    matrix = torch.exp(theta[0]) * torch.ones(len(y), len(y), dtype=torch.float64)
    for j in range(kernel.dim):
        profile = kernel.profile(kernel.difference(points[:, None, j], points[None, :, j]), j)
        matrix = matrix * (1 + torch.exp(theta[1 + j]) * torch.from_numpy(profile))
    matrix = matrix + torch.exp(theta[-1]) * torch.eye(len(y), dtype=torch.float64)
    residual = torch.from_numpy(y - y.mean())
    wanted = -0.5 * (
        residual @ torch.linalg.solve(matrix, residual) + torch.logdet(matrix) + len(y) * np.log(2 * np.pi)
    )
    (gradient,) = torch.autograd.grad(wanted, theta)
    assert abs(value - float(wanted.detach())) <= 1e-9 * abs(value)
    near(slope, gradient.numpy(), 1e-8)


def test_kernels_without_dimensions_take_those_of_the_design():
    design = gram.lattice(16, 3, shift=0)
    ours, wanted = (gram.operator(design, gram.shift_invariant(2, 0.3, dim=d)) for d in (None, 3))
    assert np.array_equal(ours.eigenvalues, wanted.eigenvalues)
    assert gram.gp(design, gram.shift_invariant(2), 0.1).fit(np.arange(16.0)).kernel.dim == 3


def test_eigenvalues_are_positive_and_small_ones_are_not_lost_in_the_constant():
    """With S = 10⁶ the transform of the whole column would drown what the kernel's tail contributes."""
    for case in (("lattice", 6, 2, 2, 1), ("net", 6, 2, 2, 1)):
        fast, _ = built(case)
        assert (fast.eigenvalues > 0).all()
        flat = fast.kernel.with_parameters(1e6, fast.kernel.weights * 1e-8)
        plain = fast.kernel.with_parameters(1.0, fast.kernel.weights * 1e-8)
        ours, wanted = (gram.operator(fast.design, k).eigenvalues[1:] for k in (flat, plain))
        near(ours / 1e6, wanted, 1e-12)


@pytest.mark.parametrize("kind", ["lattice", "net"])
def test_samples_have_the_matrix_as_covariance(kind):
    fast, _ = built((kind, 3, 2, 1, 5))
    draws = fast.sqrt_sample(0, 40_000)
    dense = fast.dense()
    slack = 6 * np.sqrt((dense**2 + np.outer(np.diag(dense), np.diag(dense))) / draws.shape[1])
    assert (np.abs(draws @ draws.T / draws.shape[1] - dense) < slack).all()
    assert fast.sqrt_sample(1).shape == (8,)


@pytest.mark.filterwarnings("ignore::Warning")
def test_points_and_kernels_of_qmcpy_give_the_same_matrix():
    qmcpy = pytest.importorskip("qmcpy")
    points = qmcpy.Lattice(3, seed=7).gen_samples(64)
    theirs = qmcpy.KernelShiftInvar(3, alpha=2, lengthscales=0.3, scale=1.5)(points[:, None], points[None])
    ours = gram.operator(gram.lattice(points=points), gram.shift_invariant(2, 0.3, 1.5, dim=3))
    near(ours @ np.eye(64), np.asarray(theirs))
    points = qmcpy.DigitalNetB2(3, seed=7, randomize="DS").gen_samples(64)
    theirs = qmcpy.KernelDigShiftInvar(3, t=53, alpha=2, lengthscales=0.3, scale=1.5)(points[:, None], points[None])
    ours = gram.operator(gram.digital_net(points=points), gram.digital_shift_invariant(2, 0.3, 1.5, dim=3))
    near(ours @ np.eye(64), np.asarray(theirs))


@pytest.mark.parametrize("m", [1, 2, 3, 6, 9, 14, 15])
@pytest.mark.parametrize("rest", [(), (3,)])
def test_transforms_of_reversed_places_equal_the_gathered_ones(m, rest, monkeypatch):
    n = 1 << m
    y = np.random.default_rng(0).standard_normal((n, *rest))
    wanted = np.fft.rfft(y[reversal(n)], axis=0, norm="ortho")
    for small in (8, 1 << 30):
        monkeypatch.setattr(reversed_fft, "SMALL", small)
        came = reversed_fft.rfft(y)
        assert np.abs(came - wanted).max() < 1e-13 * np.abs(wanted).max()
        assert np.abs(reversed_fft.irfft(came, n) - y).max() < 1e-14 * n


# -- processes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lattice", "net"])
def test_without_noise_the_data_are_met(kind):
    fast, random = built((kind, 6, 2, 1, 2))
    y = random.standard_normal(64)
    fitted = gram.gp(fast.design, fast.kernel).fit(y, optimise=False)
    mean, variance = fitted.predict(fast.design.points, variance=True)
    near(mean, y, 1e-8)
    assert variance.max() < 1e-8 * fast.kernel.scale


def test_prediction_equals_the_dense_one():
    fast, random = built(("net", 5, 3, 2, 2))
    y, x = random.standard_normal(32), random.random((7, 3))
    mean, variance = gram.gp(fast.design, fast.kernel, fast.noise).fit(y, optimise=False).predict(x, variance=True)
    cross, inverse = fast.kernel(x, fast.design.points), np.linalg.inv(fast.dense())
    near(mean, y.mean() + cross @ inverse @ (y - y.mean()))
    own = np.diag(fast.kernel(x, x))
    near(variance, own - np.einsum("ij,jk,ik->i", cross, inverse, cross), 1e-8)


def test_integral_of_a_process_equals_the_dense_one():
    fast, random = built(("lattice", 5, 3, 2, 2))
    y, n, scale = random.standard_normal(32), 32, fast.kernel.scale
    mean, variance = gram.gp(fast.design, fast.kernel, fast.noise).fit(y, optimise=False).integral()
    inverse, ones = np.linalg.inv(fast.dense()), np.ones(n)
    assert abs(mean - (y.mean() + scale * ones @ inverse @ (y - y.mean()))) < 1e-9
    assert abs(variance - (scale - scale**2 * ones @ inverse @ ones)) < 1e-9


def test_fit_raises_the_likelihood_and_finds_the_noise():
    design = gram.lattice(1 << 10, 2, shift=3)
    kernel = gram.shift_invariant(2, [0.3, 0.05], 2.0)
    y = gram.operator(design, kernel, 0.01).sqrt_sample(4)
    start = gram.gp(design, gram.shift_invariant(2, dim=2), 1.0)
    fitted = start.fit(y)
    assert fitted.log_likelihood(y) >= gram.gp(design, kernel, 0.01).log_likelihood(y)
    assert fitted.log_likelihood(y) > start.log_likelihood(y) + 100
    assert 0.008 < fitted.noise < 0.0125


def test_fits_of_constants_and_of_any_scale():
    design = gram.lattice(64, 2, shift=0)
    start = gram.gp(design, gram.shift_invariant(2), 1e-3)
    flat = start.fit(np.full(64, 3.0))
    assert abs(flat.predict([[0.1, 0.2]])[0] - 3) < 1e-12
    assert flat.noise == 1e-3
    y = np.cos(2 * np.pi * design.points[:, 0]) + 0.01 * np.random.default_rng(0).standard_normal(64)
    one, small = start.fit(y), start.fit(1e-9 * y)
    np.testing.assert_allclose(small.noise, 1e-18 * one.noise, rtol=1e-2)
    np.testing.assert_allclose(1e9 * small.predict([[0.1, 0.2]]), one.predict([[0.1, 0.2]]), rtol=1e-3)
    with pytest.raises(ArgumentError, match="64 rows"):
        start.fit(np.arange(5.0))


# -- integrals ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("design", ["lattice", "net"])
@pytest.mark.parametrize(
    ("f", "dim", "exactly"),
    [
        (lambda x: np.exp(x.sum(1)), 3, (np.e - 1) ** 3),
        (lambda x: np.prod(1 + (x - 0.5) / 2, 1), 5, 1.0),
        (lambda x: np.prod(np.sin(np.pi * x) * np.pi / 2, 1), 3, 1.0),
    ],
)
def test_integrals_are_within_their_error(design, f, dim, exactly):
    for seed in range(3):
        came = gram.integrate(f, dim, 1e-3, design, rng=seed)
        assert came.reached
        assert abs(came.value - exactly) <= came.error <= 1e-3


def test_constants_are_exact_and_budgets_are_kept():
    for design in ("lattice", "net"):
        came = gram.integrate(lambda x: np.full(len(x), 2.5), 3, design=design)
        assert (came.value, came.error, came.n) == (2.5, 0.0, 256)
    came = gram.integrate(lambda x: (x[:, 0] > 0.3).astype(float), 1, 1e-12, most=1 << 10, rng=0)
    assert (came.n, came.reached) == (1 << 10, False)
    assert "not reached" in repr(came)


def test_each_point_is_asked_once():
    seen = []

    def f(x):
        seen.append(x)
        return np.exp(5 * x[:, 0])

    came = gram.integrate(f, 2, 1e-4, periodise=None, design="net", rng=0)
    points = np.concatenate(seen)
    assert len(points) == came.n == len(np.unique(points, axis=0))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: gram.operator(gram.lattice(8, 2), gram.digital_shift_invariant(2, dim=2)),
            ArgumentError,
            "shift_invariant and",
        ),
        (lambda: gram.operator(gram.lattice(8, 2), gram.shift_invariant(2, dim=3)), ArgumentError, "2 dimensions"),
        (lambda: gram.operator(np.zeros((8, 2)), gram.shift_invariant(2, dim=2)), ArgumentError, "points="),
        (lambda: gram.operator(gram.lattice(8, 2), gram.shift_invariant(2, dim=2), -1.0), ArgumentError, "at least 0"),
        (
            lambda: gram.operator(gram.lattice(8, 1), gram.shift_invariant(2, dim=1)) @ np.ones(7),
            ArgumentError,
            "8 rows",
        ),
        (
            lambda: gram.operator(gram.lattice(1 << 15, 1), gram.shift_invariant(1, dim=1)).dense(),
            ArgumentError,
            "at most",
        ),
        (
            lambda: gram.operator(gram.lattice(1 << 12, 1), gram.shift_invariant(8, dim=1)).logdet(),
            RefusedError,
            "noise of at least",
        ),
        (lambda: gram.integrate(np.sum, 2, start=100), ArgumentError, "powers of two"),
        (lambda: gram.integrate(np.sum, 2, design="grid"), ArgumentError, "lattice or net"),
        (lambda: gram.integrate(lambda x: x, 2), ArgumentError, "finite values"),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_the_noise_that_a_refusal_asks_for_is_enough():
    fast = gram.operator(gram.lattice(1 << 12, 1), gram.shift_invariant(8, dim=1))
    with pytest.raises(RefusedError) as caught:
        fast.solve(np.ones(1 << 12))
    asked = float(str(caught.value).split("noise of at least ")[1].split(",")[0])
    gram.operator(fast.design, fast.kernel, asked).solve(np.ones(1 << 12))
