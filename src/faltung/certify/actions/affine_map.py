"""Linear maps of images, volumes and signals about their centre, with moves: `AffineMap`."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faltung.certify.actions.action import Action, relative
from faltung.errors import ArgumentError
from faltung.nn.lie import Affine, matrix_group


class AffineMap(Action):
    """An element (h, t) of a matrix group with a move: `(g·f)(p) = f(h⁻¹(p − t))`, p counted from the centre.

    Signals are resampled, bicubic for images and linear else. Inputs are brought to 0 beyond half of their view first, so that
    little is pushed out of it, and maps are compared within its largest ball; `interpolation` says what moving there and back
    loses, below which an error says nothing of the model.

    Args:
        group: "GL+", "SL" or "SO", a group of `faltung.nn.lie`, or `Affine` of one.
        spread: variance of the stretch's coordinates. Default 0.02, factors of about 0.85 to 1.15.
        move: the largest |t| along an axis as a share of the size. Default 0, for `Affine` 0.1.
        dim: spatial axes where `group` is a name. Default 2.

    Results with as many axes as the input are scalar fields here, all others invariants. For other fields derive and write
    `apply_output`.

    Raises:
        ArgumentError: no such group, or numbers out of range.

    Example:
        >>> AffineMap("SL").name
        'linear maps in SL(2)'
    """

    def __init__(self, group: Any = "GL+", spread: float = 0.02, move: float | None = None, dim: int = 2) -> None:
        if move is None:
            move = 0.1 if isinstance(group, Affine) else 0.0
        if not (0 <= spread < math.inf and 0 <= move < 0.5):
            raise ArgumentError.of(
                "AffineMap", "a spread of at least 0 and a move from 0 to below 0.5", f"{spread!r}, {move!r}", "correct them"
            )  # fmt: skip
        self.group = matrix_group(group, dim if isinstance(group, str) else group.n)
        self.spread, self.move = float(spread), float(move)
        self.name = f"{'affine' if self.move else 'linear'} maps in {self.group!r}"

    def sample(self, random: np.random.Generator, x: Tensor) -> Any:
        generator = torch.Generator().manual_seed(int(random.integers(2**62)))
        h = self.group.sample(1, self.spread, "random", generator)[0]
        return h, torch.from_numpy(random.uniform(-self.move, self.move, self.group.n))

    def prepare(self, x: Tensor) -> Tensor:
        if x.ndim - 2 != self.group.n:
            raise ArgumentError.of(
                self.name, f"an input (batch, channels, *n) with {self.group.n} spatial axes", f"shape {tuple(x.shape)}",
                "choose a group of that size",
            )  # fmt: skip
        return x * ball(x, 0.5)

    def apply(self, element: Any, x: Tensor) -> Tensor:
        h, move = element
        return moved(x, torch.linalg.inv(h), move)

    def difference(self, element: Any, after: Tensor, before: Tensor, x: Tensor) -> Tensor | None:
        if before.ndim != x.ndim:
            return super().difference(element, after, before, x)
        wanted = self.apply_output(element, before, x)
        if wanted is None or wanted.shape != after.shape:
            return None
        return relative(after * ball(after, 0.95), wanted * ball(wanted, 0.95))

    def interpolation(self, element: Any, x: Tensor) -> float:
        h, move = element
        # The inverse of p ↦ h·p + t has the matrix h⁻¹ and the move −h⁻¹t.
        back = moved(self.apply(element, x), h, -torch.linalg.inv(h) @ move)
        return relative(back * ball(x, 0.95), x * ball(x, 0.95)).max().item()

    def words(self, element: Any) -> str:
        return " ".join(f"{v:.2f}" for v in element[0].flatten().tolist())


def ball(x: Tensor, reach: float) -> Tensor:
    """1 in the middle, 0 beyond `reach` of the largest ball of all spatial axes, smooth over the last 0.15 of its radius."""
    sizes = x.shape[2:]
    square = x.real.new_zeros(())
    for axis, n in enumerate(sizes):
        at = (torch.arange(n, dtype=torch.float64, device=x.device) - (n - 1) / 2) / (min(sizes) / 2)
        square = square + (at**2).reshape([-1 if a == axis else 1 for a in range(len(sizes))])
    share = ((reach - square.sqrt()) / 0.15).clamp(0, 1)
    return (share * share * (3 - 2 * share)).to(x.real.dtype)


def moved(x: Tensor, inverse: Tensor, move: Tensor) -> Tensor:
    """`f(inverse·(p − move·n))` at all places p of the last axes from their centre, 0 beyond the edge."""
    sizes = x.shape[2:]
    axes = [torch.arange(n, dtype=torch.float64, device=x.device) - (n - 1) / 2 for n in sizes]
    extent = torch.tensor(sizes, dtype=torch.float64, device=x.device)
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1) - move.to(extent) * extent
    grid = ((places @ inverse.to(extent).T) * 2 / extent).flip(-1).to(x.dtype)  # the last axis is the first coordinate
    flat = x.reshape(1, -1, *sizes)
    if len(sizes) == 1:  # torch samples images and volumes only
        grid = torch.stack([grid[..., 0], torch.zeros_like(grid[..., 0])], -1)[None, None]
        found = torch.nn.functional.grid_sample(flat[:, :, None], grid, mode="bilinear", align_corners=False)
        return found.reshape(x.shape)
    mode = "bicubic" if len(sizes) == 2 else "bilinear"
    return torch.nn.functional.grid_sample(flat, grid[None], mode=mode, align_corners=False).reshape(x.shape)
