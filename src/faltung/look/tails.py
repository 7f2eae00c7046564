"""Made pictures told from real ones by the far end of their spectrum, and how far two sets' spectra lie apart."""

from typing import Any

import numpy as np

from faltung.errors import ArgumentError
from faltung.filters.filter import whole
from faltung.look.generating import power_law_tail, radial_profile
from faltung.readers import read_only

_SMALL = float(np.finfo(np.float64).tiny)


def profile_deviation(first: Any, second: Any, *, window: bool = False) -> float:
    """How far the radial profiles of two sets of pictures lie apart: the mean |log₁₀| of their quotient over all bins.

    Formula: `mean over r > 0 of |log₁₀ P₁(r) / P₁(0) − log₁₀ P₂(r) / P₂(0)|`; 0.3 is a factor of two, 0 the same profile.

    Shapes: both (..., *n) with the same two spatial axes, further axes averaged.   Returns: 0 or more.
    Args: window: damp the edges first, as in `radial_profile`. Default False.
    Raises: ArgumentError: pictures of different sizes.
    Cost: one Fourier transform of each picture.
    Source: Chandrasegaran, Tran and Cheung, A closer look at Fourier spectrum discrepancies (2021), for the profile.

    Example:
        >>> x = np.random.default_rng(0).standard_normal((4, 16, 16)) + 1
        >>> profile_deviation(x, 3 * x)
        0.0
    """
    a, b = (np.asarray(read_only(x), np.float64) for x in (first, second))
    if a.ndim < 2 or a.shape[-2:] != b.shape[-2:]:
        raise ArgumentError.of(
            "profile_deviation", "two sets of pictures of one size", f"shapes {a.shape}, {b.shape}", "resize one"
        )
    ends = [radial_profile(x, window=window) for x in (a, b)]
    # a bin without any power is round-off, which has no logarithm
    logs = [np.log10(np.maximum(p, max(_SMALL, np.finfo(np.float64).eps ** 2 * p.max()))) for p in ends]
    return float(np.abs(logs[0] - logs[1])[1:].mean().round(12))


class TailDetector:
    """Whether pictures were made or are real, by the tail of their spectra and the nearest among known ones.

    Formula: of each picture (log b₁, b₂) of `power_law_tail` and the logarithm of the profile where the tail begins; each of the
    three over its deviation among the known pictures; most of the k nearest say.

    Shapes: real, made (batch, ...), pictures (height, width), (channels, height, width) of 1 or 3 channels, of one size.
    Args: k: how many neighbours, at least 1, at most the number of known pictures; odd, so that there is no tie. Default 5.
        start: share of the largest radius from which the tail counts. Default 0.75.   window: damp the edges first. Default True.
    Raises: ArgumentError: an even k or one beyond the known pictures, pictures too small for a tail.
    Cost: one Fourier transform of each picture; a distance to each known one.
    Source: Chandrasegaran, Tran and Cheung, A closer look at Fourier spectrum discrepancies for CNN-generated images detection
        (2021), who show too that such a tail is that of the last enlarging step: what is made otherwise passes.

    Example:
        >>> draw = np.random.default_rng(0).standard_normal((9, 32, 32))
        >>> soft = (draw + np.roll(draw, 1, 1)) / 2
        >>> TailDetector(draw[:6], soft[:6], k=3)(soft[6:])
        array([ True,  True,  True])
    """

    def __init__(self, real: Any, made: Any, *, k: int = 5, start: float = 0.75, window: bool = True) -> None:
        self.start, self.window = start, window
        known = [self.features(real), self.features(made)]
        self.k = whole("TailDetector", "k", k, 1)
        count = sum(map(len, known))
        if self.k % 2 == 0 or self.k > count:
            raise ArgumentError.of("TailDetector", f"an odd k of at most {count}", repr(k), "use 5, and more pictures")
        rows = np.concatenate(known)
        deviation = rows.std(0)
        self._scale = np.where(deviation > 0, deviation, 1.0)
        self._rows = rows / self._scale
        self._made = np.repeat([False, True], [len(part) for part in known])

    def features(self, x: Any) -> np.ndarray:
        """The three numbers of each picture, (batch, 3)."""
        pictures = np.asarray(read_only(x), np.float64)
        found = []
        for picture in pictures:
            profile = radial_profile(picture, window=self.window)
            first = int(self.start * (len(profile) - 1)) + 1
            found.append((*power_law_tail(profile, self.start), float(np.log(max(profile[first], _SMALL)))))
        return np.array(found).reshape(len(pictures), 3)

    def __call__(self, x: Any) -> np.ndarray:
        """Which pictures (batch, ...) count as made, (batch)."""
        rows = self.features(x) / self._scale
        away = np.linalg.norm(rows[:, None] - self._rows, axis=2)
        nearest = np.argsort(away, axis=1, kind="stable")[:, : self.k]
        return np.asarray(self._made[nearest].mean(1) > 0.5)
