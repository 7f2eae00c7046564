"""What the block kernel computes, in NumPy: the reference that every tool's version equals."""

import numpy as np

from faltung.algebras import Algebra


def blocks(
    x: np.ndarray,
    k: np.ndarray,
    m: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    algebra: Algebra,
) -> np.ndarray:
    """Correlate an extended signal with filters and sum over channels.

    Formula: `y[b, n, o, p] = ⊕ over c, u of x[b, n, c, p·stride + u·dilation] ⊗ k[b, o, c, u]`.

    Shapes: x (B, N, C, *whole), k (B, O, C, *t), y (B, N, O, *m).
    """
    B, O, C = k.shape[:3]
    y = np.full((B, x.shape[1], O, *m), algebra.zero(x.dtype), x.dtype)
    for c in range(C):
        for u in np.ndindex(*k.shape[3:]):
            window: tuple = tuple(
                slice(q * d, q * d + (a - 1) * s + 1, s) for q, d, a, s in zip(u, dilation, m, stride, strict=True)
            )
            at: tuple = (slice(None), slice(None), c)
            taps = k[(*at, *u)].reshape(B, 1, O, *[1] * len(m))
            y = algebra.add(y, algebra.mul(x[(*at, *window)][:, :, None], taps))
    return y
