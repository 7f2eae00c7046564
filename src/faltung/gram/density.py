"""Kernel density estimates with a Gaussian of one width, and widths fitted to the data."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from faltung.errors import ArgumentError
from faltung.gram.sums import _cloud, kernel_sum
from faltung.kernels.threads import available, spread

TILE = 1 << 18


@dataclass(frozen=True, eq=False)
class Density:
    """`p(y) = Σ_i exp(−‖x_i − y‖² / 2h²) / (n (2πh²)^(d/2))`; made by `kde`."""

    points: np.ndarray
    bandwidth: float

    def __call__(
        self, queries: Any, method: str | None = None, tolerance: float = 1e-9, with_bound: bool = False
    ) -> Any:
        """The density at queries (m, d); with_bound the pair (density, bound of its error).

        Args:
            method: tiles, grid or slicing, see `kernel_sum`; by default whichever of grid and tiles is less work.
            tolerance: of the grid, relative to the density at the centre of a cluster of all points. Default 1e-9.
        """
        sums, bound = kernel_sum(
            self.points, queries, method=method, bandwidth=self.bandwidth, tolerance=tolerance, with_bound=True
        )
        factor = math.exp(-self._log_volume()) / len(self.points)
        return (sums * factor, bound * factor) if with_bound else sums * factor

    def log_density(self, queries: Any) -> np.ndarray:
        """The logarithm of the density, of every query exact to rounding, also where the density itself is 0 in float64."""
        return self._log_sums(_cloud(queries, "queries"), None) - self._log_volume() - math.log(len(self.points))

    def leave_one_out(self) -> float:
        """The mean over the points of the log density that the others give: what a bandwidth is fitted to."""
        n = len(self.points)
        return float(np.mean(self._log_sums(self.points, 0))) - self._log_volume() - math.log(n - 1)

    def fit_bandwidth(self, rule: str = "likelihood") -> "Density":
        """The same points with another bandwidth.

        Args:
            rule: likelihood, the greatest `leave_one_out`; scott, `σ n^(−1/(d+4))`; silverman, `σ (4 / (n (d + 2)))^(1/(d+4))`,
                σ the root of the mean variance of the coordinates. Default likelihood.

        Raises:
            ArgumentError: fewer than two points, points all alike, another rule.

        Cost: of likelihood some thirty sums over all pairs.
        Source: Habbema, Hermans and van den Broek (1974); Scott, Multivariate density estimation (1992).
        """
        n, d = self.points.shape
        sigma = math.sqrt(float(self.points.var(0, ddof=1).mean())) if n > 1 else 0.0
        if not sigma > 0:
            raise ArgumentError.of(
                "fit_bandwidth", "at least two different points", f"{n} points", "pass bandwidth to kde"
            )
        rules = {"scott": sigma * n ** (-1 / (d + 4)), "silverman": sigma * (4 / (n * (d + 2))) ** (1 / (d + 4))}
        if rule in rules:
            return Density(self.points, rules[rule])
        if rule != "likelihood":
            raise ArgumentError.of("rule", "likelihood, scott or silverman", repr(rule), "choose among these")
        from scipy.optimize import minimize_scalar

        middle = math.log(rules["scott"])
        best = minimize_scalar(
            lambda log: -Density(self.points, math.exp(log)).leave_one_out(),
            bounds=(middle - 4.0, middle + 1.5),
            method="bounded",
            options={"xatol": 1e-4},
        )
        return Density(self.points, math.exp(float(best.x)))

    def _log_volume(self) -> float:
        return self.points.shape[1] * (0.5 * math.log(2 * math.pi) + math.log(self.bandwidth))

    def _log_sums(self, queries: np.ndarray, skip: int | None) -> np.ndarray:
        """log Σ exp(−r²/2h²) for every query; with skip = 0 the point of a query's own number is left out."""
        x = self.points / self.bandwidth
        return log_sums(x, queries / self.bandwidth, leave_out=skip is not None)


def log_sums(x: np.ndarray, y: np.ndarray, leave_out: bool = False) -> np.ndarray:
    """log Σ_i exp(−‖x_i − y‖²/2) for every y, leaving out the x of y's own number if asked."""
    from scipy.special import logsumexp

    result = np.empty(len(y))

    def work(first: int, last: int) -> None:
        for rows, exponent in exponents(x, y, first, last, leave_out):
            result[rows] = logsumexp(exponent, axis=1)

    spread(work, len(y), available(), max(1, TILE // len(x)))
    return result


def exponents(x: np.ndarray, y: np.ndarray, first: int, last: int, leave_out: bool) -> Any:
    """Pieces of queries and `−‖x_i − y‖²/2` for them, (rows, n)."""
    from scipy.spatial.distance import cdist

    size = max(1, TILE // len(x))
    for start in range(first, last, size):
        rows = np.arange(start, min(start + size, last))
        exponent = -0.5 * cdist(y[rows], x, "sqeuclidean")
        if leave_out:
            exponent[np.arange(len(rows)), rows] = -np.inf
        yield rows, exponent


def kde(points: Any, bandwidth: float | None = None) -> Density:
    """A kernel density estimate with a Gaussian.

    Formula: `p(y) = Σ_i exp(−‖x_i − y‖² / 2h²) / (n (2πh²)^(d/2))`.

    Args:
        points: (n, d), or (n,) in one dimension.   bandwidth: h > 0; by default Scott's rule. `fit_bandwidth()` fits it.

    Returns:
        A `Density`: call it with queries, `log_density(queries)`, `fit_bandwidth()`, `leave_one_out()`.

    Raises:
        ArgumentError: no points, or a bandwidth that is not positive.

    Error: as for `kernel_sum`, whose routes it takes; `log_density` to rounding of the exponents.
    Source: Rosenblatt (1956); Parzen (1962).

    Example:
        >>> density = kde([0.0, 2.0], bandwidth=1.0)
        >>> float(density([1.0])[0])  # exp(−½) / √2π
        0.241970...
    """
    x = _cloud(points, "points")
    if len(x) == 0 or (bandwidth is not None and not (bandwidth > 0 and math.isfinite(bandwidth))):
        raise ArgumentError.of("kde", "points and a positive bandwidth", f"{len(x)} points, {bandwidth}", "pass both")
    return Density(x, bandwidth) if bandwidth is not None else Density(x, 1.0).fit_bandwidth("scott")
