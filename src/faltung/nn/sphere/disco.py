"""Local convolution on the sphere by taps on the sphere itself: `DiscoConv`."""

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Symmetry, rolled, uniform_bias
from faltung.nn.sphere.base import SphereLayer
from faltung.nn.sphere.grid import SphereGrid, two_grids
from faltung.nn.sphere.transform import wave_table, wide


def hats(radius: np.ndarray, azimuth: np.ndarray, rings: int, points: int, reach: float) -> np.ndarray:
    """Piecewise linear functions about the pole, (taps, ...): one at the centre, `points` on each of rings − 1 circles.

    Along the radius they are hats of width reach / rings, 0 from `reach` on; around the circle hats of width 2π / points.
    """
    step, arc = reach / rings, 2 * math.pi / points
    along = [np.maximum(0, 1 - abs(radius / step - k)) for k in range(rings)]
    found = [along[0]]
    for k in range(1, rings):
        for j in range(points):
            apart = abs((azimuth - j * arc + math.pi) % (2 * math.pi) - math.pi)
            found.append(along[k] * (np.maximum(0, 1 - apart / arc) if points > 1 else 1.0))
    return np.stack(found)


@lru_cache(maxsize=16)
def local_taps(grid: SphereGrid, out_grid: SphereGrid, rings: int, points: int, reach: float) -> np.ndarray:
    """What each sample counts for at the places of column 0: (taps, out rows, rows, columns); a constant keeps its value."""
    rows = []
    for theta in out_grid.theta:
        c, s = math.cos(theta), math.sin(theta)
        local = grid.points @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])  # Ry(θ)⁻¹ q
        radius = np.arctan2(np.hypot(local[..., 0], local[..., 1]), local[..., 2])
        rows.append(
            hats(radius, np.arctan2(local[..., 1], local[..., 0]), rings, points, reach) * grid.weights[:, None]
        )
    found = np.stack(rows, 1)
    total = found.sum((2, 3), keepdims=True)
    if (total < 1e-12 * grid.weights.max()).any():
        raise ArgumentError.of(
            "DiscoConv",
            "samples under every tap",
            f"a reach of {reach:.3f} for {rings} rings, where there are none",
            "enlarge reach",
        )
    return found / total


