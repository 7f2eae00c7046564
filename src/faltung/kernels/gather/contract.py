"""What the gather kernels compute, in NumPy: the reference that every tool's version equals.

Every result is a weighted sum of a few rows of x, named by their numbers; a number below 0 names a row of zeros. The three maps are
the partial derivatives of one trilinear form, so each is the gradient of another.

Shapes: x (B, Q, C), index (B, R, J) of int64, w (B, R, J), y (B, R, C).
"""

import numpy as np


def sums(x: np.ndarray, index: np.ndarray, w: np.ndarray) -> np.ndarray:
    """`y[b, r] = Σ over j of w[b, r, j] · x[b, index[b, r, j]]`."""
    return np.einsum("brj,brjc->brc", np.where(index < 0, 0, w), _rows(x, index))


def rows(index: np.ndarray, w: np.ndarray, y: np.ndarray, count: int) -> np.ndarray:
    """The transpose: `x[b, q] = Σ over (r, j) with index[b, r, j] = q of w[b, r, j] · y[b, r]`, q below count."""
    x = np.zeros((y.shape[0], count, y.shape[2]), y.dtype)
    b, r, j = np.nonzero(index >= 0)
    np.add.at(x, (b, index[b, r, j]), w[b, r, j, None] * y[b, r])
    return x


def weights(x: np.ndarray, index: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`w[b, r, j] = Σ over c of x[b, index[b, r, j], c] · y[b, r, c]`, 0 where no row is named."""
    return np.where(index < 0, 0, np.einsum("brjc,brc->brj", _rows(x, index), y)).astype(x.dtype)


def _rows(x: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The named rows, (B, R, J, C)."""
    if x.shape[1] == 0:
        return np.zeros((*index.shape, x.shape[2]), x.dtype)
    return x[np.arange(x.shape[0])[:, None, None], np.maximum(index, 0)]
