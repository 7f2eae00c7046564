"""Points with edges between them: what layers on point clouds take, checked; offsets; sums over what arrives at each point."""

from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError


def offsets(
    layer: Any, features: Tensor, positions: Tensor, edges: Tensor | None, dims: int, wide: tuple[int, ...]
) -> Tensor:
    """Where each sender lies as seen from each receiver, for both kinds of input that these layers take.

    Without edges features are (batch, points, *wide), positions (batch, points, dims), and every point sends to every point of its
    sample, itself too: offsets (batch, receivers, senders, dims). With edges (2, count), int64, rows of senders and receivers, both
    are without the batch, which samples of any sizes share: offsets (count, dims).

    Raises:
        ArgumentError: other shapes, edges that are no pairs of points.
    """
    who, front = type(layer).__name__, 2 if edges is None else 1
    layer.expect(features, None, None)
    if features.shape[front:] != wide or positions.shape != (*features.shape[:front], dims):
        before = "(batch, points" if edges is None else "(points"
        raise ArgumentError.of(
            who, f"features {before}, {', '.join(map(str, wide))}) and positions {before}, {dims})",
            f"{tuple(features.shape)} and {tuple(positions.shape)}", "match them",
        )  # fmt: skip
    if edges is None:
        return positions[:, None] - positions[:, :, None]
    senders, receivers = pairs(layer, edges, features.shape[0])
    return positions.index_select(0, senders) - positions.index_select(0, receivers)


def pairs(layer: Any, edges: Any, points: int) -> tuple[Tensor, Tensor]:
    """Senders and receivers of edges (2, count), int64, between so many points.

    Raises:
        ArgumentError: edges that are no pairs of points.
    """
    who = type(layer).__name__
    if not isinstance(edges, Tensor) or edges.dtype != torch.int64 or edges.ndim != 2 or edges.shape[0] != 2:
        raise ArgumentError.of(
            who, "edges (2, count) of int64", shown_as(edges), "give senders and receivers by number"
        )
    if not torch.compiler.is_compiling() and edges.numel() and not edges.is_meta:
        least, most = int(edges.min()), int(edges.max())
        if least < 0 or most >= points:
            raise ArgumentError.of(
                who, f"edges between points 0 to {points - 1}", f"{least} to {most}", "count points from 0"
            )
    return edges[0], edges[1]


def shown_as(given: Any) -> str:
    """What came, for an error."""
    if given is None:
        return "none"
    return f"{tuple(given.shape)} of {given.dtype}" if isinstance(given, Tensor) else type(given).__name__


def lengths(rel: Tensor) -> tuple[Tensor, Tensor]:
    """The lengths of offsets, with derivative 0 at 0, and which are above 0."""
    square = rel.square().sum(-1)
    live = square > 0
    return torch.where(live, torch.where(live, square, 1).sqrt(), 0), live


def arrived(messages: Tensor, edges: Tensor, count: int) -> Tensor:
    """The sum of the messages (edges, *) that arrive at each of so many points, (count, *)."""
    return messages.new_zeros(count, *messages.shape[1:]).index_add(0, edges[1], messages)
