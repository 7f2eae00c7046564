"""Difference of Gaussians: keeps what is larger than one width and smaller than another."""

from collections.abc import Sequence

import numpy as np

from faltung.errors import ArgumentError
from faltung.filters.filter import Filter
from faltung.filters.gaussian import gaussian


def dog(
    inner: float | Sequence[float], outer: float | Sequence[float], truncate: float = 4.0, *, ndim: int | None = None
) -> np.ndarray:
    """Difference of two Gaussians, with sum 0.

        k = gaussian(inner) - gaussian(outer)

    Shapes:
        returns float64, as long as the larger of the two on every axis.
    Args:
        inner: standard deviation of the Gaussian that is added, samples, > 0; one for all axes or one an axis.
        outer: standard deviation of the Gaussian that is subtracted; not equal to `inner`.
        truncate: where the weights end, in standard deviations, > 0. Default 4.
        ndim: number of axes. Default: as many as the sigmas have entries, else 2.
    Raises:
        ArgumentError: for a width that is not positive, and for two equal widths, whose difference is zero.
    Source: D. Marr and E. Hildreth, Theory of edge detection (1980).

    Example:
        >>> abs(dog(1.0, 2.0).sum()) < 1e-15
        True
    """
    first, second = (gaussian(sigma, truncate, ndim=ndim) for sigma in (inner, outer))
    if first.ndim != second.ndim:
        raise ArgumentError.of(
            "dog", "as many inner as outer widths", f"{inner!r} and {outer!r}", "match the number of axes"
        )
    if first.shape == second.shape and np.array_equal(first, second):
        raise ArgumentError.of("dog", "two different widths", f"{inner!r} twice", "make outer larger than inner")
    shape = tuple(map(max, first.shape, second.shape))
    return _centred(first, shape) - _centred(second, shape)


def _centred(k: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.pad(k, [((s - n) // 2,) * 2 for s, n in zip(shape, k.shape, strict=True)])


FILTER = Filter(
    name="dog",
    summary="difference of Gaussians: keeps details between two widths",
    source="Marr and Hildreth 1980",
    make=dog,
    examples=("dog:1,2", "dog:inner=1,outer=1.6"),
)
