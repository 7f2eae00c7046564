"""Real Fourier transforms of values whose places have their bits reversed, without the walk through memory that undoes it.

A line of n = n₁ n₂ places, read as a matrix, has its reversal within rows (n₂ places, which the first cache holds) and of whole
rows. Cooley and Tukey's step goes rows first: with linear place j = j₂ n₁ + j₁ and frequency k = k₂ + n₂ k₁,
`X[k] = Σ_{j₁} e^(−2πi j₁ k₁ / n₁) · e^(−2πi j₁ k₂ / n) · Σ_{j₂} e^(−2πi j₂ k₂ / n₂) x[j]`, and the result lies in natural order.
"""

from functools import lru_cache

import numpy as np
import scipy.fft

from faltung.gram.lattices import reversal
from faltung.kernels.threads import available

SMALL = 1 << 14  # values below which one gather is quicker


def rfft(y: np.ndarray) -> np.ndarray:
    """The orthonormal transform of real values (n, ...) in reversed order, n = 2^m: (n // 2 + 1, ...) in natural order."""
    n = len(y)
    if n < SMALL:
        return scipy.fft.rfft(y[reversal(n)], axis=0, norm="ortho", workers=available())
    n1, n2, half = _split(n)
    rest = y.shape[1:]
    rows = np.take(y.reshape(n1, n2, *rest), reversal(n2), axis=1)
    inner = scipy.fft.rfft(rows, axis=1, norm="ortho", workers=available())[reversal(n1)]
    inner *= _turns(n).reshape(n1, half + 1, *[1] * len(rest))
    x = scipy.fft.fft(inner, axis=0, norm="ortho", workers=available(), overwrite_x=True)
    out = np.empty((n // 2 + 1, *rest), complex)
    matrix = out[:-1].reshape(n1 // 2, n2, *rest)
    matrix[:, : half + 1] = x[: n1 // 2]
    np.conjugate(x[: n1 // 2 - 1 : -1, half - 1 : 0 : -1], out=matrix[:, half + 1 :])  # frequencies n − k
    out[-1] = x[n1 // 2, 0]
    return out


def irfft(spectrum: np.ndarray, n: int) -> np.ndarray:
    """Back from `rfft`: (n // 2 + 1, ...) in natural order to (n, ...) in reversed order."""
    if n < SMALL:
        return scipy.fft.irfft(spectrum, n, axis=0, norm="ortho", workers=available())[reversal(n)]
    n1, n2, half = _split(n)
    rest = spectrum.shape[1:]
    x = np.empty((n1, half + 1, *rest), complex)
    matrix = spectrum[:-1].reshape(n1 // 2, n2, *rest)
    x[: n1 // 2] = matrix[:, : half + 1]
    np.conjugate(matrix[::-1, : half - 1 : -1], out=x[n1 // 2 :, 1:])
    x[n1 // 2, 0] = np.conj(spectrum[-1])
    np.conjugate(matrix[:0:-1, 0], out=x[n1 // 2 + 1 :, 0])
    inner = scipy.fft.ifft(x, axis=0, norm="ortho", workers=available(), overwrite_x=True)
    inner *= np.conj(_turns(n)).reshape(n1, half + 1, *[1] * len(rest))
    rows = scipy.fft.irfft(inner[reversal(n1)], n2, axis=1, norm="ortho", workers=available())
    return np.take(rows, reversal(n2), axis=1).reshape(n, *rest)


def _split(n: int) -> tuple[int, int, int]:
    """Rows, their length, and half of that."""
    m = n.bit_length() - 1
    n2 = 1 << min(12, m // 2 + 1)
    return n // n2, n2, n2 // 2


@lru_cache(maxsize=4)
def _turns(n: int) -> np.ndarray:
    """e^(−2πi j₁ k₂ / n), (n₁, n₂ // 2 + 1)."""
    n1, _, half = _split(n)
    turns = np.exp(-2j * np.pi / n * np.arange(n1)[:, None] * np.arange(half + 1))
    turns.setflags(write=False)
    return turns
