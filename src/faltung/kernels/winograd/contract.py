"""What the Winograd kernel computes, in NumPy: the reference that every tool's version equals up to the transforms' error."""

import numpy as np

from faltung.algebras import REAL
from faltung.kernels.indirect.contract import indirect


def minimal(x: np.ndarray, k: np.ndarray, m: tuple[int, ...]) -> np.ndarray:
    """Correlate an extended signal with filters and sum over channels, stride and dilation 1, channels innermost.

    Formula: `y[n, p, b, o] = Σ over u, c of x[n, p + u, b, c] · k[b, o, c, u]`.

    Shapes: x (N, *whole, B, C), k (B, O, C, *t), y (N, *m, B, O).
    """
    ones = (1,) * len(m)
    return indirect(x, k, m, ones, ones, REAL)
