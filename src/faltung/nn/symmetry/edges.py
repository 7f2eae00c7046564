"""Points with edges between them: what layers on point clouds take, checked, and sums over what arrives at each point."""

from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError


def arranged(
    layer: Any, features: Tensor, positions: Tensor, edges: Tensor | None, dims: int, wide: tuple[int, ...]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features (n, *wide), positions (n, dims), senders and receivers (edges) of every kind of input that these layers take.

    Without edges features are (batch, points, *wide), positions (batch, points, dims), and every point sends to every point of its
    sample, itself too. With edges (2, count), int64, both are without the batch, which samples of any sizes share.

    Raises:
        ArgumentError: other shapes, edges that are no pairs of points.
    """
    who, front = type(layer).__name__, 2 if edges is None else 1
    layer.expect(features, None, None)
    if features.shape[front:] != wide or tuple(positions.shape) != (*features.shape[:front], dims):
        before = "(batch, points" if edges is None else "(points"
        raise ArgumentError.of(
            who, f"features {before}, {', '.join(map(str, wide))}) and positions {before}, {dims})",
            f"{tuple(features.shape)} and {tuple(positions.shape)}", "match them",
        )  # fmt: skip
    if edges is None:
        batch, points = features.shape[:2]
        first = torch.arange(batch * points, device=features.device)
        senders = first.reshape(batch, 1, points).expand(batch, points, points).flatten()
        receivers = first.reshape(batch, points, 1).expand(batch, points, points).flatten()
        return features.flatten(0, 1), positions.flatten(0, 1), senders, receivers
    if not isinstance(edges, Tensor) or edges.dtype != torch.int64 or edges.ndim != 2 or edges.shape[0] != 2:
        came = f"{tuple(edges.shape)} of {edges.dtype}" if isinstance(edges, Tensor) else type(edges).__name__
        raise ArgumentError.of(who, "edges (2, count) of int64", came, "give senders and receivers by number")
    if not torch.compiler.is_compiling() and edges.numel() and not edges.is_meta:
        least, most = int(edges.min()), int(edges.max())
        if least < 0 or most >= features.shape[0]:
            raise ArgumentError.of(
                who, f"edges between points 0 to {features.shape[0] - 1}", f"{least} to {most}", "count points from 0"
            )
    return features, positions, edges[0], edges[1]


def joined(messages: Tensor, receivers: Tensor, count: int) -> Tensor:
    """The sum of the messages that arrive at each of so many points, (count, *)."""
    return messages.new_zeros(count, *messages.shape[1:]).index_add(0, receivers, messages)
