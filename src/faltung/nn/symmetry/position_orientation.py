"""Convolution over positions and directions: two depthwise steps whose kernels see invariants of pairs only."""

import itertools
import math
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, Example, Layer, Symmetry
from faltung.nn.symmetry.directions import cutoff, directions, polynomials, position_invariants
from faltung.nn.symmetry.edges import arrived, lengths, offsets
from faltung.nn.symmetry.motions import directions_moved


class Kernels(nn.Module):
    """The two small networks of invariants, for offsets of any kind, and the grid of directions that they are taken for.

    Args: as for `PositionOrientationConv`.
    """

    grid: Tensor

    def __init__(
        self,
        channels: int,
        count: int,
        radius: float,
        dims: int,
        hidden: int,
        degree: int,
        arrangement: str,
        device: Any,
        dtype: Any,
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
        self.radius, factory = float(radius), {"device": device, "dtype": dtype}
        made = torch.tensor(directions(dims, self.count, arrangement))
        self.register_buffer("grid", made.to(device=device, dtype=dtype or torch.get_default_dtype()), persistent=False)
        first = sum(2**d for d in range(1, self.degree + 1))
        self.of_positions = _network(first, self.hidden, self.channels, factory)
        self.of_directions = _network(self.degree, self.hidden, self.channels, factory)

    def over_positions(self, rel: Tensor) -> Tensor:
        """For offsets (*, dims) the kernel (*, directions, channels)."""
        found: Tensor = self.of_positions[-1](self.basis_of_positions(rel))
        return found

    def over_directions(self) -> Tensor:
        """The kernel (directions, directions, channels), divided by how many there are."""
        found: Tensor = self.of_directions[-1](self.basis_of_directions())
        return found

    def basis_of_positions(self, rel: Tensor) -> Tensor:
        """What the kernel over points is a linear map of, (*, directions, hidden): the network before its last map, the window."""
        flat = rel.reshape(-1, rel.shape[-1])
        found = polynomials(position_invariants(flat, self.grid), self.degree)
        for step in list(self.of_positions)[:-1]:
            found = step(found)
        found = found * cutoff(lengths(flat)[0] / self.radius)[:, None, None]
        return found.reshape(*rel.shape[:-1], self.count, self.hidden)

    def basis_of_directions(self) -> Tensor:
        """The same of the kernel over directions, (directions, directions, hidden), divided by how many there are."""
        found = polynomials((self.grid @ self.grid.T).unsqueeze(-1), self.degree)
        for step in list(self.of_directions)[:-1]:
            found = step(found)
        return found / self.count

    def pair(self, rel: Tensor, o: int) -> Tensor:
        """The kernel over positions at one offset and direction, by its formula: for definitions."""
        grid = self.grid
        u = rel.square().sum() ** 0.5 / self.radius
        along = (rel * grid[o]).sum()
        across = rel[1] * grid[o, 0] - rel[0] * grid[o, 1] if len(rel) == 2 else (rel - along * grid[o]).norm()
        window = 1 - 28 * u**6 + 48 * u**7 - 21 * u**8 if u < 1 else 0 * u
        found: Tensor = window * self.of_positions(self._terms([along, across]))
        return found

    def turn(self, o: int, p: int) -> Tensor:
        """The kernel over directions at one pair of them, by its formula: for definitions."""
        found: Tensor = self.of_directions(self._terms([(self.grid[o] * self.grid[p]).sum()])) / self.count
        return found

    def _terms(self, values: list[Tensor]) -> Tensor:
        powers = (itertools.product(values, repeat=d) for d in range(1, self.degree + 1))
        return torch.stack([math.prod(p[1:], start=p[0]) for power in powers for p in power])

    def parameter_count(self) -> int:
        """How many numbers are learnt, by formula."""
        first, h, c = sum(2**d for d in range(1, self.degree + 1)), self.hidden, self.channels
        return sum(n * h + h + h * h + h + h * c for n in (first, self.degree))


class PositionOrientationConv(Layer):
    """A convolution of features on points and a grid of directions, equivariant to motions of space, by two depthwise steps.

    Formula: over points `f₁(i, o) = Σ over j of w(|r| / radius)·k₁(invariants of (r, o)) ⊙ f(j, o)` with `r = p_j − p_i`, then over
    directions `f₂(i, o) = (1/O) Σ over o' of k₂(o·o') ⊙ f₁(i, o') + bias`. Both kernels are small networks of polynomials of the
    invariants, and w falls smoothly to 0 at the radius. Without edges a point is a neighbour of itself.

    Shapes: features (batch, points, directions, channels) and positions (batch, points, dims), every pair within the radius; or
    features (points, directions, channels), positions (points, dims) and edges (2, count), int64, rows of senders j and
    receivers i, for clouds of any sizes side by side. Returns the features' shape.

    Args:
        channels: at least 1.   count: directions, at least 1; see `faltung.nn.symmetry.directions`.
        radius: beyond it points do not meet, in the unit of the positions, above 0.
        dims: 2 or 3. Default 3.   hidden: width of the small networks. Default 64.   degree: of the polynomials, 1 to 3. Default 3.
        device, dtype: of the parameters.   arrangement: of the directions, "solid" (default) or "repelled".

    Raises:
        ArgumentError: settings that name no layer, edges that name no points.

    Error: exact for translations, permutations, and rotations that move the grid of directions to itself (multiples of 1/count of a
    circle; the solid's for 6, 8, 12 and 20); approximate for others, the closer the finer the grid.
    Cost: for each edge, or each pair, a kernel for each direction from a network of `hidden`² products, then as many products a
    channel; layers on the same points can share kernels, see `kernels` and `mix`, or the networks before their last maps, see
    `share_basis`, `basis` and `kernels_of`.
    Source: Bekkers et al., Fast, expressive SE(n) equivariant networks through weight-sharing in position-orientation space (2024).

    Example:
        >>> layer = PositionOrientationConv(4, 12, 1.5)
        >>> layer(torch.randn(2, 5, 12, 4), torch.randn(2, 5, 3)).shape
        torch.Size([2, 5, 12, 4])
        >>> layer(torch.randn(5, 12, 4), torch.randn(5, 3), torch.tensor([[0, 1, 4], [1, 0, 2]])).shape
        torch.Size([5, 12, 4])
    """

    name = "position-orientation-conv"
    summary = "a convolution over points and directions with kernels of invariants, for SE(2) and SE(3)"
    source = "Bekkers et al., Fast, expressive SE(n) equivariant networks (2024)"
    cost = "points · (1 + hidden² / channels) + directions"
    dims = ()

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
        arrangement: str = "solid",
    ) -> None:
        super().__init__()
        self.networks = Kernels(channels, count, radius, dims, hidden, degree, arrangement, device, dtype)
        self.channels, self.count, self.space = self.networks.channels, self.networks.count, dims
        self.bias = nn.Parameter(torch.zeros(self.channels, device=device, dtype=dtype))

    @property
    def grid(self) -> Tensor:
        """The directions (count, dims)."""
        return self.networks.grid

    def kernels(self, features: Tensor, positions: Tensor, edges: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Kernels over points, (batch, receivers, senders, o, channels) or (edges, o, channels); directions (o, o', channels)."""
        rel = offsets(self, features, positions, edges, self.space, (self.count, self.channels))
        return self.networks.over_positions(rel), self.networks.over_directions()

    def basis(self, features: Tensor, positions: Tensor, edges: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What both kernels are linear maps of, as `kernels` but with `hidden` in the place of channels."""
        rel = offsets(self, features, positions, edges, self.space, (self.count, self.channels))
        return self.networks.basis_of_positions(rel), self.networks.basis_of_directions()

    def kernels_of(self, basis: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """This layer's kernels from a basis, its own or that of a layer that it shares one with."""
        return self.networks.of_positions[-1](basis[0]), self.networks.of_directions[-1](basis[1])

    def mix(self, features: Tensor, kernels: tuple[Tensor, Tensor], edges: Tensor | None = None) -> Tensor:
        """The result for kernels that are known."""
        return torch.einsum("opc,...pc->...oc", kernels[1], self._gathered(features, kernels[0], edges)) + self.bias

    def _gathered(self, features: Tensor, kernel: Tensor, edges: Tensor | None) -> Tensor:
        """The step over points."""
        if edges is None:
            return torch.einsum("nijoc,njoc->nioc", kernel, features)
        return arrived(kernel * features.index_select(0, edges[0]), edges, features.shape[0])

    def forward(self, features: Tensor, positions: Tensor, edges: Tensor | None = None) -> Tensor:
        return self.mix(features, self.kernels(features, positions, edges), edges)

    @torch.no_grad()
    def calibrate(self, features: Tensor, positions: Tensor, edges: Tensor | None = None) -> Self:
        """Scale both kernels so that on these points each step keeps the standard deviation, as the published first step does.

        Returns:
            The layer.

        Raises:
            ArgumentError: features, or results, that are all alike.
        """
        x, (first, second) = features, self.kernels(features, positions, edges)
        for network, step in (
            (self.networks.of_positions, lambda f: self._gathered(f, first, edges)),
            (self.networks.of_directions, lambda f: torch.einsum("opc,...pc->...oc", second, f)),
        ):
            y = step(x)
            ratio = (x.std() / y.std()).item()
            if not 0 < ratio < math.inf:
                raise ArgumentError.of(
                    "calibrate", "features that differ from point to point", f"deviations {x.std():.2g} and {y.std():.2g}",
                    "give more",
                )  # fmt: skip
            network[-1].weight.mul_(ratio)
            x = y * ratio
        return self

    def definition(self, *inputs: Any) -> Tensor:
        """Pair by pair and direction by direction."""
        features, positions = inputs
        rows = []
        for n, points in enumerate(positions):
            for i in range(positions.shape[1]):
                for o in range(self.count):
                    total = self.bias + 0
                    for p in range(self.count):
                        own = [
                            self.networks.pair(points[j] - points[i], p) * features[n, j, p]
                            for j in range(positions.shape[1])
                        ]
                        total = total + self.networks.turn(o, p) * sum(own, self.bias * 0)
                    rows.append(total)
        return torch.stack(rows).reshape(features.shape) if rows else features

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        return self.networks.parameter_count() + self.channels

    @property
    def claims(self) -> frozenset[str]:
        return super().claims | {LINEAR}

    def symmetries(self) -> Iterable[Symmetry]:
        yield from directions_moved(self.grid, np.random.default_rng(0))

    def random_symmetries(self, random: np.random.Generator) -> Iterable[Symmetry]:
        yield from directions_moved(self.grid, random)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 2, "count": 6, "radius": 3.0, "hidden": 3, "degree": 2}, ((2, 3, 6, 2), (2, 3, 3)))
        yield Example({"channels": 1, "count": 4, "radius": 2.0, "dims": 2, "hidden": 2}, ((1, 3, 4, 1), (1, 3, 2)))


class PositionOrientationBlock(Layer):
    """A residual block on points and directions: convolution, layer norm, two mixes of channels with a GELU between, a scale.

    Formula: `f + s ⊙ W₂ GELU(W₁ norm(conv(f)) + b₁) + b₂`, s for each channel, 1 throughout where layer_scale is None.

    Shapes: as for `PositionOrientationConv`.

    Args:
        channels, count, radius, dims, hidden, degree, device, dtype, arrangement: as for `PositionOrientationConv`.
        expansion: hidden channels for each channel. Default 4.   layer_scale: first s, or None for no scale. Default None.

    Raises:
        ArgumentError: settings that name no layer.

    Source: Bekkers et al., Fast, expressive SE(n) equivariant networks (2024); Liu et al., A ConvNet for the 2020s (2022).

    Example:
        >>> PositionOrientationBlock(4, 12, 1.5)(torch.randn(2, 5, 12, 4), torch.randn(2, 5, 3)).shape
        torch.Size([2, 5, 12, 4])
    """

    name = "position-orientation-block"
    summary = "a residual block on points and directions"
    source = "Bekkers et al., Fast, expressive SE(n) equivariant networks (2024)"
    cost = "that of position-orientation-conv + 2 · expansion · channels"
    dims = ()

    def __init__(
        self,
        channels: int,
        count: int,
        radius: float,
        dims: int = 3,
        hidden: int = 64,
        degree: int = 3,
        expansion: int = 4,
        layer_scale: float | None = None,
        device: Any = None,
        dtype: Any = None,
        arrangement: str = "solid",
    ) -> None:
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        self.conv = PositionOrientationConv(channels, count, radius, dims, hidden, degree, device, dtype, arrangement)
        (self.expansion,) = functional.numbers("expansion", expansion, 1, 1)
        c = self.conv.channels
        self.after = nn.Sequential(
            nn.LayerNorm(c, **factory), nn.Linear(c, self.expansion * c, **factory), nn.GELU(),
            nn.Linear(self.expansion * c, c, **factory),
        )  # fmt: skip
        made = None if layer_scale is None else nn.Parameter(torch.full((c,), float(layer_scale), **factory))
        self.register_parameter("layer_scale", made)

    def forward(
        self,
        features: Tensor,
        positions: Tensor,
        edges: Tensor | None = None,
        basis: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """With a basis of `conv.basis`, that of another block too, kernels are made of it; positions are not looked at."""
        if basis is None:
            mixed = self.conv(features, positions, edges)
        else:
            mixed = self.conv.mix(features, self.conv.kernels_of(basis), edges)
        branch: Tensor = self.after(mixed)
        return features + (branch if self.layer_scale is None else branch * self.layer_scale)

    def definition(self, *inputs: Any) -> Tensor:
        x = self.conv.definition(*inputs)
        norm, widen, _, narrow = self.after
        centred = x - x.mean(-1, keepdim=True)
        x = centred / (centred.square().mean(-1, keepdim=True) + norm.eps) ** 0.5 * norm.weight + norm.bias
        x = x @ widen.weight.T + widen.bias
        x = x * (1 + torch.erf(x / 2**0.5)) / 2 @ narrow.weight.T + narrow.bias
        return inputs[0] + (x if self.layer_scale is None else x * self.layer_scale)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        c, wide = self.conv.channels, self.expansion * self.conv.channels
        return self.conv.parameter_count() + 2 * c * wide + wide + c + 2 * c + (0 if self.layer_scale is None else c)

    def symmetries(self) -> Iterable[Symmetry]:
        yield from directions_moved(self.conv.grid, np.random.default_rng(0))

    def random_symmetries(self, random: np.random.Generator) -> Iterable[Symmetry]:
        yield from directions_moved(self.conv.grid, random)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example(
            {"channels": 2, "count": 6, "radius": 3.0, "hidden": 2, "degree": 1, "expansion": 2},
            ((2, 3, 6, 2), (2, 3, 3)),
        )
        yield Example(
            {
                "channels": 3,
                "count": 3,
                "radius": 2.0,
                "dims": 2,
                "hidden": 2,
                "degree": 2,
                "layer_scale": 0.5,
                "expansion": 1,
            },
            ((1, 2, 3, 3), (1, 2, 2)),
        )


def _network(inputs: int, hidden: int, channels: int, factory: dict[str, Any]) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden, **factory), nn.GELU(), nn.Linear(hidden, hidden, **factory), nn.GELU(),
        nn.Linear(hidden, channels, bias=False, **factory),
    )  # fmt: skip
