"""What is left of a signal when each cell is told one of its values: `NeighborResidual`."""

from collections.abc import Iterable
from itertools import product
from typing import Any

import torch
from torch import Tensor

from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Layer, Symmetry, shown
from faltung.nn.functional.neighbor import checked, neighbor_residual


class NeighborResidual(Layer):
    """A signal less one value of each cell: a fixed high-pass that sees what enlarging by repetition leaves.

    Formula: `y(p) = x(p) − x(cell · ⌊p / cell⌋)`, or less the mean of the cell. A signal enlarged by repeating its samples
    `cell` times gives 0; a constant added changes nothing. Sizes that cells do not divide keep cut cells at the end.

    Shapes: (batch, channels, *n) to the same, in any number of dimensions.

    Args:
        cell: the side of a cell, at least 1. Default 2.   reference: `topleft`, its first sample, or `mean`. Default topleft.

    Returns: a tensor like the input.
    Raises: ArgumentError: another cell or reference.
    Error: one rounding for the difference.

    Source: as below.

    Example:
        >>> NeighborResidual()(torch.tensor([[[1.0, 3.0, 5.0, 4.0]]]))
        tensor([[[ 0.,  2.,  0., -1.]]])
    """

    name = "neighbor-residual"
    summary = "a signal less one value of each cell"
    source = "Tan et al., Rethinking the up-sampling operations in CNN-based generative network (NPR, 2024)"
    cost = "none"
    portrait = shown("photo", (1, 1, 96, 96))

    def __init__(self, cell: int = 2, reference: str = "topleft") -> None:
        super().__init__()
        self.cell, self.reference = checked(cell, reference)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, None)
        return neighbor_residual(input, self.cell, self.reference)

    def definition(self, *inputs: Any) -> Tensor:
        """One cell after the other."""
        (x,) = inputs
        y = torch.zeros_like(x)
        for corner in product(*(range(0, n, self.cell) for n in x.shape[2:])):
            at = (..., *(slice(a, a + self.cell) for a in corner))
            own = x[at].flatten(2)
            told = own.mean(-1) if self.reference == "mean" else own[..., 0]
            y[at] = x[at] - told.reshape(*told.shape, *[1] * len(corner))
        return y

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    def symmetries(self) -> Iterable[Symmetry]:
        def moved(x: Tensor) -> Tensor:
            axes = tuple(range(2, x.ndim))
            return x.roll((self.cell,) * len(axes), axes)

        def whole(x: Tensor) -> bool:
            return all(n % self.cell == 0 for n in x.shape[2:])

        yield Symmetry(f"shift by {self.cell}", moved, moved, fits=whole)

    def gain(self) -> float | None:
        return 1.0 if self.reference == "mean" else None

    def parameter_count(self) -> int:
        return 0

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({}, ((2, 2, 6),))
        yield Example({"cell": 3}, ((1, 2, 6, 3),))
        yield Example({"cell": 2, "reference": "mean"}, ((2, 1, 4, 2, 2),))
