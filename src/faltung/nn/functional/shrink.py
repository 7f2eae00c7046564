"""What makes free long kernels trainable: taps that are shrunk towards zero, and taps that are averaged with their neighbours."""

import math

import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.nn.functional.convolution import conv, numbers
from faltung.nn.functional.spectrum import wide

DOMAINS = ("time", "frequency")


def squash(kernel: Tensor, threshold: float) -> Tensor:
    """Every number nearer to zero by the threshold, and those that are no farther exactly zero.

    Formula: `sign(k) · max(|k| − threshold, 0)`: the k' that makes ½‖k' − k‖² + threshold · ‖k'‖₁ least.

    Shapes: any, returns the same.

    Args:
        threshold: at least 0; published kernels take 0.001 to 0.004.

    Returns:
        A tensor of the kernel's dtype. No two results are farther apart than what they came from; the derivative is 0 where
        |k| ≤ threshold and 1 elsewhere.

    Raises:
        ArgumentError: a threshold below 0.

    Source: Fu et al., Simple hardware-efficient long convolutions for sequence modeling (2023).

    Example:
        >>> squash(torch.tensor([-2.0, 0.5, 1.5]), 1.0)
        tensor([-1.0000,  0.0000,  0.5000])
    """
    return kernel - kernel.clamp(-checked_threshold(threshold), threshold)


def smooth(kernel: Tensor, window: int, domain: str = "time") -> Tensor:
    """Every tap averaged with its neighbours, or every frequency with its neighbours, along the last axis.

    Formula: for `time`, `k'[j] = Σ over |d| ≤ window // 2 of k[j + d] / window`, with zeros beyond the ends. For `frequency`, the
    Fourier transform of the kernel and as many zeros behind it is averaged over so many frequencies with the weights
    g_d ∝ exp(−½ (4d / window)²): it is the kernel times `Σ_d g_d cos(πdj / length)`, which fades far taps.

    Shapes: (..., length), returns the same.

    Args:
        window: an odd number of at least 1; 1 changes nothing.   domain: time or frequency. Default time.

    Raises:
        ArgumentError: another window or domain.

    Source: Fu et al., Simple hardware-efficient long convolutions for sequence modeling (2023).

    Example:
        >>> smooth(torch.tensor([0.0, 3, 0, 0]), 3)
        tensor([1., 1., 1., 0.])
    """
    window = checked_window(window, domain)
    if window == 1:
        return kernel
    if domain == "time":
        rows = kernel.reshape(-1, 1, kernel.shape[-1])
        box = torch.full((1, 1, window), 1 / window, dtype=kernel.dtype, device=kernel.device)
        return conv(rows, box, padding=window // 2).reshape(kernel.shape)
    length, taps = kernel.shape[-1], wide(kernel)
    place = torch.arange(length, dtype=taps.dtype, device=taps.device) * (math.pi / length)
    weights = [math.exp(-0.5 * (4 * d / window) ** 2) for d in range(window // 2 + 1)]
    fade = weights[0] + sum(2 * g * torch.cos(d * place) for d, g in enumerate(weights[1:], start=1))
    return (taps * (fade / (2 * sum(weights) - weights[0]))).to(kernel.dtype)


def checked_threshold(threshold: float) -> float:
    """The threshold as a number of at least 0; ArgumentError otherwise."""
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not threshold >= 0:
        raise ArgumentError.of("threshold", "a number of at least 0", repr(threshold), "0 leaves the kernel alone")
    return float(threshold)


def checked_window(window: int, domain: str) -> int:
    """The window as an odd number; ArgumentError otherwise, or for another domain."""
    (window,) = numbers("window", window, 1, 1)
    if not window % 2:
        raise ArgumentError.of("window", "an odd number", str(window), f"take {window - 1} or {window + 1}")
    if domain not in DOMAINS:
        raise ArgumentError.of("domain", f"one of {', '.join(DOMAINS)}", repr(domain), "choose one of these")
    return window
