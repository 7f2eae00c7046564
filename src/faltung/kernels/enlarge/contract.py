"""What the interpolation kernels compute, in NumPy: the reference that every tool's version equals."""

import numpy as np


def weights(n: int, m: int, linear: bool) -> np.ndarray:
    """The matrix (m, n) that takes n samples to m: the nearest at or before, or linear between the centres of samples."""
    i = np.arange(m)
    at = np.clip((i + 0.5) * n / m - 0.5, 0, n - 1) if linear else i * n // m
    return np.clip(1 - np.abs(at[:, None] - np.arange(n)), 0, None)


def enlarged(x: np.ndarray, base: np.ndarray, linear: bool) -> np.ndarray:
    """The interpolated signal plus another of its size.

    Formula: `y[p, i, j] = base[p, i, j] + Σ over a, b of R[i, a] C[j, b] x[p, a, b]` with the weights R of rows and C of columns.

    Shapes: x (P, n, k), base and y (P, m, l).
    """
    rows, columns = (weights(n, m, linear) for n, m in zip(x.shape[1:], base.shape[1:], strict=True))
    return (base + np.einsum("ia,jb,pab->pij", rows, columns, x)).astype(x.dtype)


def gathered(y: np.ndarray, sizes: tuple[int, int], linear: bool) -> np.ndarray:
    """The transpose of the interpolation: `x[p, a, b] = Σ over i, j of R[i, a] C[j, b] y[p, i, j]`.

    Shapes: y (P, m, l), returns (P, *sizes).
    """
    rows, columns = (weights(n, m, linear) for n, m in zip(sizes, y.shape[1:], strict=True))
    return np.einsum("ia,jb,pij->pab", rows, columns, y).astype(y.dtype)
