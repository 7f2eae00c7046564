"""From spherical harmonics to values on a grid of the sphere and back: by one matrix, or along latitudes and longitudes in turn.

The grid has Gauss–Legendre latitudes times equal longitudes and integrates all polynomials up to its degree, so that a product of
functions, taken point by point, has exact coefficients.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.nn.symmetry.so3 import quadrature, slopes, spherical_harmonics

PLAIN, AROUND, UPWARDS = range(3)
"""The function itself, its derivative along rings of latitude, and along meridians: see `faltung.nn.symmetry.so3.slopes`."""


class Synthesis(nn.Module):
    """Values (n, points, channels) of functions given by coefficients (n, (highest + 1)², channels).

    Args:
        highest: degree of the functions.   degree: of the grid.   apart: whether latitudes and longitudes are taken in turn, O(L³)
            products in place of O(L⁴).   part: `PLAIN`, `AROUND` or `UPWARDS`.
    """

    def __init__(
        self, highest: int, degree: int, apart: bool, part: int = PLAIN, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.apart = apart
        tables = apart_maps(highest, degree, part) if apart else (values_on(highest, degree, part),)
        keep(self, tables, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        if not self.apart:
            return torch.matmul(self.table_0, x)
        padded = nn.functional.pad(x, (0, 0, 0, 1))[:, self.table_0]  # (n, m, l, c), zeros where |m| > l
        along = torch.matmul(self.table_1, padded)  # (n, m, latitude, c)
        n, m, latitudes, c = along.shape
        return torch.matmul(self.table_2, along.reshape(n, m, latitudes * c)).reshape(
            n, latitudes * self.table_2.shape[0], c
        )


class Analysis(nn.Module):
    """Coefficients (n, (highest + 1)², channels) of functions given by values as `Synthesis` of the same grid makes them."""

    def __init__(self, highest: int, degree: int, apart: bool, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.apart = apart
        _, weights = quadrature(degree)
        if apart:
            _, legendre, waves = apart_maps(highest, degree, PLAIN)
            rows = weights.reshape(degree // 2 + 1, degree + 1)[:, 0]
            place = [(m + highest) * (highest + 1) + k for k in range(highest + 1) for m in range(-k, k + 1)]
            keep(self, (np.array(place), (legendre * rows[:, None]).transpose(0, 2, 1), waves.T), device, dtype)
        else:
            keep(self, ((values_on(highest, degree, PLAIN) * weights[:, None]).T,), device, dtype)

    def forward(self, values: Tensor) -> Tensor:
        if not self.apart:
            return torch.matmul(self.table_0, values)
        n, _, c = values.shape
        orders, degrees, latitudes = self.table_1.shape
        around = torch.matmul(self.table_2, values.reshape(n, self.table_2.shape[1], latitudes * c))
        found = torch.matmul(self.table_1, around.reshape(n, orders, latitudes, c))
        return found.reshape(n, orders * degrees, c)[:, self.table_0]


def products(highest: int, degree: int, apart: bool) -> int:
    """How many products one function takes on its way."""
    latitudes, longitudes = degree // 2 + 1, degree + 1
    if not apart:
        return latitudes * longitudes * (highest + 1) ** 2
    return latitudes * (2 * highest + 1) * (highest + 1 + longitudes)


@lru_cache(maxsize=64)
def values_on(highest: int, degree: int, part: int) -> np.ndarray:
    """The matrix (points, (highest + 1)²)."""
    points, _ = quadrature(degree)
    if part == PLAIN:
        return spherical_harmonics(highest, torch.from_numpy(points)).numpy()
    return slopes(highest, points)[part - AROUND]


@lru_cache(maxsize=64)
def apart_maps(highest: int, degree: int, part: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where (m, l) stands among coefficients, functions of latitude (m, latitudes, l), and of longitude (longitudes, m).

    Along a ring a harmonic is a wave, and its derivative the other wave of that frequency: there −m stands at m.
    """
    values = values_on(highest, degree, part).reshape(degree // 2 + 1, degree + 1, -1)
    return taken_apart(values, highest, highest, part)


def taken_apart(
    values: np.ndarray, highest: int, orders: int, part: int = PLAIN
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `apart_maps` says, of values (latitudes, longitudes, harmonics) on any equal longitudes, for |m| up to `orders`."""
    latitudes, longitudes = values.shape[:2]
    angle = 2 * np.pi * np.arange(longitudes) / longitudes
    index = np.full((2 * orders + 1, highest + 1), (highest + 1) ** 2)
    along = np.zeros((2 * orders + 1, latitudes, highest + 1))
    waves = np.zeros((longitudes, 2 * orders + 1))
    for m in range(-orders, orders + 1):
        wave = np.cos(m * angle) if m >= 0 else np.sin(-m * angle)
        waves[:, m + orders], best = wave, int(np.argmax(np.abs(wave)))
        for k in range(abs(m), highest + 1):
            place = k * k + k + (-m if part == AROUND else m)
            index[m + orders, k] = place
            along[m + orders, :, k] = values[:, best, place] / wave[best]
    return index, along, waves


@lru_cache(maxsize=32)
def torus_maps(l1: int, l2: int, l3: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Harmonics as waves of both angles of a torus, for two functions, and what each wave of their product gives back.

    Formula: with the angle t from the pole, `Y_lm = Σ over |u|, |v| ≤ l of c[u, v] e^{i(ut + vφ)}` continues to all t; the
    coefficients of a product are the convolution of its factors'. Back: `∫ e^{i(ut + vφ)} Y_lm sin t dt dφ`, t from 0 to π.

    Returns:
        (harmonics, 2·l1 + 1, 2·l1 + 1), (harmonics, 2·l2 + 1, 2·l2 + 1), (2(l1 + l2) + 1, 2(l1 + l2) + 1, harmonics), complex.
    """
    whole = l1 + l2
    found = [np.fft.fftshift(np.fft.fft2(_on_torus(l, 2 * l + 1), norm="forward"), axes=(1, 2)) for l in (l1, l2)]
    # Nodes in t, where nothing is a polynomial: so many that only rounding is left.
    nodes, weights = np.polynomial.legendre.leggauss(whole + l3 + 20)
    t, weights = (nodes + 1) * np.pi / 2, weights * np.pi / 2
    count = whole + l3 + 1
    angle = 2 * np.pi * np.arange(count) / count
    values = _at_angles(l3, t, angle)  # (harmonics, t, φ)
    u = np.arange(-whole, whole + 1)
    rows = np.exp(1j * u[:, None] * t) * (weights * np.sin(t))
    columns = np.exp(1j * u[:, None] * angle) * (2 * np.pi / count)
    return found[0], found[1], np.einsum("ut,hta,va->uvh", rows, values, columns, optimize=True)


def _on_torus(l: int, count: int) -> np.ndarray:
    angle = 2 * np.pi * np.arange(count) / count
    return _at_angles(l, angle, angle)


def _at_angles(l: int, t: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Harmonics (harmonics, t, φ) at angles t from the pole y, of any size, and φ around it from z to x."""
    ring = np.sin(t)[:, None]
    points = np.stack(np.broadcast_arrays(ring * np.sin(angle), np.cos(t)[:, None], ring * np.cos(angle)), -1)
    return np.moveaxis(spherical_harmonics(l, torch.from_numpy(points)).numpy(), -1, 0)


def keep(module: nn.Module, tables: Any, device: Any, dtype: Any) -> None:
    """Buffers table_0, ... that follow the module and are no part of its state; complex ones as pairs of real ones, in front."""
    for n, table in enumerate(tables):
        if np.iscomplexobj(table):
            table = np.stack([table.real, table.imag])
        kept = torch.tensor(np.ascontiguousarray(table)).to(device=device)
        if kept.is_floating_point():
            kept = kept.to(dtype or torch.get_default_dtype())
        module.register_buffer(f"table_{n}", kept, persistent=False)
