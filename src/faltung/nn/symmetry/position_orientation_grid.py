"""Convolution over places of an image or volume and directions: the kernels of points at the offsets of a grid."""

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import ConvLayer, Example, Symmetry
from faltung.nn.functional.definition import conv_by_taps
from faltung.nn.symmetry.acting import act
from faltung.nn.symmetry.directions import permuted
from faltung.nn.symmetry.groups import GridGroup, grid_group
from faltung.nn.symmetry.position_orientation import Kernels
from faltung.planner import Policy


class PositionOrientationGrid(ConvLayer):
    """A convolution of images or volumes of functions of directions by kernels of invariants: `PositionOrientationConv` on a grid.

    Formula: `f₁(p, o) = Σ over taps t of w(|t| / radius)·k₁(invariants of (t, o)) ⊙ f(p + t, o)`, one depthwise convolution for
    each direction, then `f₂(p, o) = (1/O) Σ over o' of k₂(o·o') ⊙ f₁(p, o') + bias`. A place's coordinates are its indices
    times steps, in the order of the axes.

    Shapes: input (batch, channels·directions, *n), channels outermost, returns (batch, channels·directions, *m).

    Args:
        ndim: 2 or 3.   channels: at least 1.   count: directions.   kernel_size: taps.   steps: between places, one number or one
            for each axis. Default 1.   radius: where kernels end. Default: (k + 1)/2 steps, the largest of all axes.
        hidden, degree, arrangement: as for `PositionOrientationConv`.
        stride, padding, dilation, padding_mode, device, dtype, policy: as for `Conv`.

    Raises:
        ArgumentError: settings that name no layer.

    Error: exact under those symmetries of the grid of places that move the grid of directions to itself, approximate under others.
    Cost: Π kernel_size + directions for each value; the kernel costs a network at Π kernel_size · directions points.
    Source: Bekkers et al., Fast, expressive SE(n) equivariant networks through weight-sharing in position-orientation space (2024),
    who have points only.

    Example:
        >>> PositionOrientationGrid(2, 3, 8, 5, padding=2)(torch.zeros(1, 24, 9, 9)).shape
        torch.Size([1, 24, 9, 9])
    """

    name = "position-orientation-grid"
    summary = "a convolution over places of a grid and directions with kernels of invariants"
    source = "Bekkers et al., Fast, expressive SE(n) equivariant networks (2024)"
    cost = "Π kernel_size + directions"
    dims = (2, 3)

    def __init__(
        self,
        ndim: int,
        channels: int,
        count: int,
        kernel_size: Any,
        steps: Any = 1.0,
        radius: float | None = None,
        hidden: int = 64,
        degree: int = 3,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
        arrangement: str = "solid",
    ) -> None:
        super().__init__()
        channels, count = functional.numbers("channels, count", (channels, count), 2, 1)
        wide = channels * count
        self.settle(ndim, wide, wide, kernel_size, stride, padding, dilation, channels, padding_mode, policy)
        each = steps if isinstance(steps, (tuple, list)) else (steps,) * self.ndim
        if len(each) != self.ndim or not all(math.isfinite(s) and s > 0 for s in each):
            raise ArgumentError.of(
                "PositionOrientationGrid", f"one or {self.ndim} steps above 0", repr(steps), "correct them"
            )
        self.steps = tuple(float(s) for s in each)
        spread = [d * s for d, s in zip(self.dilation, self.steps, strict=True)]
        reach = max((k + 1) / 2 * s for k, s in zip(self.kernel_size, spread, strict=True))
        self.networks = Kernels(
            channels, count, reach if radius is None else radius, self.ndim, hidden, degree, arrangement, device, dtype
        )
        axes = [(np.arange(k) - (k - 1) / 2) * s for k, s in zip(self.kernel_size, spread, strict=True)]
        places = torch.from_numpy(np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, self.ndim))
        self.register_buffer("places", places.to(self.networks.grid), persistent=False)
        self.bias = nn.Parameter(torch.zeros(channels, device=device, dtype=dtype))

    def _over_places(self) -> Tensor:
        """The depthwise kernel (channels·directions, 1, *taps)."""
        found = self.networks.over_positions(self.places)  # (taps, directions, channels)
        return found.permute(2, 1, 0).reshape(self.in_channels, 1, *self.kernel_size)

    def kernel(self) -> Tensor:
        depthwise = self._over_places().reshape(self.groups, 1, self.networks.count, *self.kernel_size)
        mixing = self.networks.over_directions().permute(2, 0, 1)
        return (depthwise * mixing.reshape(*mixing.shape, *[1] * self.ndim)).reshape(self.weight_shape)

    def definition_kernel(self) -> Tensor:
        """Tap by tap and direction by direction."""
        count = self.networks.count
        taps = torch.stack([torch.stack([self.networks.pair(t, p) for t in self.places]) for p in range(count)])
        turns = torch.stack([torch.stack([self.networks.turn(o, p) for p in range(count)]) for o in range(count)])
        return torch.einsum("opc,ptc->copt", turns, taps).reshape(self.weight_shape)

    def effective_bias(self) -> Tensor:
        return self.bias.repeat_interleave(self.networks.count)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim, batch=False)
        first = functional.conv(
            input, self._over_places(), None, self.stride, self.padding, self.dilation, self.in_channels, self.padding_mode,
            self.policy,
        )  # fmt: skip
        split = first.unflatten(-self.ndim - 1, (self.groups, self.networks.count)).movedim(-self.ndim - 1, -1)
        column = (self.groups, *[1] * (self.ndim + 1))
        mixed = torch.einsum("opc,...cxp->...cxo", self.networks.over_directions(), split.flatten(-self.ndim - 1, -2))
        moved = mixed.unflatten(-2, first.shape[-self.ndim :]) + self.bias.reshape(column)
        return moved.movedim(-1, -self.ndim - 1).flatten(-self.ndim - 2, -self.ndim - 1)

    def definition(self, *inputs: Any) -> Tensor:
        return conv_by_taps(
            inputs[0], self.definition_kernel(), self.effective_bias(), self.stride, self.pads, self.dilation, self.groups,
            self.padding_mode,
        )  # fmt: skip

    def parameter_count(self) -> int:
        return self.networks.parameter_count() + self.groups

    def symmetries(self) -> Iterable[Symmetry]:
        yield from super().symmetries()
        alike = list(zip(self.kernel_size, self.stride, self.pads, self.dilation, self.steps, strict=True))
        acting, found = grid_group("c4" if self.ndim == 2 else "oh", self.ndim), []
        whole = all(s == 1 for s in self.stride) and all(lo == hi for lo, hi in self.pads)
        for g, m in enumerate(acting.matrices):
            pairs = zip(*np.nonzero(m), strict=True)
            if g and whole and all(alike[a] == alike[b] for a, b in pairs) and (to := self.moved(m)) is not None:
                found.append((g, to))
        for g, to in found[:: max(1, len(found) // 5)]:
            turn = partial(turn_directions, acting, g, to)
            yield Symmetry(f"element {g} of {acting.name}", turn, turn)

    def moved(self, matrix: np.ndarray) -> Tensor | None:
        """Which direction comes to the place of each when space is turned, or None where the grid is not moved to itself."""
        grid = self.networks.grid.detach().cpu().double().numpy()
        to = permuted(grid, matrix)
        return None if to is None else torch.from_numpy(to)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example(
            {"ndim": 2, "channels": 2, "count": 4, "kernel_size": 3, "hidden": 2, "degree": 2, "padding": 1},
            ((2, 8, 4, 3),),
        )
        yield Example(
            {"ndim": 3, "channels": 1, "count": 6, "kernel_size": 3, "hidden": 2, "degree": 1, "padding": 1,
             "padding_mode": "circular"},
            ((1, 6, 3, 3, 3),),
        )  # fmt: skip
        yield Example(
            {"ndim": 2, "channels": 1, "count": 3, "kernel_size": (2, 3), "steps": (1.0, 0.5), "hidden": 2, "degree": 1,
             "stride": 2, "dilation": 2},
            ((1, 3, 7, 6),),
        )  # fmt: skip


def turn_directions(acting: GridGroup, element: int, to: Tensor, x: Tensor) -> Tensor:
    """An image of functions of directions, turned: places move, and the values move from direction to direction."""
    moved = act(x, acting, element)
    return moved.unflatten(1, (-1, len(to)))[:, :, to].flatten(1, 2)
