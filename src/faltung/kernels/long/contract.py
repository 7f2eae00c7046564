"""What the Monarch kernels compute, in NumPy: the reference that every tool's version equals.

Both are stretches of linear convolutions of real rows, rows of one channel with the filter of that channel.

Shapes: x (B, N, n), k (B, t), y (B, N, m).
"""

import numpy as np


def convolve(x: np.ndarray, k: np.ndarray, first: int, m: int) -> np.ndarray:
    """`y[b, i, j] = Σ over q of x[b, i, j + first − q] k[b, q]` for j below m; zeros where the convolution has ended."""
    return _stretch(x, np.broadcast_to(k[:, None], (*x.shape[:2], k.shape[-1])), first, m)


def circular(x: np.ndarray, k: np.ndarray, first: int) -> np.ndarray:
    """`y[b, i, j] = Σ over q of x[b, i, (j + first − q) mod n] k[b, q]`, t at most n."""
    n = x.shape[-1]
    spectrum = np.fft.fft(x, axis=-1) * np.fft.fft(k, n, axis=-1)[:, None]
    return np.roll(np.fft.ifft(spectrum, axis=-1).real, -first, axis=-1)


def filters(x: np.ndarray, y: np.ndarray, first: int, t: int) -> np.ndarray:
    """`k[b, j] = Σ over i, q of x[b, i, j + first − q] y[b, i, m − 1 − q]`: y turned around, the rows of a channel summed."""
    return _stretch(x, y[..., ::-1], first, t).sum(axis=1)


def _stretch(x: np.ndarray, k: np.ndarray, first: int, m: int) -> np.ndarray:
    whole = x.shape[-1] + k.shape[-1] - 1
    y = np.zeros((*x.shape[:2], m))
    for b, i in np.ndindex(*x.shape[:2]):
        line = np.convolve(x[b, i].astype("float64"), k[b, i].astype("float64"))
        j = np.arange(max(0, -first), min(m, whole - first))
        y[b, i, j] = line[j + first]
    return y
