"""What the kernel for channels innermost computes, in NumPy: the reference that every tool's version equals."""

import numpy as np

from faltung.algebras import Algebra
from faltung.kernels.blocks.contract import blocks


def indirect(
    x: np.ndarray,
    k: np.ndarray,
    m: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    algebra: Algebra,
) -> np.ndarray:
    """Correlate an extended signal with filters and sum over channels; the same numbers as `blocks`, channels innermost.

    Formula: `y[n, p, b, o] = ⊕ over u, c of x[n, p·stride + u·dilation, b, c] ⊗ k[b, o, c, u]`.

    Shapes: x (N, *whole, B, C), k (B, O, C, *t), y (N, *m, B, O).
    """
    first = np.moveaxis(x, (-2, 0, -1), (0, 1, 2))
    return np.ascontiguousarray(np.moveaxis(blocks(first, k, m, stride, dilation, algebra), (1, 0, 2), (0, -2, -1)))
