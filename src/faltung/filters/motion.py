"""Motion blur: the trace that a point leaves while the camera moves."""

from collections.abc import Sequence

import numpy as np

from faltung.filters.filter import Filter, count, direction, positive


def motion(length: float, angle: float = 0.0, *, along: Sequence[float] | None = None, ndim: int = 2) -> np.ndarray:
    """A straight, evenly lit trace of the given length through the middle, with sum 1.

        k[p] = (length of the trace inside the cell p) / length,      cell p = the unit cube around p

    Shapes:
        returns float64, odd on every axis, just large enough for the trace.
    Args:
        length: of the trace, in samples, > 0.
        angle: radians, from x counter-clockwise as one sees an image. Default 0: to the right. Half a turn changes nothing.
        along: the direction as a vector, one entry an axis, in place of `angle`; for three and more axes.
        ndim: number of axes, ≥ 1. Default 2.
    Raises:
        ArgumentError: for a length that is not positive or a direction that has not `ndim` entries.
    Cost: proportional to the length.
    Source: the exact line integral through cells of R. L. Siddon, Fast calculation of the exact radiological path (1985).

    Example:
        >>> motion(3).tolist()
        [[0.3333333333333333, 0.3333333333333333, 0.3333333333333333]]
    """
    half = positive("motion", "length", length) / 2.0
    unit = direction("motion", count("motion", ndim), angle, along, "along")
    # where the trace crosses from one cell to the next: at half-integers, on every axis; measured outwards from the middle,
    # and mirrored, so that both halves agree to the last bit
    cuts = [(np.arange(int(half * u + 0.5)) + 0.5) / u for u in np.abs(unit[unit != 0])]
    ends = np.unique(np.concatenate([*(c[c < half] for c in cuts), [half]]))
    starts = np.concatenate([[0.0], ends[:-1]])
    real = ends - starts > 1e-9 * half  # two cuts at one corner differ by rounding; nothing lies between them
    starts, ends = starts[real], ends[real]
    cells = np.rint(np.multiply.outer((starts + ends) / 2.0, unit)).astype(int)
    radii = np.abs(cells).max(axis=0)
    k = np.zeros(2 * radii + 1)
    for side in (1, -1):
        np.add.at(k, tuple((side * cells + radii).T), ends - starts)
    return k / k.sum()


FILTER = Filter(
    name="motion",
    summary="blur of a straight movement",
    source="Siddon 1985",
    make=motion,
    examples=("motion:15", "motion:length=7.5"),
)
