"""Maps of density from dots: what networks that count are trained towards."""

from typing import Any

import numpy as np

from faltung.errors import ArgumentError


def dot_density(points: Any, size: Any, sigma: float) -> np.ndarray:
    """Dots, blurred by a Gaussian, whose sum is their number, at the borders too.

    Formula: `d(p) = Σ_n Π_axes g(p − x_n)`, g a Gaussian at the samples of the axis, scaled so that these sum to 1. What would lie
    beyond the border is thus spread over what lies within.

    Shapes: points (count, ndim) in samples, may lie between them; returns (*size) in float64.

    Args:
        points: coordinates in the order of the axes, each from −1/2 to size − 1/2; an empty list for none.
        size: samples along each axis.   sigma: the Gaussian's deviation in samples, above 0.

    Raises:
        ArgumentError: points outside, of another number of coordinates, or a sigma that is none.

    Cost: count · Π size multiplications, as a matrix product.
    Source: Lempitsky and Zisserman, Learning to count objects in images (2010).

    Example:
        >>> density = dot_density([(3.0, 4.5), (0.0, 0.0)], (16, 16), sigma=2)
        >>> density.shape, round(float(density.sum()), 9)
        ((16, 16), 2.0)
    """
    shape = tuple(int(n) for n in np.atleast_1d(size))
    dots = np.asarray(points, float)
    dots = dots.reshape(0, len(shape)) if dots.size == 0 else dots
    if min(shape) < 1 or dots.ndim != 2 or dots.shape[1] != len(shape):
        raise ArgumentError.of(
            "dot_density", f"points (count, {len(shape)}) for a size of {len(shape)} axes", f"shape {dots.shape} and size {shape}",
            "give as many coordinates as sizes",
        )  # fmt: skip
    if not (np.isfinite(sigma) and sigma > 0):
        raise ArgumentError.of("dot_density", "a sigma above 0", repr(sigma), "give the deviation in samples")
    outside = (dots < -0.5) | (dots > np.array(shape) - 0.5) | ~np.isfinite(dots)
    if outside.any():
        wrong = dots[outside.any(1)][0].tolist()
        raise ArgumentError.of("dot_density", f"points within {shape}", f"{wrong}", "leave out what lies outside")
    lines = []
    for axis, length in enumerate(shape):
        exponent = -0.5 * ((np.arange(length) - dots[:, axis, None]) / sigma) ** 2
        exponent -= exponent.max(1, keepdims=True)  # the nearest sample keeps its weight, however small sigma is
        line = np.exp(exponent)
        lines.append(line / line.sum(1, keepdims=True))
    whole = lines[0]
    for line in lines[1:-1]:
        whole = (whole[:, :, None] * line[:, None, :]).reshape(len(dots), -1)
    return (whole.sum(0) if len(shape) == 1 else whole.T @ lines[-1]).reshape(shape)
