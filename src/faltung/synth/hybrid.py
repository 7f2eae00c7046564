"""Hybrid images: one image's low frequencies with another's high ones; labels follow the low."""

from typing import Any

import numpy as np

from faltung.arrays import import_torch, is_torch
from faltung.door import correlate
from faltung.errors import ArgumentError
from faltung.filters import gaussian
from faltung.synth.draws import random


def split_bands(x: Any, kernel: np.ndarray) -> tuple[Any, Any]:
    """What a low-pass filter keeps and what it leaves: `(k ∗ x, x - k ∗ x)`, the image reflected at its border.

    Shapes: x (B, C, H, W), array or tensor; kernel (kh, kw), at most as large as the image.
    Raises: ArgumentError for other shapes.
    Error: the two add up to x within one rounding.
    """
    if x.ndim != 4 or kernel.ndim != 2 or max(kernel.shape) // 2 >= min(x.shape[2:]):
        raise ArgumentError.of(
            "synth.split_bands",
            "x (B, C, H, W) larger than half a kernel (kh, kw)",
            f"x {tuple(x.shape)}, kernel {kernel.shape}",
            "add axes",
        )
    low = correlate(x, _like(kernel, x), "b c *s, *s -> b c *s", mode="same", boundary="reflect")
    return low, x - low


def swap_amplitude(phase: Any, amplitude: Any) -> Any:
    """The image whose Fourier transform has the phase of one image and the amplitude of another.

    Formula: `Re F⁻¹(|F a| · e^{i ∠F p})` over channels and space.
    Shapes: both (B, C, H, W).
    Raises: ArgumentError where the shapes differ.
    Error: the imaginary part that is dropped is rounding, 1e-6 of the image in float32. Where p has no phase (0), it counts as 1.
    """
    if tuple(phase.shape) != tuple(amplitude.shape) or phase.ndim != 4:
        raise ArgumentError.of(
            "synth.swap_amplitude",
            "two batches (B, C, H, W) of one shape",
            f"{tuple(phase.shape)}, {tuple(amplitude.shape)}",
            "crop one",
        )
    axes = (1, 2, 3)
    if is_torch(phase):
        torch = import_torch("synth.swap_amplitude")
        spectrum = torch.polar(torch.fft.fftn(amplitude, dim=axes).abs(), torch.fft.fftn(phase, dim=axes).angle())
        return torch.fft.ifftn(spectrum, dim=axes).real
    spectrum = np.abs(np.fft.fftn(amplitude, axes=axes)) * np.exp(1j * np.angle(np.fft.fftn(phase, axes=axes)))
    return np.fft.ifftn(spectrum, axes=axes).real.astype(phase.dtype)


def hybrid_augment(
    x: Any,
    p: float = 0.6,
    sigma: float = 0.5,
    kernel: int = 3,
    amplitude_mix: bool = False,
    generator: Any = 0,
    partner: Any = None,
) -> Any:
    """A batch with high frequencies from other images of the batch; labels stay.

    Formula: `G x + (x - G x)[π]` with G a Gaussian blur and π a permutation, for the whole batch, with probability p. With
        `amplitude_mix`, with probability p, the low part gets the amplitudes of another permutation's low part.

    Shapes: x (B, C, H, W), array or tensor; returns the same.

    Args:
        p: probability of each change, default 0.6.
        sigma, kernel: of the blur, in pixels; kernel is odd. Default 0.5 and 3; 1.0 and 3 for large images.
        generator: a seed or a `numpy.random.Generator`, also for tensors.
        partner: indices (B,) to take in place of drawn permutations; p counts as 1.

    Raises:
        ArgumentError: for numbers out of range or other shapes.

    Source: Yucel, Cinbis and Duygulu, HybridAugment++ (2023).

    Example:
        >>> hybrid_augment(np.ones((2, 3, 8, 8)), generator=1).shape
        (2, 3, 8, 8)
    """
    if not 0 <= p <= 1 or not sigma > 0 or kernel < 1 or kernel % 2 != 1:
        raise ArgumentError.of(
            "synth.hybrid_augment",
            "p in [0, 1], sigma > 0, an odd kernel",
            f"p {p}, sigma {sigma}, kernel {kernel}",
            "kernel=3",
        )
    source = random(generator, "synth.hybrid_augment")
    # Drawn in any case, so that what a seed gives does not depend on which coin fell.
    coins, orders = source.random(2), [source.permutation(len(x)) for _ in range(2)]
    if partner is not None:
        coins, orders = np.zeros(2) - 1, [np.asarray(partner)] * 2
    low, high = split_bands(x, gaussian(sigma, truncate=(kernel // 2) / sigma, ndim=2))
    if amplitude_mix and coins[1] < p:
        low = swap_amplitude(low, low[orders[1]])
    return low + high[orders[0]] if coins[0] < p else low + high


def _like(kernel: np.ndarray, x: Any) -> Any:
    """The kernel in the image's kind of array."""
    if is_torch(x):
        return import_torch("synth.split_bands").as_tensor(kernel, dtype=x.dtype, device=x.device)
    return kernel.astype(x.dtype)
