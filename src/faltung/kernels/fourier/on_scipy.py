"""Fourier transforms by SciPy's ducc/pocketfft, real where the data are real, and the products between channels."""

import numpy as np


def spectrum(x: np.ndarray, lengths: tuple[int, ...], workers: int = 1) -> np.ndarray:
    """Transform of the last axes, zero-extended to `lengths`; half of it where x is real."""
    import scipy.fft as fft

    axes = tuple(range(-len(lengths), 0))
    return (fft.fftn if np.iscomplexobj(x) else fft.rfftn)(x, lengths, axes=axes, workers=workers)


def signal(spectrum: np.ndarray, lengths: tuple[int, ...], real: bool, workers: int = 1) -> np.ndarray:
    """The inverse transform; may use `spectrum` as working memory."""
    import scipy.fft as fft

    axes = tuple(range(-len(lengths), 0))
    if real:
        return fft.irfftn(spectrum, lengths, axes=axes, workers=workers, overwrite_x=True)
    return fft.ifftn(spectrum, lengths, axes=axes, workers=workers, overwrite_x=True)


def product(x: np.ndarray, k: np.ndarray, ndim: int) -> np.ndarray:
    """Σ over channels, frequency by frequency.

    Shapes: x (B, N, C, *tiles, *F), k (B, O, C, *F) with `ndim` frequency axes, result (B, N, O, *tiles, *F).
    """
    tiles = x.ndim - 3 - ndim
    k = k.reshape(*k.shape[:3], *[1] * tiles, *k.shape[3:])
    if x.shape[2] == 1:
        return x * k[:, None, :, 0] if k.shape[1] > 1 else x * k[:, None, 0]
    if k.shape[1] == 1:
        return np.einsum("bnc...,bc...->bn...", x, k[:, 0])[:, :, None]
    # Many channels on both sides: one small matrix product for every frequency.
    first = 3 + tiles
    at = x.reshape(*x.shape[:3], -1, *x.shape[first:]).reshape(*x.shape[:3], -1, int(np.prod(x.shape[first:])))
    left = np.ascontiguousarray(at.transpose(0, 4, 1, 3, 2)).reshape(x.shape[0], at.shape[4], -1, x.shape[2])
    right = np.ascontiguousarray(k.reshape(*k.shape[:3], -1).transpose(0, 3, 2, 1))
    y = (left @ right).reshape(x.shape[0], at.shape[4], x.shape[1], at.shape[3], -1)
    y = np.ascontiguousarray(y.transpose(0, 2, 4, 3, 1))
    return y.reshape(x.shape[0], x.shape[1], k.shape[1], *x.shape[3:])
