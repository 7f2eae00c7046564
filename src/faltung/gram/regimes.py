"""When a kernel density estimate in high dimension is an average of many points, and when of one: its three regimes."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from faltung.errors import ArgumentError
from faltung.gram.density import exponents
from faltung.gram.sums import _cloud
from faltung.kernels.threads import available, spread


@dataclass(frozen=True)
class Thresholds:
    """Bandwidths of Gaussian data of unit variance, n = e^(αd) points in d dimensions, d → ∞.

    Above `clt` the estimate fluctuates like a normal variable; between `condensation` and `clt` it has heavy tails but is close to
    its mean; below `condensation` a few points dominate. `optimal` is nearest to the true density in Kullback and Leibler's sense.
    """

    condensation: float
    clt: float
    optimal: float


@dataclass(frozen=True)
class Regime:
    """What `kde_regime` found: the name, effective numbers of points, and the thresholds estimated from the data."""

    name: str  # gaussian, heavy-tailed or condensed
    participation: float  # median of 1 / Σp² over the queries
    participation_of_squares: float  # the same for p², which decides whether fluctuations are normal
    thresholds: Thresholds | None  # for Gaussian data of the same n and d, in units of the data's standard deviation


def gaussian_thresholds(alpha: float) -> Thresholds:
    """The bandwidths at which the regimes of a Gaussian estimate of Gaussian data change.

    Formula: h_G solves `½ log(1 + 1/h²) − h²/(2(1 + h²)²) = α`; h_CLT = √2 h_G, because the second moment is an estimate of
        bandwidth h/√2; the optimal bandwidth is √t, `t = h_G² (1 + 2h_G²) / (1 + h_G²)²`.

    Args:
        alpha: log n / d, positive.

    Raises:
        ArgumentError: an alpha that is not positive.

    Source: Biroli and Mézard, Kernel density estimators in large dimensions (2024); Derrida's random energy model (1981).

    Example:
        >>> found = gaussian_thresholds(0.5)
        >>> round(found.condensation, 6), round(found.clt, 6), round(found.optimal, 6)
        (0.652145, 0.922273, 0.622436)
    """
    from scipy.optimize import brentq

    if not (alpha > 0 and math.isfinite(alpha)):
        raise ArgumentError.of("alpha", "a positive number, log n / d", f"{alpha}", "take at least two points")

    def excess(log: float) -> float:
        square = math.exp(2 * log)
        return 0.5 * math.log1p(1 / square) - square / (2 * (1 + square) ** 2) - alpha

    low, high = -alpha - 5.0, 5.0
    while excess(high) > 0:
        high += 5.0
    h = math.exp(brentq(excess, low, high, xtol=1e-15, rtol=1e-14))
    t = h**2 * (1 + 2 * h**2) / (1 + h**2) ** 2
    return Thresholds(h, math.sqrt(2) * h, math.sqrt(t))


def log_density_per_dimension(alpha: float, h: float) -> float:
    """What `log p / d` of a typical point tends to for Gaussian data of unit variance and bandwidth h.

    Formula: above h_G `−½ log 2π(1 + h²) − 1/(2(1 + h²))`, below `−α − log h − ½ log 2π − t/(2h²)`.
    """
    found = gaussian_thresholds(alpha)
    if h >= found.condensation:
        return -0.5 * math.log(2 * math.pi * (1 + h * h)) - 1 / (2 * (1 + h * h))
    return -alpha - math.log(h) - 0.5 * math.log(2 * math.pi) - (found.optimal / h) ** 2 / 2


def participation(points: Any, bandwidth: float, queries: Any = None) -> np.ndarray:
    """How many points an estimate effectively averages at each query: `1 / Σ_i p_i²`, p_i the share of point i.

    Args:
        points: (n, d).   bandwidth: h > 0.   queries: (m, d); by default the points, each without itself.

    Returns:
        (m,) numbers from 1, for h → 0, to the number of points, for h → ∞.
    """
    x = _cloud(points, "points")
    y = x if queries is None else _cloud(queries, "queries")
    if len(x) < 2 or not bandwidth > 0 or y.shape[1] != x.shape[1]:
        raise ArgumentError.of(
            "participation",
            "two points or more, a positive bandwidth",
            f"{x.shape}, {y.shape}, {bandwidth}",
            "let them agree",
        )
    result = np.empty(len(y))

    def work(first: int, last: int) -> None:
        for rows, exponent in exponents(x / bandwidth, y / bandwidth, first, last, queries is None):
            share = np.exp(exponent - exponent.max(1, keepdims=True))
            result[rows] = share.sum(1) ** 2 / (share * share).sum(1)

    spread(work, len(y), available(), 64)
    return result


def kde_regime(points: Any, bandwidth: float, queries: Any = None, few: float = 2.0) -> Regime:
    """In which regime a Gaussian kernel density estimate is, judged by how many points it averages.

    Formula: condensed where the median participation `1 / Σp²` is below `few`; heavy-tailed where that of the second moment, whose
        bandwidth is h/√2, is; else gaussian.

    Args:
        points: (n, d).   bandwidth: h > 0.   queries: (m, d) where the estimate is asked for; by default the points themselves,
            each without its own share.   few: what counts as few points. Default 2.

    Returns:
        A `Regime`: name, participation, participation_of_squares, and thresholds: what theory says for Gaussian data of this n, d
        and mean variance.

    Raises:
        ArgumentError: fewer than two points, a bandwidth that is not positive.

    Error: the thresholds hold for d → ∞; at d = 24 and n = 2751 the names change at 0.78 and 1.12 of `condensation`.
    Cost: n·m·d.
    Source: Biroli and Mézard (2024).

    Example:
        >>> cloud = np.random.default_rng(0).standard_normal((500, 20))
        >>> [kde_regime(cloud, h).name for h in (0.2, 3.0)]
        ['condensed', 'gaussian']
    """
    whole, squares = (
        float(np.median(participation(points, h, queries))) for h in (bandwidth, bandwidth / math.sqrt(2))
    )
    x = _cloud(points, "points")
    sigma = math.sqrt(float(x.var(0).mean()))
    known = gaussian_thresholds(math.log(len(x)) / x.shape[1])
    thresholds = Thresholds(sigma * known.condensation, sigma * known.clt, sigma * known.optimal)
    name = "condensed" if whole < few else "heavy-tailed" if squares < few else "gaussian"
    return Regime(name, whole, squares, thresholds)
