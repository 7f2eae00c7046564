"""Convolution over points with kernels of distance alone: features that no motion changes, in any number of dimensions."""

import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, Example, Layer, Symmetry
from faltung.nn.moves import same
from faltung.nn.symmetry.directions import cutoff, polynomials
from faltung.nn.symmetry.edges import arrived, lengths, offsets
from faltung.nn.symmetry.motions import drawn_turn, points_moved


class RadialConv(Layer):
    """A depthwise convolution of features on points that no motion of space changes: kernels see how far two points are apart.

    Formula: `y_i = Σ over j of w(|r| / radius)·k(|r|) ⊙ f_j + bias`, r = p_j − p_i; k is a small network of powers of |r|, and w
    falls smoothly to 0 at the radius. This is `PositionOrientationConv` without directions. Without edges a point is a neighbour of
    itself.

    Shapes: features (batch, points, channels) and positions (batch, points, dims), every pair within the radius; or features
    (points, channels), positions (points, dims) and edges (2, count), int64, rows of senders j and receivers i, for clouds of any
    sizes side by side. Returns the features' shape.

    Args:
        channels: at least 1.   radius: beyond it points do not meet, in the unit of the positions, above 0.
        dims: of space, at least 1. Default 3.   hidden: width of the small network. Default 64.
        degree: of the powers, at least 1. Default 3.   device, dtype: of the parameters.

    Raises:
        ArgumentError: settings that name no layer, edges that name no points.

    Error: exact for translations, rotations, mirrors and permutations, up to rounding. What depends on angles it cannot tell apart:
        its results are invariant, and vectors are not among them.
    Cost: for each edge, or each pair, a network of `hidden`² products, then one product a channel.
    Source: Bekkers et al., Fast, expressive SE(n) equivariant networks through weight-sharing in position-orientation space (2024).

    Example:
        >>> layer = RadialConv(4, 1.5)
        >>> layer(torch.randn(2, 5, 4), torch.randn(2, 5, 3)).shape
        torch.Size([2, 5, 4])
        >>> layer(torch.randn(5, 4), torch.randn(5, 3), torch.tensor([[0, 1, 4], [1, 0, 2]])).shape
        torch.Size([5, 4])
    """

    name = "radial-conv"
    summary = "a depthwise convolution over points with kernels of distance"
    source = "Bekkers et al., Fast, expressive SE(n) equivariant networks (2024)"
    cost = "points · (1 + hidden² / channels)"
    dims = ()

    def __init__(
        self,
        channels: int,
        radius: float,
        dims: int = 3,
        hidden: int = 64,
        degree: int = 3,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.channels, self.space, self.hidden, self.degree = functional.numbers(
            "channels, dims, hidden, degree", (channels, dims, hidden, degree), 4, 1
        )
        if not 0 < radius < math.inf:
            raise ArgumentError.of("RadialConv", "a radius above 0", repr(radius), "give the reach of the kernels")
        self.radius, factory = float(radius), {"device": device, "dtype": dtype}
        widths = (self.degree, self.hidden, self.hidden)
        steps: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            steps += [nn.Linear(a, b, **factory), nn.GELU()]
        self.network = nn.Sequential(*steps, nn.Linear(self.hidden, self.channels, bias=False, **factory))
        self.bias = nn.Parameter(torch.zeros(self.channels, **factory))

    def kernel_at(self, distance: Tensor) -> Tensor:
        """The kernel (*, channels) at these distances."""
        found: Tensor = self.network(polynomials(distance.unsqueeze(-1), self.degree))
        return found * cutoff(distance / self.radius).unsqueeze(-1)

    def forward(self, features: Tensor, positions: Tensor, edges: Tensor | None = None) -> Tensor:
        rel = offsets(self, features, positions, edges, self.space, (self.channels,))
        kernel = self.kernel_at(lengths(rel)[0])
        if edges is None:
            return torch.einsum("nijc,njc->nic", kernel, features) + self.bias
        return arrived(kernel * features.index_select(0, edges[0]), edges, features.shape[0]) + self.bias

    def definition(self, *inputs: Any) -> Tensor:
        """Pair by pair."""
        features, positions = inputs
        result = torch.zeros_like(features) + self.bias
        for n, i, j in itertools.product(range(features.shape[0]), *[range(features.shape[1])] * 2):
            distance = (positions[n, j] - positions[n, i]).norm()
            u = distance / self.radius
            if u < 1:
                powers = torch.stack([distance**d for d in range(1, self.degree + 1)])
                result[n, i] += (1 - 28 * u**6 + 48 * u**7 - 21 * u**8) * self.network(powers) * features[n, j]
        return result

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        h, c = self.hidden, self.channels
        return self.degree * h + h + h * h + h + h * c + c

    def symmetries(self) -> Iterable[Symmetry]:
        yield from self.random_symmetries(np.random.default_rng(0))

    def random_symmetries(self, random: np.random.Generator) -> Iterable[Symmetry]:
        turn = drawn_turn(random, self.space, bool(random.integers(2)))
        yield points_moved(same, same, turn, random.uniform(-1, 1, self.space), int(random.integers(99)))

    @property
    def claims(self) -> frozenset[str]:
        return super().claims | {LINEAR}

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 2, "radius": 3.0, "hidden": 3, "degree": 2}, ((2, 3, 2), (2, 3, 3)))
        yield Example({"channels": 1, "radius": 2.0, "dims": 2, "hidden": 2}, ((1, 4, 1), (1, 4, 2)))
