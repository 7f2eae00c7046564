"""What the matrix-product transforms compute, in NumPy and by the definition: the reference that every tool's version equals."""

import numpy as np


def digits(factors: tuple[int, ...]) -> np.ndarray:
    """The frequency that stands in each place of the permuted order: k = k₁ + N₁·(k₂ + N₂·(k₃ + ...)), last digit fastest."""
    places = np.indices(factors).reshape(len(factors), -1)
    k, step = np.zeros(places.shape[1], np.int64), 1
    for digit, factor in zip(places, factors, strict=True):
        k, step = k + digit * step, step * factor
    return k


def forward(x: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """`X[p] = Σ_i x[i] exp(−2πi·k(p)·i / N)`, permuted: place p holds the frequency k(p) = `digits(factors)[p]`."""
    N = int(np.prod(factors))
    i = np.arange(x.shape[-1])
    return x @ np.exp(-2j * np.pi * (np.outer(i, digits(factors)) % N) / N)


def backward(spectrum: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """`x[i] = Σ_p X[p] exp(2πi·k(p)·i / N)`, not divided by N."""
    N = int(np.prod(factors))
    return spectrum @ np.exp(2j * np.pi * (np.outer(digits(factors), np.arange(N)) % N) / N)
