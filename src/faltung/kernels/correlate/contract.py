"""What the row kernel computes, in NumPy: the reference that every tool's version equals."""

import numpy as np

from faltung.algebras import Algebra


def rows(
    x: np.ndarray,
    k: np.ndarray,
    base: np.ndarray,
    offset: np.ndarray,
    length: int,
    stride: int,
    dilation: int,
    algebra: Algebra,
) -> np.ndarray:
    """Correlate rows of a flat signal with rows of filter taps and sum the tap rows.

    Formula: `y[o, r, j] = ⊕ over t, u of x[base[r] + offset[t] + j·stride + u·dilation] ⊗ k[o, t, u]`, taken in order of t, u.

    Shapes: x (size,), k (O, T, U), base (R,) and offset (T,) positions in x, y (O, R, length).
    """
    j = np.arange(length) * stride
    y = np.full((k.shape[0], base.size, length), algebra.zero(x.dtype), dtype=x.dtype)
    for t, u in np.ndindex(k.shape[1:]):
        window = x[base[:, None] + offset[t] + u * dilation + j]
        y = algebra.add(y, algebra.mul(window[None], k[:, t, u][:, None, None]))
    return y
