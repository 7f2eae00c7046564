"""Rotations of the plane by n-ths of a turn, with reflections or without: `Turn`."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faltung.certify.actions.action import relative
from faltung.certify.actions.fields import Kind
from faltung.certify.actions.grid_group import GridAction
from faltung.errors import ArgumentError


class Turn(GridAction):
    """C_n, the rotations of the last two axes by n-ths of a turn, or D_n, with the mirror image along the last axis.

    Quarters of a turn only move addresses. Other angles are resampled (bicubic), the input is brought to 0 towards the edge of
    its disc first, and results are compared within their disc; `interpolation` says what turning there and back loses, below
    which an error says nothing of the model.

    Args:
        n: at least 1.   reflect: whether mirror images belong to it. Default False.

    Steps behind layers of fields (`GroupConv`, `SteerableConv`, ...) are compared as their fields. Other results with as many axes
    as the input are scalar fields, all others invariants; for fields of your own derive and write `apply_output`.
    """

    def __init__(self, n: int, reflect: bool = False) -> None:
        if n < 1:
            raise ArgumentError.of("Turn", "a number of rotations of at least 1", repr(n), "use 4 for quarter turns")
        self.n, self.reflect = n, reflect
        self.name = f"{'D' if reflect else 'C'}{n}: {'rotations and reflections' if reflect else 'rotations'}"

    def elements(self, x: Tensor) -> list[Any]:
        return [(k, m) for m in range(1 + self.reflect) for k in range(self.n) if k or m]

    def exact(self, element: Any) -> bool:
        """Whether it only moves addresses."""
        return 4 * element[0] % self.n == 0

    def prepare(self, x: Tensor) -> Tensor:
        return x if 4 % self.n == 0 else x * disc(x)

    def matrix(self, element: Any, ndim: int) -> np.ndarray:
        k, mirrored = element
        whole, angle = np.eye(ndim), 2 * math.pi * k / self.n
        c, s = math.cos(angle), math.sin(angle)
        turn = np.array([[c, -s], [s, c]]) @ np.diag([1, -1 if mirrored else 1])
        whole[-2:, -2:] = turn.round() if self.exact(element) else turn
        return whole

    def places(self, element: Any, x: Tensor) -> Tensor:
        k, mirrored = element
        x = x.flip(-1) if mirrored else x
        if self.exact(element):
            return torch.rot90(x, 4 * k // self.n, (-2, -1))
        return rotated(x, 2 * math.pi * k / self.n)

    def difference(self, element: Any, after: Tensor, before: Tensor, x: Tensor) -> Tensor | None:
        return self._off(element, after, self.apply_output(element, before, x), x)

    def difference_of(self, element: Any, after: Tensor, before: Tensor, kind: Kind, x: Tensor) -> Tensor | None:
        if kind.plain:
            return self.difference(element, after, before, x)
        return self._off(element, after, self.turned(element, before, kind, x), x)

    def _off(self, element: Any, after: Tensor, wanted: Tensor | None, x: Tensor) -> Tensor | None:
        if wanted is None or wanted.shape != after.shape:
            return None
        if self.exact(element) or wanted.ndim != x.ndim:
            return relative(after, wanted)
        return relative(after * disc(after), wanted * disc(wanted))

    def interpolation(self, element: Any, x: Tensor) -> float:
        if self.exact(element):
            return 0.0
        k, mirrored = element
        back = rotated(self.apply(element, x), -2 * math.pi * k / self.n)
        return relative(back.flip(-1) if mirrored else back, x).max().item()

    def words(self, element: Any) -> str:
        return ("mirrored, " if element[1] else "") + f"{360 * element[0] / self.n:g}°"


def disc(x: Tensor) -> Tensor:
    """1 in the middle, 0 beyond the largest disc of the last two axes, smooth between 0.8 and 0.95 of its radius."""
    rows, columns = x.shape[-2:]
    y, z = (torch.arange(n, dtype=torch.float64, device=x.device) - (n - 1) / 2 for n in (rows, columns))
    radius = (y[:, None] ** 2 + z**2).sqrt() / (min(rows, columns) / 2)
    share = ((0.95 - radius) / 0.15).clamp(0, 1)
    return (share * share * (3 - 2 * share)).to(x.real.dtype)


def rotated(x: Tensor, angle: float) -> Tensor:
    """The last two axes turned counter-clockwise about their middle, bicubic, 0 beyond the edge."""
    rows, columns = x.shape[-2:]
    y, z = (torch.arange(n, dtype=x.dtype, device=x.device) - (n - 1) / 2 for n in (rows, columns))
    c, s = math.cos(angle), math.sin(angle)
    # Rows grow downwards: counter-clockwise in the picture reads from (z c − y s, z s + y c).
    across = z * c - y[:, None] * s
    down = z * s + y[:, None] * c
    grid = torch.stack((2 * across / columns, 2 * down / rows), -1)
    flat = x.reshape(1, -1, rows, columns)
    turned = torch.nn.functional.grid_sample(flat, grid[None], mode="bicubic", align_corners=False)
    return turned.reshape(x.shape)
