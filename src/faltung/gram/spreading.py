"""Gaussian sums on a grid, with a bound that is proved: a Gaussian is three Gaussians, and the middle one is convolved on the grid.

With h = 1, σ² = ¼ and τ² = ½, `exp(−(x−y)²/2) = c ∫∫ φ_σ(x−p) φ_τ(p−q) φ_σ(q−y) dp dq`. Both integrals become sums over a grid
of spacing δ: points are spread over the cells nearby (φ_σ), the grid is convolved (φ_τ), queries gather what is nearby (φ_σ). Sums
of Gaussians over a grid differ from their integrals by 2 Σ_k exp(−2π²k²s²/δ²) relative (Poisson), and tails are cut where they are
small, so the error is known before anything is computed.
"""

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from faltung.door import convolve
from faltung.errors import RefusedError
from faltung.kernels.gather import on_numba as gather
from faltung.kernels.threads import available

SIGMA, TAU = 0.5, math.sqrt(0.5)
CELLS = 1 << 26  # of the largest grid
PIECE = 1 << 20  # weights of stencils that are held at once


@dataclass(frozen=True)
class Spreading:
    """Spacing and stencils for a tolerance, and the error they have; for bandwidth 1."""

    dim: int
    spacing: float
    near: int  # cells of the spreading stencil
    taps: int  # half the taps of the convolution
    factor: float  # c, by which one dimension's sums are multiplied
    error: float  # of a sum, relative to Σ|w|

    @classmethod
    def of(cls, dim: int, tolerance: float) -> "Spreading":
        """The coarsest grid whose error is within the tolerance, which is at least 1e-13."""
        target, exponent = max(tolerance, 1e-13), 2.0
        while True:
            made = cls._with(dim, exponent)
            if made.error <= target or exponent > 40:
                return made
            exponent += 0.5

    @classmethod
    def _with(cls, dim: int, exponent: float) -> "Spreading":
        first = math.sqrt(SIGMA**2 * TAU**2 / (SIGMA**2 + TAU**2))  # width of φ_σ φ_τ
        second = math.sqrt(SIGMA**2 * (SIGMA**2 + TAU**2))  # width of what comes of it, times φ_σ
        spacing = math.pi * first * math.sqrt(2 / exponent)
        radius, reach = SIGMA * math.sqrt(2 * (exponent + 3)), TAU * math.sqrt(2 * (exponent + 3))
        near, taps = math.ceil(2 * radius / spacing) + 1, math.ceil(reach / spacing)
        factor = spacing**2 / (2 * math.pi * SIGMA**2 * TAU)
        ripple = [_ripple(2 * (math.pi * s / spacing) ** 2) for s in (first, second, SIGMA)]
        root = math.sqrt(2 * math.pi)
        error = (1 + ripple[0]) * (1 + ripple[1]) - 1
        error += 2 * factor * _tail(radius, SIGMA, spacing) * (1 + ripple[0]) * root * first / spacing
        error += factor * (1 + ripple[2]) * root * SIGMA / spacing * _tail(taps * spacing, TAU, spacing)
        whole = math.expm1(dim * math.log1p(error))
        rounding = 2.0**-53 * 8 * dim * (near + taps + 8)
        return cls(dim, spacing, near, taps, factor, whole + rounding)


def _ripple(a: float) -> float:
    return 2 * math.exp(-a) / (1 - math.exp(-3 * a))


def _tail(radius: float, width: float, spacing: float) -> float:
    """At least the sum of exp(−t²/2·width²) over cells further than the radius."""
    return 2 * math.exp(-((radius / width) ** 2) / 2) / (1 - math.exp(-radius * spacing / width**2))


def work(x: np.ndarray, y: np.ndarray, tolerance: float) -> float:
    """Steps of the grid route in units of a pair of tiles; infinite where the grid would be too large."""
    made = Spreading.of(x.shape[1], tolerance)
    cells = math.prod(_extent(x, y, made)[1])
    if cells > CELLS:
        return math.inf
    return 2.0 * (len(x) + len(y)) * made.near**made.dim + 0.5 * cells * made.dim * made.taps + 1e6


def by_grid(x: np.ndarray, y: np.ndarray, w: np.ndarray, tolerance: float) -> tuple[np.ndarray, float]:
    """Gaussian sums of bandwidth 1 and the bound of their error."""
    made = Spreading.of(x.shape[1], tolerance)
    low, cells = _extent(x, y, made)
    if math.prod(cells) > CELLS:
        raise RefusedError.of(
            "grid",
            f"a cloud on at most {CELLS} cells",
            f"{math.prod(cells):.3g}",
            "use tiles: it is wide for its bandwidth",
        )
    grid = np.zeros((1, math.prod(cells), 1))
    for rows, index, share in _stencils(x, low, cells, made):
        part = np.zeros_like(grid)
        gather.rows(index, share, np.ascontiguousarray(w[None, rows, None]), part, available())
        grid += part
    taps = np.exp(-0.5 * (np.arange(-made.taps, made.taps + 1) * made.spacing / TAU) ** 2)
    kernel = reduce(np.multiply.outer, [taps] * made.dim)
    smooth = np.ascontiguousarray(convolve(grid.reshape(cells), kernel, mode="same")).reshape(1, -1, 1)
    sums = np.empty(len(y))
    for rows, index, share in _stencils(y, low, cells, made):
        found = np.empty((1, index.shape[1], 1))
        gather.sums(smooth, index, share, found, available())
        sums[rows] = found[0, :, 0]
    return sums * made.factor**made.dim, made.error * float(np.abs(w).sum())


def _extent(x: np.ndarray, y: np.ndarray, made: Spreading) -> tuple[np.ndarray, list[int]]:
    """The grid's corner and its cells in each dimension, room for every stencil included."""
    low, high = np.minimum(x.min(0), y.min(0)), np.maximum(x.max(0), y.max(0))
    corner = low - (made.near + 1) * made.spacing
    return corner, [int(c) for c in np.ceil((high - corner) / made.spacing).astype(int) + made.near + 2]


def _stencils(x: np.ndarray, low: np.ndarray, cells: list[int], made: Spreading) -> Any:
    """Pieces of points: their rows, the cells near each (1, rows, near^dim), and φ_σ there."""
    size = max(1, PIECE // made.near**made.dim)
    steps = np.cumprod([1, *cells[:0:-1]])[::-1]
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        place = (x[rows] - low) / made.spacing
        first = np.ceil(place - made.near / 2).astype(np.int64)
        index, share = np.zeros((len(place), 1), np.int64), np.ones((len(place), 1))
        for j in range(made.dim):
            at = first[:, j, None] + np.arange(made.near)
            value = np.exp(-0.5 * ((at - place[:, j, None]) * made.spacing / SIGMA) ** 2)
            index = (index[:, :, None] + (at * steps[j])[:, None, :]).reshape(len(place), -1)
            share = (share[:, :, None] * value[:, None, :]).reshape(len(place), -1)
        yield rows, index[None], share[None]
