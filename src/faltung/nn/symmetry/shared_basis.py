"""One basis of kernels for several layers on the same points: their small networks are one, but for the last linear maps."""

from collections.abc import Iterable

import torch
from torch import nn

from faltung.errors import ArgumentError
from faltung.nn.symmetry.position_orientation import PositionOrientationBlock, PositionOrientationConv


def share_basis(layers: Iterable[nn.Module]) -> tuple[PositionOrientationConv, ...]:
    """Let convolutions of positions and directions have one small network in common, each with a last linear map of its own.

    What invariants a pair of points has does not depend on the layer, so most of the work and of the parameters of the kernels can
    be done and held once, as published: `basis = first.basis(f, p)`, then for every layer `layer.mix(f, layer.kernels_of(basis))`,
    for blocks `block(f, p, basis=basis)`. Called as before, a layer gives the same result and computes the basis itself.

    Args:
        layers: `PositionOrientationConv` or `PositionOrientationBlock`, alike in count, radius, dims, hidden, degree and
            arrangement, not in channels. The first one's network stays.

    Returns:
        The convolutions.

    Raises:
        ArgumentError: no layers, others, or such that differ in more than channels or lie on different devices. Then no layer has
            been changed.

    Cost: for L layers one network of hidden² products for each pair and direction in place of L, and L maps hidden·channels.
    Source: Bekkers et al., Fast, expressive SE(n) equivariant networks through weight-sharing in position-orientation space (2024).

    Example:
        >>> blocks = [PositionOrientationBlock(4, 6, 2.0, hidden=8) for _ in range(3)]
        >>> first, *_ = share_basis(blocks)
        >>> f, p = torch.randn(1, 5, 6, 4), torch.randn(1, 5, 3)
        >>> basis = first.basis(f, p)
        >>> for block in blocks:
        ...     f = block(f, p, basis=basis)
    """
    given = list(layers)
    found = [layer.conv if isinstance(layer, PositionOrientationBlock) else layer for layer in given]
    convs = tuple(layer for layer in found if isinstance(layer, PositionOrientationConv))
    if not convs or len(convs) != len(given):
        names = ", ".join(type(layer).__name__ for layer in given) or "none"
        raise ArgumentError.of("share_basis", "layers or blocks of positions and directions", names, "give these alone")
    first = convs[0].networks
    for conv in convs[1:]:
        own = conv.networks
        places = own.grid.device, first.grid.device
        if places[0] != places[1]:
            raise ArgumentError.of(
                "share_basis", f"layers on one device, {places[1]}", f"one on {places[0]}", "move them to one first"
            )
        same = (own.radius, own.hidden, own.degree) == (first.radius, first.hidden, first.degree)
        if not same or own.grid.shape != first.grid.shape or not torch.equal(own.grid, first.grid):
            raise ArgumentError.of(
                "share_basis", f"layers alike but for channels, such as {convs[0]}", repr(conv), "build them alike"
            )
    for conv in convs[1:]:
        own = conv.networks
        for mine, theirs in ((own.of_positions, first.of_positions), (own.of_directions, first.of_directions)):
            for n in range(len(mine) - 1):
                mine[n] = theirs[n]
    return convs
