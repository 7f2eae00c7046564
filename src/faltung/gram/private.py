"""Sums of distances to a private cloud, answered from noisy counts: as many queries as one likes for one budget."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from faltung.errors import ArgumentError
from faltung.gram.sorting import by_sorting
from faltung.gram.sums import _cloud


@dataclass(frozen=True, eq=False)
class DistanceSum:
    """Answers `Σ_i Σ_j |x_ij − y_j|`; made by `private_distance_sum`. It holds no points unless ε is infinite."""

    low: np.ndarray
    high: np.ndarray
    deviation: float  # of an answer's noise, at most
    rounding: float  # of an answer by the width of cells, at most, were there no noise
    _edges: np.ndarray | None  # (d, cells + 1): integrals of the counts below up to each edge
    _counts: np.ndarray | None  # (d, cells + 1): noisy counts below each edge
    _points: np.ndarray | None

    def __call__(self, queries: Any) -> np.ndarray:
        """The sums at queries (m, d), which are clipped to the range."""
        y = _cloud(queries, "queries")
        if y.shape[1] != len(self.low):
            raise ArgumentError.of("queries", f"(m, {len(self.low)})", f"{y.shape}", "pass one row a query")
        y = np.clip(y, self.low, self.high)
        if self._points is not None:
            return by_sorting(self._points, y, np.ones(len(self._points)))[0]
        assert self._edges is not None
        assert self._counts is not None
        total, cells = np.zeros(len(y)), self._edges.shape[1] - 1
        for j in range(len(self.low)):
            width = (self.high[j] - self.low[j]) / cells
            place = (y[:, j] - self.low[j]) / width
            at = np.minimum(place.astype(int), cells - 1)
            part = place - at
            below, above = self._counts[j, at], self._counts[j, at + 1]
            left = self._edges[j, at] + width * (part * below + part**2 / 2 * (above - below))
            whole, all_ = self._edges[j, -1], self._counts[j, -1]
            # ∫ up to y of the count below, and ∫ from y on of the count above
            total += left + (self.high[j] - y[:, j]) * all_ - (whole - left)
        return total


def private_distance_sum(
    points: Any, epsilon: float, low: Any = 0.0, high: Any = 1.0, rng: Any = None, levels: int = 12
) -> DistanceSum:
    """A differentially private answerer of sums of ℓ₁ distances; neighbours are clouds that differ by one point added or removed.

    Formula: `Σ_i |x_i − y| = ∫_low^y N(t) dt + ∫_y^high (n − N(t)) dt`, N(t) the number of points below t, which is read off a
        binary tree of counts: every node gets Laplace noise of scale `levels · d / ε`, a count needs at most `levels` nodes.

    Args:
        points: (n, d) in [low, high]^d; others are clipped.   epsilon: ε > 0, or infinity for exact answers without privacy.
        low, high: the range, one for all or one for each coordinate. It must not depend on the points. Defaults 0 and 1.
        rng: NumPy generator or seed of the noise; for privacy it must be unknown. Default None: fresh.
        levels: of the tree, which has 2^levels cells. Default 12.

    Returns:
        A `DistanceSum`: call it with queries (m, d) as often as you like; `deviation` bounds the noise's standard deviation,
        `rounding` what the width of the cells adds.

    Raises:
        ArgumentError: an epsilon that is not positive, an empty range.

    Error: standard deviation at most `(√(2·levels) + 2) · levels · d/ε · Σ_j (high_j − low_j)`, and a rounding of at most one
        cell's width for each point and coordinate; none for ε = ∞.
        Privacy is that of exact noise: floating-point noise gives a little away.
    Cost: n·d once, m·d a call; memory d·2^levels.
    Source: Backurs, Lin, Mahabadi, Silwal and Tarnawski (2024); Dwork, Naor, Pitassi and Rothblum (2010) for the tree.

    Example:
        >>> private_distance_sum([[0.0], [0.5]], math.inf)([[1.0]]).tolist()
        [1.5]
    """
    x = _cloud(points, "points")
    d = x.shape[1]
    lows, highs = (np.array(np.broadcast_to(np.asarray(a, float), (d,))) for a in (low, high))
    if not epsilon > 0 or not (highs > lows).all() or not 1 <= levels <= 24:
        raise ArgumentError.of(
            "private_distance_sum",
            "epsilon > 0, low < high, 1 to 24 levels",
            f"{epsilon}, {low}, {high}, {levels}",
            "check these",
        )
    x = np.clip(x, lows, highs)
    if math.isinf(epsilon):
        return DistanceSum(lows, highs, 0.0, 0.0, None, None, x)
    random, cells, scale = np.random.default_rng(rng), 1 << levels, levels * d / epsilon
    edges, counts = np.zeros((d, cells + 1)), np.zeros((d, cells + 1))
    for j in range(d):
        width = (highs[j] - lows[j]) / cells
        cell = np.minimum(((x[:, j] - lows[j]) / width).astype(int), cells - 1)
        tree = np.bincount(cell, minlength=cells).astype(float)
        place = np.arange(1, cells + 1)
        for level in range(levels):  # nodes of 2^level cells; the root is the sum of its two halves
            noisy = tree + random.laplace(0.0, scale, len(tree))
            used = place >> level & 1 == 1  # the node that ends where the lower bits of the place are cut off
            counts[j, 1:][used] += noisy[(place[used] >> level) - 1]
            if level == levels - 1:
                counts[j, -1] += noisy.sum()
            tree = tree.reshape(-1, 2).sum(1)
        edges[j, 1:] = np.cumsum(width * (counts[j, 1:] + counts[j, :-1]) / 2)
    spans = float((highs - lows).sum())
    return DistanceSum(
        lows, highs, (math.sqrt(2 * levels) + 2) * scale * spans, len(x) * spans / cells, edges, counts, None
    )
