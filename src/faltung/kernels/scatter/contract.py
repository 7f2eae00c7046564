"""What the kernel of sums over listed pairs computes, in NumPy: the reference that every tool's version equals."""

from typing import Any

import numpy as np


def paired(
    x: np.ndarray, k: np.ndarray, u: np.ndarray, v: np.ndarray, w: np.ndarray, size: int, algebra: Any
) -> np.ndarray:
    """Products of listed pairs, each added where the list says.

    Formula: `y[b, i, j, w[p]] ⊕= x[b, i, r, u[p]] ⊗ k[b, j, r, v[p]]`, for every pair p and every r, from the algebra's zero.

    Shapes: x (B, I, R, n), k (B, J, R, t), y (B, I, J, size); u, v, w (pairs,).
    """
    (B, I, R, _), J = x.shape, k.shape[1]
    y = np.full((B, I, J, size), algebra.zero(x.dtype), dtype=x.dtype)
    for r in range(R):
        for a, b, c in zip(u, v, w, strict=True):
            y[..., c] = algebra.add(y[..., c], algebra.mul(x[:, :, None, r, a], k[:, None, :, r, b]))
    return y
