"""What the negacyclic kernels compute, in NumPy and by the definition: the reference that every tool's version equals."""

import numpy as np


def convolve(x: np.ndarray, h: np.ndarray, m: int, first: int) -> np.ndarray:
    """`y[b, n, o, i] = Σ over c, u of x[b, n, c, first + i − u] · h[b, o, c, u]`, zero where the signal has no value.

    Shapes: x (B, N, C, n), h (B, O, C, taps), y (B, N, O, m), in double precision.
    """
    y = np.zeros((*x.shape[:2], h.shape[1], m))
    for u in range(h.shape[-1]):
        low, high = max(0, u - first), min(m, x.shape[-1] + u - first)
        if low < high:
            seen = x[..., first + low - u : first + high - u].astype(np.float64)
            y[..., low:high] += np.einsum("bncp,boc->bnop", seen, h[..., u])
    return y


def gradients(
    x: np.ndarray, h: np.ndarray, g: np.ndarray, a: np.ndarray, b: np.ndarray, first: int
) -> tuple[np.ndarray, ...]:
    """The cotangents of x, h, a and b where g is that of `((x·a) ∗ h)·b`, one channel in and out.

    Shapes: x, a (B, N, n), h (B, taps), g, b (B, N, m).
    """
    wide = x.astype(np.float64) * a
    inner = g.astype(np.float64) * b
    before = convolve(wide[:, :, None], h[:, None, None], g.shape[-1], first)[:, :, 0]
    of_u, of_h = np.zeros_like(wide), np.zeros(h.shape)
    for u in range(h.shape[-1]):
        low, high = max(0, u - first), min(g.shape[-1], x.shape[-1] + u - first)
        if low < high:
            seen = slice(first + low - u, first + high - u)
            of_u[..., seen] += inner[..., low:high] * h[:, None, u, None]
            of_h[:, u] = (inner[..., low:high] * wide[..., seen]).sum((1, 2))
    return of_u * a, of_h, of_u * x, g * before
