"""Other resolutions, and invariants: `SpectralPool` keeps low degrees, `SpherePool` takes means over the sphere."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Symmetry
from faltung.nn.sphere.base import SCALED, SphereLayer, analysed_by_sum, synthesised_by_sum, turns
from faltung.nn.sphere.grid import sphere_grid, two_grids
from faltung.nn.sphere.transform import Transform, checked_spins, wide

INVARIANTS = ("mean", "power", "max")


class SpectralPool(SphereLayer):
    """The same functions on another grid: degrees that it cannot carry are dropped, none is added. It turns with the sphere.

    Formula: analysis, degrees up to the smaller of both grids', synthesis.

    Shapes: input (batch, channels · spins, rows, columns), returns (batch, channels · spins, its rows, its columns).

    Args:
        channels: at least 1.   spins: whole numbers; with (0,) numbers may be real.   resolution, out_resolution: of both grids.
        grid, out_grid: their kinds. Default "equiangular", and the same.   dtype: real or complex numbers. Default: torch's;
            complex of that precision wherever a spin is not 0.

    Raises:
        ArgumentError: settings that name no layer.

    Source: as below.

    Example:
        >>> SpectralPool(3, (0,), 16, 8)(torch.randn(1, 3, 16, 16)).shape
        torch.Size([1, 3, 8, 8])
    """

    name = "spectral-pool-on-sphere"
    summary = "functions on the sphere on a coarser or finer grid, by their degrees"
    source = SCALED
    cost = "columns / 2 + degree² / columns"

    def __init__(
        self, channels: int, spins: Sequence[int], resolution: Any, out_resolution: Any, grid: str = "equiangular",
        out_grid: str | None = None, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        (self.channels,) = functional.numbers("channels", channels, 1, 1)
        self.spins = checked_spins("SpectralPool", spins)
        self.grid, self.out_grid = two_grids(resolution, out_resolution, grid, out_grid)
        dtype = dtype or torch.get_default_dtype()
        self.real = self.spins == (0,) and not dtype.is_complex
        self.degree = min(self.grid.degree, self.out_grid.degree)
        factory = {"device": device, "dtype": dtype}
        self.analysis = Transform(self.grid, self.spins, self.degree, self.real, "analysis", **factory)
        self.synthesis = Transform(self.out_grid, self.spins, self.degree, self.real, "synthesis", **factory)

    def forward(self, input: Tensor) -> Tensor:
        x = self.samples(input, self.channels, self.spins, self.grid, self.real)
        with wide(x):
            return self.synthesis.synthesise(self.analysis.analyse(x)).flatten(1, 2)

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        x = x.reshape(x.shape[0], self.channels, len(self.spins), *x.shape[2:])
        a = analysed_by_sum(x, self.grid, self.spins, self.degree)
        y = synthesised_by_sum(a, self.out_grid, self.spins, self.degree).flatten(1, 2)
        return y.real if self.real else y

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (*inputs[0][:2], self.out_grid.rows, self.out_grid.columns)

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    def parameter_count(self) -> int:
        return 0

    def symmetries(self) -> Iterable[Symmetry]:
        return turns(self.grid, self.spins, self.out_grid, self.spins)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 2, "spins": (0,), "resolution": 8, "out_resolution": (4, 6)}, ((2, 2, 8, 8),))
        up = {"resolution": 4, "out_resolution": 6, "out_grid": "gauss"}
        yield Example({"channels": 1, "spins": (0, 1), **up}, ((2, 2, 4, 4),), complex=True)


class SpherePool(SphereLayer):
    """Numbers that no rotation changes: means over the sphere by quadrature, mean powers, or maxima over samples.

    Formula: "mean": `∫ f dΩ / 4π`, which is 0 for every function of another spin, so for spin 0 only; "power": `∫ |f|² dΩ /
    4π`, any spin; "max": the largest sample (modulus, for complex ones), which rotations keep as far as samples meet the maximum.

    Shapes: input (batch, channels · spins, rows, columns), returns (batch, channels · spins), real but for means of complex fields.

    Args:
        channels: at least 1.   resolution, grid: of the samples.   spins: next to each other. Default (0,).
        how: "mean" (default), "power", "max".   dtype: of the weights.

    Raises:
        ArgumentError: another way, the mean of another spin.

    Error: exact for functions within the grid's degree ("mean", "power").
    Source: as below.

    Example:
        >>> SpherePool(1, 8)(torch.full((1, 1, 8, 8), 3.0)).round(decimals=4)
        tensor([[3.]])
    """

    name = "sphere-pool"
    summary = "means and powers over the sphere, by quadrature"
    source = SCALED
    cost = "1 a sample of the input"

    area: Tensor

    def __init__(
        self, channels: int, resolution: Any, spins: Sequence[int] = (0,), how: str = "mean", grid: str = "equiangular",
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        (self.channels,) = functional.numbers("channels", channels, 1, 1)
        self.spins = checked_spins("SpherePool", spins)
        self.grid = sphere_grid(resolution, grid)
        if how not in INVARIANTS:
            raise ArgumentError.of("SpherePool", f"how among {', '.join(INVARIANTS)}", repr(how), "use 'mean'")
        if how == "mean" and any(self.spins):
            raise ArgumentError.of("SpherePool", "spin 0 for means", repr(spins), "use how='power' for other spins")
        self.how = how
        kind = (dtype or torch.get_default_dtype()).to_real()
        self.keep("area", self.grid.weights / (4 * np.pi), device, kind)

    def forward(self, input: Tensor) -> Tensor:
        self.samples(input, self.channels, self.spins, self.grid, real=False)
        if self.how == "max":
            return (input.abs() if input.is_complex() else input).amax((2, 3))
        values = input.abs().square() if self.how == "power" else input
        return (values.sum(3) * self.area.to(values.real.dtype)).sum(2)

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        values = {"mean": x, "power": (x * x.conj()).real, "max": x.abs() if x.is_complex() else x}[self.how]
        rows = [
            values[:, :, i, j] * (self.grid.weights[i] / (4 * np.pi))
            for i in range(x.shape[2])
            for j in range(x.shape[3])
        ]
        return torch.stack(rows).sum(0) if self.how != "max" else values.flatten(2).max(2).values

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0][:2])

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE} if self.how == "mean" else {PER_SAMPLE})

    def parameter_count(self) -> int:
        return 0

    def symmetries(self) -> Iterable[Symmetry]:
        rotation, roll = turns(self.grid, self.spins, None)
        if self.how == "mean":
            yield rotation
        yield roll

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 2, "resolution": (5, 6)}, ((2, 2, 5, 6),))
        yield Example({"channels": 1, "resolution": 4, "spins": (0, 1), "how": "power"}, ((2, 2, 4, 4),), complex=True)
        yield Example({"channels": 2, "resolution": 4, "how": "max"}, ((2, 2, 4, 4),))
