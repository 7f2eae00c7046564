"""Rotations of the sphere: `SphereTurn`."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from faltung.certify.actions.action import Action, relative
from faltung.errors import ArgumentError
from faltung.nn.sphere import SphereGrid, sphere_grid, turn, turn_rotations
from faltung.nn.sphere.transform import SpinSHT, checked_spins
from faltung.nn.sphere.wigner import random_rotation

SIDES = ("left", "stay")


class SphereTurn(Action):
    """Rotations of functions on the sphere, sampled (batch, channels, rows, columns), by their harmonics: exact, no resampling.

    Formula: `(R·f)(x) = f(R⁻¹ x)`, fields of spin s with the phases of their frames. The input is brought to the degrees that
    its grid carries first. Results (batch, channels, rows, columns) are functions on a sphere of their own resolution, those
    with five axes functions on rotations (batch, channels, twists, rows, columns), turned from the left; vectors stay.

    Args:
        spins: of the input, next to each other in its channels. Default (0,).   out_spins: of results. Default: those of the input.
        grid: of the input and of results. Default "equiangular".   out_grid: of results. Default: the same.
        angle: the largest angle β between a pole and where it comes, in radians. Default π: all rotations alike.

    Example:
        >>> import torch
        >>> from faltung import certify, nn
        >>> layer = nn.SphericalConv(1, 2, (0,), (0,), 8, dtype=torch.float64)
        >>> certify.equivariance(layer, "sphere", torch.randn(2, 1, 8, 8, dtype=torch.float64), count=3).kept
        True
    """

    def __init__(
        self,
        spins: Sequence[int] = (0,),
        out_spins: Sequence[int] | None = None,
        grid: str = "equiangular",
        out_grid: str | None = None,
        angle: float = math.pi,
    ) -> None:
        self.spins = checked_spins("SphereTurn", spins)
        self.out_spins = self.spins if out_spins is None else checked_spins("SphereTurn", out_spins)
        self.grid, self.out_grid = sphere_grid(2, grid).kind, sphere_grid(2, out_grid or grid).kind
        if not 0 < angle <= math.pi:
            raise ArgumentError.of(
                "SphereTurn", "an angle in (0, π] radians", repr(angle), "leave it out for all rotations"
            )
        self.angle = angle
        self.name = "rotations of the sphere"

    def sample(self, random: np.random.Generator, x: Tensor) -> Any:
        alpha, _, gamma = random_rotation(random)
        return alpha, math.acos(random.uniform(math.cos(self.angle), 1)), gamma

    def _of(self, x: Tensor, kind: str) -> SphereGrid:
        return sphere_grid((x.shape[-2], x.shape[-1]), kind)

    def prepare(self, x: Tensor) -> Tensor:
        if x.ndim == 5:
            return turn_rotations(x, (0.0, 0.0, 0.0), self._of(x, self.grid))
        if x.ndim != 4 or x.shape[1] % len(self.spins):
            raise ArgumentError.of(
                "SphereTurn",
                f"samples (batch, channels · {len(self.spins)}, rows, columns)",
                f"shape {tuple(x.shape)}",
                "name the spins of the input",
            )
        sht = SpinSHT(self._of(x, self.grid), self.spins, device=x.device, dtype=x.dtype)
        kept = sht.inverse(sht(x.unflatten(1, (-1, len(self.spins))))).flatten(1, 2)
        return kept if x.is_complex() else kept.real

    def apply(self, element: Any, x: Tensor) -> Tensor:
        grid = self._of(x, self.grid)
        return turn_rotations(x, element, grid) if x.ndim == 5 else turn(x, element, grid, self.spins)

    def apply_output(self, element: Any, y: Tensor, x: Tensor) -> Tensor | None:
        if y.ndim < 4:
            return y
        grid = self._of(y, self.out_grid)
        if y.ndim == 5:
            return turn_rotations(y, element, grid)
        return turn(y, element, grid, self.out_spins) if y.ndim == 4 and y.shape[1] % len(self.out_spins) == 0 else None

    def difference(self, element: Any, after: Tensor, before: Tensor, x: Tensor) -> Tensor | None:
        """As for every action; before both are compared, degrees are dropped that the result's samples do not carry."""
        wanted = self.apply_output(element, before, x)
        if wanted is None or wanted.shape != after.shape:
            return None
        still = self.apply_output((0.0, 0.0, 0.0), after, x)
        return None if still is None else relative(still, wanted)

    def words(self, element: Any) -> str:
        return "(" + ", ".join(f"{np.degrees(t):.0f}°" for t in element) + ")"
