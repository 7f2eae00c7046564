"""Fourier transforms as products with small matrices (Monarch decomposition), by the matrix product of the array library.

With N = N₁·n, i = i₁·n + i₂ and k = k₁ + N₁·k₂ the transform is a product with the N₁-point matrix along i₁, a twiddle factor
exp(−2πi k₁ i₂ / N), and n-point transforms along i₂, which are split in the same way. Nothing is ever transposed: the spectrum
stays with its digits in the order k₁, k₂, ..., and the way back takes it so.

All functions take arrays of NumPy and tensors of torch; tables come along as arrays of the same kind.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from faltung.kernels.monarch.contract import digits


class Tables(NamedTuple):
    """Matrices (N_i, N_i) and twiddle factors (N_i, what is left of N behind it; None behind the last) of all stages."""

    factors: tuple[int, ...]
    matrices: tuple[Any, ...]
    twiddles: tuple[Any, ...]


@lru_cache(maxsize=64)
def tables(factors: tuple[int, ...], dtype: str, scaled: bool = False) -> Tables:
    """Tables of the forward transform, each stage divided by its N_i where `scaled`: then values in between stay of order one."""
    matrices, twiddles, left = [], [], int(np.prod(factors))
    for stage, factor in enumerate(factors):
        left //= factor
        at = np.outer(np.arange(factor), np.arange(factor)) % factor
        matrix = np.exp(-2j * np.pi * at / factor)
        matrices.append((matrix / factor if scaled else matrix).astype(dtype))
        spread = np.outer(np.arange(factor), np.arange(left))
        twiddles.append(
            np.exp(-2j * np.pi * spread / (factor * left)).astype(dtype) if stage < len(factors) - 1 else None
        )
    return Tables(factors, tuple(matrices), tuple(twiddles))


def sparse(given: Tables, keep: tuple[np.ndarray, ...]) -> Tables:
    """The tables for those spectra whose digits k_i are among `keep[i]`: fewer rows of each matrix, so less of each product."""
    matrices = tuple(m[rows] for m, rows in zip(given.matrices, keep, strict=True))
    twiddles = tuple(t if t is None else t[rows] for t, rows in zip(given.twiddles, keep, strict=True))
    return Tables(given.factors, matrices, twiddles)


def forward(x: Any, with_: Tables, stored: Any = None) -> Any:
    """The contract's `forward` of complex x (..., n ≤ N), zero-extended; places by their kept digits.

    Args:
        stored: a function through which every intermediate result goes, such as rounding to half precision.
    """
    lead, n = x.shape[:-1], x.shape[-1]
    left = int(np.prod(with_.factors)) // with_.factors[0]
    rows = -(-n // left)  # of the first matrix product; those behind are zero
    if rows * left > n:
        x = _extended(x, rows * left)
    batch = int(np.prod(lead, dtype=np.int64))
    x = x.reshape(batch, rows, left)
    for stage, (matrix, twiddle) in enumerate(zip(with_.matrices, with_.twiddles, strict=True)):
        x = (matrix[:, :rows] if stage == 0 else matrix) @ x
        if stored is not None:
            x = stored(x)
        if twiddle is None:
            break
        x = x * twiddle
        if stored is not None:
            x = stored(x)
        factor = with_.factors[stage + 1]
        left //= factor
        x = x.reshape(-1, factor, left)
        if left == 1 and stored is None:  # the last product by columns is one by rows, and a single one
            x = x.reshape(-1, factor) @ with_.matrices[stage + 1].T
            break
    return x.reshape(*lead, -1)


def backward(spectrum: Any, with_: Tables, n: int | None = None, stored: Any = None) -> Any:
    """The contract's `backward`, cut to the first n places. The tables are those of the forward transform, unscaled."""
    lead = spectrum.shape[:-1]
    kept = [int(m.shape[0]) for m in with_.matrices]
    N = int(np.prod(with_.factors))
    n = N if n is None else n
    x = spectrum.reshape(-1, kept[-1])
    left = 1
    for stage in range(len(kept) - 1, -1, -1):
        matrix, twiddle = with_.matrices[stage].conj(), with_.twiddles[stage]
        if stage == 0:
            matrix = matrix[:, : -(-n // left)]  # rows of results that are wanted
        if twiddle is None:
            x = x @ matrix
        else:
            x = x.reshape(-1, kept[stage], left) * twiddle.conj()
            if stored is not None:
                x = stored(x)
            x = matrix.T @ x
        if stored is not None:
            x = stored(x)
        left *= with_.factors[stage]
    return x.reshape(*lead, -1)[..., :n]


def permuted(spectrum: np.ndarray, factors: tuple[int, ...], keep: tuple[np.ndarray, ...] | None = None) -> np.ndarray:
    """A spectrum in natural order, in the order of the digits, only the kept ones."""
    order = digits(factors).reshape(factors)
    return spectrum[..., (order if keep is None else order[np.ix_(*keep)]).ravel()]


def _extended(x: Any, length: int) -> Any:
    shape = (*x.shape[:-1], length)
    out = np.zeros(shape, x.dtype) if isinstance(x, np.ndarray) else x.new_zeros(shape)
    out[..., : x.shape[-1]] = x
    return out
