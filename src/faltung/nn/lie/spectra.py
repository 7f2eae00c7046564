"""Exponentials, logarithms and polar factors of matrices, with derivatives that stay finite where eigenvalues meet.

torch's own derivative of eigenvectors divides by differences of eigenvalues; a function of a symmetric matrix needs divided
differences of the function only, which have limits (Daleckii and Krein, 1965).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def _exp_slope(a: Tensor, b: Tensor) -> Tensor:
    """(eᵃ − eᵇ) / (a − b)."""
    half = (a - b) / 2
    close = half.abs() < 1e-4
    safe = torch.where(close, 1, half)
    return torch.exp((a + b) / 2) * torch.where(close, 1 + half**2 / 6, torch.sinh(safe) / safe)


def _log_slope(a: Tensor, b: Tensor) -> Tensor:
    """(log a − log b) / (a − b)."""
    x = (a - b) / (a + b)
    close = x.abs() < 1e-4
    safe = torch.where(close, 0.5, x)
    return 2 / (a + b) * torch.where(close, 1 + x**2 / 3, torch.atanh(safe) / safe)


_FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "exp": (torch.exp, _exp_slope),
    "log": (torch.log, _log_slope),
}


class _Spectral(torch.autograd.Function):
    """V·f(Λ)·Vᵀ of a symmetric matrix V·Λ·Vᵀ."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, name: str) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        ctx.save_for_backward(values, vectors)
        ctx.name = name
        return (vectors * _FUNCTIONS[name][0](values)[..., None, :]) @ vectors.mT

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        values, vectors = ctx.saved_tensors
        slopes = _FUNCTIONS[ctx.name][1](values[..., :, None], values[..., None, :])
        gradient = (gradients[0] + gradients[0].mT) / 2
        return vectors @ (slopes * (vectors.mT @ gradient @ vectors)) @ vectors.mT, None


def exp_symmetric(x: Tensor) -> Tensor:
    """The exponential of symmetric matrices (..., n, n)."""
    return _Spectral.apply(x, "exp")


def log_symmetric(x: Tensor) -> Tensor:
    """The logarithm of symmetric matrices (..., n, n) with positive eigenvalues."""
    return _Spectral.apply(x, "log")


def polar(g: Tensor) -> tuple[Tensor, Tensor]:
    """S, symmetric with positive eigenvalues, and the rotation R with g = S·R, of matrices (..., n, n) of positive determinant.

    Error: about the condition number of g times the rounding, which should be below 1e6.
    """
    if g.shape[-1] == 2:  # S has no part that turns: S·R has the cosine tr S·cos θ on its diagonal, tr S·sin θ off it
        cosine, sine = g[..., 0, 0] + g[..., 1, 1], g[..., 1, 0] - g[..., 0, 1]
        both = torch.stack([cosine, -sine, sine, cosine], -1) / torch.hypot(cosine, sine)[..., None]
        turn = both.unflatten(-1, (2, 2))
    else:
        turn = _nearest_rotation(g / torch.linalg.det(g).abs()[..., None, None] ** (1 / g.shape[-1]), 26)
    stretch = g @ turn.mT
    return (stretch + stretch.mT) / 2, turn


def log_rotation(turn: Tensor) -> Tensor:
    """The skew logarithm of rotations (..., n, n) by angles below half a circle.

    Formula: three square roots R ← the rotation nearest to I + R, then `log R = 2 artanh((R − I)(R + I)⁻¹)` by its series, to the
    rounding for angles up to π / 8.
    """
    unit = torch.eye(turn.shape[-1], dtype=turn.dtype, device=turn.device)
    root = turn
    for _ in range(3):
        root = _nearest_rotation(unit + root)
    ratio = torch.linalg.solve(root + unit, root - unit)
    square = ratio @ ratio
    total = torch.zeros_like(ratio)
    for power in range(21, 0, -2):  # Horner in ratio²
        total = unit / power + square @ total
    skew = 16 * ratio @ total
    return (skew - skew.mT) / 2


def _nearest_rotation(m: Tensor, steps: int = 20) -> Tensor:
    """The orthogonal polar factor by Newton's iteration, which works on m itself and so keeps its condition number."""
    for _ in range(steps):
        m = (m + torch.linalg.inv(m).mT) / 2
    return m
