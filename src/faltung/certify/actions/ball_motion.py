"""Isometries of the hyperbolic ball that fix nothing but distances: `BallMotion`."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from faltung.certify.actions.action import Action
from faltung.errors import ArgumentError
from faltung.nn.hyperbolic import expmap0, logmap0, mobius_add


class BallMotion(Action):
    """A rotation of the ball's axes, then a translation: `x ↦ a ⊕ Q·x` for points along the channels.

    Results with as many channels as the input move likewise (maps, midpoints), others are invariants (distances, scores).

    Args:
        c: of the curvature −c, above 0. Default 0.1.   reach: the longest tangent vector of a translation. Default 1.
        space: whether inputs and results are "tangent" vectors at 0 (default), as layers exchange them, or points of the "ball".
        turn: whether axes rotate, too. Default True.

    Raises:
        ArgumentError: other settings.

    Example:
        >>> BallMotion(1.0).name
        'isometries of the ball, c = 1'
    """

    def __init__(self, c: float = 0.1, reach: float = 1.0, space: str = "tangent", turn: bool = True) -> None:
        if not c > 0 or not reach >= 0 or space not in ("tangent", "ball"):
            raise ArgumentError.of(
                "BallMotion", "c above 0, a reach of at least 0, tangent or ball", f"{c!r}, {reach!r}, {space!r}", "correct them"
            )  # fmt: skip
        self.c, self.reach, self.space, self.turn = float(c), float(reach), space, bool(turn)
        self.name = f"isometries of the ball, c = {self.c:g}"

    def sample(self, random: np.random.Generator, x: Tensor) -> Any:
        n = x.shape[1]
        q, r = np.linalg.qr(random.normal(size=(n, n)))
        way = random.normal(size=n)
        way *= self.reach * random.uniform() / np.linalg.norm(way)
        return torch.from_numpy(q * np.sign(np.diag(r)) if self.turn else np.eye(n)), torch.from_numpy(way)

    def apply(self, element: Any, x: Tensor) -> Tensor:
        turn, way = (part.to(x) for part in element)
        turned = torch.einsum("ij,bj...->bi...", turn, x)
        points = expmap0(turned, self.c, 1) if self.space == "tangent" else turned
        there = mobius_add(expmap0(way, self.c).reshape(1, -1, *[1] * (x.ndim - 2)), points, self.c, 1)
        return logmap0(there, self.c, 1) if self.space == "tangent" else there

    def apply_output(self, element: Any, y: Tensor, x: Tensor) -> Tensor | None:
        return self.apply(element, y) if y.ndim > 1 and y.shape[1] == x.shape[1] else y

    def words(self, element: Any) -> str:
        return f"translation of {2 * float(element[1].norm()):.2f}"
