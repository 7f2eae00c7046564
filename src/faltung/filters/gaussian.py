"""The Gaussian: the smoothing filter that is separable, round, and adds no new extrema."""

from collections.abc import Sequence

import numpy as np

from faltung.filters.filter import Filter, outer, per_axis, positive


def gaussian(sigma: float | Sequence[float], truncate: float = 4.0, *, ndim: int | None = None) -> np.ndarray:
    """Gaussian weights with sum 1.

        k[p] = ∏ over axes  exp(-p² / 2σ²) / Σ,      |p| ≤ ⌊truncate·σ + ½⌋

    Shapes:
        returns float64, `2·⌊truncate·σ + ½⌋ + 1` long on every axis.
    Args:
        sigma: standard deviation in samples, > 0; one for all axes or one an axis.
        truncate: where the weights end, in standard deviations, > 0. Default 4: the rest is 6e-5 of the whole.
        ndim: number of axes. Default: as many as `sigma` has entries, else 2.
    Raises:
        ArgumentError: for a sigma or truncate that is not positive, or as many sigmas as there are not axes.
    Error:
        taps are rounded to float64; equal to the impulse response of `scipy.ndimage.gaussian_filter` within 1e-15.
    Source: C. F. Gauss; discretised by sampling.

    Example:
        >>> gaussian(1.0, ndim=1).round(3).tolist()
        [0.0, 0.004, 0.054, 0.242, 0.399, 0.242, 0.054, 0.004, 0.0]
    """
    return outer(gaussian_factors(sigma, truncate, ndim=ndim))


def gaussian_factors(
    sigma: float | Sequence[float], truncate: float = 4.0, *, ndim: int | None = None
) -> tuple[np.ndarray, ...]:
    """The 1-D factors of `gaussian`, one an axis; their outer product is the filter.

    Args, Raises: as for `gaussian`.

    Example:
        >>> [f.size for f in gaussian_factors((1.0, 2.0))]
        [9, 17]
    """
    end = positive("gaussian", "truncate", truncate)
    return tuple(_factor(positive("gaussian", "sigma", s), end) for s in per_axis("gaussian", "sigma", sigma, ndim))


def _factor(sigma: float, truncate: float) -> np.ndarray:
    radius = int(truncate * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return weights / weights.sum()


FILTER = Filter(
    name="gaussian",
    summary="smooths; sigma in samples",
    source="sampled normal density",
    make=gaussian,
    examples=("gaussian:sigma=4", "gaussian:1.5", "gaussian:2,truncate=3"),
)
