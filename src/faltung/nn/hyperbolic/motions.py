"""Isometries of the ball as symmetries that layers of tangent vectors declare."""

import numpy as np
import torch
from torch import Tensor

from faltung.nn.base import Symmetry
from faltung.nn.hyperbolic.ball import expmap0, logmap0, mobius_add
from faltung.nn.moves import orthogonal, turned_channels


def moved(v: Tensor, turn: Tensor, way: Tensor, c: float) -> Tensor:
    """Tangent vectors at 0 along axis 1 whose points go to `way ⊕ turn·x`, an isometry of the ball.

    Shapes: v (batch, channels, *n), turn (channels, channels) orthogonal, way (channels), the tangent vector of a point.
    """
    points = expmap0(turned_channels(v, turn), c, 1)
    start = expmap0(way.to(v), c).reshape(1, -1, *[1] * (v.ndim - 2))
    return logmap0(mobius_add(start, points, c, 1), c, 1)


def isometry(c: float, seed: int, reach: float = 0.5) -> Symmetry:
    """A rotation of the axes, mirrors among them, and a translation, drawn from a seed for as many channels as come."""

    def by(v: Tensor) -> Tensor:
        way = np.random.default_rng(seed).normal(size=v.shape[1]) * reach
        return moved(v, orthogonal(v.shape[1], seed), torch.from_numpy(way), c)

    return Symmetry("an isometry of the ball", by, by)
