"""Sobel's filter: the slope along one axis, smoothed across it."""

import numpy as np

from faltung.filters.filter import Filter, axis_index, count, outer


def sobel(axis: str | int = "x", *, ndim: int = 2) -> np.ndarray:
    """Smoothed central difference along an axis.

        k = (1, 0, -1) along the axis  ⊗  (1, 2, 1) along all others

    Convolving gives positive values where the data grow along the axis, `2·4^(ndim-1)` times the slope; `scipy.ndimage.sobel`
    gives the same values.

    Shapes:
        returns float64 of shape (3,)·ndim.
    Args:
        axis: `x`, `y`, `z` for the last, last but one, last but two axis, or the axis' index. Default x: vertical edges.
        ndim: number of axes, ≥ 1. Default 2.
    Raises:
        ArgumentError: for an axis that the data do not have.
    Source: I. Sobel and G. Feldman, An isotropic 3×3 image gradient operator (1968).

    Example:
        >>> sobel("x").tolist()
        [[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]
    """
    at = axis_index("sobel", axis, count("sobel", ndim))
    slope, smooth = np.array([1.0, 0.0, -1.0]), np.array([1.0, 2.0, 1.0])
    return outer([slope if a == at else smooth for a in range(ndim)])


FILTER = Filter(
    name="sobel",
    summary="slope along one axis: edges",
    source="Sobel and Feldman 1968",
    make=sobel,
    examples=("sobel:x", "sobel", "sobel:axis=0"),
)
