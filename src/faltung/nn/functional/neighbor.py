"""A signal less one value of each cell of it."""

from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.nn import functional

REFERENCES = ("topleft", "mean")


def neighbor_residual(x: Tensor, cell: int = 2, reference: str = "topleft") -> Tensor:
    """A signal less one value of each cell: what upsampling by repetition leaves nothing of.

    Formula: x(p) − x(cell · ⌊p / cell⌋), or less the cell's mean. Sizes that cells do not divide keep cut cells at the end.

    Shapes: x (batch, channels, *n); returns the same. It moves with shifts by whole cells, not by less.
    Args: cell: at least 1. Default 2.   reference: `topleft` or `mean`. Default topleft.
    Raises: ArgumentError: another cell or reference.   Error: one rounding for the difference.
    Source: Tan et al., Rethinking the up-sampling operations in CNN-based generative network (NPR, 2024).

    Example:
        >>> neighbor_residual(torch.tensor([[[1.0, 3.0, 5.0, 4.0]]]))
        tensor([[[ 0.,  2.,  0., -1.]]])
    """
    cell, reference = checked(cell, reference)
    if not x.numel():
        return x
    small = x
    for axis in range(2, x.ndim):
        small = (
            _means(small, cell, axis)
            if reference == "mean"
            else small[(slice(None),) * axis + (slice(None, None, cell),)]
        )
    for axis in range(2, x.ndim):
        small = small.repeat_interleave(cell, axis).narrow(axis, 0, x.shape[axis])
    return x - small


def checked(cell: Any, reference: str) -> tuple[int, str]:
    """The settings, if they are those of a residual."""
    if reference not in REFERENCES:
        raise ArgumentError.of(
            "neighbor_residual", f"a reference among {', '.join(REFERENCES)}", repr(reference), "choose one of these"
        )
    return functional.numbers("cell", cell, 1, 1)[0], reference


def _means(x: Tensor, cell: int, axis: int) -> Tensor:
    """The means of cells along one axis, of a cut one those of what is there."""
    n = x.shape[axis]
    count = -(-n // cell)
    padded = torch.nn.functional.pad(x.movedim(axis, -1), (0, count * cell - n))
    sizes = torch.full((count,), cell, dtype=x.dtype, device=x.device)
    sizes[-1] = n - (count - 1) * cell
    return (padded.unflatten(-1, (count, cell)).sum(-1) / sizes).movedim(-1, axis)
