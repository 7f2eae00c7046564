"""Motions of closed curves: turned, begun elsewhere, put elsewhere: `ContourMotion`."""

import cmath
from typing import Any

import numpy as np
from torch import Tensor

from faltung.certify.actions.action import Action


class ContourMotion(Action):
    """A curve of complex numbers (batch, channels, n) turned by any angle, begun t samples later, put elsewhere.

    Complex results with three axes turn and begin later by t·m/n, real ones (moduli) begin later, others stay. The place is to
    be forgotten by every result.

    Args:
        step: starts move by multiples of it, the product of all strides. Default 1.   place: whether curves move. Default True.
    """

    def __init__(self, step: int = 1, place: bool = True) -> None:
        self.step, self.place = step, place
        self.name = "turn, start" + (" and place" if place else "") + " of a contour"

    def sample(self, random: np.random.Generator, x: Tensor) -> Any:
        place = complex(*random.normal(0, 3, 2)) if self.place else 0j
        return float(random.uniform(0, 2 * np.pi)), int(random.integers(x.shape[-1] // self.step)) * self.step, place

    def apply(self, element: Any, x: Tensor) -> Tensor:
        angle, start, place = element
        return cmath.exp(1j * angle) * x.roll(start, -1) + place

    def apply_output(self, element: Any, y: Tensor, x: Tensor) -> Tensor | None:
        angle, start, _ = element
        if y.ndim != x.ndim:
            return y
        late, rest = divmod(start * y.shape[-1], x.shape[-1])
        if rest:
            return None
        turned = y.roll(late, -1)
        return cmath.exp(1j * angle) * turned if y.is_complex() else turned

    def words(self, element: Any) -> str:
        return f"{np.degrees(element[0]):.0f}°, start {element[1]}"