class DiscoConv(SphereLayer):
    """A local convolution on the sphere: continuous filters about each place, integrals by the grid's quadrature.

    Formula: `y(p) = b + Σ over taps t and channels of w[t] ∫ ψ_t(R_p⁻¹ q) x(q) dq`, ψ_t hats of mean 1 about the pole and
    R_p = Rz(φ) Ry(θ), which takes the pole to p. With points=1 filters are round and no direction matters: equivariance is as
    good as quadrature. With more, directions are taken from north at each place: longitudes roll exactly, other turns change
    the frame, as on every map; use spins or `S2Conv` where that hurts.

    Shapes: input (batch, in, rows, columns), real, returns (batch, out, its rows, its columns); weight (out, in, taps), taps
    1 + (rings − 1)·points.

    Args:
        in_channels, out_channels: at least 1.   resolution, out_resolution: n for n × n, or (rows, columns); the result's columns
            divide the input's. Default: the same.   rings: radial hats, the centre among them. Default 3.
        points: hats around each ring. Default 1, round filters.
        reach: angle where filters end, radians in (0, π]. Default: `rings` steps of the input's rows.
        grid, out_grid: as for `SphericalConv`.   bias: default True.   dtype: real.

    Raises:
        ArgumentError: settings that name no layer, a reach within which there are no samples.

    Error: quadrature of filters with kinks; falls with the resolution. Constants are kept exactly.
    Cost: taps·rows·out rows products for each order.   Memory: a table of that many complex numbers.
    Source: as below.

    Example:
        >>> DiscoConv(1, 4, (16, 32), points=4)(torch.randn(2, 1, 16, 32)).shape
        torch.Size([2, 4, 16, 32])
    """

    name = "disco-conv"
    summary = "local convolution on the sphere with continuous filters about each place"
    source = (
        "Ocampo, Price and McEwen, Scalable and equivariant spherical CNNs by discrete-continuous convolutions (2023)"
    )
    cost = "taps · rows + in · taps"

    waves: Tensor
    there: Tensor
    back: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, resolution: Any, out_resolution: Any = None, rings: int = 3, points: int = 1,
        reach: float | None = None, grid: str = "equiangular", out_grid: str | None = None, bias: bool = True,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.in_channels, self.out_channels = functional.numbers(
            "in_channels, out_channels", (in_channels, out_channels), 2, 1
        )
        self.grid, self.out_grid = two_grids(resolution, out_resolution, grid, out_grid)
        self.rings, self.points = functional.numbers("rings, points", (rings, points), 2, 1)
        self.reach = self.rings * math.pi / self.grid.rows if reach is None else float(reach)
        if not 0 < self.reach <= math.pi:
            raise ArgumentError.of(
                "DiscoConv", "a reach in (0, π] radians", repr(reach), "leave it out for steps of rows"
            )
        if self.grid.columns % self.out_grid.columns:
            raise ArgumentError.of(
                "DiscoConv",
                "columns that the result's divide",
                f"{self.grid.columns} and {self.out_grid.columns}",
                "choose a divisor",
            )
        factory = {"device": device, "dtype": (dtype or torch.get_default_dtype()).to_real()}
        table = local_taps(self.grid, self.out_grid, self.rings, self.points, self.reach)
        self.taps = len(table)
        spectrum = np.fft.rfft(table).conj().transpose(3, 2, 0, 1)  # a correlation along longitudes
        self.keep(
            "waves", np.stack([spectrum.real, spectrum.imag]).reshape(2, len(spectrum), self.grid.rows, -1), **factory
        )
        n = self.grid.columns
        waves = wave_table(n, n // 2, half=True, conjugate=True, real=True)
        self.keep("there", waves.reshape(-1, n), **factory)
        once = np.where((np.arange(n // 2 + 1) == 0) | (2 * np.arange(n // 2 + 1) == n), 1.0, 2.0) / n
        back = (waves * once[:, None, None])[:, :, :: n // self.out_grid.columns]
        self.keep("back", back.reshape(-1, self.out_grid.columns), **factory)
        self.weight = nn.Parameter(torch.empty(self.out_channels, self.in_channels, self.taps, **factory))
        nn.init.normal_(self.weight, std=1 / math.sqrt(self.in_channels * self.taps))
        self.bias = uniform_bias(self.out_channels, self.in_channels * self.taps, factory) if bias else None

    def forward(self, input: Tensor) -> Tensor:
        x = self.samples(input, self.in_channels, (0,), self.grid, True)[:, :, 0]
        batch, channels = x.shape[:2]
        rows = self.out_grid.rows
        with wide(x):
            planes = torch.matmul(self.there, x.reshape(-1, self.grid.columns).T)
            planes = planes.reshape(self.grid.columns // 2 + 1, 2, batch * channels, self.grid.rows)
            orders = torch.complex(planes[:, 0], planes[:, 1])
            found = torch.bmm(orders, torch.complex(self.waves[0], self.waves[1]))
            each = found.reshape(found.shape[0], batch, channels * self.taps, rows)
            kernel = self.weight.flatten(1).to(each.dtype)
            mixed = torch.matmul(kernel, each)  # (orders, batch, out, rows)
            both = torch.stack([mixed.real, mixed.imag], 1).flatten(0, 1)
            y = torch.matmul(both.flatten(1).T, self.back).reshape(
                batch, self.out_channels, rows, self.out_grid.columns
            )
            return y if self.bias is None else y + self.bias[:, None, None]

    def definition(self, *inputs: Any) -> Tensor:
        """By the sum over all samples, place by place."""
        (x,) = inputs
        y = x.new_zeros(x.shape[0], self.out_channels, self.out_grid.rows, self.out_grid.columns)
        for i, theta in enumerate(self.out_grid.theta):
            for j, phi in enumerate(self.out_grid.phi):
                c, s = math.cos(theta), math.sin(theta)
                north = np.array([[c * math.cos(phi), -math.sin(phi), s * math.cos(phi)],
                                  [c * math.sin(phi), math.cos(phi), s * math.sin(phi)], [-s, 0, c]])  # fmt: skip
                local = self.grid.points @ north
                radius = np.arctan2(np.hypot(local[..., 0], local[..., 1]), local[..., 2])
                taps = hats(radius, np.arctan2(local[..., 1], local[..., 0]), self.rings, self.points, self.reach)
                taps = taps * self.grid.weights[:, None]
                mean = torch.tensor(taps / taps.sum((1, 2), keepdims=True)).to(x)
                y[:, :, i, j] = torch.einsum("oct,trs,bcrs->bo", self.weight, mean, x)
        return y if self.bias is None else y + self.bias[:, None, None]

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], self.out_channels, self.out_grid.rows, self.out_grid.columns)

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    def parameter_count(self) -> int:
        taps = 1 + (self.rings - 1) * self.points
        return self.out_channels * self.in_channels * taps + (0 if self.bias is None else self.out_channels)

    def symmetries(self) -> Iterable[Symmetry]:
        step = self.grid.columns // self.out_grid.columns
        yield rolled(step, 1, step)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"in_channels": 2, "out_channels": 1, "resolution": 6, "rings": 2}, ((2, 2, 6, 6),))
        fewer = {
            "out_resolution": (5, 4),
            "rings": 2,
            "points": 3,
            "grid": "midpoint",
            "out_grid": "gauss",
            "bias": False,
        }
        yield Example(
            {"in_channels": 1, "out_channels": 2, "resolution": (6, 8), **fewer, "reach": 1.2}, ((2, 1, 6, 8),)
        )
