"""The parabola: squared distances, for distance transforms and for erosion and dilation with a round ball."""

from collections.abc import Sequence

import numpy as np

from faltung.errors import ArgumentError
from faltung.filters.filter import Filter, finite, offsets, per_axis, whole


def parabola(
    radius: int | Sequence[int], curvature: float | Sequence[float] = 1.0, *, ndim: int | None = None
) -> np.ndarray:
    """A sum of parabolas, one an axis, with 0 in the middle.

        k[p] = Σ over axes of curvature · p²

    Over `min-plus` a picture that is 0 on features and +inf elsewhere becomes the squared distance to the nearest feature within
    the radius; with a radius of the picture's size − 1, to the nearest of all. So long a filter of two axes takes much memory:
    `k = parabola(r, ndim=1)` along one axis after the other, as `k[None]` and `k[:, None]`, gives the same. For `max-plus` the
    curvature is below zero.

    Shapes:
        returns float64, `2·radius + 1` long on every axis.
    Args:
        radius: in samples, ≥ 0; one for all axes or one an axis.
        curvature: not 0, per squared sample: for samples that lie h apart, h². One for all axes or one an axis, of one sign.
        ndim: number of axes. Default: as many as `radius` has entries, else 2.
    Raises:
        ArgumentError: for a radius that is not a whole number of at least 0, or curvatures that are zero or differ in sign.
    Error: each tap is rounded once an axis; exact for whole curvatures up to 2^53.
    Cost: one addition a tap and axis.
    Source: Felzenszwalb and Huttenlocher, Distance Transforms of Sampled Functions (2012); van den Boomgaard (1992).

    Example:
        >>> parabola(2, ndim=1).tolist()
        [4.0, 1.0, 0.0, 1.0, 4.0]
    """
    radii = [whole("parabola", "radius", r, 0) for r in per_axis("parabola", "radius", radius, ndim)]
    bends = [finite("parabola", "curvature", c) for c in per_axis("parabola", "curvature", curvature, len(radii))]
    if not (all(c > 0 for c in bends) or all(c < 0 for c in bends)):
        raise ArgumentError.of(
            "parabola", "curvatures above zero, or all below", repr(curvature), "use 1 for min-plus and -1 for max-plus"
        )
    k = np.zeros(tuple(2 * r + 1 for r in radii))
    for p, bend in zip(offsets(radii), bends, strict=True):
        k += bend * p.astype(np.float64) ** 2
    return k


FILTER = Filter(
    name="parabola",
    summary="squared distances: over min-plus the distance transform, with negative curvature over max-plus a ball",
    source="Felzenszwalb and Huttenlocher (2012); van den Boomgaard (1992)",
    make=parabola,
    examples=("parabola:8", "parabola:radius=3,curvature=0.5"),
    ordered=True,
)
