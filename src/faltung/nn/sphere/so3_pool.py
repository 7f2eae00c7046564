"""From functions on rotations back to the sphere, and to invariants: `SO3Pool`."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Symmetry
from faltung.nn.sphere.base import TURN, turn
from faltung.nn.sphere.grid import two_grids
from faltung.nn.sphere.rotations import SOURCE, RotationLayer, turn_rotations


class SO3Pool(RotationLayer):
    """From functions on rotations to functions on the sphere, or to numbers that no rotation changes.

    Formula: over the circle of γ: "mean" or "max" for each place; with `whole` also over the sphere, the mean by quadrature.

    Shapes: input (batch, channels, twists, rows, columns), real, returns (batch, channels, rows, columns), or (batch, channels).

    Args:
        channels, twists: at least 1.   resolution, grid: of the samples.   how: "mean" (default) or "max".
        whole: whether numbers come out. Default True.   dtype: real.

    Raises:
        ArgumentError: another way.

    Error: means are exact for functions that the grid carries; maxima are those of samples.
    Source: as below.

    Example:
        >>> SO3Pool(2, 5, 8)(torch.ones(1, 2, 5, 8, 8)).round(decimals=4)
        tensor([[1., 1.]])
    """

    name = "so3-pool"
    summary = "means or maxima of functions on rotations, over γ or over all"
    source = SOURCE
    cost = "1 a sample of the input"

    area: Tensor

    def __init__(
        self, channels: int, twists: int, resolution: Any, how: str = "mean", whole: bool = True, grid: str = "equiangular",
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.channels, self.twists = functional.numbers("channels, twists", (channels, twists), 2, 1)
        self.grid, _ = two_grids(resolution, None, grid, None)
        if how not in ("mean", "max"):
            raise ArgumentError.of("SO3Pool", "how among mean, max", repr(how), "use 'mean'")
        self.how, self.whole = how, bool(whole)
        kind = (dtype or torch.get_default_dtype()).to_real()
        self.keep("area", self.grid.weights / (4 * np.pi), device, kind)

    def forward(self, input: Tensor) -> Tensor:
        x = self.expect_rotations(input, self.channels, self.twists, self.grid)
        if self.how == "max":
            return x.amax((2, 3, 4) if self.whole else 2)
        around = x.mean(2)
        return (around.sum(3) * self.area.to(x.dtype)).sum(2) if self.whole else around

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        circle = [x[:, :, g] for g in range(x.shape[2])]
        if self.how == "max":
            most = torch.stack(circle).max(0).values
            return most.flatten(2).max(2).values if self.whole else most
        mean = sum(circle[1:], circle[0]) / len(circle)
        return torch.einsum("bcij,i->bc", mean, self.area.to(x.dtype)) if self.whole else mean

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0][:2]) if self.whole else (*inputs[0][:2], *inputs[0][3:])

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE} if self.how == "mean" else {PER_SAMPLE})

    def parameter_count(self) -> int:
        return 0

    def symmetries(self) -> Iterable[Symmetry]:
        if self.how == "mean":
            yield Symmetry(
                f"rotation by {TURN}",
                lambda x: turn_rotations(x, TURN, self.grid),
                (lambda y: y) if self.whole else (lambda y: turn(y, TURN, self.grid)),
            )
        yield Symmetry("roll of twists", lambda x: x.roll(1, 2))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 2, "twists": 3, "resolution": 4}, ((2, 2, 3, 4, 4),))
        yield Example(
            {"channels": 1, "twists": 3, "resolution": (4, 5), "how": "max", "whole": False}, ((2, 1, 3, 4, 5),)
        )
        yield Example({"channels": 1, "twists": 2, "resolution": 4, "how": "max"}, ((2, 1, 2, 4, 4),))
