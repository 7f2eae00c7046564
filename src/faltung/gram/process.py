"""Gaussian processes on lattices and digital nets: likelihood with gradients, fit and prediction, n log n each."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from faltung.errors import ArgumentError, RefusedError
from faltung.gram.kernels import ProductKernel
from faltung.gram.lattices import Lattice
from faltung.gram.nets import DigitalNet
from faltung.gram.operator import Gram, fits, operator

ROWS = 1 << 22  # kernel values of a prediction that are held at once


@dataclass(frozen=True)
class GaussianProcess:
    """A process whose data sites are a design; made by `gp`, conditioned by `fit`."""

    design: Lattice | DigitalNet
    kernel: ProductKernel
    noise: float

    def log_likelihood(self, y: Any, gradient: bool = False) -> Any:
        """The logarithm of the data's density, the mean being that of the data.

        Formula: `−½ [Σ_k |ŷ_k|² / (λ_k + ξ) + Σ_k log(λ_k + ξ) + n log 2π]`, ŷ the orthonormal transform of y − ȳ; ȳ is the best
        constant, because constants are eigenvectors.

        Args:
            y: (n,) values at the design's points.   gradient: whether to return derivatives as well. Default False.

        Returns:
            The value; with gradient the value and the derivatives by log S, by each log γ and by log ξ, (2 + dim,).
        """
        gram = operator(self.design, self.kernel, self.noise)
        y = gram._values(y, "log_likelihood")
        if y.ndim != 1:
            raise ArgumentError.of("log_likelihood", f"values ({len(y)},)", f"{y.shape}", "one series at a time")
        power = np.abs(gram.transform(y - y.mean())) ** 2
        power[0] = 0.0  # of a constant, which has been taken out
        count, values = gram.multiplicity, gram.invertible("log_likelihood")
        n = len(y)
        total = -0.5 * float(count @ (power / values + np.log(values)) + n * np.log(2 * np.pi))
        if not gradient:
            return total
        slope = -0.5 * (1 / values - power / values**2)  # by each eigenvalue, mirror images apart
        back = np.sqrt(n) * gram.inverse(slope)  # the transform is its own adjoint up to mirror images
        by_scale, by_weights = self.kernel.pull_back(self.design.differences(), back)
        return total, np.concatenate(([by_scale], by_weights, [self.noise * float(count @ slope)]))

    def fit(self, y: Any, optimise: bool = True, steps: int = 60) -> "Conditioned":
        """Condition on values at the design's points, after choosing S, γ and ξ of greatest likelihood.

        Args:
            y: (n,) values, in the order of `design.points`.   optimise: whether to choose parameters. Default True; of data that
                are constant to rounding nothing is learnt, and the parameters stay.
            steps: of the optimiser (L-BFGS) at most. Default 60.

        Returns:
            A `Conditioned` process: kernel, noise, log_likelihood, `predict`, `integral`.
        """
        found = self
        y = np.asarray(y, float)
        size = float(np.std(y)) if y.size else 0.0
        if optimise and size > 2.0**-40 * float(np.abs(y).max()):
            from scipy.optimize import minimize

            unit = (y - y.mean()) / size
            start = np.log([1.0, *np.maximum(self.kernel.weights, 1e-6), max(self.noise / self.kernel.scale, 1e-8)])

            def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
                try:
                    value, slope = self._at(theta).log_likelihood(unit, gradient=True)
                except RefusedError:  # singular to rounding: as unlikely as can be
                    return 1e300, np.zeros_like(theta)
                return -value / len(y), -slope / len(y)

            bounds = [(-25.0, 25.0)] + [(-14.0, 7.0)] * self.kernel.dim + [(-30.0, 10.0)]
            best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": steps})
            found = self._at(best.x + 2 * np.log(size) * np.array([1.0, *[0.0] * self.kernel.dim, 1.0]))
        return Conditioned(found.design, found.kernel, found.noise, y)

    def _at(self, theta: np.ndarray) -> "GaussianProcess":
        scale, *weights, noise = np.exp(theta)
        return GaussianProcess(self.design, self.kernel.with_parameters(scale, np.array(weights)), float(noise))


class Conditioned(GaussianProcess):
    """A process that knows its data."""

    def __init__(self, design: Lattice | DigitalNet, kernel: ProductKernel, noise: float, y: np.ndarray) -> None:
        super().__init__(design, kernel, noise)
        gram = operator(design, kernel, noise)
        mean = float(np.mean(y))
        for name, value in (("gram", gram), ("mean", mean), ("y", y), ("weights", gram.solve(y - mean))):
            object.__setattr__(self, name, value)

    gram: Gram
    mean: float
    y: np.ndarray
    weights: np.ndarray

    def predict(self, x: Any, variance: bool = False) -> Any:
        """The posterior mean at points x (m, dim), and with `variance` the posterior variance of the noiseless function.

        Formula: `m + k(x)ᵀ (K + ξ)⁻¹ (y − m)` and `K(x, x) − k(x)ᵀ (K + ξ)⁻¹ k(x)`.

        Cost: m·n·dim, and with variance m transforms.
        """
        x = np.atleast_2d(np.asarray(x, float))
        means, spreads = np.empty(len(x)), np.empty(len(x))
        piece, points = max(1, ROWS // self.design.n), self.design.points
        own = self.kernel(np.zeros((1, self.kernel.dim)), np.zeros((1, self.kernel.dim)))[0, 0]
        for start in range(0, len(x), piece):
            rows = slice(start, start + piece)
            cross = self.kernel(points, x[rows])
            means[rows] = self.mean + cross.T @ self.weights
            if variance:
                spreads[rows] = own - (cross * self.gram.solve(cross)).sum(0)
        return (means, np.maximum(spreads, 0.0)) if variance else means

    def integral(self) -> tuple[float, float]:
        """Posterior mean and variance of the integral over the unit cube.

        Formula: the kernel integrates to S, so the mean is `m + n S (ȳ − m) / (λ₀ + ξ)`, and with m = ȳ it is ȳ; the variance is
        `S − n S² / (λ₀ + ξ)`.
        """
        scale, noisy = self.kernel.scale, self.gram.noisy[0]
        rest = self.gram._spectrum[0] + self.noise  # λ₀ + ξ − n S, without the subtraction
        return self.mean, float(max(0.0, scale * rest / noisy))


def gp(design: Lattice | DigitalNet, kernel: ProductKernel, noise: float = 0.0) -> GaussianProcess:
    """A Gaussian process with data at the points of a lattice or a digital net.

    Args:
        design, kernel, noise: as for `operator`; the kernel's parameters and the noise are where `fit` starts.

    Returns:
        A `GaussianProcess`: `log_likelihood(y)`, `fit(y)` → `predict(x)`, `integral()`.

    Raises:
        ArgumentError: a kernel that does not fit the design.

    Error: kernels of lattices are periodic: for functions that are not, transform the sites, f(1 − |2x − 1|).
    Cost: of likelihood and gradient n·dim and three transforms of n log n.
    Source: Rathinavel and Hickernell, Fast automatic Bayesian cubature using lattice sampling (2019); Sorokin (2025).

    Example:
        >>> from faltung.gram import lattice, shift_invariant
        >>> design = lattice(64, 1, shift=0)
        >>> fitted = gp(design, shift_invariant(2, dim=1)).fit(np.cos(2 * np.pi * design.points[:, 0]))
        >>> bool(abs(fitted.predict([[0.125]])[0] - 0.5**0.5) < 1e-4)
        True
    """
    return GaussianProcess(design, fits(design, kernel, noise), float(noise))
