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
