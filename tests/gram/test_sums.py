"""Kernel sums by every route against the definition, densities, regimes and private sums."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import hyp1f1
from scipy.stats import gaussian_kde

from faltung import gram
from faltung.errors import ArgumentError, RefusedError
from faltung.gram.density import log_sums
from faltung.gram.regimes import gaussian_thresholds, log_density_per_dimension, participation
from faltung.gram.slicing import sliced_gaussian
from faltung.gram.spreading import Spreading

F = {
    "gaussian": lambda x, y: np.exp(-0.5 * ((y[:, None] - x) ** 2).sum(-1)),
    "laplace": lambda x, y: np.exp(-np.sqrt(((y[:, None] - x) ** 2).sum(-1))),
    "distance": lambda x, y: np.sqrt(((y[:, None] - x) ** 2).sum(-1)),
    "l1": lambda x, y: np.abs(y[:, None] - x).sum(-1),
}


def cloud(seed, n, m, d, spread=1.0):
    random = np.random.default_rng(seed)
    return spread * random.standard_normal((n, d)), spread * random.standard_normal((m, d)), random.standard_normal(n)


@given(
    st.integers(0, 99),
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(1, 10),
    st.sampled_from(list(F)),
    st.floats(0.2, 5),
)
@settings(max_examples=80)
def test_tiles_and_sorting_are_within_their_bound(seed, n, m, d, kernel, h):
    x, y, w = cloud(seed, n, m, d)
    wanted = F[kernel](x / h, y / h) @ w
    for method in ("tiles", "sorted", None):
        if method == "sorted" and not (kernel == "l1" or (kernel == "distance" and d == 1)):
            continue
        came, bound = gram.kernel_sum(x, y, kernel, w, method, bandwidth=h, with_bound=True)
        assert (np.abs(came - wanted) <= bound).all()
        assert bound <= 1e-10 * (1 + (d / h) ** 2) * np.abs(w).sum()


@given(
    st.integers(0, 99),
    st.integers(1, 80),
    st.integers(1, 3),
    st.sampled_from([1e-2, 1e-4, 1e-8, 1e-12]),
    st.floats(0.3, 3),
)
@settings(max_examples=40)
def test_the_grid_is_within_its_bound(seed, n, d, tolerance, h):
    x, y, w = cloud(seed, n, 40, d, 0.5)
    came, bound = gram.kernel_sum(x, y, weights=w, method="grid", bandwidth=h, tolerance=tolerance, with_bound=True)
    assert (np.abs(came - F["gaussian"](x / h, y / h) @ w) <= bound).all()
    assert bound <= 1.01 * tolerance * np.abs(w).sum()


def test_the_bound_of_the_grid_is_no_idle_number():
    """A grid one half coarser than promised is caught; the error in use is within two powers of ten of the bound."""
    made = Spreading.of(1, 1e-6)
    x = np.linspace(0, 3, 301)[:, None]
    came, bound = gram.kernel_sum([[0.0]], x, method="grid", tolerance=1e-6, with_bound=True)
    worst = np.abs(came - np.exp(-0.5 * x[:, 0] ** 2)).max()
    assert 1e-2 * bound < worst <= bound
    coarse = Spreading(1, 1.5 * made.spacing, made.near, made.taps, made.factor * 1.5**2, made.error)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Spreading, "of", classmethod(lambda cls, dim, tolerance: coarse))
        came, bound = gram.kernel_sum([[0.0]], x, method="grid", tolerance=1e-6, with_bound=True)
    assert np.abs(came - np.exp(-0.5 * x[:, 0] ** 2)).max() > bound


@pytest.mark.parametrize("d", [1, 2, 3, 10])
def test_the_sliced_gaussian_is_its_hypergeometric_function(d):
    t = np.linspace(0, 6, 61)
    np.testing.assert_allclose(sliced_gaussian(t, d), hyp1f1(d / 2, 0.5, -t * t / 2), atol=1e-12)


@pytest.mark.parametrize("kernel", ["gaussian", "distance"])
@pytest.mark.parametrize("d", [1, 3, 10, 60])
def test_slicing_is_unbiased_and_knows_its_error(kernel, d):
    x, y, w = cloud(3, 100, 30, d, d**-0.5)
    wanted = F[kernel](x, y) @ w
    came, error = gram.kernel_sum(x, y, kernel, w, "slicing", directions=400, rng=7, with_bound=True)
    slack = 1e-8 * np.abs(w).sum()
    assert (np.abs(came - wanted) < 5 * error + slack).all()
    if d > 1:
        assert 0.5 < np.sqrt(np.mean((came - wanted) ** 2) / np.mean(error**2)) < 2


def test_the_error_of_slicing_falls_with_the_root_of_the_directions():
    x, y, w = cloud(4, 80, 25, 8, 0.4)
    wanted = F["gaussian"](x, y) @ w

    def error(directions):
        trials = (gram.kernel_sum(x, y, weights=w, method="slicing", directions=directions, rng=s) for s in range(6))
        return math.sqrt(np.mean([np.mean((came - wanted) ** 2) for came in trials]))

    assert 2.5 < error(8) / error(128) < 6.5  # 4 is expected


def test_a_function_of_ones_own_and_empty_clouds():
    x, y, w = cloud(0, 20, 10, 3)
    came, bound = gram.kernel_sum(x, y, lambda r: 1 / (1 + r * r), w, with_bound=True)
    np.testing.assert_allclose(came, (1 / (1 + F["distance"](x, y) ** 2)) @ w, rtol=1e-12)
    assert math.isnan(bound)
    np.testing.assert_allclose(gram.kernel_sum(x, y, gram.matern(0.5), w), F["laplace"](x, y) @ w, rtol=1e-10)
    assert gram.kernel_sum(np.zeros((0, 2)), np.zeros((3, 2))).tolist() == [0, 0, 0]
    assert gram.kernel_sum(x, np.zeros((0, 3))).shape == (0,)


def test_the_choice_is_the_grid_where_pairs_are_many_and_tiles_where_the_cloud_is_wide():
    from faltung.gram.sums import KERNELS, _choice

    x = np.random.default_rng(0).random((20_000, 2))
    assert _choice(KERNELS["gaussian"], x / 0.05, x / 0.05, 1e-9) == "grid"
    assert _choice(KERNELS["gaussian"], x / 1e-6, x / 1e-6, 1e-9) == "tiles"
    assert _choice(KERNELS["gaussian"], x[:20], x[:20], 1e-9) == "tiles"
    assert _choice(KERNELS["l1"], x, x, 1e-9) == "sorted"


# -- densities ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_scipys_density_is_the_same(d):
    """SciPy's width is a factor of the covariance, so the cloud is whitened first."""
    x, y, _ = cloud(1, 300, 50, d)
    x = np.linalg.solve(np.linalg.cholesky(np.cov(x.T).reshape(d, d)), x.T).T
    ours = gram.kde(x)
    theirs = gaussian_kde(x.T, "scott")
    np.testing.assert_allclose(ours(y), theirs(y.T), rtol=1e-7)
    np.testing.assert_allclose(ours.log_density(y), theirs.logpdf(y.T), rtol=1e-9, atol=1e-9)
    if d <= 3:
        values, bound = ours(y, "grid", with_bound=True)
        assert (np.abs(values - theirs(y.T)) <= bound + 1e-13).all()


