"""What pictures are turned into before a network looks for traces of their making: Haar's bands, and phases alone."""

from math import log2, prod
from typing import Any

import numpy as np

from faltung.arrays import import_torch, is_torch
from faltung.errors import ArgumentError
from faltung.synth.hybrid import phases
from faltung.synth.operations import is_real

_HALF = 0.5**0.5


def haar_bands(x: Any) -> Any:
    """One level of Haar's wavelet transform: every signal as 2^d bands of half its size.

    Formula: along each axis l = (a + b) / √2 and h = (a − b) / √2 of each two neighbours a, b. A band is named by one letter
        an axis, as in `filters.wavelet`, and bands stand in the order of their names: for images ll, lh, hl, hh, where lh is low
        along columns and high along rows.

    Shapes: x (B, C, *n), real, array or tensor, even n; returns (B, C, 2^d, *n/2).
    Raises: ArgumentError for other shapes, whole numbers and odd sizes, which have no such bands of half their size.
    Error: one rounding for each axis; the transform is orthogonal, so energy and distances stay, and `haar_join` undoes it.
    Source: Haar (1910). As one of two front ends of a detector of made pictures: dual frequency branch framework with
        reconstructed sliding windows attention (2025).

    Example:
        >>> haar_bands(np.ones((1, 1, 2, 2))).round(12).ravel().tolist()
        [2.0, 0.0, 0.0, 0.0]
    """
    if x.ndim < 3 or not is_real(x) or any(n % 2 or not n for n in x.shape[2:]):
        raise ArgumentError.of(
            "synth.haar_bands",
            "real signals (B, C, *n) of even sizes",
            f"{tuple(x.shape)} of {x.dtype}",
            "pad or crop them by one, divide bytes by 255",
        )
    lib: Any = import_torch("synth.haar_bands") if is_torch(x) else np
    made = x[:, :, None]
    for axis in range(3, x.ndim + 1):
        pairs = (slice(None),) * axis
        a, b = made[(*pairs, slice(0, None, 2))], made[(*pairs, slice(1, None, 2))]
        both = lib.stack([(a + b) * _HALF, (a - b) * _HALF], 3)
        made = both.reshape(*x.shape[:2], -1, *both.shape[4:])
    return made


def haar_join(bands: Any) -> Any:
    """The signals whose `haar_bands` these are: the transposed transform, which is the inverse.

    Shapes: bands (B, C, 2^d, *n), real, array or tensor; returns (B, C, *2n).
    Raises: ArgumentError for another number of bands.
    Error: of the round trip 1e-6 of the largest value in float32, 1e-15 in float64.
    Source: as `haar_bands`.

    Example:
        >>> haar_join(haar_bands(np.arange(4.0).reshape(1, 1, 4))).round(12).tolist()
        [[[0.0, 1.0, 2.0, 3.0]]]
    """
    axes = bands.ndim - 3
    if axes < 1 or bands.shape[2] != 2**axes or not is_real(bands):
        raise ArgumentError.of(
            "synth.haar_join", "real bands (B, C, 2^d, *n)", f"{tuple(bands.shape)} of {bands.dtype}", "pass all bands"
        )
    lib: Any = import_torch("synth.haar_join") if is_torch(bands) else np
    made = bands
    for axis in range(bands.ndim - 1, 2, -1):  # the letter of the last axis changes fastest
        low, high = made[:, :, 0::2], made[:, :, 1::2]
        pair = lib.stack([(low + high) * _HALF, (low - high) * _HALF], axis + 1)
        made = pair.reshape(*low.shape[:axis], 2 * low.shape[axis], *low.shape[axis + 1 :])
    return made[:, :, 0]


def phase_only(x: Any) -> Any:
    """Each channel with its phases alone: edges and textures stay, contrast and every power spectrum are the same.

    Formula: `F⁻¹(e^(i ∠F x))` over space. Frequencies whose amplitude is rounding, at most 4 ε log₂(2 N) of the norm of a
        channel of N places, count as 0, and the phase of 0 as 1. So every amplitude of the result is 1, its norm too, and a flat
        channel above 0, or one of zeros, becomes one bright place at index 0.

    Shapes: x (B, C, *n), real, array or tensor; returns the same. Positive factors of a channel change nothing, shifts around the
        border shift the result.
    Raises: ArgumentError for other shapes, whole numbers and no places.
    Error: a phase is as uncertain as its frequency is weak: about ε log₂ N of a channel's norm over the amplitude.
    Cost: two Fourier transforms.
    Source: Oppenheim and Lim, The importance of phase in signals (1981); as a front end: as `haar_bands`.

    Example:
        >>> phase_only(np.full((1, 1, 2, 2), 7.0)).tolist()
        [[[[1.0, 0.0], [0.0, 0.0]]]]
    """
    if x.ndim < 3 or not is_real(x) or not all(x.shape[2:]):
        raise ArgumentError.of(
            "synth.phase_only",
            "real signals (B, C, *n)",
            f"{tuple(x.shape)} of {x.dtype}",
            "add axes, divide bytes by 255",
        )
    lib: Any = import_torch("synth.phase_only") if is_torch(x) else np
    axes = tuple(range(2, x.ndim))
    floor = 4 * float(lib.finfo(x.dtype).eps) * log2(2 * prod(x.shape[2:]))
    whole = lib.fft.ifftn(phases(x, axes, floor), None, axes).real
    return whole if is_torch(x) else whole.astype(x.dtype)
