"""Solid harmonic wavelets on a grid of three dimensions, in the Fourier domain."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from faltung.nn.symmetry.so3 import spherical_harmonics


@dataclass(frozen=True, eq=False)
class Solid:
    """A bank of solid harmonic wavelets.

    Fields: waves: for each degree l an array (scales, 2l + 1, *n), the spectra over (−i)^l, real; phi (*n).
    """

    waves: tuple[np.ndarray, ...]
    phi: np.ndarray

    def littlewood_paley(self) -> np.ndarray:
        """|φ̂(ω)|² + Σ |ψ̂(ω)|², the share of energy kept; filters are real in space, so ω and −ω have the same."""
        return self.phi**2 + sum((w**2).sum((0, 1)) for w in self.waves)


@lru_cache(maxsize=8)
def solid_harmonics(n: tuple[int, int, int], scales: int, degree: int, sigma: float, tight: bool) -> Solid:
    """The bank of degrees 0 to `degree` at scales σ, 2σ, …, 2^scales σ.

    Formula: `ψ̂_lm(ω) = (−i)^l c_l |σω|^l Y_lm(ω/|ω|) exp(−|σω|²/2)` with real spherical harmonics Y and `c_0 = 1` times √4π, for
    even l `√(2π) / (√(l + ½) (l + 1)!!)`, for odd l `(2π)^1.5 / (2^((l+3)/2) √(π(2l + 1)) ((l + 1)/2)!)`; φ̂ is the Gaussian of the
    largest scale. At half the rate, where a grid cannot tell ω from −ω, spectra are the mean of both, so that filters are real.

    Source: Eickenberg, Exarchakis, Hirn and Mallat, Solid harmonic wavelet scattering (2017).
    """
    axes = [2 * np.pi * np.fft.fftfreq(size) for size in n]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))
    harmonics = _harmonics(degree, grid)
    waves = []
    for l, own in enumerate(harmonics):
        scaled = [
            (sigma * 2**j) ** l * np.exp(-((sigma * 2**j) ** 2) * (grid**2).sum(0) / 2) for j in range(scales + 1)
        ]
        both = _size(l) * np.stack(scaled)[:, None] * own
        waves.append((both + (-1) ** l * _opposite(both)) / 2)
    bank = Solid(tuple(waves), waves[0][-1, 0])
    if not tight:
        return bank
    root = np.sqrt(bank.littlewood_paley())
    return Solid(tuple(w / root for w in bank.waves), bank.phi / root)


def _size(l: int) -> float:
    """The factor c_l."""
    if l == 0:
        return math.sqrt(4 * math.pi)
    if l % 2:
        return (2 * math.pi) ** 1.5 / (
            2 ** ((l + 3) / 2) * math.sqrt(math.pi * (2 * l + 1)) * math.factorial((l + 1) // 2)
        )
    return math.sqrt(2 * math.pi) / (math.sqrt(l + 0.5) * math.prod(range(l + 1, 0, -2)))


def _harmonics(degree: int, at: np.ndarray) -> list[np.ndarray]:
    """For each degree l the 2l + 1 real solid harmonics |v|^l Y_lm(v / |v|) of v (3, *n)."""
    radius = np.sqrt((at**2).sum(0))
    unit = at / np.where(radius > 0, radius, 1.0)
    found = spherical_harmonics(degree, torch.as_tensor(np.moveaxis(unit, 0, -1))).movedim(-1, 0).numpy()
    return [radius**l * found[l**2 : (l + 1) ** 2] for l in range(degree + 1)]


def _opposite(spectra: np.ndarray) -> np.ndarray:
    """The values at −ω of the last three axes."""
    for axis in (-3, -2, -1):
        spectra = np.roll(np.flip(spectra, axis), 1, axis)
    return spectra
