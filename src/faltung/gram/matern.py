"""Matérn kernels of any smoothness, differentiable in it."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from faltung.arrays import is_torch
from faltung.errors import ArgumentError
from faltung.special import log_kv


@dataclass(frozen=True)
class Matern:
    """`k(r) = σ² 2^(1−ν) / Γ(ν) s^ν K_ν(s)`, s = √(2ν) r / ℓ; made by `matern`."""

    nu: Any
    length: Any = 1.0
    variance: Any = 1.0

    def radial(self, r: Any) -> Any:
        """Values at distances r ≥ 0, an array or a tensor of any shape."""
        if is_torch(r) or is_torch(self.nu):
            return self._of_tensors(r)
        r = np.asarray(r, float) / self.length
        if math.isinf(self.nu):
            return self.variance * np.exp(-0.5 * r * r)
        s = math.sqrt(2 * self.nu) * r
        safe = np.where(s > 0, s, 1.0)
        log = (1 - self.nu) * math.log(2) - math.lgamma(self.nu) + self.nu * np.log(safe) + log_kv(self.nu, safe)
        return self.variance * np.where(s > 0, np.exp(np.minimum(log, 0.0)), 1.0)

    def _of_tensors(self, r: Any) -> Any:
        import torch

        r = torch.as_tensor(r) / self.length
        nu = torch.as_tensor(self.nu, dtype=r.dtype)
        s = torch.sqrt(2 * nu) * r
        safe = torch.where(s > 0, s, torch.ones_like(s))
        log = (1 - nu) * math.log(2) - torch.lgamma(nu) + nu * torch.log(safe) + log_kv(nu, safe)
        return self.variance * torch.where(s > 0, torch.exp(log), torch.ones_like(s))

    def __call__(self, x: Any, y: Any) -> np.ndarray:
        """The matrix (n, m) between points x (n, dim) and y (m, dim)."""
        from scipy.spatial.distance import cdist

        return self.radial(cdist(np.atleast_2d(np.asarray(x, float)), np.atleast_2d(np.asarray(y, float))))


def matern(nu: Any, length: Any = 1.0, variance: Any = 1.0) -> Matern:
    """The Matérn kernel of smoothness ν.

    Formula: `k(r) = σ² 2^(1−ν) / Γ(ν) s^ν K_ν(s)`, s = √(2ν) r / ℓ; for ν = ½ it is exp(−r/ℓ), for ν → ∞ exp(−r²/2ℓ²).

    Args:
        nu: ν > 0, any real number, infinity, or a tensor that asks for a gradient.   length: ℓ > 0. Default 1.
        variance: σ² > 0. Default 1.

    Returns:
        A `Matern`: `k(x, y)` is the matrix of points, `k.radial(r)` values at distances; of tensors it carries gradients for the
        distances, ν, ℓ and σ².

    Raises:
        ArgumentError: parameters that are not positive.

    Error: relative 10⁻¹³ max(1, ν log ν).
    Source: Matérn, Spatial variation (1960).

    Example:
        >>> float(matern(0.5).radial(2.0))  # exp(−2)
        0.13533528...
    """
    if not all(bool(a > 0) for a in (nu, length, variance)):
        raise ArgumentError.of(
            "matern", "positive nu, length and variance", f"{nu}, {length}, {variance}", "take them positive"
        )
    return Matern(nu, length, variance)
