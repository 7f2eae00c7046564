"""Spectra in strips, as the delay line reads them: a few frequencies of all blocks side by side, real and imaginary parts apart."""

import numpy as np

from faltung.kernels.delay_line.on_numba import strip

REAL = {"complex64": "float32", "complex128": "float64"}


def real_of(dtype: str) -> str:
    """The dtype of real and imaginary parts."""
    return REAL.get(dtype, dtype)


def bins_of(block: int, dtype: str) -> int:
    """Frequencies of a transform of two blocks."""
    return 2 * block if dtype in REAL else block + 1


def strips_of(block: int, dtype: str) -> int:
    """Strips that hold them."""
    return -(-bins_of(block, dtype) // strip(real_of(dtype)))


def into_strips(spectra: np.ndarray, strips: np.ndarray) -> None:
    """Spectra (..., blocks, bins) into strips (..., G, blocks, 2, W); what a last strip has more is left as it is."""
    bins, W = spectra.shape[-1], strips.shape[-1]
    full = bins // W
    for plane, values in enumerate((spectra.real, spectra.imag)):
        whole = values[..., : full * W].reshape(*values.shape[:-1], full, W)
        strips[..., :full, :, plane, :] = whole.swapaxes(-3, -2)
        if full * W < bins:
            strips[..., full, :, plane, : bins - full * W] = values[..., full * W :]


def from_strips(strips: np.ndarray, bins: int) -> np.ndarray:
    """The way back."""
    full, W = bins // strips.shape[-1], strips.shape[-1]
    shape = (*strips.shape[:-4], strips.shape[-3], bins)
    spectra = np.empty(shape, np.result_type(strips.dtype, np.complex64))
    for plane, values in enumerate((spectra.real, spectra.imag)):
        whole = values[..., : full * W].reshape(*values.shape[:-1], full, W)
        whole[...] = strips[..., :full, :, plane, :].swapaxes(-3, -2)
        if full * W < bins:
            values[..., full * W :] = strips[..., full, :, plane, : bins - full * W]
    return spectra
