"""Circular harmonics on rings: functions of the plane that turn by a matrix, sampled at taps; kernels between fields of the plane.

In an image x is the column and y counts rows upwards, so that angles grow counter-clockwise as in `torch.rot90`, and a vector field
has the components (x, y).
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from faltung.nn.symmetry.irreps import size, turned

PLANE = np.array([[0, 1], [-1, 0]])  # (row, column) to (x, y)


class Ring(NamedTuple):
    """One radial profile, exp(−(r − radius)² / 2σ²), and the highest angular frequency that its taps can carry."""

    radius: float
    sigma: float
    frequency: int


def rings(taps: int) -> tuple[Ring, ...]:
    """The rings of a kernel of `taps` by `taps`, one a pixel; that in the centre is narrow and constant.

    Example:
        >>> [(r.radius, r.frequency) for r in rings(7)]
        [(0.0, 0), (1.0, 2), (2.0, 3), (3.0, 2)]
    """
    radii = np.linspace(0, (taps - 1) // 2, math.ceil(taps / 2))
    found = []
    for n, r in enumerate(radii):
        last = n == len(radii) - 1
        highest = 0 if r == 0 else min(2 * r, 2) if last else 2 * r - (r + 1) % 2
        even = taps % 2 == 0  # no tap in the centre: the narrow profile would be zero at all of them
        sigma = (0.6 if even else 0.005) if r == 0 else 0.4 if last else 0.6
        found.append(Ring(float(r), sigma, int(highest)))
    return tuple(found)


def polar(taps: int, matrix: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Radius and angle of every tap, (taps²) each; of the places that the matrix, on (row, column), sends there."""
    offsets = np.arange(taps) - (taps - 1) / 2
    places = np.stack(np.meshgrid(offsets, offsets, indexing="ij"), -1).reshape(-1, 2)
    if matrix is not None:
        places = places @ matrix  # the inverse of an orthogonal matrix is its transpose
    x, y = PLANE @ places.T
    return np.hypot(x, y), np.arctan2(y, x)


@lru_cache(maxsize=64)
def angular(taps: int) -> tuple[tuple[int, int, int], ...]:
    """What a scalar filter is a sum of: (ring, frequency, phase), phase 0 for the cosine and 1 for the sine."""
    return tuple(
        (j, f, phase)
        for j, ring in enumerate(rings(taps))
        for f in range(ring.frequency + 1)
        for phase in range(1 if f == 0 else 2)
    )


def sampled(taps: int, matrix: Any = None) -> np.ndarray:
    """The harmonics of `angular`, turned by an orthogonal matrix on (row, column), at all taps: (taps², harmonics).

    Each has the 2-norm 1 before it is turned.
    """
    radius, angle = polar(taps, matrix)
    plain, straight = polar(taps)
    found, profiles = [], rings(taps)
    for j, f, phase in angular(taps):
        wave = np.sin if phase else np.cos
        own = _profile(profiles[j], f, plain) * wave(f * straight)
        found.append(_profile(profiles[j], f, radius) * wave(f * angle) / np.linalg.norm(own))
    return np.stack(found, -1)


def _profile(ring: Ring, frequency: int, radius: np.ndarray) -> np.ndarray:
    """The Gaussian, but 0 in the centre for what turns: an angle is nothing there."""
    bell = np.exp(-((radius - ring.radius) ** 2) / (2 * ring.sigma**2))
    return np.where((radius < 1e-9) & (frequency != 0), 0.0, bell)


@lru_cache(maxsize=512)
def pairing(taps: int, source: str, to: str, group: str) -> np.ndarray:
    """A basis of the kernels between two irreducible fields, (basis, size of to, size of source, taps²).

    Formula: `κ(r, φ) = ρ_to(φ) κ₀(r) ρ_source(φ)ᵀ`; κ₀ is a sum of 1, J (turn by a quarter), σ (mirror) and Jσ; the first two have
    the angular frequency n − m, the others n + m, and each is kept on the rings that can carry it. For O(2) it commutes with σ. A
    basis element has the squared norm `size of to`, so that white input of variance 1 gives results of variance 1.
    """
    radius, angle = polar(taps)
    found = []
    before, after = _along(source, angle), _along(to, angle)
    for ring in rings(taps):
        for start, frequency in _starts(source, to, group):
            if abs(frequency) > ring.frequency:
                continue
            profile = _profile(ring, frequency, radius)
            kernel = np.einsum("tab,bc,tdc,t->adt", after, start, before, profile)
            norm = np.linalg.norm(kernel)
            if norm > 1e-6:
                found.append(kernel * math.sqrt(size(to)) / norm)
    return np.array(found).reshape(-1, size(to), size(source), taps * taps)


def _along(name: str, angle: np.ndarray) -> np.ndarray:
    if size(name) == 1:
        return np.ones((len(angle), 1, 1))
    c, s = np.cos(int(name) * angle), np.sin(int(name) * angle)
    return np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)


def _starts(source: str, to: str, group: str) -> list[tuple[np.ndarray, int]]:
    """The matrices κ₀ with the angular frequencies of their kernels."""
    mirror = [turned(name, np.diag([1.0, -1.0])) for name in (to, source)]
    m, n = (int(name.rstrip("-")) for name in (source, to))
    one, quarter, flip = np.eye(2), np.array([[0.0, -1.0], [1.0, 0.0]]), np.diag([1.0, -1.0])
    if size(source) == 1 and size(to) == 1:
        starts = [(np.eye(1), 0)]
    elif size(source) == 1 or size(to) == 1:
        columns = [one[:, :1], one[:, 1:]] if size(source) == 1 else [one[:1], one[1:]]
        starts = [(c, n + m) for c in columns]
    else:
        starts = [(one, n - m), (quarter, n - m), (flip, n + m), (quarter @ flip, n + m)]
    if group == "o2":
        starts = [(s, f) for s, f in starts if np.allclose(mirror[0] @ s @ mirror[1], s)]
    return starts
