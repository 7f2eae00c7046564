"""Wavelet filters: the two-channel filter banks of PyWavelets, one band an axis."""

import difflib

import numpy as np

from faltung.errors import ArgumentError, MissingExtraError
from faltung.filters.filter import Filter, count, outer

BANKS = {"analysis": ("dec_lo", "dec_hi"), "synthesis": ("rec_lo", "rec_hi")}


def wavelet(name: str, band: str = "h", bank: str = "analysis", *, ndim: int = 2) -> np.ndarray:
    """The filters of a discrete wavelet, multiplied over the axes.

        k = f_1 ⊗ f_2 ⊗ ...,      f = the wavelet's low-pass (l) or high-pass (h) filter

    Shapes:
        returns float64, as long as the wavelet's filters on every axis (`2N` for `dbN`; they are even).
    Args:
        name: a discrete wavelet of PyWavelets: haar, db4, sym8, coif2, bior2.2, ...
        band: one letter for all axes or one an axis, `l` low (smooth, sum √2) or `h` high (details, sum 0). Default h.
        bank: `analysis` (default) to take apart, `synthesis` to put together.
        ndim: number of axes, ≥ 1. Default 2.
    Raises:
        MissingExtraError: without PyWavelets.   ArgumentError: for an unknown wavelet, band or bank.
    Source: I. Daubechies, Orthonormal bases of compactly supported wavelets (1988); the taps are PyWavelets'.

    Example:
        >>> wavelet("haar", "l", ndim=1).round(4).tolist()
        [0.7071, 0.7071]
    """
    axes = count("wavelet", ndim)
    if bank not in BANKS:
        raise ArgumentError.of("wavelet", f"a bank among {', '.join(BANKS)}", repr(bank), "choose one of these")
    if not isinstance(band, str) or not band or set(band) - set("lh") or len(band) not in (1, axes):
        raise ArgumentError.of(
            "wavelet", f"one letter, l or h, or one for each of {axes} axes", repr(band), "write for example 'h'"
        )
    try:
        import pywt  # type: ignore[import-untyped]
    except ImportError:
        raise MissingExtraError.of(
            "wavelet", "the package PyWavelets", "an installation without it", "run: pip install 'faltung[filters]'"
        ) from None
    known = pywt.wavelist(kind="discrete")
    if name not in known:
        near = difflib.get_close_matches(str(name), known, 3, 0.4)
        hint = f"did you mean {' or '.join(near)}" if near else "pywt.wavelist(kind='discrete') lists them"
        families = ", ".join(dict.fromkeys(n.rstrip("0123456789.") for n in known))
        raise ArgumentError.of("wavelet", f"a discrete wavelet of the families {families}", repr(name), hint)
    bands = dict(zip("lh", (np.asarray(getattr(pywt.Wavelet(name), f)) for f in BANKS[bank]), strict=True))
    return outer([bands[letter] for letter in (band * axes if len(band) == 1 else band)])


FILTER = Filter(
    name="wavelet",
    summary="one band of a discrete wavelet",
    source="Daubechies 1988, by PyWavelets",
    make=wavelet,
    examples=("wavelet:db4", "wavelet:haar,band=l", "wavelet:sym4,bank=synthesis"),
)
