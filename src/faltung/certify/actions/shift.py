"""Circular shifts, by whole samples or fractions of them: `Shift`."""

import itertools
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faltung.certify.actions.action import Action, relative
from faltung.nn.functional.polyphase import roll_each
from faltung.nn.functional.waves import low_pass, shift_ideal

MOST = 4096  # shifts that are counted one by one


class Shift(Action):
    """Circular shifts along all spatial axes; a result of m samples where the input has n shifts by m/n of it.

    Args:
        fraction: shifts by any length, by ideal interpolation; the input loses its frequency n/2 first, which has no phase that
            samples could tell. Default False: whole samples.
        free: whether a result with spatial axes counts up to a roll, of each sample by its own whole numbers. This is what
            networks promise that choose their sampling grids by the data. Default False.
        most: the longest shift, in samples. Default: the whole signal.
    """

    def __init__(self, fraction: bool = False, free: bool = False, most: float | None = None) -> None:
        self.fraction, self.free, self.most = fraction, free, most
        self.name = "shifts by fractions of a sample" if fraction else "shifts by whole samples"
        self.name += " (maps up to a roll)" if free else ""

    def elements(self, x: Tensor) -> list[Any] | None:
        if self.fraction:
            return None
        reach = [range(n) if self.most is None else range(-int(self.most), int(self.most) + 1) for n in x.shape[2:]]
        if math.prod(map(len, reach)) > MOST:
            return None
        return [t for t in itertools.product(*reach) if any(t)]

    def sample(self, random: np.random.Generator, x: Tensor) -> Any:
        top = [n if self.most is None else self.most for n in x.shape[2:]]
        if self.fraction:
            return tuple(float(random.uniform(-t, t)) for t in top)
        return tuple(int(random.integers(-int(t), int(t) + 1)) for t in top)

    def prepare(self, x: Tensor) -> Tensor:
        if not self.fraction:
            return x
        for axis in range(2, x.ndim):
            n = x.shape[axis]
            if n % 2 == 0:  # the cutoff between the last two frequencies
                x = low_pass(x.movedim(axis, -1), (n - 1) / n, 1).movedim(-1, axis)
        return x

    def apply(self, element: Any, x: Tensor) -> Tensor:
        return _shifted(x, element)

    def apply_output(self, element: Any, y: Tensor, x: Tensor) -> Tensor | None:
        if y.ndim != x.ndim:
            return y
        return _shifted(y, tuple(t * m / n for t, m, n in zip(element, y.shape[2:], x.shape[2:], strict=True)))

    def difference(self, element: Any, after: Tensor, before: Tensor, x: Tensor) -> Tensor | None:
        if not self.free or before.ndim != x.ndim or after.shape != before.shape:
            return super().difference(element, after, before, x)
        axes = tuple(range(2, x.ndim))
        sizes = before.shape[2:]
        wide = [t.double() if not t.is_complex() else t.cdouble() for t in (after, before)]
        waves = [torch.fft.fftn(t, dim=axes) for t in wide]
        # The roll that fits best has the largest correlation; of near ties a few are tried, and the grid's own law.
        overlap = torch.fft.ifftn((waves[0] * waves[1].conj()).sum(1), dim=tuple(range(1, x.ndim - 1))).real
        best = overlap.flatten(1).topk(min(4, math.prod(sizes)), 1).indices
        rolls = [torch.stack(torch.unravel_index(best[:, k], sizes), 1) for k in range(best.shape[1])]
        floors = [math.floor(t * m / n) for t, m, n in zip(element, sizes, x.shape[2:], strict=True)]
        for late in itertools.product((0, 1), repeat=len(floors)):
            fixed = torch.tensor([f + one for f, one in zip(floors, late, strict=True)], device=x.device)
            rolls.append(fixed.expand(len(x), -1))
        return torch.stack([relative(after, roll_each(before, roll)) for roll in rolls]).amin(0)

    def words(self, element: Any) -> str:
        return "(" + ", ".join(f"{t:g}" if isinstance(t, int) else f"{t:.2f}" for t in element) + ")"


def _shifted(x: Tensor, shifts: Any) -> Tensor:
    """A roll where all shifts are whole, else between samples."""
    if all(float(t).is_integer() for t in shifts):
        return x.roll(tuple(int(t) for t in shifts), tuple(range(-len(shifts), 0)))
    return shift_ideal(x, shifts)
