"""Circular harmonics on rings: functions of the plane that turn by a matrix, sampled at taps. Irreducible fields of SO(2) and O(2).

In an image x is the column and y counts rows upwards, so that angles grow counter-clockwise as in `torch.rot90`, and a vector field
has the components (x, y).
"""

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from faltung.errors import ArgumentError

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


@dataclass(frozen=True)
class Irreps:
    """A sum of irreducible fields: ((how many, name), ...), "0" for scalars, "0-" for those that a mirror negates, "1", "2", ..."""

    parts: tuple[tuple[int, str], ...]

    @property
    def dim(self) -> int:
        """How many numbers stand at one place."""
        return sum(many * size(name) for many, name in self.parts)

    @property
    def count(self) -> int:
        """How many fields there are."""
        return sum(many for many, _ in self.parts)

    def matrix(self, element: np.ndarray) -> np.ndarray:
        """How all numbers at one place change under an orthogonal matrix on (x, y), (dim, dim)."""
        found, at = np.zeros((self.dim, self.dim)), 0
        for many, name in self.parts:
            block = turned(name, element)
            for _ in range(many):
                found[at : at + len(block), at : at + len(block)] = block
                at += len(block)
        return found


def size(name: str) -> int:
    """1 for scalars, 2 for others."""
    return 1 if name.startswith("0") else 2


def turned(name: str, element: np.ndarray) -> np.ndarray:
    """The matrix of an irreducible field: cos and sin of m times the angle; (x, −y) gives diag(1, −1), or −1 for "0-"."""
    mirrored = np.linalg.det(element) < 0
    if size(name) == 1:
        return np.array([[-1.0 if mirrored and name == "0-" else 1.0]])
    m, angle = int(name), math.atan2(element[1, 0], element[0, 0])
    c, s = math.cos(m * angle), math.sin(m * angle)
    return np.array([[c, -s], [s, c]]) @ (np.diag([1.0, -1.0]) if mirrored else np.eye(2))


@lru_cache(maxsize=128)
def irreps(text: str, group: str) -> Irreps:
    """The fields that a text like "8x0 + 4x1 + 2x2" names, in that order.

    Args:
        text: "how many x name" joined by +; "1x" may be left out.   group: "so2", or "o2", which alone knows "0-".

    Raises:
        ArgumentError: another text.

    Example:
        >>> irreps("8x0 + 4x1", "so2").dim
        16
    """
    parts = []
    for piece in text.split("+"):
        found = re.fullmatch(r"\s*(?:(\d+)\s*x\s*)?(0-|\d+)\s*", piece)
        if not found or found[1] == "0" or (found[2] == "0-" and group != "o2"):
            raise ArgumentError.of(
                "irreps", 'fields like "8x0 + 4x1", "0-" for o2 only', repr(text), "give how many x which"
            )
        parts.append((int(found[1] or 1), found[2]))
    return Irreps(tuple(parts))


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