def test_the_density_integrates_to_one():
    density = gram.kde(np.random.default_rng(0).standard_normal(50)).fit_bandwidth()
    t = np.linspace(-8, 8, 4001)
    assert abs(density(t).sum() * (t[1] - t[0]) - 1) < 1e-6


def test_the_fitted_bandwidth_maximises_the_likelihood_of_those_left_out():
    x = np.random.default_rng(0).standard_normal((200, 2))
    fitted = gram.kde(x).fit_bandwidth()
    by_hand = np.mean([
        gram.kde(np.delete(x, i, 0), fitted.bandwidth).log_density(x[i : i + 1])[0] for i in range(len(x))
    ])  # fmt: skip
    assert abs(fitted.leave_one_out() - by_hand) < 1e-12
    for factor in (0.5, 0.9, 1.1, 2.0):
        assert gram.kde(x, factor * fitted.bandwidth).leave_one_out() < fitted.leave_one_out()
    assert 0.15 < fitted.bandwidth < 0.8


def test_log_densities_do_not_underflow():
    density = gram.kde(np.zeros((1, 3)), 1e-3)
    far = density.log_density([[10.0, 0, 0]])[0]
    assert far == pytest.approx(-0.5e8 - 3 * math.log(1e-3) - 1.5 * math.log(2 * math.pi), rel=1e-12)


# -- regimes ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alpha", "condensation", "clt", "optimal"),
    [
        (0.5, 0.652145, 0.922273, 0.622436),
        (0.1, 1.370785, 1.938582, 1.038572),
        (1.0, 0.372106, 0.526238, 0.369344),
    ],
)
def test_thresholds(alpha, condensation, clt, optimal):
    found = gaussian_thresholds(alpha)
    assert (round(found.condensation, 6), round(found.clt, 6), round(found.optimal, 6)) == (condensation, clt, optimal)
    h = found.condensation
    below = log_density_per_dimension(alpha, h * (1 - 1e-9))
    assert abs(below - log_density_per_dimension(alpha, h)) < 1e-8  # the two branches meet


def test_densities_of_a_cloud_follow_the_theory():
    d, n = 24, 2751
    random = np.random.default_rng(0)
    x, y = random.standard_normal((n, d)), random.standard_normal((300, d))
    alpha = math.log(n) / d
    for factor in (1.41, 2.0):
        h = factor * gaussian_thresholds(alpha).condensation
        assert abs(gram.kde(x, h).log_density(y).mean() / d - log_density_per_dimension(alpha, h)) < 0.01


