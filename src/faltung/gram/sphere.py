"""Distributions and kernels on spheres: von Mises–Fisher in any dimension, and the spectra of zonal kernels."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from faltung.arrays import is_torch
from faltung.errors import ArgumentError
from faltung.special import bessel_ratio, log_iv
from faltung.special.log_bessel import ratio_slope


def log_area(dim: int) -> float:
    """The logarithm of the area of the unit sphere in `dim` dimensions."""
    return math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)


def log_normaliser(dim: int, kappa: Any) -> Any:
    """log C_d(κ): `v log κ − (d/2) log 2π − log I_v(κ)`, v = d/2 − 1; minus the logarithm of the area at κ = 0."""
    v = dim / 2 - 1
    if is_torch(kappa):
        import torch

        safe = torch.where(kappa > 0, kappa, torch.ones_like(kappa))
        values = v * safe.log() - dim / 2 * math.log(2 * math.pi) - log_iv(v, safe)
        return torch.where(kappa > 0, values, torch.full_like(values, -log_area(dim)))
    kappa = np.asarray(kappa, float)
    safe = np.where(kappa > 0, kappa, 1.0)
    values = v * np.log(safe) - dim / 2 * math.log(2 * math.pi) - log_iv(v, safe)
    return np.where(kappa > 0, values, -log_area(dim))


@dataclass(frozen=True, eq=False)
class VonMisesFisher:
    """The density `C_d(κ) exp(κ μ·x)` on the unit sphere of d = dim dimensions; made by `von_mises_fisher`."""

    dim: int
    mean: Any
    kappa: Any = field(default=0.0)

    def log_prob(self, x: Any) -> Any:
        """The log density at unit vectors x (..., dim), with respect to area; tensors carry gradients for x, mean and kappa."""
        if x.shape[-1] != self.dim:
            raise ArgumentError.of(
                "log_prob", f"vectors of {self.dim} coordinates", f"{tuple(x.shape)}", "pass (..., dim)"
            )
        return log_normaliser(self.dim, self.kappa) + self.kappa * (x @ self.mean)

    def resultant(self) -> Any:
        """The length of the mean vector, `A_d(κ) = I_{d/2}(κ) / I_{d/2−1}(κ)`."""
        return bessel_ratio(self.dim / 2 - 1, self.kappa)

    def entropy(self) -> Any:
        """`−log C_d(κ) − κ A_d(κ)` in nats."""
        return -log_normaliser(self.dim, self.kappa) - self.kappa * self.resultant()

    def fit(self, x: Any) -> "VonMisesFisher":
        """The distribution of greatest likelihood for unit vectors x (n, dim).

        Formula: μ is the direction of the mean, and κ solves `A_d(κ) = R̄`, R̄ the length of the mean, by Newton's method from
            `κ₀ = R̄ (d − R̄²) / (1 − R̄²)`.

        Raises:
            ArgumentError: vectors of another dimension or length, or all alike.

        Source: Banerjee, Dhillon, Ghosh and Sra (2005) for the start; Sra (2012) for the steps.
        """
        x = np.asarray(x, float)
        if x.ndim != 2 or x.shape[1] != self.dim or len(x) < 1:
            raise ArgumentError.of("fit", f"vectors (n, {self.dim})", f"{x.shape}", "one row a vector")
        if np.abs(np.linalg.norm(x, axis=1) - 1).max() > 1e-3:
            raise ArgumentError.of("fit", "unit vectors", "vectors of other lengths", "divide each by its norm")
        mean = x.mean(0)
        length = float(np.linalg.norm(mean))
        if length >= 1 - 1e-15:
            raise ArgumentError.of("fit", "vectors that differ", "vectors all alike", "their concentration is infinite")
        if length == 0:
            return VonMisesFisher(self.dim, np.eye(self.dim)[0], 0.0)
        return VonMisesFisher(self.dim, mean / length, concentration(self.dim, length))

    def sample(self, n: int, rng: Any = None) -> np.ndarray:
        """n unit vectors, (n, dim).

        Source: Wood, Simulation of the von Mises–Fisher distribution (1994).
        """
        random, m, kappa = np.random.default_rng(rng), self.dim - 1, float(self.kappa)
        root = math.sqrt(4 * kappa**2 + m**2)
        b = m / (2 * kappa + root)
        top = (1 - b) / (1 + b)
        # 1 − top² without the subtraction, for large κ.
        level = kappa * top + m * math.log(4 * b / (1 + b) ** 2)
        along, missing = np.empty(n), np.arange(n)
        while len(missing):
            z = random.beta(m / 2, m / 2, len(missing))
            w = (1 - (1 + b) * z) / (1 - (1 - b) * z)
            taken = kappa * w + m * np.log(1 - top * w) - level >= np.log(random.random(len(missing)))
            along[missing[taken]] = w[taken]
            missing = missing[~taken]
        mean = np.asarray(self.mean, float)
        across = random.standard_normal((n, self.dim))
        across -= (across @ mean)[:, None] * mean
        across /= np.linalg.norm(across, axis=1, keepdims=True)
        return along[:, None] * mean + np.sqrt(np.maximum(1 - along**2, 0))[:, None] * across


def von_mises_fisher(dim: int, mean: Any = None, kappa: Any = 0.0) -> VonMisesFisher:
    """The von Mises–Fisher distribution on the unit sphere of `dim` dimensions.

    Formula: `p(x) = C_d(κ) exp(κ μ·x)`, `log C_d(κ) = v log κ − (d/2) log 2π − log I_v(κ)`, v = d/2 − 1.

    Args:
        dim: d of the space around the sphere, at least 2.   mean: the unit vector μ; by default the first axis.
        kappa: concentration κ ≥ 0. Default 0, the uniform distribution. Mean and kappa may be tensors.

    Returns:
        A `VonMisesFisher`: log_prob(x), fit(x), sample(n, rng), entropy(), resultant().

    Raises:
        ArgumentError: a dimension below 2, a negative concentration, a mean that is no unit vector.

    Error: of `log_iv`: absolute 10⁻¹³ of the largest of κ, d and the value.
    Source: Mardia and Jupp, Directional statistics (2000).

    Example:
        >>> float(von_mises_fisher(3, kappa=10.0).log_prob(np.array([1.0, 0.0, 0.0])))  # log(10 / (4π sinh 10)) + 10
        0.464708...
    """
    if dim < 2:
        raise ArgumentError.of("von_mises_fisher", "at least 2 dimensions", f"{dim}", "the sphere lies in R^dim")
    if not bool((kappa >= 0) & (kappa < math.inf)):
        raise ArgumentError.of(
            "kappa", "a finite number of at least 0", f"{kappa}", "turn the mean around for a negative one"
        )
    mean = np.eye(dim)[0] if mean is None else mean
    length = (
        float(((mean.detach() if is_torch(mean) else mean) ** 2).sum()) ** 0.5 if tuple(mean.shape) == (dim,) else -1.0
    )
    if abs(length - 1) > 1e-3:
        raise ArgumentError.of(
            "mean", f"a unit vector of {dim} coordinates", f"shape {tuple(mean.shape)}", "divide it by its norm"
        )
    return VonMisesFisher(dim, mean, kappa)


def concentration(dim: int, length: float) -> float:
    """κ with `A_d(κ) = length`, to rounding; 0 < length < 1."""
    v = dim / 2 - 1
    kappa = length * (dim - length**2) / (1 - length**2)
    for _ in range(50):
        step = (float(bessel_ratio(v, kappa)) - length) / float(ratio_slope(v, kappa))
        kappa = max(kappa - step, kappa / 8)  # A is concave: a step may overshoot to the left only
        if abs(step) <= 4e-16 * kappa:
            break
    return kappa


def zonal_spectrum(kernel: Callable[[np.ndarray], Any], dim: int, degree: int, nodes: int | None = None) -> np.ndarray:
    """The eigenvalues of a zonal kernel k(x·y) on the unit sphere, by degree of the spherical harmonics.

    Formula (Funk–Hecke): `λ_ℓ = ∫ k(t) P_ℓ(t) (1 − t²)^((d−3)/2) dt / ∫ (1 − t²)^((d−3)/2) dt` over [−1, 1], P_ℓ Gegenbauer's
        polynomials with P_ℓ(1) = 1. Convolving with k multiplies degree ℓ by λ_ℓ times the area.

    Args:
        kernel: takes cosines (nodes,), returns values.   dim: d of the space around the sphere, at least 2.
        degree: largest ℓ.   nodes: of Gauss's quadrature. Default 2·degree + 200.

    Returns:
        (degree + 1,) eigenvalues, relative to the uniform distribution.

    Raises:
        ArgumentError: a dimension below 2, a negative degree, fewer nodes than degree + 1.

    Error: exact to rounding for polynomials of degree below 2·nodes − degree; for kernels analytic around [−1, 1] it falls
        geometrically with the nodes: double them and compare.
    Cost: nodes·degree.
    Source: Müller, Spherical harmonics (1966); Golub and Welsch (1969) for the quadrature, here SciPy's.

    Example:
        >>> zonal_spectrum(lambda t: 1 + 3 * t, 3, 2).round(12).tolist()
        [1.0, 1.0, 0.0]
    """
    from scipy.special import roots_jacobi

    nodes = 2 * degree + 200 if nodes is None else nodes
    if dim < 2 or degree < 0 or nodes <= degree:
        raise ArgumentError.of(
            "zonal_spectrum",
            "dim ≥ 2, degree ≥ 0 and more nodes than degree",
            f"{dim}, {degree}, {nodes}",
            "raise what is small",
        )
    t, weights = roots_jacobi(nodes, (dim - 3) / 2, (dim - 3) / 2)
    weights = weights / weights.sum() * np.asarray(kernel(t), float)
    before, now, values = np.zeros_like(t), np.ones_like(t), []
    for ell in range(degree + 1):
        values.append(float(weights @ now))
        # (ℓ + d − 2) P_{ℓ+1} = (2ℓ + d − 2) t P_ℓ − ℓ P_{ℓ−1}; for d = 2 and ℓ = 0 both factors vanish and P_1 = t
        before, now = now, t if ell == 0 else ((2 * ell + dim - 2) * t * now - ell * before) / (ell + dim - 2)
    return np.array(values)
