"""What the mixing kernel computes, in NumPy: the reference that every tool's version equals."""

import numpy as np


def mix(x: np.ndarray, k: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Sum over those channels that an output names, at every position.

    Formula: `y[n, o, p] = Σ over j of k[o, j]·x[n, index[o, j], p]`.

    Shapes: x (N, C, P), k (O, J), index (O, J) of whole numbers below C, y (N, O, P).
    """
    y = np.zeros((x.shape[0], k.shape[0], x.shape[2]), x.dtype)
    for j in range(k.shape[1]):
        y += k[:, j, None] * x[:, index[:, j]]
    return y
