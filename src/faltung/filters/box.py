"""The box: the mean over a block."""

import math
from collections.abc import Sequence

import numpy as np

from faltung.filters.filter import Filter, per_axis, whole


def box(size: int | Sequence[int], *, ndim: int | None = None) -> np.ndarray:
    """Equal weights with sum 1.

        k[p] = 1 / ∏ size

    Shapes:
        returns float64 of shape `size`. Even sizes are allowed; with `mode="same"` their middle is left of the centre.
    Args:
        size: samples along every axis, ≥ 1; one for all axes or one an axis.
        ndim: number of axes. Default: as many as `size` has entries, else 2.
    Raises:
        ArgumentError: for a size that is not a whole number of at least 1.

    Example:
        >>> box((1, 4)).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """
    shape = tuple(whole("box", "size", s, 1) for s in per_axis("box", "size", size, ndim))
    return np.full(shape, 1.0 / math.prod(shape))


FILTER = Filter(
    name="box",
    summary="the mean over a block; with max-plus (min-plus) the largest (smallest) value in a block",
    source="moving average",
    make=box,
    examples=("box:9", "box:size=3"),
    element=True,
)
