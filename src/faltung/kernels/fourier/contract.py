"""What the Fourier kernels compute, in NumPy and by the definition: the reference that every tool's version equals."""

import numpy as np


def circular(x: np.ndarray, k: np.ndarray, lengths: tuple[int, ...]) -> np.ndarray:
    """Circular convolution of the zero-extended last axes: `y[p] = Σ_q x[q] k[(p − q) mod F]`, along every axis."""
    ndim = len(lengths)
    wide = np.result_type(x.dtype, k.dtype, np.float64)
    xs, ks = (np.zeros((*a.shape[: a.ndim - ndim], *lengths), wide) for a in (x, k))
    xs[(..., *map(slice, x.shape[x.ndim - ndim :]))] = x
    ks[(..., *map(slice, k.shape[k.ndim - ndim :]))] = k
    y = np.zeros(np.broadcast_shapes(xs.shape, ks.shape), wide)
    for q in np.ndindex(*lengths):
        shifted = np.roll(ks, q, axis=tuple(range(-ndim, 0)))
        y += xs[(..., *q)][(..., *[None] * ndim)] * shifted
    return y


def tiles(
    x: np.ndarray, k: np.ndarray, m: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> np.ndarray:
    """What filters and tiles compute together: `y[b, n, o, p] = Σ over c, u of x[b, n, c, p·stride + u·dilation] · k[b, o, c, u]`.

    Shapes: x the extended signal (B, N, C, *whole), k (B, O, C, *t), y (B, N, O, *m), in double precision.
    """
    wide = np.result_type(x.dtype, np.float64)
    y = np.zeros((*x.shape[:2], k.shape[1], *m), wide)
    for u in np.ndindex(*k.shape[3:]):
        window: tuple = (
            ...,
            *(slice(q * d, q * d + (a - 1) * s + 1, s) for q, d, a, s in zip(u, dilation, m, stride, strict=True)),
        )
        y += np.einsum("bnc...,boc->bno...", x[window].astype(wide), k[(..., *u)])
    return y
