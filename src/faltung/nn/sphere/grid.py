"""Grids of the sphere with quadrature that is exact for band-limited functions: nodes, weights, and the degree they carry.

θ is the angle from the north pole z, φ the longitude from x towards y. Rows go from north to south, φ_j = 2πj / columns.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from faltung.errors import ArgumentError
from faltung.nn import functional


def _equiangular(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Both poles and equal steps between: the rule of Clenshaw and Curtis."""
    last = n - 1
    theta = np.pi * np.arange(n) / last
    k = np.arange(1, last // 2 + 1)
    share = np.where(2 * k == last, 1.0, 2.0) / (4 * k * k - 1)
    weights = 2 / last * (1 - np.cos(2 * np.outer(theta, k)) @ share)
    weights[[0, -1]] /= 2
    return theta, weights


def _midpoint(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The middles of n equal steps, no pole: Fejér's first rule."""
    theta = np.pi * (2 * np.arange(n) + 1) / (2 * n)
    k = np.arange(1, n // 2 + 1)
    return theta, 2 / n * (1 - 2 * np.cos(2 * np.outer(theta, k)) @ (1 / (4 * k * k - 1)))


def _driscoll_healy(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The north pole, which has no weight, and equal steps to one before the south pole: Fejér's second rule."""
    theta = np.pi * np.arange(n) / n
    odd = 2 * np.arange(n // 2) + 1
    return theta, 4 / n * np.sin(theta) * (np.sin(np.outer(theta, odd)) @ (1 / odd))


def _gauss(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The zeros of Legendre's polynomial of degree n: exact up to degree 2n − 1."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return np.arccos(nodes[::-1]), weights[::-1].copy()


GRIDS: dict[str, Callable[[int], tuple[np.ndarray, np.ndarray]]] = {
    "equiangular": _equiangular,
    "midpoint": _midpoint,
    "driscoll-healy": _driscoll_healy,
    "gauss": _gauss,
}


@dataclass(frozen=True)
class SphereGrid:
    """Rows and columns on the sphere, of a kind in `GRIDS`.

    | kind | θ_i | exact for products of two functions up to degree |
    |---|---|---|
    | equiangular | πi / (rows − 1), both poles | (rows − 1) // 2 |
    | midpoint | π(i + ½) / rows | (rows − 1) // 2 |
    | driscoll-healy | πi / rows, the north pole | (rows − 2) // 2 |
    | gauss | zeros of a Legendre polynomial | rows − 1 |

    Columns carry orders up to (columns − 1) // 2. `sphere_grid` makes them.
    """

    kind: str
    rows: int
    columns: int

    @property
    def degree(self) -> int:
        """The highest degree for which analysis after synthesis gives coefficients back, whatever they are."""
        along = {"gauss": self.rows - 1, "driscoll-healy": (self.rows - 2) // 2}
        return min(along.get(self.kind, (self.rows - 1) // 2), (self.columns - 1) // 2)

    @property
    def theta(self) -> np.ndarray:
        """Angles from the north pole, (rows)."""
        return GRIDS[self.kind](self.rows)[0]

    @property
    def phi(self) -> np.ndarray:
        """Longitudes, (columns)."""
        return 2 * np.pi * np.arange(self.columns) / self.columns

    @property
    def weights(self) -> np.ndarray:
        """What each sample of a row counts for in an integral over the sphere, (rows); all samples together make 4π."""
        return GRIDS[self.kind](self.rows)[1] * 2 * np.pi / self.columns

    @property
    def points(self) -> np.ndarray:
        """Unit vectors (rows, columns, 3)."""
        return unit_vectors(*np.meshgrid(self.theta, self.phi, indexing="ij"))


def unit_vectors(theta: Any, phi: Any) -> np.ndarray:
    """(x, y, z) of angles from the north pole and longitudes, (..., 3)."""
    return np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta) + 0 * phi], -1)


def sphere_grid(size: int | Sequence[int] | SphereGrid, kind: str = "equiangular") -> SphereGrid:
    """The grid of that size and kind.

    Args:
        size: n for n × n, or (rows, columns), at least 2 × 1; a grid stays what it is.   kind: a name in `GRIDS`.

    Raises:
        ArgumentError: another kind, or a size without a grid.

    Example:
        >>> float(sphere_grid(8).weights.sum() * 8 / np.pi).__round__(12)
        4.0
        >>> sphere_grid((16, 32), "gauss").degree
        15
    """
    if isinstance(size, SphereGrid):
        return size
    if kind not in GRIDS:
        raise ArgumentError.of("sphere_grid", f"a grid among {', '.join(GRIDS)}", repr(kind), "use 'equiangular'")
    rows, columns = functional.numbers("resolution", size, 2, 1)
    if rows < 2:
        raise ArgumentError.of("sphere_grid", "at least two rows", str(rows), "give a larger resolution")
    return SphereGrid(kind, rows, columns)


def two_grids(resolution: Any, out_resolution: Any, grid: str, out_grid: str | None) -> tuple[SphereGrid, SphereGrid]:
    """The grids of a layer's input and result; a result without a size or kind of its own has those of the input."""
    first = sphere_grid(resolution, grid)
    return first, sphere_grid(resolution if out_resolution is None else out_resolution, out_grid or first.kind)


def torus_weights(n: int) -> np.ndarray:
    """Weights (2(n − 1)) of the equiangular rows continued over the south pole and back: integrals of sin θ times waves there.

    Formula: `w = Re of the inverse DFT of W`, `W(p) = 2/(1 − p²)` for even p, ∓iπ/2 at p = ±1, else 0. Folded at the south
    pole they are the weights of the grid, for functions of every spin: a function on rows n ... 2n − 3 has the sign of its own
    continuation.

    Source: Huffenberger and Wandelt, Fast and exact spin-s spherical harmonic transforms (2010).

    Example:
        >>> torus_weights(4).round(8)
        array([ 0.11111111,  0.89789429,  0.89789429,  0.11111111, -0.0090054 ,
               -0.0090054 ])
    """
    p = np.fft.fftfreq(2 * (n - 1), 1 / (2 * (n - 1))).round().astype(int)
    wave = np.where(p % 2 == 0, 2 / (1 - np.where(p % 2 == 0, p, 0) ** 2), 0).astype(complex)
    wave[p == 1], wave[p == -1] = -0.5j * math.pi, 0.5j * math.pi
    return np.fft.ifft(wave).real
