"""Sums of a kernel over a cloud of points, at many places: tiles, sorting, a grid, or slices, whichever serves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from faltung.errors import ArgumentError, RefusedError
from faltung.gram.slicing import by_slices
from faltung.gram.sorting import by_sorting
from faltung.kernels.threads import available, spread

TILE = 1 << 18  # kernel values that are worked on together
EPS = 2.0**-53


@dataclass(frozen=True)
class Radial:
    """A kernel of the distance: its values, the norm, its largest slope and value."""

    name: str
    of: Callable[[np.ndarray], np.ndarray]
    norm: str = "euclidean"
    slope: float = np.nan
    bounded: bool = False


KERNELS = {
    "gaussian": Radial("gaussian", lambda r: np.exp(-0.5 * r * r), slope=np.exp(-0.5), bounded=True),
    "laplace": Radial("laplace", lambda r: np.exp(-r), slope=1.0, bounded=True),
    "distance": Radial("distance", lambda r: r, slope=1.0),
    "l1": Radial("l1", lambda r: r, "cityblock", slope=1.0),
}
METHODS = ("tiles", "sorted", "grid", "slicing")


def kernel_sum(
    points: Any,
    queries: Any,
    kernel: Any = "gaussian",
    weights: Any = None,
    method: str | None = None,
    *,
    bandwidth: float = 1.0,
    tolerance: float = 1e-9,
    directions: int = 256,
    rng: Any = None,
    with_bound: bool = False,
) -> Any:
    """Sums of a kernel over weighted points, at every query.

    Formula: `s(y) = Σ_i w_i f(‖x_i − y‖ / h)`; a convolution of the cloud with f.

    Shapes: points (n, d), queries (m, d), weights (n,); returns (m,). One-dimensional arrays are d = 1.

    Args:
        kernel: gaussian, exp(−r²/2); laplace, exp(−r); distance, r; l1, r in the norm Σ|x_j|; or a function of distances (r: any
            shape), or what has one as `radial`, such as `matern`. Default gaussian.
        weights: w. Default all 1.   bandwidth: h > 0. Default 1.
        method: tiles: every pair, any kernel. sorted: l1, or distance in one dimension, by sums over sorted coordinates, exact.
            grid: gaussian in at most three dimensions, by a convolution on a grid. slicing: gaussian or distance in any dimension,
            averaged over lines in random directions. By default sorted where it serves, grid where that is less work than tiles
            within the tolerance, else tiles; slicing only by name, because it is random.
        tolerance: of the grid, relative to Σ|w|. Default 1e-9.   directions: of slicing. Default 256.
        rng: NumPy generator or seed for slicing. Default None.
        with_bound: whether to return a bound of the error as well. Default False.

    Returns:
        The sums (m,), or with_bound the pair (sums, bound): a number, for slicing the standard error at each query. For functions
        that are not in the list above it is NaN: their slope is not known.

    Raises:
        ArgumentError: shapes that do not fit, unknown names.   RefusedError: a method that does not serve the kernel.

    Cost: tiles n·m·d; sorted (n + m) log n · d; grid n + m + N log N; slicing (n + m)·directions.
    Source: Hertrich, Wald, Altekrüger and Hagemann (2024) for slicing; Greengard and Lee (2004) for Gaussians on a grid.

    Example:
        >>> kernel_sum([0.0, 1.0, 3.0], [1.0, 2.0], "l1").tolist()
        [3.0, 4.0]
    """
    x, y = _cloud(points, "points"), _cloud(queries, "queries")
    w = np.ones(len(x)) if weights is None else np.asarray(weights, float)
    if x.shape[1] != y.shape[1] or w.shape != (len(x),):
        raise ArgumentError.of(
            "kernel_sum",
            "points (n, d), queries (m, d), weights (n,)",
            f"{x.shape}, {y.shape}, {w.shape}",
            "let them agree",
        )
    if not (bandwidth > 0 and np.isfinite(bandwidth)):
        raise ArgumentError.of("bandwidth", "a positive number", f"{bandwidth}", "distances are divided by it")
    if isinstance(kernel, str) and kernel not in KERNELS:
        raise ArgumentError.of("kernel", f"a function or one of {', '.join(KERNELS)}", repr(kernel), "pass f(r)")
    if method not in (None, *METHODS):
        raise ArgumentError.of("method", f"one of {', '.join(METHODS)}, or None", repr(method), "None chooses")
    radial = KERNELS[kernel] if isinstance(kernel, str) else Radial("function", getattr(kernel, "radial", kernel))
    x, y = x / bandwidth, y / bandwidth
    centre = x.mean(0) if len(x) else np.zeros(x.shape[1])
    x, y = x - centre, y - centre
    name = method or _choice(radial, x, y, tolerance)
    if said := refusal(name, radial, x.shape[1]):
        raise RefusedError.of("kernel_sum", said, f"{radial.name} in {x.shape[1]} dimensions", "leave method out")
    bound: Any = 0.0
    if len(x) == 0 or len(y) == 0:
        sums = np.zeros(len(y))
    elif name == "sorted":
        sums, bound = by_sorting(x, y, w)
    elif name == "tiles":
        sums, bound = by_tiles(x, y, w, radial)
    elif name == "grid":
        from faltung.gram.spreading import by_grid

        sums, bound = by_grid(x, y, w, tolerance)
    else:
        sums, bound = by_slices(x, y, w, radial.name, directions, np.random.default_rng(rng))
    return (sums, bound) if with_bound else sums


def refusal(method: str, radial: Radial, dim: int) -> str | None:
    """Why a method does not serve a kernel in that many dimensions; None where it does."""
    if method == "sorted" and not (radial.name == "l1" or (radial.name == "distance" and dim == 1)):
        return "the kernel l1, or distance in one dimension, for sorting"
    if method == "grid" and not (radial.name == "gaussian" and dim <= 3):
        return "a gaussian in at most three dimensions for the grid"
    if method == "slicing" and radial.name not in ("gaussian", "distance"):
        return "the kernel gaussian or distance for slicing"
    return None


def _choice(radial: Radial, x: np.ndarray, y: np.ndarray, tolerance: float) -> str:
    """What is least work: pairs for tiles, stencils and cells for the grid."""
    n, m, d = len(x), len(y), x.shape[1]
    if refusal("sorted", radial, d) is None:
        return "sorted"
    if refusal("grid", radial, d) is None and n and m:
        from faltung.gram.spreading import work

        if work(x, y, tolerance) < n * m:
            return "grid"
    return "tiles"


def by_tiles(x: np.ndarray, y: np.ndarray, w: np.ndarray, radial: Radial) -> tuple[np.ndarray, float]:
    """Every pair; Gaussians through a matrix product of coordinates, others through distances."""
    from scipy.spatial.distance import cdist

    sums, total = np.empty(len(y)), float(np.abs(w).sum())
    reach = float(max(np.linalg.norm(x, axis=1).max(), np.linalg.norm(y, axis=1).max()))
    rows = max(1, TILE // len(x))
    half = 0.5 * (x * x).sum(1)

    def task(first: int, last: int) -> None:
        for start in range(first, last, rows):
            piece = y[start : min(start + rows, last)]
            if radial.name == "gaussian":
                exponent = piece @ x.T
                exponent -= half
                exponent -= 0.5 * (piece * piece).sum(1)[:, None]
                values = np.exp(np.minimum(exponent, 0.0, out=exponent), out=exponent)
            else:
                values = radial.of(cdist(piece, x, radial.norm))
            sums[start : start + len(piece)] = values @ w

    spread(task, len(y), available(), rows, multiplies=True)
    n, d = x.shape
    if radial.name == "gaussian":  # the exponent's error, of which the exponential is no steeper
        return sums, total * EPS * (n + 4 + 4 * (d + 3) * reach**2)
    largest = 1.0 if radial.bounded else 2 * reach * (1.0 if radial.norm == "euclidean" else d**0.5)
    return sums, total * EPS * ((n + 4) * largest + (d + 4) * radial.slope * 2 * reach * d**0.5)


def _cloud(given: Any, who: str) -> np.ndarray:
    """Points as (n, d) float64; ArgumentError for other shapes or values that are not finite."""
    a = np.asarray(given, float)
    a = a[:, None] if a.ndim == 1 else a
    if a.ndim != 2 or a.shape[1] < 1 or not np.isfinite(a).all():
        raise ArgumentError.of(who, "finite coordinates (n, d)", f"shape {a.shape}", "pass one row for each point")
    return a
