"""Coefficients of real functions in real harmonics, as `faltung.nn.symmetry.so3` and e3nn order them."""

import math

import torch
from torch import Tensor

from faltung.errors import ArgumentError


def _orders(size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Degree and order of each place, and the place of the opposite order."""
    degree = math.isqrt(size) - 1
    l = torch.repeat_interleave(torch.arange(degree + 1), 2 * torch.arange(degree + 1) + 1)
    m = torch.arange(size) - l * l - l
    return l, m, l * l + l - m


def _square(who: str, a: Tensor) -> None:
    if math.isqrt(a.shape[-1]) ** 2 != a.shape[-1]:
        raise ArgumentError.of(
            who, "(degree + 1)² coefficients on the last axis", f"shape {tuple(a.shape)}", "keep all degrees"
        )


def to_real(a: Tensor) -> Tensor:
    """Coefficients of a real function of spin 0 in real harmonics, (..., (degree + 1)²), real, orders −l ... l of each degree.

    Formula: `c_m = √2 (−1)^m Re a_m`, `c_−m = −√2 (−1)^m Im a_m` for m > 0. The harmonics are those of
    `faltung.nn.symmetry.so3.spherical_harmonics` at (y, z, x): its polar axis is the second, ours the third.

    Raises:
        ArgumentError: not (degree + 1)² coefficients.

    Example:
        >>> to_real(torch.tensor([0, 1, 0, -1.0 + 0j])).abs()
        tensor([0.0000, 0.0000, 0.0000, 1.4142])
    """
    _square("to_real", a)
    _, m, other = _orders(a.shape[-1])
    sign = ((1 - 2.0 * (m % 2)).double() * math.sqrt(2)).to(a.real)
    up, down = a.real * sign, -a[..., other.to(a.device)].imag * sign
    here = m.to(a.device)
    return torch.where(here > 0, up, torch.where(here < 0, down, a.real))


def from_real(c: Tensor) -> Tensor:
    """The way back: complex coefficients of a function given in real harmonics.

    Raises:
        ArgumentError: not (degree + 1)² coefficients.
    """
    _square("from_real", c)
    _, m, other = _orders(c.shape[-1])
    here, there = m.to(c.device), other.to(c.device)
    sign = ((1 - 2.0 * (m % 2)).double() / math.sqrt(2)).to(c)
    opposite = c[..., there]
    up = torch.complex(c * sign, -opposite * sign)
    down = torch.complex(opposite / math.sqrt(2), c / math.sqrt(2))
    return torch.where(here > 0, up, torch.where(here < 0, down, torch.complex(c, torch.zeros_like(c))))
