"""Convolution over positions and directions: two depthwise steps whose kernels see invariants of pairs only."""

import itertools
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, Example, Layer
from faltung.nn.symmetry.directions import cutoff, directions, polynomials, position_invariants


class PositionOrientationConv(Layer):
    """A convolution of features on points and a grid of directions, equivariant to motions of space, by two depthwise steps.

    Formula: over points `f₁(i, o) = Σ over j of w(|r| / radius)·k₁(invariants of (r, o)) ⊙ f(j, o)` with `r = p_j − p_i`, then over
    directions `f₂(i, o) = (1/O) Σ over o' of k₂(o·o') ⊙ f₁(i, o') + bias`. Both kernels are small networks of polynomials of the
    invariants, and w falls smoothly to 0 at the radius. A point is a neighbour of itself.

    Shapes: features (batch, points, directions, channels), positions (batch, points, dims), returns the features' shape.

    Args:
        channels: at least 1.   count: directions, at least 1; see `faltung.nn.symmetry.directions`.
        radius: beyond it points do not meet, in the unit of the positions, above 0.
        dims: 2 or 3. Default 3.   hidden: width of the small networks. Default 64.   degree: of the polynomials, 1 to 3. Default 3.
        device, dtype: of the parameters.

    Raises:
        ArgumentError: settings that name no layer.

    Error: exact for translations, permutations, and rotations that move the grid of directions to itself (multiples of 1/count of a
    circle; the solid's for 6, 8, 12 and 20); approximate for others, the closer the finer the grid.
    Cost: for each sample points²·directions kernels from a network of `hidden`² products, then as many products a channel.
    Source: Bekkers et al., Fast, expressive SE(n) equivariant networks through weight-sharing in position-orientation space (2024).

    Example:
        >>> layer = PositionOrientationConv(4, 12, 1.5)
        >>> layer(torch.randn(2, 5, 12, 4), torch.randn(2, 5, 3)).shape
        torch.Size([2, 5, 12, 4])
    """

    name = "position-orientation-conv"
    summary = "a convolution over points and directions with kernels of invariants, for SE(2) and SE(3)"
    source = "Bekkers et al., Fast, expressive SE(n) equivariant networks (2024)"
    cost = "points · (1 + hidden² / channels) + directions"
    dims = ()

    grid: Tensor

    def __init__(
        self,
        channels: int,
        count: int,
        radius: float,
        dims: int = 3,
        hidden: int = 64,
        degree: int = 3,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.channels, self.count, self.hidden = functional.numbers(
            "channels, count, hidden", (channels, count, hidden), 3, 1
        )
        (self.degree,) = functional.numbers("degree", degree, 1, 1)
        if not 0 < radius < math.inf or self.degree > 3:
            raise ArgumentError.of(
                "PositionOrientationConv",
                "a radius above 0 and a degree from 1 to 3",
                f"{radius!r}, {degree!r}",
                "correct them",
            )
        self.radius, self.space = float(radius), dims
        factory = {"device": device, "dtype": dtype}
        made = torch.tensor(directions(dims, self.count))
        self.register_buffer("grid", made.to(device=device, dtype=dtype or torch.get_default_dtype()), persistent=False)
        first = sum(2**d for d in range(1, self.degree + 1))
        self.of_positions = _network(first, self.hidden, self.channels, factory)
        self.of_directions = _network(self.degree, self.hidden, self.channels, factory)
        self.bias = nn.Parameter(torch.zeros(self.channels, **factory))

    def kernels(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """The kernels over points (batch, points, points, directions, channels) and over directions (o, o', channels)."""
        batch, points, dims = positions.shape
        rel = (positions[:, None] - positions[:, :, None]).reshape(-1, dims)  # of j as seen from i
        square = rel.square().sum(-1)
        distance = torch.where(square > 0, torch.where(square > 0, square, 1).sqrt(), 0)
        features = polynomials(position_invariants(rel, self.grid), self.degree)
        first = self.of_positions(features) * cutoff(distance / self.radius)[:, None, None]
        second = self.of_directions(polynomials((self.grid @ self.grid.T).unsqueeze(-1), self.degree))
        return first.reshape(batch, points, points, self.count, self.channels), second

    def forward(self, features: Tensor, positions: Tensor) -> Tensor:
        self.expect(features, None, 2)
        if features.shape[2:] != (self.count, self.channels) or positions.shape != (*features.shape[:2], self.space):
            raise ArgumentError.of(
                "PositionOrientationConv",
                f"features (batch, points, {self.count}, {self.channels}) and positions (batch, points, {self.space})",
                f"{tuple(features.shape)} and {tuple(positions.shape)}", "match them",
            )  # fmt: skip
        first, second = self.kernels(positions)
        over_points = torch.einsum("nijoc,njoc->nioc", first, features)
        return torch.einsum("opc,nipc->nioc", second, over_points) / self.count + self.bias

    def definition(self, *inputs: Any) -> Tensor:
        """Pair by pair and direction by direction."""
        features, positions = inputs
        grid, dims = self.grid, self.space
        batch, points = positions.shape[:2]

        def terms(values: list[Tensor]) -> Tensor:
            powers = (itertools.product(values, repeat=d) for d in range(1, self.degree + 1))
            return torch.stack([math.prod(p[1:], start=p[0]) for power in powers for p in power])

        rows = []
        for n in range(batch):
            for i in range(points):
                for o in range(self.count):
                    total = self.bias * 0
                    for p in range(self.count):
                        own = self.bias * 0
                        for j in range(points):
                            rel = positions[n, j] - positions[n, i]
                            u = rel.square().sum() ** 0.5 / self.radius
                            along = (rel * grid[p]).sum()
                            across = (
                                rel[1] * grid[p, 0] - rel[0] * grid[p, 1]
                                if dims == 2
                                else (rel - along * grid[p]).norm()
                            )
                            window = 1 - 28 * u**6 + 48 * u**7 - 21 * u**8 if u < 1 else 0 * u
                            own = own + window * self.of_positions(terms([along, across])) * features[n, j, p]
                        total = total + self.of_directions(terms([(grid[o] * grid[p]).sum()])) * own
                    rows.append(total / self.count + self.bias)
        return torch.stack(rows).reshape(features.shape) if rows else features

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        first, h, c = sum(2**d for d in range(1, self.degree + 1)), self.hidden, self.channels
        return sum(n * h + h + h * h + h + h * c for n in (first, self.degree)) + c

    @property
    def claims(self) -> frozenset[str]:
        return super().claims | {LINEAR}

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 2, "count": 6, "radius": 3.0, "hidden": 3, "degree": 2}, ((2, 3, 6, 2), (2, 3, 3)))
        yield Example({"channels": 1, "count": 4, "radius": 2.0, "dims": 2, "hidden": 2}, ((1, 3, 4, 1), (1, 3, 2)))


def _network(inputs: int, hidden: int, channels: int, factory: dict[str, Any]) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, hidden, **factory), nn.GELU(), nn.Linear(hidden, hidden, **factory), nn.GELU(),
        nn.Linear(hidden, channels, bias=False, **factory),
    )  # fmt: skip
