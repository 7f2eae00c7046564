"""Gabor filters: a wave under a Gaussian, which answers to stripes of one width and direction."""

import math
from collections.abc import Sequence

import numpy as np

from faltung.filters.filter import Filter, count, direction, finite, offsets, positive

# the width, in wavelengths, at which the filter's pass band is one octave wide at half height
ONE_OCTAVE = 3.0 / math.pi * math.sqrt(math.log(2.0) / 2.0)


def gabor(
    wavelength: float,
    angle: float = 0.0,
    sigma: float | None = None,
    aspect: float = 1.0,
    phase: float = 0.0,
    truncate: float = 3.0,
    *,
    wave: Sequence[float] | None = None,
    ndim: int = 2,
) -> np.ndarray:
    """A cosine wave under a Gaussian whose weights sum to 1.

        k[p] = g[p] · cos(2π u / wavelength + phase),    g[p] ∝ exp(-(u² + aspect²·v²) / 2σ²),    Σ g = 1

    u is the distance along the wave, v the distance across it. Stripes of that wavelength and direction come out with about half
    their height; phase 0 answers to bright lines, π/2 to edges.

    Shapes:
        returns float64, `2·⌊truncate·σ / min(1, aspect) + ½⌋ + 1` long on every axis.
    Args:
        wavelength: of the wave, in samples, > 0.
        angle: direction in which the wave runs, radians, from x counter-clockwise as one sees an image. Default 0.
        sigma: width of the Gaussian along the wave, > 0. Default 0.562 wavelengths: a pass band of one octave.
        aspect: width along the wave over width across it, > 0. Default 1: round.
        phase: radians. Default 0.
        truncate: where the weights end, in standard deviations, > 0. Default 3.
        wave: the wave's direction as a vector, one entry an axis, in place of `angle`; for three and more axes.
        ndim: number of axes, ≥ 1. Default 2.
    Raises:
        ArgumentError: for numbers out of range, or a direction that has not `ndim` entries.
    Source: D. Gabor, Theory of communication (1946); J. G. Daugman, Uncertainty relation for resolution in space (1985).

    Example:
        >>> gabor(8.0, angle=math.pi / 4).shape
        (27, 27)
    """
    axes = count("gabor", ndim)
    length = positive("gabor", "wavelength", wavelength)
    width = ONE_OCTAVE * length if sigma is None else positive("gabor", "sigma", sigma)
    ratio = positive("gabor", "aspect", aspect)
    shift = finite("gabor", "phase", phase)
    unit = direction("gabor", axes, angle, wave, "wave")
    radius = int(positive("gabor", "truncate", truncate) * width / min(1.0, ratio) + 0.5)
    grid = offsets((radius,) * axes)
    along = sum(u * p for u, p in zip(unit, grid, strict=True))
    squared = sum(p * p for p in grid)
    envelope = np.exp(-0.5 * (along**2 + ratio**2 * (squared - along**2)) / width**2)
    return envelope / envelope.sum() * np.cos(2.0 * math.pi * along / length + shift)


FILTER = Filter(
    name="gabor",
    summary="stripes of one width and direction",
    source="Gabor 1946, Daugman 1985",
    make=gabor,
    examples=("gabor:wavelength=8", "gabor:8,sigma=3,phase=90deg"),
)
