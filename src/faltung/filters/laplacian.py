"""The Laplacian: the sum of the second differences, which is large at spots and edges."""

import numpy as np

from faltung.errors import ArgumentError
from faltung.filters.filter import Filter, count

KINDS = ("cross", "full")


def laplacian(kind: str = "cross", *, ndim: int = 2) -> np.ndarray:
    """Second differences with sum 0.

        cross:  k = Σ over axes (1, -2, 1)           the 2·ndim nearest neighbours, as `scipy.ndimage.laplace`
        full:   k[p] = 1 for p ≠ 0,  k[0] = 1 - 3^ndim       all neighbours, diagonals too

    Shapes:
        returns float64 of shape (3,)·ndim.
    Args:
        kind: `cross` (default) or `full`.
        ndim: number of axes, ≥ 1. Default 2.
    Raises:
        ArgumentError: for another kind.

    Example:
        >>> laplacian().tolist()
        [[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]
    """
    if kind not in KINDS:
        raise ArgumentError.of("laplacian", f"a kind among {', '.join(KINDS)}", repr(kind), "choose one of these")
    shape = (3,) * count("laplacian", ndim)
    centre = (1,) * ndim
    if kind == "full":
        k = np.ones(shape)
        k[centre] = 1.0 - 3.0**ndim
        return k
    k = np.zeros(shape)
    k[centre] = -2.0 * ndim
    for axis in range(ndim):
        for side in (0, 2):
            k[(*centre[:axis], side, *centre[axis + 1 :])] = 1.0
    return k


FILTER = Filter(
    name="laplacian",
    summary="second differences: spots and fine edges",
    source="finite differences",
    make=laplacian,
    examples=("laplacian", "laplacian:full"),
)
