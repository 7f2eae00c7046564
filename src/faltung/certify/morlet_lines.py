"""The bank of Morlet wavelets of the scattering network of signals in time: Q wavelets an octave."""

import math
from collections import defaultdict
from functools import lru_cache

import numpy as np

from faltung.certify.bank import Band, Bank, normalised

NARROWEST = 0.1  # width of the low-pass filter in frequency, times the scale of averages
REACH = 5.0  # a wavelet is taken to end so many widths above its centre


@lru_cache(maxsize=32)
def morlet_lines(n: int, scales: int, q: tuple[int, int], average: int, tight: bool) -> Bank:
    """The bank on n samples.

    Formula: `ψ̂(ω) = g(ω − ξ) − κ g(ω)` with g a Gaussian of width σ, ω in cycles a sample, κ such that `ψ̂(0) = 0`. ξ falls from
    `max(1 / (1 + 2^(3/Q)), 0.35)` by 2^(−1/Q) with `σ = ξ (1 − 2^(−1/Q)) / (1 + 2^(−1/Q)) / √(2 ln √2)` down to σ = 0.1 / 2^J, then
    Q − 1 more stand at even distances down to 0; φ has σ = 0.1 / T. Filters are periodised and have Σ|ψ| = 1 in time. Moduli are
    kept at every 2^j-th place, the most that leaves ξ + 5σ below half the rate. At lower resolutions filters are sums over aliases.

    Source: Andén and Mallat, Deep scattering spectrum (2014).
    """
    log = average.bit_length() - 1
    spectra: list[dict[int, list[np.ndarray]]] = []
    for wavelets in q:
        groups: dict[int, list[np.ndarray]] = defaultdict(list)
        for xi, sigma in _centres(scales, wavelets):
            groups[_octave(xi, sigma)].append(_wave(n, xi, sigma))
        spectra.append(groups)
    first = tuple(Band(j, min(j, log), {0: np.stack(waves)}) for j, waves in sorted(spectra[0].items()))
    second = []
    for j, waves in sorted(spectra[1].items()):
        filters = np.stack(waves)
        second.append(Band(j, min(j, log), {r: _periods(filters, r) for r in range(min(j, log) + 1)}))
    line = _wave(n, 0.0, NARROWEST / average)
    most = max([band.level for band in (*first, *second)], default=0)
    phi = tuple(_periods(line, r) for r in range(most + 1))
    bank = Bank(first, tuple(second), phi, line, tuple((p,) for p in phi))
    return normalised(bank) if tight else bank


def margin(n: int, average: int) -> int:
    """How many samples before and behind keep the low-pass filter from going round: three times where its tails are below 1e-3."""
    line = np.abs(np.fft.ifft(_wave(n, 0.0, NARROWEST / average)))[: n // 2]
    tails = line[::-1].cumsum()[::-1]
    below = np.flatnonzero(tails <= 1e-3)
    return 3 * (int(below[0]) + 1 if len(below) else n // 2)


def _centres(scales: int, q: int) -> list[tuple[float, float]]:
    """(centre, width) of each wavelet, the highest first."""
    ratio = 2.0 ** (-1 / q)
    narrow = NARROWEST / 2**scales
    xi = max(1 / (1 + 2 ** (3 / q)), 0.35)
    sigma = xi * (1 - ratio) / (1 + ratio) / math.sqrt(math.log(2))
    found = []
    last = sigma if sigma <= narrow else xi
    if sigma > narrow:
        found.append((xi, sigma))
        while found[-1][1] > narrow / ratio:
            found.append((found[-1][0] * ratio, found[-1][1] * ratio))
        last = found[-1][0]
    return found + [(last * (1 - k / q), narrow) for k in range(1, q)]


def _octave(xi: float, sigma: float) -> int:
    """The most halvings of the rate that a wavelet bears."""
    return math.floor(-math.log2(min(xi + REACH * sigma, 0.5))) - 1


def _wave(n: int, xi: float, sigma: float) -> np.ndarray:
    """The spectrum of a wavelet, or with ξ = 0 of a Gaussian, over as many periods as its width needs, at most nine."""
    far = min(math.ceil(math.sqrt(-2 * sigma**2 * math.log(1e-7)) + 1), 5)
    places = np.arange((1 - far) * n, far * n) / n
    low = np.exp(-(places**2) / (2 * sigma**2)).reshape(-1, n).sum(0)
    spectrum = low
    if xi:
        high = np.exp(-((places - xi) ** 2) / (2 * sigma**2)).reshape(-1, n).sum(0)
        spectrum = high - high[0] / low[0] * low
    return spectrum / np.abs(np.fft.ifft(spectrum)).sum()


def _periods(spectrum: np.ndarray, level: int) -> np.ndarray:
    """The spectrum of the filter at every 2^level-th place, times as much: sums over aliases."""
    n = spectrum.shape[-1] >> level
    return spectrum.reshape(*spectrum.shape[:-1], -1, n).sum(-2)
