"""Fourier transforms by SciPy's ducc/pocketfft, real where the data are real, and the products between channels."""

from collections.abc import Callable
from typing import Any

import numpy as np

from faltung.kernels.threads import spread

BLOCKWISE = 1 << 16  # values from which on blocks are shared among threads
COLUMNS = 32


def spectrum(x: np.ndarray, lengths: tuple[int, ...], threads: int = 1) -> np.ndarray:
    """Transform of the last axes, zero-extended to `lengths`; half of it where x is real.

    Large arrays go axis by axis in blocks whose size does not depend on the number of threads, so that the bits do not either.
    The threads are our own: SciPy's pool does not survive a fork in another thread.
    """
    import scipy.fft as fft

    real = not np.iscomplexobj(x)
    if x.size < BLOCKWISE or (len(lengths) == 1 and x.size == x.shape[-1]):  # a single row has nothing to share
        if len(lengths) == 1:  # the same transform, found with less ado
            return (fft.rfft if real else fft.fft)(x, lengths[0])
        return (fft.rfftn if real else fft.fftn)(x, lengths, axes=tuple(range(-len(lengths), 0)))
    half = lengths[-1] // 2 + 1 if real else lengths[-1]
    y = np.zeros((*x.shape[: x.ndim - len(lengths)], *lengths[:-1], half), np.result_type(x.dtype, np.complex64))
    inner: Any = (..., *(slice(n) for n in x.shape[x.ndim - len(lengths) : -1]), slice(None))
    _rows(fft.rfft if real else fft.fft, x, y[inner], lengths[-1], threads)
    for axis in range(-2, -len(lengths) - 1, -1):
        _columns(fft.fft, y, axis, threads)
    return y


def signal(spectrum: np.ndarray, lengths: tuple[int, ...], real: bool, threads: int = 1) -> np.ndarray:
    """The inverse transform; may use `spectrum` as working memory."""
    import scipy.fft as fft

    if spectrum.size < BLOCKWISE // 2 or (len(lengths) == 1 and spectrum.size == spectrum.shape[-1]):
        if len(lengths) == 1:
            return (fft.irfft if real else fft.ifft)(spectrum, lengths[0], overwrite_x=True)
        axes = tuple(range(-len(lengths), 0))
        return (fft.irfftn if real else fft.ifftn)(spectrum, lengths, axes=axes, overwrite_x=True)
    for axis in range(-len(lengths), -1):
        _columns(fft.ifft, spectrum, axis, threads)
    y = np.empty((*spectrum.shape[:-1], lengths[-1]), spectrum.real.dtype if real else spectrum.dtype)
    _rows(fft.irfft if real else fft.ifft, spectrum, y, lengths[-1], threads)
    return y


def _rows(transform: Callable, x: np.ndarray, y: np.ndarray, length: int, threads: int) -> None:
    """y = transform of the last axis of x, a block of rows at a time."""
    if x.ndim == 1:
        y[...] = transform(x, length)
        return
    axis = max(range(x.ndim - 1), key=lambda a: x.shape[a])
    block = max(1, BLOCKWISE * x.shape[axis] // x.size)

    def task(first: int, last: int) -> None:
        for n in range(first, last):
            part = (*(slice(None),) * axis, slice(n * block, (n + 1) * block))
            y[part] = transform(x[part], length, axis=-1)

    spread(task, -(-x.shape[axis] // block), threads)


def _columns(transform: Callable, y: np.ndarray, axis: int, threads: int) -> None:
    """Transform another axis in place, a block of the last one at a time."""

    def task(first: int, last: int) -> None:
        for n in range(first, last):
            part = y[..., n * COLUMNS : (n + 1) * COLUMNS]
            part[...] = transform(part, axis=axis)

    spread(task, -(-y.shape[-1] // COLUMNS), threads)


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
