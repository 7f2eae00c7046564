"""Closed curves as complex numbers: points at equal distances along a curve, and random curves of few waves."""

import numpy as np

from faltung.errors import ArgumentError


def resample_contour(points: np.ndarray, count: int) -> np.ndarray:
    """A closed polygon as so many points at equal distances along it, from its first one on.

    Formula: point k lies at k/count of the length, on the straight line between its neighbours.

    Shapes: points (n,), complex, at least 2; returns (count,), complex128. A last point equal to the first is taken as that.

    Args:
        points: in order along the curve.   count: at least 1.

    Raises:
        ArgumentError: fewer than two different points, another shape.

    Example:
        >>> resample_contour(np.array([0, 1, 1 + 1j, 1j]), 8).round(2).tolist()[:4]
        [0j, (0.5+0j), (1+0j), (1+0.5j)]
    """
    z = np.asarray(points, complex)
    if z.ndim != 1 or len(z) < 2 or count < 1:
        raise ArgumentError.of(
            "resample_contour", "points (n,) with n of at least 2 and a count of at least 1", f"{z.shape} and {count}",
            "give the corners in order",
        )  # fmt: skip
    whole = z if z[0] == z[-1] else np.append(z, z[0])
    along = np.concatenate(([0.0], np.abs(np.diff(whole)).cumsum()))
    if not along[-1] > 0:
        raise ArgumentError.of("resample_contour", "points that differ", "one point", "give the corners in order")
    at = np.arange(count) * along[-1] / count
    return np.interp(at, along, whole.real) + 1j * np.interp(at, along, whole.imag)


def fourier_contours(count: int, samples: int, waves: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random smooth closed curves, and their curvature at every point.

    Formula: `z(t) = e^(it) + Σ over 2 ≤ |k| ≤ waves of c_k e^(ikt)`, c_k normal with deviation 0.4 / k²;
    `curvature = Im(conj(z') z'') / |z'|³`, from the derivatives of the sum.

    Shapes: returns z (count, samples), complex128, and the curvature (count, samples).

    Args:
        count: curves.   samples: at least 1.   waves: at least 1. Default 5.   seed: the same seed, the same curves. Default 0.

    Raises:
        ArgumentError: numbers out of range.

    Example:
        >>> z, curvature = fourier_contours(1, 16, waves=1)
        >>> np.allclose(curvature, 1)
        True
    """
    if count < 0 or samples < 1 or waves < 1:
        raise ArgumentError.of(
            "fourier_contours",
            "count ≥ 0, samples ≥ 1, waves ≥ 1",
            f"{count}, {samples}, {waves}",
            "choose larger ones",
        )
    random = np.random.default_rng(seed)
    k = np.array([1, *(s * n for n in range(2, waves + 1) for s in (1, -1))])
    size = np.where(k == 1, 0.0, 0.4 / k.astype(float) ** 2)
    weights = (
        (random.standard_normal((count, len(k))) + 1j * random.standard_normal((count, len(k)))) * size / np.sqrt(2)
    )
    weights[:, 0] = 1
    basis = np.exp(1j * np.outer(k, np.arange(samples) * 2 * np.pi / samples))
    z, first, second = (weights * (1j * k) ** order @ basis for order in range(3))
    return z, (first.conj() * second).imag / np.abs(first) ** 3
