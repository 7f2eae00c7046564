"""The bank of Morlet wavelets of the scattering network of images."""

import math
from functools import lru_cache

import numpy as np

from faltung.certify.bank import Band, Bank, normalised


@lru_cache(maxsize=32)
def morlet(n: tuple[int, int], scales: int, angles: int, tight: bool) -> Bank:
    """The bank of the standard scattering network on a grid.

    Formula: `ψ = g_ξ − (Σ g_ξ / Σ g_0) g_0`, g a Gaussian of width 0.8·2^j, L / 4 times that across, times a wave of frequency
    ξ = (3π / 4) / 2^j, at angles (⌊L − L/2 − 1⌋ − θ)π / L; φ a Gaussian of width 0.8·2^(J−1); all periodised. At lower resolutions
    the spectrum is cut off. `tight`: at each resolution all is divided by the root of the sum of energies, so that energy is kept.

    Source: Bruna and Mallat, Invariant scattering convolution networks (2013); Wiatowski and Bölcskei (2018) for the normalisation.
    """
    bands = []
    for j in range(scales):
        waves = []
        for theta in range(angles):
            angle = (int(angles - angles / 2 - 1) - theta) * math.pi / angles
            wave = _gabor(n, 0.8 * 2**j, angle, 0.75 * math.pi / 2**j, 4.0 / angles)
            still = _gabor(n, 0.8 * 2**j, angle, 0.0, 4.0 / angles)
            waves.append(np.fft.fft2(wave - wave.sum() / still.sum() * still).real)
        bands.append(Band(j, j, {r: cut(np.stack(waves), r) for r in range(j + 1)}))
    lines = [np.fft.fft(_gauss(size, 0.8 * 2 ** (scales - 1))).real for size in n]
    axes = [tuple(cut(line, r) for line in lines) for r in range(scales)]
    phi = [np.multiply.outer(*pair) for pair in axes]
    bank = Bank(tuple(bands), tuple(bands), tuple(phi), phi[0], tuple(axes))
    return normalised(bank) if tight else bank


def cut(spectrum: np.ndarray, level: int) -> np.ndarray:
    """The lowest 2^−level of the frequencies of the last axes (of all but the first for three axes)."""
    for axis in range(spectrum.ndim - min(spectrum.ndim, 2), spectrum.ndim):
        size = spectrum.shape[axis]
        half = size >> (level + 1)
        keep = np.r_[0:half, size - ((size >> level) - half) : size] if level else np.arange(size)
        spectrum = spectrum.take(keep, axis)
    return spectrum


def _gauss(n: int, sigma: float) -> np.ndarray:
    places = np.arange(-2 * n, 3 * n)
    return (np.exp(-(places**2) / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma)).reshape(5, n).sum(0)


def _gabor(n: tuple[int, int], sigma: float, angle: float, xi: float, slant: float) -> np.ndarray:
    """A wave under a Gaussian, wrapped around the grid; as far as it is above rounding, and over 5 × 5 periods at most."""
    reach = math.ceil(9 * sigma * max(1.0, 1 / slant))
    lines = [np.arange(max(-2 * a, -reach), min(3 * a, reach + 1)) for a in n]
    rows, columns = lines[0][:, None], lines[1]
    along = rows * math.cos(angle) + columns * math.sin(angle)
    across = columns * math.cos(angle) - rows * math.sin(angle)
    wave = np.exp(-(along**2 + (slant * across) ** 2) / (2 * sigma**2) + 1j * xi * along)
    for axis, (line, size) in enumerate(zip(lines, n, strict=True)):
        before = line[0] % size
        behind = -(before + len(line)) % size
        wave = np.pad(wave, [(before, behind) if a == axis else (0, 0) for a in (0, 1)])
        wave = wave.reshape(*wave.shape[:axis], -1, size, *wave.shape[axis + 1 :]).sum(axis)
    return wave * (slant / (2 * math.pi * sigma**2))
