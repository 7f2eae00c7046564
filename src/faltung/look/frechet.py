"""Distances of two sets of features: Fréchet's between their Gaussians, without a matrix square root, and a kernel distance."""

from typing import Any, Self

import numpy as np
from scipy.linalg import eigh, eigvalsh
from scipy.linalg.lapack import dpotrf

from faltung.errors import ArgumentError
from faltung.readers import read_only


def frechet(first: Any, second: Any) -> float:
    """The squared 2-Wasserstein distance of the Gaussians with the means and covariances of two sets of features.

    Formula: ‖μ₁ − μ₂‖² + tr(C₁ + C₂) − 2 tr (C₁ C₂)^½. The last trace is the sum of the roots of the eigenvalues of R C₂ R,
    R the symmetric root of C₁; with fewer samples than features it is the nuclear norm of X₁ X₂ᵀ / √((n₁ − 1)(n₂ − 1)) of
    the centred samples. Both are real whatever the rank.

    Shapes: (samples, features) each, or `FrechetAccumulator`s.   Returns: 0 or more.

    Raises:
        ArgumentError: fewer than two samples, other numbers of features, or numbers that are not finite.

    Error: about 1e−13 of the traces, in float64.
    Cost: one symmetric eigenproblem of size min(features, samples), two where the first covariance is not of full rank.
    Source: Heusel, Ramsauer, Unterthiner, Nessler and Hochreiter, GANs trained by a two time-scale update rule (2017).

    Example:
        >>> x = np.random.default_rng(0).standard_normal((100, 3))
        >>> round(frechet(x, x + 1), 9)
        3.0
    """
    if isinstance(first, FrechetAccumulator) and isinstance(second, FrechetAccumulator):
        return frechet_of_moments(first.mean, first.covariance, second.mean, second.covariance)
    a, b = (_samples(x) for x in (first, second))
    if a.shape[1] != b.shape[1]:
        raise ArgumentError.of("frechet", f"{a.shape[1]} features in both", f"{b.shape[1]}", "use one network for both")
    means = a.mean(0), b.mean(0)
    a, b = a - means[0], b - means[1]
    if len(a) + len(b) >= 2 * a.shape[1]:
        return frechet_of_moments(means[0], a.T @ a / (len(a) - 1), means[1], b.T @ b / (len(b) - 1))
    cross = a @ b.T / np.sqrt((len(a) - 1.0) * (len(b) - 1.0))
    traces = (a**2).sum() / (len(a) - 1) + (b**2).sum() / (len(b) - 1)
    small = cross @ cross.T if len(a) <= len(b) else cross.T @ cross
    return _distance(means, traces, eigvalsh(small))


def _samples(x: Any) -> np.ndarray:
    x = np.asarray(read_only(x), np.float64)
    if x.ndim != 2 or len(x) < 2 or not np.isfinite(x).all():
        raise ArgumentError.of(
            "frechet", "finite features (samples, features), two samples at least", f"shape {x.shape}", "flatten them"
        )
    return x


def _distance(means: tuple[np.ndarray, np.ndarray], traces: float, squares: np.ndarray) -> float:
    # A square below round-off of the largest would still have a visible root.
    floor = len(squares) * np.finfo(float).eps * max(squares.max(initial=0.0), 0.0)
    overlap = np.sqrt(np.where(squares > floor, squares, 0.0)).sum()
    return float(max(((means[0] - means[1]) ** 2).sum() + traces - 2 * overlap, 0.0))


def frechet_of_moments(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    """As `frechet`, from means (features) and covariances (features, features) that are known.

    Example:
        >>> frechet_of_moments(np.zeros(2), np.eye(2), np.zeros(2), 4 * np.eye(2))
        2.0
    """
    # C₁ = L Lᵀ, and Lᵀ C₂ L has the eigenvalues of R C₂ R.
    root, short = dpotrf(cov1, lower=1, clean=1)
    if short:  # not of full rank: a root from eigenvectors, their smallest left out
        values, vectors = eigh(cov1, driver="evd")
        kept = values > len(values) * np.finfo(float).eps * max(values[-1], 0)
        root = vectors[:, kept] * np.sqrt(values[kept])
    squares = eigvalsh(root.T @ cov2 @ root, driver="evd") if root.size else np.zeros(1)
    return _distance((mean1, mean2), float(np.trace(cov1) + np.trace(cov2)), squares)


class FrechetAccumulator:
    """Mean and covariance of features that come in batches, in float64.

    Args: features: how many.

    Example:
        >>> a = FrechetAccumulator(3)
        >>> x = np.random.default_rng(0).standard_normal((100, 3))
        >>> a.add(x[:40]).add(x[40:]).count
        100
    """

    def __init__(self, features: int) -> None:
        self.count = 0
        self.mean = np.zeros(features)
        self._scatter = np.zeros((features, features))

    def add(self, batch: Any) -> Self:
        """Take in features (samples, features); batches of any size, one sample too."""
        x = np.atleast_2d(np.asarray(read_only(batch), np.float64))
        if x.shape[1] != len(self.mean):
            raise ArgumentError.of(
                "FrechetAccumulator", f"{len(self.mean)} features", f"shape {x.shape}", "flatten them"
            )
        mean = x.mean(0)
        away, total = mean - self.mean, self.count + len(x)
        self._scatter += (x - mean).T @ (x - mean) + np.outer(away, away) * (self.count * len(x) / total)
        self.mean = self.mean + away * (len(x) / total)
        self.count = total
        return self

    @property
    def covariance(self) -> np.ndarray:
        """With count − 1 below."""
        if self.count < 2:
            raise ArgumentError.of("FrechetAccumulator", "two samples at least", str(self.count), "add more")
        return self._scatter / (self.count - 1)


def kernel_distance(first: Any, second: Any) -> float:
    """The unbiased squared maximum mean discrepancy with the kernel (⟨x, y⟩ / d + 1)³; it can be below 0 for sets alike.

    Shapes: (samples, features) each, two samples at least.   Cost: samples² · features.
    Source: Bińkowski, Sutherland, Arbel and Gretton, Demystifying MMD GANs (2018).
    """
    a, b = (_samples(x) for x in (first, second))

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** 3

    n, m = len(a), len(b)
    inner = [kernel(x, x) for x in (a, b)]
    within = sum((k.sum() - np.trace(k)) / (c * (c - 1)) for k, c in zip(inner, (n, m), strict=True))
    return float(within - 2 * kernel(a, b).mean())
