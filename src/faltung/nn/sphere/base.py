"""What layers on the sphere share: how they take their numbers, what rotations do to samples, harmonics by another formula."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.nn.base import Layer, Symmetry, rolled
from faltung.nn.complex.base import ComplexLayer
from faltung.nn.sphere.grid import SphereGrid
from faltung.nn.sphere.transform import SpinSHT, at_least_single
from faltung.nn.sphere.wigner import small_d_by_sum

SCALED = "Esteves, Slotine and Makadia, Scaling spherical CNNs (2023)"
TURN = (0.9, 1.3, -0.4)  # the rotation that layers declare: about no axis of the grid


class SphereLayer(ComplexLayer):
    """A layer for samples (batch, channels · spins, rows, columns), spins next to each other; real numbers count as complex."""

    __repr__ = Layer.__repr__
    real = True  # whether numbers are
    _exact: dict[str, np.ndarray]

    @property
    def neutral(self) -> Tensor:
        """A tensor of the kind of numbers that the layer takes: tables tell the precision."""
        table = next((b for b in self.buffers() if b.is_floating_point()), Layer.neutral)
        return table.new_empty(0, dtype=table.dtype if self.real else table.dtype.to_complex())

    def keep(self, name: str, values: np.ndarray, device: Any, dtype: torch.dtype) -> None:
        """A table as a buffer, made anew from double precision wherever the layer's precision changes."""
        self.__dict__.setdefault("_exact", {})[name] = np.ascontiguousarray(values)
        self.register_buffer(name, torch.tensor(self._exact[name]).to(device=device, dtype=dtype), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        tables = self.__dict__.get("_exact", {})
        before = {name: getattr(self, name).dtype for name in tables}
        super()._apply(fn, recurse)
        for name, values in tables.items():
            now = getattr(self, name)
            if now.dtype != before[name]:
                setattr(self, name, torch.tensor(values).to(device=now.device, dtype=now.dtype))
        return self

    def samples(self, x: Tensor, channels: int, spins: Sequence[int], grid: SphereGrid, real: bool) -> Tensor:
        """The input as (batch, channels, spins, rows, columns), at least single precision, of the kind of numbers of the layer.

        Raises:
            ArgumentError: another shape, or complex numbers for a real layer.   DtypeError: no tensor of floating numbers.
        """
        Layer.expect(self, x, channels * len(spins), 2)
        if tuple(x.shape[2:]) != (grid.rows, grid.columns):
            raise ArgumentError.of(
                type(self).__name__,
                f"samples on {grid.rows} × {grid.columns} places",
                f"shape {tuple(x.shape)}",
                "match its resolution",
            )
        if real and x.is_complex():
            raise ArgumentError.of(
                type(self).__name__, "real numbers", f"a tensor of {x.dtype}", "build it with dtype=torch.complex64"
            )
        x = at_least_single(x)
        x = x if real or x.is_complex() else torch.complex(x, torch.zeros_like(x))
        return x.reshape(x.shape[0], channels, len(spins), grid.rows, grid.columns)


def turn(x: Tensor, rotation: Any, grid: SphereGrid, spins: Sequence[int] = (0,), degree: int | None = None) -> Tensor:
    """Samples of functions, turned as the sphere turns; degrees that the grid does not carry are lost.

    Shapes: (..., channels · spins, rows, columns), spins next to each other, returns the same; real samples of spin 0 stay real.

    Args:
        rotation: (α, β, γ), or a matrix (3, 3).   degree: those above are dropped. Default: what the grid carries.

    Example:
        >>> from faltung.nn.sphere import sphere_grid
        >>> grid = sphere_grid(8)
        >>> x, z = (torch.tensor(grid.points[None, ..., k]) for k in (0, 2))
        >>> bool(torch.allclose(turn(z, (0.0, np.pi / 2, 0.0), grid), x))
        True
    """
    sht = SpinSHT(grid, tuple(spins), degree=degree, device=x.device, dtype=x.dtype)
    flat = x.unflatten(-3, (-1, len(spins)))
    turned = sht.inverse(sht.rotate(sht(flat), rotation)).flatten(-4, -3)
    return turned if x.is_complex() else turned.real


def turns(
    source: SphereGrid,
    in_spins: Sequence[int],
    to: SphereGrid | None,
    out_spins: Sequence[int] = (0,),
    degree: int | None = None,
) -> Iterable[Symmetry]:
    """A rotation, and a roll along longitudes where both grids have it; to=None for results that stay."""
    yield Symmetry(
        f"rotation by {TURN}",
        lambda x: turn(x, TURN, source, in_spins),
        (lambda y: y) if to is None else (lambda y: turn(y, TURN, to, out_spins)),
    )
    if to is None:
        yield Symmetry("roll of longitudes", lambda x: x.roll(1, -1))
    elif source.columns % to.columns == 0:
        step = source.columns // to.columns
        yield rolled(step, 1, step)


@lru_cache(maxsize=64)
def harmonics_by_sum(grid: SphereGrid, spin: int, degree: int) -> np.ndarray:
    """Harmonics on the grid by Wigner's sums: (rows, columns, (degree + 1)²), complex. For low degrees, to judge by."""
    found = [
        np.outer(
            [
                (-1) ** spin * math.sqrt((2 * l + 1) / (4 * math.pi)) * small_d_by_sum(l, m, -spin, t)
                for t in grid.theta
            ],
            np.exp(1j * m * grid.phi),
        )
        for l in range(degree + 1)
        for m in range(-l, l + 1)
    ]
    return np.stack(found, -1)


def analysed_by_sum(x: Tensor, grid: SphereGrid, spins: Sequence[int], degree: int) -> Tensor:
    """Coefficients (batch, channels, spins, (degree + 1)²) of (batch, channels, spins, rows, columns) by the integral itself."""
    kind = x.dtype.to_complex()
    found = []
    for n, s in enumerate(spins):
        waves = torch.tensor(harmonics_by_sum(grid, s, degree).conj() * grid.weights[:, None, None]).to(x.device, kind)
        found.append(torch.einsum("bcij,ijk->bck", x[:, :, n].to(kind), waves))
    return torch.stack(found, 2)


def synthesised_by_sum(a: Tensor, grid: SphereGrid, spins: Sequence[int], degree: int) -> Tensor:
    """Samples (batch, channels, spins, rows, columns) of coefficients by their sum."""
    found = []
    for n, s in enumerate(spins):
        waves = torch.tensor(harmonics_by_sum(grid, s, degree)).to(a.device, a.dtype)
        found.append(torch.einsum("bck,ijk->bcij", a[:, :, n], waves))
    return torch.stack(found, 2)
