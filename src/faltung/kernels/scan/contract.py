"""What the running-sum kernel computes, in NumPy: the reference that every tool's version equals."""

import numpy as np


def running(x: np.ndarray, taps: int, outputs: int) -> np.ndarray:
    """Sums of `taps` neighbours along the middle axis: `y[l, i, j] = Σ_{u<taps} x[l, i + u, j]`, shapes (L, n, J) -> (L, m, J)."""
    return np.stack([x[:, i : i + taps].sum(axis=1) for i in range(outputs)], axis=1)
