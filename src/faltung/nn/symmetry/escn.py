"""Messages between points with spherical features, each mixed in the frame of its edge and summed where it arrives."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, Symmetry
from faltung.nn.symmetry.edges import arrived, pairs, shown_as
from faltung.nn.symmetry.motions import STILL, drawn_turn, edges_turned
from faltung.nn.symmetry.so2_conv import SO2Conv
from faltung.nn.symmetry.so3 import align, rotate, wigner
from faltung.nn.symmetry.sphere_activation import SphereActivation


class ESCNConv(Layer):
    """A convolution of spherical features on points: along each edge a tensor product with its harmonics, summed at the receiver.

    Formula: `y_i = Σ over edges j → i of D(R)ᵀ B₂ φ(B₁ D(R) [x_j, x_i]) / √neighbours`; R takes the edge to the polar axis,
    B are the blocks of `SO2Conv`, φ is a `SphereActivation` in the frame of the edge. Without an activation there is one B, and
    the message is all tensor products of x_j and x_i with harmonics of the edge. Edges of length 0 have no direction and send
    nothing.

    Shapes: features (points, (l_in + 1)², in_channels), vectors (edges, 3), with `edge_dim` scalars (edges, edge_dim), and edges
    (2, edges), int64, rows of senders j and receivers i, for samples of any sizes side by side; or without edges, every point to
    every point: features (batch, points, ...), vectors (batch, receivers, senders, 3), scalars (batch, receivers, senders,
    edge_dim). Returns features with (l_out + 1)² and out_channels. Vectors are given and not taken from positions, for in a
    crystal they are not the difference of two of these.

    Args:
        in_channels, out_channels, l_in, l_out, highest, bias, edge_dim, hidden, mirrors: as for `SO2Conv`.
        receivers: whether a message depends on the features of its receiver, too. Default True.
        neighbours: how many messages a sum is expected to have; sums are divided by its root. Default 1.
        activation: φ, a name that `SphereActivation` knows; the blocks before it depend on the scalars, those behind do not.
            Default: none.
        grid: of the activation. Default: its own.   device, dtype: of the parameters.

    Raises:
        ArgumentError: settings that name no layer, edges that name no points, other shapes.

    Error: commutes with all rotations, and with `mirrors` with mirrors, up to rounding; with an activation up to what this folds on
        its grid, for the roll of a frame about its edge is arbitrary: 3e-3 for "silu" and its usual grid, 0.3 for as few as
        2·highest + 1 longitudes. Derivatives with respect to vectors exist everywhere but at 0.
    Cost: for each edge that of one or two `SO2Conv`; the frames once.
    Source: Passaro and Zitnick, Reducing SO(3) convolutions to SO(2) for efficient equivariant GNNs (2023).

    Example:
        >>> layer = ESCNConv(4, 8, 2, 2, highest=1, edge_dim=5, hidden=16)
        >>> edges = torch.tensor([[0, 1, 2], [1, 0, 1]])
        >>> layer(torch.randn(3, 9, 4), torch.randn(3, 3), torch.randn(3, 5), edges).shape
        torch.Size([3, 9, 8])
    """

    name = "escn-conv"
    summary = "messages between points with spherical features, mixed in the frame of each edge"
    source = "Passaro and Zitnick, Reducing SO(3) convolutions to SO(2) for efficient equivariant GNNs (2023)"
    cost = "O(l³) for (l + 1)² results of an edge"
    dims = ()

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        l_in: int,
        l_out: int,
        highest: int | None = None,
        bias: bool = False,
        edge_dim: int | None = None,
        hidden: int = 256,
        receivers: bool = True,
        neighbours: float = 1.0,
        mirrors: bool = False,
        activation: str | None = None,
        grid: Sequence[int] | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if not 0 < neighbours < math.inf:
            raise ArgumentError.of("ESCNConv", "a number of neighbours above 0", repr(neighbours), "use 1")
        self.receivers, self.neighbours = bool(receivers), float(neighbours)
        (self.in_channels,) = functional.numbers("in_channels", in_channels, 1, 1)
        wide = self.in_channels * (2 if self.receivers else 1)
        self.first = SO2Conv(
            wide, out_channels, l_in, l_out, highest, bias, device, dtype, edge_dim, hidden, mirrors
        )  # fmt: skip
        self.out_channels, self.l_in, self.l_out = self.first.out_channels, self.first.l_in, self.first.l_out
        own = self.first.highest
        self.act = self.second = None
        if activation is not None:
            self.act = SphereActivation(out_channels, l_out, activation, (), own, grid, device, dtype)
            self.second = SO2Conv(
                out_channels, out_channels, l_out, l_out, own, False, device, dtype, mirrors=mirrors
            )  # fmt: skip
        elif grid is not None:
            raise ArgumentError.of("ESCNConv", "no grid without an activation", str(grid), "name an activation")

    def forward(
        self, features: Tensor, vectors: Tensor, scalars: Tensor | None = None, edges: Tensor | None = None
    ) -> Tensor:
        ends_of = self._checked(features, vectors, scalars, edges)
        if edges is None or ends_of is None:
            batch, points = features.shape[:2]
            wide = (batch, points, points, *features.shape[2:])
            ends = [features[:, None].expand(wide), features[:, :, None].expand(wide)]
            sent = torch.cat(ends if self.receivers else ends[:1], -1).flatten(0, 2)
            told = None if scalars is None else scalars.flatten(0, 2)
            messages = self._messages(sent, vectors.flatten(0, 2), told)
            return messages.unflatten(0, (batch, points, points)).sum(2) / math.sqrt(self.neighbours)
        senders, receivers = ends_of
        ends = [features.index_select(0, senders)]
        if self.receivers:
            ends.append(features.index_select(0, receivers))
        messages = self._messages(torch.cat(ends, -1), vectors, scalars)
        return arrived(messages, edges, features.shape[0]) / math.sqrt(self.neighbours)

    def _messages(self, sent: Tensor, vectors: Tensor, scalars: Tensor | None) -> Tensor:
        frame, first, second = self.first.frame(vectors), self.first, self.second
        if self.act is None or second is None:
            found = first.mix(sent, frame, scalars)
        else:
            inside = second.within(self.act(first.within(rotate(sent, frame[: self.l_in + 1]), scalars)))
            found = rotate(inside, frame[: self.l_out + 1], back=True)
        live = vectors.detach().square().sum(-1) > 0
        return torch.where(live[:, None, None], found, 0)

    def _checked(self, features: Any, vectors: Any, scalars: Any, edges: Any) -> tuple[Tensor, Tensor] | None:
        """Senders and receivers, where there are edges; ArgumentError for inputs of other kinds or shapes."""
        front = 2 if edges is None else 1
        self.expect(features, None, None)
        if not (isinstance(vectors, Tensor) and vectors.is_floating_point()):
            raise ArgumentError.of("ESCNConv", "vectors as a tensor of real numbers", shown_as(vectors), "convert them")
        ends = None if edges is None else pairs(self, edges, features.shape[0])
        wide, before = ((self.l_in + 1) ** 2, self.in_channels), "(batch, points" if edges is None else "(points"
        pairwise = (*features.shape[:front], *features.shape[1:front]) if edges is None else vectors.shape[:1]
        right = features.ndim == front + 2 and features.shape[front:] == wide and vectors.shape == (*pairwise, 3)
        if not right or (edges is not None and edges.shape[-1:] != vectors.shape[:1]):
            each = "(batch, receivers, senders, 3)" if edges is None else "(edges, 3) for so many edges"
            raise ArgumentError.of(
                "ESCNConv", f"features {before}, {wide[0]}, {wide[1]}) and vectors {each}",
                f"{tuple(features.shape)} and {tuple(vectors.shape)}", "match them",
            )  # fmt: skip
        dim = self.first.edge_dim
        wanted = None if dim is None else (*vectors.shape[:-1], dim)
        right = scalars is None
        if wanted is not None:
            right = isinstance(scalars, Tensor) and scalars.is_floating_point() and scalars.shape == wanted
        if not right:
            raise ArgumentError.of(
                "ESCNConv", "no scalars" if wanted is None else f"scalars {wanted} of real numbers", shown_as(scalars),
                "give as many for every edge as edge_dim says",
            )  # fmt: skip
        return ends

    def definition(self, *inputs: Any) -> Tensor:
        """Pair by pair, by the definitions of the parts."""
        features, vectors, *scalars = inputs
        batch, points = features.shape[:2]
        result = features.new_zeros(self.shapes(features.shape))
        for n, i, j in np.ndindex(batch, points, points):
            edge = vectors[n, i, j][None]
            if not bool(edge.norm() > 0):
                continue
            sent = torch.cat([features[n, j], features[n, i]], -1) if self.receivers else features[n, j]
            message = self.first.definition(sent[None], edge, *(s[n, i, j][None] for s in scalars))
            if self.act is not None and self.second is not None:
                frame = wigner(self.l_out, align(edge))
                acted = self.act.definition(rotate(message, frame))
                message = self.second.definition(rotate(acted, frame, back=True), edge)
            result[n, i] += message[0] / self.neighbours**0.5
        return result

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (*inputs[0][:-2], (self.l_out + 1) ** 2, self.out_channels)

    def parameter_count(self) -> int:
        return self.first.parameter_count() + (0 if self.second is None else self.second.parameter_count())

    def symmetries(self) -> Iterable[Symmetry]:
        if self.act is None:  # with an activation on a grid they hold up to what folds there
            yield edges_turned(STILL)
            if self.first.mirrors:
                yield edges_turned(-STILL)

    def random_symmetries(self, random: np.random.Generator) -> Iterable[Symmetry]:
        if self.act is None:
            yield edges_turned(drawn_turn(random, 3, self.first.mirrors and bool(random.integers(2))))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"in_channels": 2, "out_channels": 1, "l_in": 1, "l_out": 2}, ((2, 2, 4, 2), (2, 2, 2, 3)))
        yield Example(
            {"in_channels": 1, "out_channels": 2, "l_in": 2, "l_out": 1, "edge_dim": 2, "hidden": 3, "bias": True,
             "receivers": False, "mirrors": True, "neighbours": 3.0},
            ((1, 3, 9, 1), (1, 3, 3, 3), (1, 3, 3, 2)),
        )  # fmt: skip
        yield Example(
            {"in_channels": 1, "out_channels": 2, "l_in": 1, "l_out": 2, "highest": 1, "activation": "silu"},
            ((1, 2, 4, 1), (1, 2, 2, 3)),
        )
