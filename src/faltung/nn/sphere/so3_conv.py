"""Correlation over rotations, from the sphere to SO(3) and on SO(3): `S2Conv`, `SO3Conv`."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Symmetry
from faltung.nn.sphere.base import TURN, analysed_by_sum, turn
from faltung.nn.sphere.conv import mixed
from faltung.nn.sphere.grid import SphereGrid, two_grids
from faltung.nn.sphere.rotations import (
    SOURCE,
    RotationLayer,
    lifting_table,
    low_twists,
    near_pole,
    rotation_table,
    sampled_rotations,
    turn_rotations,
    twist_tables,
)
from faltung.nn.sphere.transform import Transform, wide
from faltung.nn.sphere.wigner import angles_of, harmonics, rotation_matrix


class _Correlation(RotationLayer):
    """What both correlations share: the result's transform, its twists, weights on places or rotations."""

    weight: nn.Parameter
    bias: nn.Parameter | None
    untwist: Tensor
    places: Tensor

    def _result(self, grid: SphereGrid, degree: int, twists: int | None, factory: dict[str, Any]) -> None:
        (self.twists,) = functional.numbers("twists", 2 * degree + 1 if twists is None else twists, 1, 1)
        self.order = min(degree, (self.twists - 1) // 2)
        spins = tuple(-n for n in range(-self.order, self.order + 1))
        self.synthesis = Transform(grid, spins, degree, True, "synthesis", **factory)
        self.keep("untwist", twist_tables(self.twists, self.order)[1], **factory)

    def _spread(self, planes: Tensor) -> Tensor:
        """Planes of coefficients of all orders in γ as samples."""
        rings = self.synthesis.along(planes, "synthesis")
        return self.synthesis.back_around(torch.einsum("mpbcnr,pnqg->mqbcgr", rings, self.untwist))

    def _kernel(self) -> Tensor:
        """K, (out, orders, in, orders of the input, degree + 1), complex."""
        parts = torch.tensordot(
            self.weight, self.places, dims=([2], [0])
        )  # (out, in, plane, orders, source, degree + 1)
        return torch.complex(parts[:, :, 0], parts[:, :, 1]).permute(0, 2, 1, 3, 4)

    def parameter_count(self) -> int:
        return self.weight.numel() + (0 if self.bias is None else self.weight.shape[0])

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})


class S2Conv(_Correlation):
    """Correlation of a function on the sphere with a filter of any shape: a function on rotations, the lifting layer.

    Formula: `y(R) = b + Σ over taps p and channels of w[p] x(R p)`, p near the north pole, x continued between its samples by
    its harmonics; orders of γ above (twists − 1)/2 are dropped. Turn x, and y is turned: `y'(Q) = y(R⁻¹ Q)`, exactly.

    Shapes: input (batch, in_channels, rows, columns), real, returns (batch, out_channels, twists, rows, columns) of the
    result; weight (out, in, 1 + rings·points): the pole, then ring by ring.

    Args:
        in_channels, out_channels: at least 1.   resolution, out_resolution: n for n × n, or (rows, columns). Default: the same.
        rings, points: taps about the pole, points on each ring. Defaults 2 and 8.
        reach: angle of the last ring, radians in (0, π]. Default: `rings` steps of the input's rows.
        twists: samples of γ. Default: 2·degree + 1, with which no order is lost.   grid, out_grid: as for `SphericalConv`.
        bias: a number for each output channel. Default True.   dtype: real.

    Raises:
        ArgumentError: settings that name no layer, samples on another grid.

    Error: exact quadrature, rounding only.
    Source: as below.

    Example:
        >>> S2Conv(1, 4, 8, twists=5)(torch.randn(2, 1, 8, 8)).shape
        torch.Size([2, 4, 5, 8, 8])
    """

    name = "s2-conv"
    summary = "correlation on the sphere with filters of any shape: a function on rotations"
    source = SOURCE
    cost = "in · orders + columns · orders / 2"

    def __init__(
        self, in_channels: int, out_channels: int, resolution: Any, out_resolution: Any = None, rings: int = 2, points: int = 8,
        reach: float | None = None, twists: int | None = None, grid: str = "equiangular", out_grid: str | None = None,
        bias: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.in_channels, self.out_channels = functional.numbers(
            "in_channels, out_channels", (in_channels, out_channels), 2, 1
        )
        self.grid, self.out_grid = two_grids(resolution, out_resolution, grid, out_grid)
        self.degree = min(self.grid.degree, self.out_grid.degree)
        self.taps = near_pole(*_near("S2Conv", rings, points, reach, self.grid))
        factory = {"device": device, "dtype": (dtype or torch.get_default_dtype()).to_real()}
        self.analysis = Transform(self.grid, (0,), self.degree, True, "analysis", **factory)
        self._result(self.out_grid, self.degree, twists, factory)
        table = lifting_table(self.degree, self.order, self.taps)
        self.keep("places", _by_tap(table[:, None]), **factory)
        self.weight, self.bias = _weights(self, len(self.taps), bias, factory)

    def forward(self, input: Tensor) -> Tensor:
        x = self.samples(input, self.in_channels, (0,), self.grid, True)
        with wide(x):
            y = self._spread(mixed(self.analysis.analyse(x), self._kernel(), False))
        return y if self.bias is None else y + self.bias[:, None, None, None]

    def definition(self, *inputs: Any) -> Tensor:
        """By the function's values at all R p, on so many twists that nothing is lost, of which the low orders are kept."""
        (x,) = inputs
        a = analysed_by_sum(x.unsqueeze(2), self.grid, (0,), self.degree)[:, :, 0]
        every = sampled_rotations(self.out_grid, 2 * self.degree + 1)
        y: Any = 0
        for t, (beta, alpha) in enumerate(self.taps):
            place = every @ np.array(
                [math.sin(beta) * math.cos(alpha), math.sin(beta) * math.sin(alpha), math.cos(beta)]
            )
            theta, phi = (
                np.arctan2(np.hypot(place[..., 0], place[..., 1]), place[..., 2]),
                np.arctan2(place[..., 1], place[..., 0]),
            )
            waves = torch.tensor(harmonics(self.degree, 0, theta, phi)).to(a)
            y = y + torch.einsum("oi,bik,grjk->bogrj", self.weight[..., t].to(a.dtype), a, waves).real
        y = low_twists(y, self.twists, self.order)
        return y if self.bias is None else y + self.bias.reshape(-1, 1, 1, 1)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], self.out_channels, self.twists, self.out_grid.rows, self.out_grid.columns)

    def symmetries(self) -> Iterable[Symmetry]:
        yield Symmetry(
            f"rotation by {TURN}", lambda x: turn(x, TURN, self.grid), lambda y: turn_rotations(y, TURN, self.out_grid)
        )

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"in_channels": 2, "out_channels": 1, "resolution": 6, "rings": 1, "points": 3}, ((2, 2, 6, 6),))
        few = {
            "out_resolution": (4, 5),
            "twists": 4,
            "grid": "midpoint",
            "out_grid": "gauss",
            "bias": False,
            "reach": 0.7,
        }
        yield Example({"in_channels": 1, "out_channels": 2, "resolution": 8, **few}, ((1, 1, 8, 8),))


