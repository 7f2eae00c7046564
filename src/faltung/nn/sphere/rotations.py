"""Functions on rotations: what single places and rotations contribute to correlations, twists, turning from the left.

A function on rotations is sampled at (γ, β, α), R = Rz(α) Ry(β) Rz(γ): rows are β, columns α, as on the sphere, and twists
γ_k = 2πk/n stand before them. Its part of order n in γ is a function of spin −n on the sphere, so that all is done with the
transforms of spins.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.nn.base import Layer
from faltung.nn.sphere.base import SphereLayer, turn
from faltung.nn.sphere.grid import SphereGrid
from faltung.nn.sphere.transform import at_least_single
from faltung.nn.sphere.wigner import harmonics, rotation_matrix, small_d

SOURCE = "Cohen, Geiger, Köhler and Welling, Spherical CNNs (2018)"


@lru_cache(maxsize=64)
def near_pole(rings: int, points: int, reach: float) -> tuple[tuple[float, float], ...]:
    """Places (β, α) about the north pole: the pole, then `points` on each of so many rings, the last at the angle `reach`."""
    around = [(reach * k / rings, 2 * math.pi * j / points) for k in range(1, rings + 1) for j in range(points)]
    return ((0.0, 0.0), *around)


@lru_cache(maxsize=64)
def lifting_table(degree: int, order: int, places: tuple[tuple[float, float], ...]) -> np.ndarray:
    """What one place contributes to K from spin 0 to orders −order ... order: (orders, degree + 1, places), complex."""
    beta, alpha = np.array(places).T
    values = harmonics(degree, 0, beta, alpha)
    found = np.zeros((2 * order + 1, degree + 1, len(places)), complex)
    for l in range(degree + 1):
        for n in range(-min(l, order), min(l, order) + 1):
            found[n + order, l] = (-1) ** n * math.sqrt(4 * math.pi / (2 * l + 1)) * values[:, l * l + l + n]
    return found


@lru_cache(maxsize=64)
def rotation_table(degree: int, source: int, to: int, rotations: tuple[tuple[float, float, float], ...]) -> np.ndarray:
    """What one rotation contributes to K from orders of the source to those of the result: (to, source, degree + 1, rotations)."""
    alpha, beta, gamma = np.array(rotations).T
    n, k = np.arange(-source, source + 1), np.arange(-to, to + 1)
    small = np.zeros((degree + 1, 2 * to + 1, 2 * source + 1, len(rotations)))
    reach = min(to, degree)
    small[:, to - reach : to + reach + 1] = small_d(degree, tuple(n), beta)[:, degree - reach : degree + reach + 1]
    waves = np.exp(1j * np.multiply.outer(k, alpha))[:, None] * np.exp(1j * np.multiply.outer(n, gamma))
    signs = (-1.0) ** (n + k[:, None])
    return (small * waves * signs[..., None]).transpose(1, 2, 0, 3)


def twist_tables(samples: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """e^(−inγ)/samples and e^(inγ) on planes of real and imaginary part: (2, samples, 2, orders) and (2, orders, 2, samples)."""
    angle = 2 * np.pi * np.outer(np.arange(samples), np.arange(-order, order + 1)) / samples
    c, s = np.cos(angle), np.sin(angle)
    there = np.stack([np.stack([c, -s], 1), np.stack([s, c], 1)]) / samples
    back = np.stack([np.stack([c, s]), np.stack([-s, c])])
    return there, back.transpose(0, 3, 1, 2)


class RotationLayer(SphereLayer):
    """A layer with real functions on SO(3), (batch, channels, twists, rows, columns)."""

    def expect_rotations(self, x: Tensor, channels: int, twists: int, grid: SphereGrid) -> Tensor:
        """The input, at least in single precision.

        Raises:
            ArgumentError: another shape, complex numbers.   DtypeError: no tensor of floating numbers.
        """
        Layer.expect(self, x, channels, 3)
        if tuple(x.shape[2:]) != (twists, grid.rows, grid.columns) or x.is_complex():
            raise ArgumentError.of(
                type(self).__name__,
                f"real samples on {twists} × {grid.rows} × {grid.columns} rotations",
                f"shape {tuple(x.shape)} of {x.dtype}",
                "match its resolution",
            )
        return at_least_single(x)


def turn_rotations(x: Tensor, rotation: Any, grid: SphereGrid) -> Tensor:
    """Functions on SO(3) turned from the left, `f'(Q) = f(R⁻¹ Q)`: (batch, channels, twists, rows, columns), returns the same.

    Degrees and orders of γ that the samples do not carry are lost.
    """
    twists = x.shape[2]
    order = (twists - 1) // 2
    waves = torch.fft.fft(x.movedim(2, -1))
    orders = list(range(-order, order + 1))
    parts = torch.stack([waves[..., n % twists] for n in orders], 2).flatten(1, 2)
    turned = turn(parts, rotation, grid, tuple(-n for n in orders)).unflatten(1, (x.shape[1], -1))
    back = torch.zeros(*x.shape[:2], *x.shape[3:], twists, dtype=turned.dtype, device=x.device)
    for i, n in enumerate(orders):
        back[..., n % twists] = turned[:, :, i]
    return torch.fft.ifft(back).real.movedim(-1, 2)


def sampled_rotations(grid: SphereGrid, twists: int) -> np.ndarray:
    """All sampled rotations as matrices, (twists, rows, columns, 3, 3)."""
    gamma = 2 * np.pi * np.arange(twists) / twists
    return np.array([[[rotation_matrix(a, b, g) for a in grid.phi] for b in grid.theta] for g in gamma])


def low_twists(y: Tensor, twists: int, order: int) -> Tensor:
    """Orders of γ up to `order` of (batch, channels, finer twists, rows, columns), on so many samples."""
    fine = y.shape[2]
    waves = torch.fft.fft(y, dim=2) / fine
    gamma = torch.arange(twists, dtype=y.dtype, device=y.device) * (2 * math.pi / twists)
    parts = [
        waves[:, :, n % fine].unsqueeze(2) * torch.polar(torch.ones_like(gamma), n * gamma)[:, None, None]
        for n in range(-order, order + 1)
    ]
    return sum(parts[1:], parts[0]).real
