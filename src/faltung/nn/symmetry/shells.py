"""Kernels between fields of space: harmonics of the direction, joined to both fields, times bumps of the distance."""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from faltung.nn.symmetry.irreps import size
from faltung.nn.symmetry.so3 import align, coupling, spherical_harmonics, wigner

PEAK = 1.14136 * math.e**2
"""What makes the squares of the bumps add up to about 1, as in e3nn."""


def bumps(distance: Tensor, radius: float, count: int) -> Tensor:
    """Smooth functions of the distance, (..., count), each alive between two neighbours of its place, all 0 at 0 and at the radius.

    Formula: `c exp(−1/(1 + d)) exp(−1/(1 − d))` for |d| < 1, `d = (distance − place) / step`, places at `n·step`, n = 1 ... count,
    `step = radius / (count + 1)`: every derivative exists. These are e3nn's "smooth_finite" functions with cutoffs at both ends.

    Example:
        >>> bumps(torch.tensor([0.0, 1.0, 2.0, 3.0]), 3.0, 2)
        tensor([[0.0000, 0.0000],
                [1.1414, 0.0000],
                [0.0000, 1.1414],
                [0.0000, 0.0000]])
    """
    step = radius / (count + 1)
    d = distance.unsqueeze(-1) / step - torch.arange(1, count + 1, dtype=distance.dtype, device=distance.device)
    inside = d.abs() < 1
    rest = torch.where(inside, 1 - d * d, 1)
    return torch.where(inside, PEAK * torch.exp(-2 / rest), 0)


def degrees(source: str, to: str) -> list[int]:
    """The degrees of harmonics that join two fields: between the difference and the sum of theirs, of the parity of both."""
    a, b = int(source[:-1]), int(to[:-1])
    return [l for l in range(abs(a - b), a + b + 1) if (-1) ** l == (1 if source[-1] == to[-1] else -1)]


def radial(distance: Tensor, radius: float, count: int) -> Tensor:
    """What a filter of one degree is a sum of: 1 at distance 0 alone, then the bumps, (..., count + 1)."""
    return torch.cat([(distance == 0).to(distance.dtype).unsqueeze(-1), bumps(distance, radius, count)], -1)


def voxels(sizes: tuple[int, ...], steps: tuple[float, ...]) -> np.ndarray:
    """Where the taps of a kernel are, (taps, 3), from its centre."""
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(sizes, steps, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)


@lru_cache(maxsize=256)
def shells(
    sizes: tuple[int, ...], steps: tuple[float, ...], radius: float, count: int, source: str, to: str
) -> np.ndarray:
    """A basis of kernels on voxels, (elements, size of to, size of source, taps), each with the squared norm `size of to`.

    Formula: `κ(x) = b(|x|)·Σ_m C_(source, l, to) Y_lm(x / |x|)` for each degree l and radial function b; those that no tap sees are
    left out.
    """
    places = torch.from_numpy(voxels(sizes, steps))
    distance = places.norm(dim=1)
    unit = places / torch.where(distance > 0, distance, 1)[:, None]
    profiles = radial(distance, radius, count).numpy()
    found = []
    for l in degrees(source, to):
        harmonics = spherical_harmonics(l, unit)[:, l * l :].numpy() * (distance.numpy()[:, None] > 0 if l else 1)
        joined = np.einsum("ibj,tb->jit", coupling((size(source) - 1) // 2, l, (size(to) - 1) // 2), harmonics)
        for profile in profiles.T:
            element = joined * profile
            norm = np.linalg.norm(element)
            if norm > 1e-6:
                found.append(element * math.sqrt(size(to)) / norm)
    return np.array(found).reshape(-1, size(to), size(source), math.prod(sizes))


def aligned(offset: Tensor, l: int, source: str, to: str) -> Tensor:
    """The angular part of a kernel at one offset, (size of to, size of source), by turning the kernel of the pole: for definitions.

    At the pole only order 0 of the harmonics is not zero.
    """
    if not bool(offset.norm() > 0):
        pole = torch.from_numpy(coupling((size(source) - 1) // 2, l, (size(to) - 1) // 2)[:, l]).to(offset)
        return (pole.T if l == 0 else 0 * pole.T) * math.sqrt((2 * l + 1) / (4 * math.pi))
    highest = max(size(source), size(to)) // 2
    matrices = wigner(highest, align(offset))
    pole = torch.from_numpy(coupling((size(source) - 1) // 2, l, (size(to) - 1) // 2)[:, l]).to(offset)
    turned = matrices[size(to) // 2].mT @ pole.T @ matrices[size(source) // 2]
    return turned * math.sqrt((2 * l + 1) / (4 * math.pi))
