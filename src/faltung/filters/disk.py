"""The disk: the mean over a round neighbourhood, a ball in three dimensions."""

from collections.abc import Sequence

import numpy as np

from faltung.filters.filter import Filter, offsets, per_axis, positive


def disk(radius: float | Sequence[float], *, ndim: int | None = None) -> np.ndarray:
    """Equal weights with sum 1 on all points within the radius.

        k[p] = 1 / N  where  Σ over axes (p / radius)² ≤ 1,  0 elsewhere

    Shapes:
        returns float64, `2·⌊radius⌋ + 1` long on every axis.
    Args:
        radius: in samples, > 0; one for all axes, or one an axis for an ellipse.
        ndim: number of axes. Default: as many as `radius` has entries, else 2.
    Raises:
        ArgumentError: for a radius that is not positive.

    Example:
        >>> (disk(1) * 5).tolist()
        [[0.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]]
    """
    radii = [positive("disk", "radius", r) for r in per_axis("disk", "radius", radius, ndim)]
    grid = offsets([int(r) for r in radii])
    inside = np.asarray(sum((p / r) ** 2 for p, r in zip(grid, radii, strict=True)) <= 1.0)
    return inside / np.count_nonzero(inside)


FILTER = Filter(
    name="disk",
    summary="the mean over a round neighbourhood; with max-plus (min-plus) the largest (smallest) value in it",
    source="out-of-focus lens",
    make=disk,
    examples=("disk:5", "disk:radius=2.5"),
    element=True,
)
