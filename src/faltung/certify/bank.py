"""Banks of wavelets of scattering networks, in the Fourier domain, at every resolution."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class Band:
    """The wavelets of one scale.

    Fields: number: a second wavelet is applied behind first ones of smaller numbers.   level: their moduli are kept at every
        2^level-th place.   filters: for each resolution r a real array (waves, *n / 2^r).

    Example:
        >>> Band(0, 0, {0: np.ones((1, 8))}).filters[0].shape
        (1, 8)
    """

    number: int
    level: int
    filters: Mapping[int, np.ndarray]


@dataclass(frozen=True, eq=False)
class Bank:
    """The wavelets of both orders and the low-pass filter on one grid.

    Fields:
        first, second: scales of the first and of the second order, the finest first.
        phi: for each resolution the low-pass filter behind a modulus.   outer: the one for the signal itself.
        axes: for each resolution the 1-D factors of phi, or None where it is no product of such.

    Example:
        >>> low = (abs(np.fft.fftfreq(8)) < 0.2).astype(float)
        >>> bank = Bank((Band(0, 0, {0: 1 - low[None]}),), (), (low,), low, ((low,),))
        >>> bank.littlewood_paley().tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """

    first: tuple[Band, ...]
    second: tuple[Band, ...]
    phi: tuple[np.ndarray, ...]
    outer: np.ndarray
    axes: tuple[tuple[np.ndarray, ...], ...] | None

    def littlewood_paley(self, level: int | None = None) -> np.ndarray:
        """|φ̂(ω)|² + ½ Σ (|ψ̂(ω)|² + |ψ̂(−ω)|²), the share of energy that real signals keep: of the first stage, without a level;
        behind moduli that are kept at every 2^level-th place, over wavelets whose own are kept no finer."""
        total = self.outer**2 if level is None else self.phi[level] ** 2
        bands = self.first if level is None else [band for band in self.second if band.level >= level]
        total = (total + mirrored(total)) / 2
        for band in bands:
            square = (band.filters[level or 0] ** 2).sum(0)
            total = total + (square + mirrored(square)) / 2
        return total


def normalised(bank: Bank) -> Bank:
    """The bank with all filters of a stage and resolution divided by the root of their energies."""
    outer = np.sqrt(bank.littlewood_paley())
    roots = [np.sqrt(bank.littlewood_paley(r)) for r in range(len(bank.phi))]
    first = tuple(replace(band, filters={0: band.filters[0] / outer}) for band in bank.first)
    second = tuple(replace(band, filters={r: f / roots[r] for r, f in band.filters.items()}) for band in bank.second)
    phi = tuple(p / root for p, root in zip(bank.phi, roots, strict=True))
    axes = None if phi[0].ndim > 1 else tuple((p,) for p in phi)
    return Bank(first, second, phi, bank.outer / outer, axes)


def mirrored(spectrum: np.ndarray) -> np.ndarray:
    """The values at −ω."""
    for axis in range(spectrum.ndim):
        spectrum = np.roll(np.flip(spectrum, axis), 1, axis)
    return spectrum
