"""Denoisers as local linear maps: their modes, how far they look, and how near they are to the score of their data."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.look.linear import LinearMap, linearize


@dataclass(frozen=True, eq=False)
class Modes:
    """The modes of a denoiser's Jacobian J at one signal.

    Fields:
        values: the k largest eigenvalues of (J + Jᵀ) / 2: how much of each mode passes.   vectors: (k, *x), unit length.
        dimension: trace of J, how many dimensions pass in all (estimated from random signs where the signal is large).
        antisymmetric: ‖J − Jᵀ‖ / ‖J + Jᵀ‖, estimated; 0 for a denoiser that follows a gradient.
    """

    values: np.ndarray
    vectors: np.ndarray
    dimension: float
    antisymmetric: float


def denoiser_modes(f: nn.Module, y: Tensor, k: int = 8, *, probes: int = 32, exact: int = 512, seed: int = 0) -> Modes:
    """The eigenvectors of what a denoiser does around a noisy signal, without ever having its Jacobian.

    Shapes: f maps y (1, channels, *n) to the same shape.   Args: k: how many modes.   probes: random signs for the trace and
    the antisymmetric part, used where y has more than `exact` elements.

    Error: of the estimates about 1 / √probes.   Cost: some tens of products with J and Jᵀ for each mode.
    Source: Kadkhodaie, Guth, Simoncelli and Mallat, Generalization in diffusion models arises from geometry-adaptive harmonic
    representations (2024).
    """
    a = _square(f, y)
    size = prod(y.shape)
    if not 0 < k < size:
        raise ArgumentError.of("denoiser_modes", f"1 to {size - 1} modes", str(k), "ask for fewer")

    def symmetric(u: np.ndarray) -> np.ndarray:
        v = torch.from_numpy(np.ascontiguousarray(u.ravel())).to(y)
        return ((a.matvec(v) + a.rmatvec(v)) / 2).double().reshape(-1).numpy()

    start = np.random.default_rng(seed).standard_normal(size)
    values, vectors = eigsh(LinearOperator((size, size), symmetric, dtype=np.float64), k, which="LA", v0=start)
    order = np.argsort(-values)
    if size <= exact:
        signs = torch.eye(size, dtype=y.dtype)
        scale = 1.0
    else:
        drawn = torch.randint(0, 2, (probes, size), generator=torch.Generator().manual_seed(seed))
        signs, scale = drawn.to(y.dtype) * 2 - 1, 1 / probes
    trace, odd, even = 0.0, 0.0, 0.0
    for sign in signs:
        right, left = a.matvec(sign).flatten(), a.rmatvec(sign).flatten()
        trace += scale * float(sign.double() @ right.double())
        odd, even = (
            odd + float((right - left).double().square().sum()),
            even + float((right + left).double().square().sum()),
        )
    skew = (odd / even) ** 0.5 if even else 0.0
    return Modes(values[order], vectors.T[order].reshape(k, *y.shape), trace, skew)


def _square(f: nn.Module, y: Tensor) -> LinearMap:
    a = linearize(f, y)
    if a.y.shape != y.shape or len(y) != 1:
        raise ArgumentError.of(
            "denoiser",
            f"one signal and a result of its shape {tuple(y.shape)}",
            f"{tuple(a.y.shape)}",
            "pass (1, channels, *n)",
        )
    return a


def footprint(f: nn.Module, y: Tensor, place: tuple[int, ...], channel: int = 0) -> Tensor:
    """How much one element of a denoiser's result reads from each place: |row of the Jacobian|, summed over channels.

    Shapes: y (1, channels, *n); returns (*n).
    """
    return _square(f, y).row((0, channel, *place))[0].abs().sum(0)


def wiener_kernel(power: Any, sigma: float) -> np.ndarray:
    """The best linear denoiser of stationary signals with a given power spectrum in white noise, as a kernel on the circle.

    Formula: the inverse Fourier transform of S(ω) / (S(ω) + σ²).

    Shapes: power (*n), the eigenvalues of the covariance at the frequencies of `numpy.fft`; returns (*n), its middle at index 0.
    Source: Wiener (1949).

    Example:
        >>> wiener_kernel(np.ones(4), 1.0)
        array([0.5, 0. , 0. , 0. ])
    """
    power = np.asarray(power, np.float64)
    if (power < 0).any() or sigma < 0 or (sigma == 0 and not power.all()):
        raise ArgumentError.of(
            "wiener_kernel", "powers and a deviation that are not negative, not both 0", f"σ = {sigma}", "check them"
        )
    return np.fft.ifftn(power / (power + sigma**2)).real


def tweedie_gap(
    f: Callable[[Tensor], Tensor], samples: Tensor, sigma: float, score: Callable[[Tensor], Tensor], seed: int = 0
) -> float:
    """How far a denoiser is from the score: ‖(f(y) − y) / σ² − ∇ log p_σ(y)‖ / ‖∇ log p_σ(y)‖ for y = x + σ ε.

    Args: samples: (batch, ...) of clean data.   score: the gradient of the log density of noisy data.

    Source: Alain and Bengio, What regularized auto-encoders learn from the data generating distribution (2014); Tweedie's
    formula.
    """
    noise = torch.randn(samples.shape, generator=torch.Generator().manual_seed(seed)).to(samples)
    y = samples + sigma * noise
    with torch.no_grad():
        found, wanted = (f(y) - y) / sigma**2, score(y)
    return float((found - wanted).double().norm() / wanted.double().norm())
