"""The Walsh–Hadamard transform along one axis, compiled: levels in registers, in the first cache, in strips of long lines."""

import numpy as np

from faltung.kernels import butterfly


def hadamard(
    x: np.ndarray, axis: int = -1, scale: float = 1.0, out: np.ndarray | None = None, threads: int | None = None
) -> np.ndarray:
    """The contract's result for a C-contiguous x, in `out` (C-contiguous; x itself for in place) or in memory of its own.

    Dtypes: float32, float64, complex64, complex128 and all integers of 8 to 64 bits.
    """
    return butterfly.transform(x, "hadamard", axis, out, scale, threads)
