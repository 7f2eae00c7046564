"""What the scattering kernel computes, in NumPy: the reference that every tool's version equals."""

import numpy as np


def folded(spectrum: np.ndarray, n: tuple[int, int]) -> np.ndarray:
    """The spectrum of the signal of which only every s-th sample is kept, n samples in all: sums over aliases."""
    rows, columns = spectrum.shape[-2] // n[0], spectrum.shape[-1] // n[1]
    tiles = spectrum.reshape(*spectrum.shape[:-2], rows, n[0], columns, n[1])
    return tiles.sum((-4, -2)) / (rows * columns)


def scattered(
    spectra: np.ndarray,
    first: np.ndarray,
    n: tuple[int, int],
    seconds: list[tuple[tuple[int, int], np.ndarray]],
    lines: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
    """Features of both orders behind the first wavelets of one scale.

    Formula: `u = |x ∗ first[a]|` sampled on the grid n, `v = |u ∗ second[b]|` sampled on the second one's own grid; features are
    `R u Cᵀ` and `R' v C'ᵀ` with the matrices of each grid.

    Shapes: spectra (samples, h, w), complex, of real signals; first (waves, h, w), real; seconds: for each scale its grid and
        filters (waves', *n), real; lines: for each grid its matrices (m, n₀) and (l, n₁).
    Returns: (samples, waves, m, l) and (samples, waves, all second waves, m, l).
    """

    def smooth(u: np.ndarray) -> np.ndarray:
        rows, columns = lines[(u.shape[-2], u.shape[-1])]
        return np.einsum("ma,...ab,lb->...ml", rows, u, columns)

    moduli = np.abs(np.fft.ifft2(folded(spectra[:, None] * first, n)))
    inner = np.fft.fft2(moduli)[:, :, None]
    deep = [smooth(np.abs(np.fft.ifft2(folded(inner * filters, grid)))) for grid, filters in seconds]
    features = smooth(moduli)
    none = np.zeros((*features.shape[:2], 0, *features.shape[2:]))
    return features, np.concatenate(deep, 2) if deep else none
