"""What the products and the way back from residues compute, in Python's integers."""

import numpy as np


def product(x: np.ndarray, k: np.ndarray, modulus: int = 0) -> np.ndarray:
    """`y[i] = Σ_u x[u] · k[i − u]` of rows (rows, n) and (rows, t), Python's integers; modulo `modulus` where it is not 0."""
    found = np.stack([np.convolve(a, b) for a, b in zip(x.astype(object), k.astype(object), strict=True)])
    return found % modulus if modulus else found


def leave(residues: np.ndarray, primes: tuple[int, ...], modulus: int = 0) -> np.ndarray:
    """The integers of least magnitude with these residues (primes, rows, count), modulo `modulus` where it is not 0."""
    total = 1
    for p in primes:
        total *= p
    values = np.zeros(residues.shape[1:], object)
    for p, rows in zip(primes, residues, strict=True):
        rest = total // p
        numbers = np.vectorize(int, otypes=[object])(rows)
        values = values + numbers * rest * pow(rest, -1, p)
    values = values % total
    values = np.where(2 * values > total, values - total, values)
    return values % modulus if modulus else values