class SO3Conv(_Correlation):
    """Correlation of a function on rotations with a filter of any shape, again a function on rotations.

    Formula: `y(R) = b + Σ over taps p and channels of w[p] x(R p)`, p rotations near the identity, Rz(α) Ry(β) Rz(δ − α): a
    place near the pole and a twist δ. x is continued between its samples by Wigner's functions. Turn x, and y is turned: exactly.

    Shapes: input (batch, in_channels, in_twists, rows, columns), real, returns (batch, out_channels, twists, rows, columns); weight
    (out, in, (1 + rings·points)·turns), the turns of a place next to each other.

    Args:
        in_channels, out_channels, resolution, out_resolution, rings, points, reach, grid, out_grid, bias, dtype: as for `S2Conv`.
        in_twists: samples of γ in the input. Default: 2·degree + 1 of its grid.   twists: in the result. Default: as in the
            input, at most 2·degree + 1.   turns: how many δ, equally spaced over the circle. Default: points.

    Raises:
        ArgumentError: settings that name no layer, samples on another grid.

    Error: exact quadrature, rounding only.
    Source: as below; Kostelec and Rockmore, FFTs on the rotation group (2008), for the transform.

    Example:
        >>> SO3Conv(4, 2, 8, 6, in_twists=5)(torch.randn(2, 4, 5, 8, 8)).shape
        torch.Size([2, 2, 5, 6, 6])
    """

    name = "so3-conv"
    summary = "correlation of functions on rotations with filters of any shape"
    source = SOURCE
    cost = "in · orders + columns · orders / 2"

    def __init__(
        self, in_channels: int, out_channels: int, resolution: Any, out_resolution: Any = None, rings: int = 1, points: int = 6,
        reach: float | None = None, in_twists: int | None = None, twists: int | None = None, turns: int | None = None,
        grid: str = "equiangular", out_grid: str | None = None, bias: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.in_channels, self.out_channels = functional.numbers(
            "in_channels, out_channels", (in_channels, out_channels), 2, 1
        )
        self.grid, self.out_grid = two_grids(resolution, out_resolution, grid, out_grid)
        self.degree = min(self.grid.degree, self.out_grid.degree)
        near = _near("SO3Conv", rings, points, reach, self.grid)
        (many,) = functional.numbers("turns", near[1] if turns is None else turns, 1, 1)
        deltas = [2 * math.pi * i / many for i in range(many)]
        self.taps = tuple((alpha, beta, delta - alpha) for beta, alpha in near_pole(*near) for delta in deltas)
        most = 2 * self.grid.degree + 1
        (self.in_twists,) = functional.numbers("in_twists", most if in_twists is None else in_twists, 1, 1)
        self.in_order = min(self.degree, (self.in_twists - 1) // 2)
        factory = {"device": device, "dtype": (dtype or torch.get_default_dtype()).to_real()}
        spins = tuple(-n for n in range(-self.in_order, self.in_order + 1))
        self.analysis = Transform(self.grid, spins, self.degree, True, "analysis", **factory)
        self.keep("twist", twist_tables(self.in_twists, self.in_order)[0], **factory)
        usual = min(self.in_twists, 2 * self.degree + 1)
        self._result(self.out_grid, self.degree, usual if twists is None else twists, factory)
        self.keep("places", _by_tap(rotation_table(self.degree, self.in_order, self.order, self.taps)), **factory)
        self.weight, self.bias = _weights(self, len(self.taps), bias, factory)

    def forward(self, input: Tensor) -> Tensor:
        x = self.expect_rotations(input, self.in_channels, self.in_twists, self.grid)
        with wide(x):
            rings = torch.einsum("mpbcgr,pgqn->mqbcnr", self.analysis.around(x), self.twist)
            y = self._spread(mixed(self.analysis.along(rings, "analysis"), self._kernel(), False))
        return y if self.bias is None else y + self.bias[:, None, None, None]

    def definition(self, *inputs: Any) -> Tensor:
        """By the function's values at all R p, on so many twists that nothing is lost, of which the low orders are kept."""
        (x,) = inputs
        spins = [-n for n in range(-self.in_order, self.in_order + 1)]
        gamma = torch.arange(self.in_twists, dtype=x.dtype, device=x.device) * (2 * math.pi / self.in_twists)
        parts = torch.stack(
            [(x * torch.polar(torch.ones_like(gamma), s * gamma)[:, None, None]).mean(2) for s in spins], 2
        )
        a = analysed_by_sum(parts, self.grid, spins, self.degree)
        every = sampled_rotations(self.out_grid, 2 * self.degree + 1)
        y: Any = 0
        for t, tap in enumerate(self.taps):
            q = every @ rotation_matrix(*tap)
            alpha, beta, twist = np.array([angles_of(r) for r in q.reshape(-1, 3, 3)]).T
            values = [harmonics(self.degree, s, beta, alpha) * np.exp(-1j * s * twist)[:, None] for s in spins]
            waves = torch.tensor(np.stack(values)).to(a).reshape(len(spins), *q.shape[:3], -1)
            y = y + torch.einsum("oi,bisk,sgrjk->bogrj", self.weight[..., t].to(a.dtype), a, waves).real
        y = low_twists(y, self.twists, self.order)
        return y if self.bias is None else y + self.bias.reshape(-1, 1, 1, 1)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], self.out_channels, self.twists, self.out_grid.rows, self.out_grid.columns)

    def symmetries(self) -> Iterable[Symmetry]:
        yield Symmetry(
            f"rotation by {TURN}",
            lambda x: turn_rotations(x, TURN, self.grid),
            lambda y: turn_rotations(y, TURN, self.out_grid),
        )

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"in_channels": 2, "out_channels": 1, "resolution": 4, "points": 2}, ((2, 2, 3, 4, 4),))
        few = {
            "out_resolution": (4, 5),
            "in_twists": 4,
            "twists": 5,
            "turns": 2,
            "points": 3,
            "bias": False,
            "reach": 0.6,
        }
        kinds = {"grid": "midpoint", "out_grid": "gauss"}
        yield Example({"in_channels": 1, "out_channels": 2, "resolution": 6, **few, **kinds}, ((1, 1, 4, 6, 6),))


def _near(who: str, rings: Any, points: Any, reach: float | None, grid: SphereGrid) -> tuple[int, int, float]:
    rings, points = functional.numbers("rings, points", (rings, points), 2, 1)
    angle = rings * math.pi / grid.rows if reach is None else reach
    if not 0 < angle <= math.pi:
        raise ArgumentError.of(
            who, "a reach in (0, π] radians", repr(reach), "leave it out for steps of the grid's rows"
        )
    return rings, points, angle


def _weights(layer: Any, taps: int, bias: bool, factory: dict[str, Any]) -> tuple[nn.Parameter, nn.Parameter | None]:
    """Normal weights whose squares sum to 1 over channels and taps, and a bias of 0."""
    weight = nn.Parameter(torch.empty(layer.out_channels, layer.in_channels, taps, **factory))
    nn.init.normal_(weight, std=1 / math.sqrt(layer.in_channels * taps))
    return weight, nn.Parameter(torch.zeros(layer.out_channels, **factory)) if bias else None


def _by_tap(table: np.ndarray) -> np.ndarray:
    """(orders, source, degree + 1, taps), complex, as (taps, plane, orders, source, degree + 1)."""
    return np.stack([table.real, table.imag]).transpose(4, 0, 1, 2, 3)