def test_participation_goes_from_one_to_all():
    x = np.random.default_rng(0).standard_normal((50, 6))
    y = np.random.default_rng(1).standard_normal((20, 6))
    np.testing.assert_allclose(participation(x, 1e6, y), 50, rtol=1e-9)
    np.testing.assert_allclose(participation(x, 1e6), 49, rtol=1e-9)
    np.testing.assert_allclose(participation(x, 1e-3, y), 1, rtol=1e-9)
    p = np.exp(-0.5 * ((y[:, None] - x) ** 2).sum(-1) / 0.7**2)
    p /= p.sum(1, keepdims=True)
    np.testing.assert_allclose(participation(x, 0.7, y), 1 / (p**2).sum(1), rtol=1e-10)


def test_regimes_in_order():
    x = np.random.default_rng(0).standard_normal((1500, 24))
    h = gaussian_thresholds(math.log(1500) / 24).condensation
    names = [gram.kde_regime(x, factor * h).name for factor in (0.5, 0.95, 2.0)]
    assert names == ["condensed", "heavy-tailed", "gaussian"]
    assert gram.kde_regime(3 * x, h).thresholds.condensation == pytest.approx(3 * h, rel=0.02)


def test_log_sums_leave_out_a_querys_own_point():
    x = np.random.default_rng(0).standard_normal((30, 2))
    whole = F["gaussian"](x, x)
    np.testing.assert_allclose(log_sums(x, x, leave_out=True), np.log(whole.sum(1) - 1), rtol=1e-9)


# -- privacy ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 4])
def test_without_privacy_distances_are_exact(d):
    random = np.random.default_rng(0)
    x, y = random.random((200, d)), random.random((30, d))
    answer = gram.private_distance_sum(x, math.inf)
    np.testing.assert_allclose(answer(y), F["l1"](x, y).sum(1), rtol=1e-12)


def test_noise_and_rounding_are_within_what_is_stated():
    random = np.random.default_rng(0)
    x, y = 4 * random.random((2000, 2)) - 1, 4 * random.random((50, 2)) - 1
    wanted = F["l1"](x, y).sum(1)
    nearly = gram.private_distance_sum(x, 1e12, -1.0, 3.0, rng=1, levels=8)
    assert 0 < np.abs(nearly(y) - wanted).max() <= nearly.rounding
    errors = []
    for seed in range(40):
        noisy = gram.private_distance_sum(x, 1.0, -1.0, 3.0, rng=seed, levels=8)
        errors.append(noisy(y) - nearly(y))
    spread = np.sqrt(np.mean(np.square(errors), axis=0))
    assert (spread < 1.3 * noisy.deviation).all()
    assert (spread > 0.02 * noisy.deviation).all()
    assert np.abs(np.mean(errors, axis=0)).max() < 5 * noisy.deviation / math.sqrt(40)


def test_the_noise_hides_one_point():
    """The tree's counts of two clouds that differ by one point, without noise: they differ in one node a level, by 1."""
    x = np.random.default_rng(0).random((100, 1))
    counts = [gram.private_distance_sum(c, 1e15, rng=0, levels=6)._counts for c in (x, x[1:])]
    apart = np.round(counts[0] - counts[1], 6)
    assert set(np.unique(apart)) <= {0.0, 1.0}
    assert (np.diff(apart) >= 0).all()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: gram.kernel_sum(np.ones((3, 2)), np.ones((3, 1))), ArgumentError, "agree"),
        (lambda: gram.kernel_sum(np.ones(3), np.ones(3), weights=[1.0]), ArgumentError, "agree"),
        (lambda: gram.kernel_sum(np.ones(3), np.ones(3), "cauchy"), ArgumentError, "gaussian, laplace"),
        (lambda: gram.kernel_sum(np.ones(3), np.ones(3), method="fast"), ArgumentError, "tiles, sorted"),
        (lambda: gram.kernel_sum(np.ones(3), np.ones(3), bandwidth=0), ArgumentError, "positive"),
        (lambda: gram.kernel_sum([np.nan], [1.0]), ArgumentError, "finite"),
        (lambda: gram.kernel_sum(np.ones((3, 4)), np.ones((3, 4)), method="grid"), RefusedError, "three dimensions"),
        (
            lambda: gram.kernel_sum(np.ones((3, 2)), np.ones((3, 2)), "distance", method="sorted"),
            RefusedError,
            "sorting",
        ),
        (lambda: gram.kernel_sum(np.ones((3, 2)), np.ones((3, 2)), "l1", method="slicing"), RefusedError, "slicing"),
        (lambda: gram.kernel_sum([0.0, 1e9], [0.0], method="grid"), RefusedError, "use tiles"),
        (lambda: gram.kde(np.zeros((0, 2))), ArgumentError, "points"),
        (lambda: gram.kde(np.zeros((4, 2))), ArgumentError, "different points"),
        (lambda: gram.kde(np.arange(4.0)).fit_bandwidth("magic"), ArgumentError, "silverman"),
        (lambda: gram.kde_regime(np.ones((1, 2)), 1.0), ArgumentError, "two points"),
        (lambda: gaussian_thresholds(0.0), ArgumentError, "positive"),
        (lambda: gram.private_distance_sum(np.ones(3), 0.0), ArgumentError, "epsilon"),
        (lambda: gram.private_distance_sum(np.ones(3), 1.0)(np.ones((2, 2))), ArgumentError, "queries"),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()
