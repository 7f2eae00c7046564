"""What the pointwise kernel computes, in NumPy: the reference that every tool's version equals."""

import numpy as np

from faltung.algebras import Algebra


def pointwise(x: np.ndarray, k: np.ndarray, algebra: Algebra) -> np.ndarray:
    """Sum over channels at every position.

    Formula: `y[b, n, o, p] = ⊕ over c of x[b, n, c, p] ⊗ k[b, o, c]`.

    Shapes: x (B, N, C, P), k (B, O, C), y (B, N, O, P).
    """
    y = np.full((x.shape[0], x.shape[1], k.shape[1], x.shape[3]), algebra.zero(x.dtype), x.dtype)
    for c in range(x.shape[2]):
        y = algebra.add(y, algebra.mul(x[:, :, None, c], k[:, None, :, c, None]))
    return y
