"""Sums, maxima and minima over subsets or supersets along one axis, and the inverse of the sums, compiled."""

import numpy as np

from faltung.kernels import butterfly


def zeta(
    x: np.ndarray,
    axis: int = -1,
    order: str = "subset",
    operation: str = "add",
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """The contract's result for a C-contiguous x, in `out` (C-contiguous; x itself for in place) or in memory of its own.

    Dtypes: float32, float64 and all integers of 8 to 64 bits; complex64 and complex128 for add and sub.
    """
    return butterfly.transform(x, f"{order}-{operation}", axis, out, 1.0, threads)
