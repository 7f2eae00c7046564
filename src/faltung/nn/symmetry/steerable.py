"""Convolutions whose kernels turn with the plane: fields of SO(2) and O(2), joined by circular harmonics."""

import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.nn.base import Example, Symmetry, shown
from faltung.nn.symmetry.acting import act
from faltung.nn.symmetry.field_conv import FieldConv
from faltung.nn.symmetry.groups import GridGroup, grid_group
from faltung.nn.symmetry.harmonics import PLANE, pairing, polar, rings
from faltung.nn.symmetry.irreps import Irreps, irreps, size, turned
from faltung.planner import Policy

LATTICE = {"so2": "c4", "o2": "d4"}
"""The elements of each group that map the square grid to itself."""


class SteerableConv(FieldConv):
    """A convolution of images of scalars, vectors and higher fields that commutes with rotations of the plane, but for sampling.

    Formula: `κ(r, φ) = ρ_out(φ) κ₀(r) ρ_in(φ)ᵀ` for irreducible fields, κ₀ a learnt sum of Gaussian rings, so that
    `κ(R x) = ρ_out(R) κ(x) ρ_in(R)ᵀ`. From frequency m to n there are four numbers a ring (n − m and n + m, two phases each), two
    where one is a scalar, one from scalar to scalar; for O(2) two, one and one. What a ring's taps cannot carry is left out.

    Shapes: input (batch, in_irreps' dim, h, w), returns (batch, out_irreps' dim, h', w'). Fields of a kind stand together, each
    with its numbers side by side (e3nn's layout). A field of frequency m has the numbers (cos m·α, sin m·α) along the angle α,
    x to the right, y upwards; `Irreps.matrix` is its matrix.

    Args:
        in_irreps, out_irreps: fields as a text, "8x0 + 4x1 + 2x2"; "0-" (for o2) changes its sign in a mirror.
        kernel_size: taps along both axes.   group: "so2" (default) or "o2".
        stride, padding, dilation, bias, padding_mode, device, dtype, policy: as for `Conv`, one number for both axes. The bias is
            one for each scalar. Sizes and strides whose lattice is not symmetric are refused, as by `GroupConv`.

    Raises:
        ArgumentError: settings that name no layer.

    Error: exact under quarter turns (o2: and mirrors) of the grid, up to rounding; under other angles that of sampling.
    Cost: that of the plain convolution; the kernel costs one small product.
    Source: Worrall et al., Harmonic networks (2017); Weiler and Cesa, General E(2)-equivariant steerable CNNs (2019).

    Example:
        >>> SteerableConv("3x0", "8x0 + 4x1", 5, padding=2)(torch.zeros(1, 3, 9, 9)).shape
        torch.Size([1, 16, 9, 9])
    """

    name = "steerable-conv"
    summary = "a convolution of fields of any frequency that turns with the plane, by circular harmonics"
    cost = "in · Π kernel_size"
    source = "Weiler and Cesa, General E(2)-equivariant steerable CNNs (2019)"
    dims = ()
    portrait = shown("kernels photo", (1, 1, 96, 96), in_irreps="0", out_irreps="0 + 1 + 2", kernel_size=9, padding=4)

    def __init__(
        self,
        in_irreps: str,
        out_irreps: str,
        kernel_size: int,
        group: str = "so2",
        stride: int = 1,
        padding: Any = 0,
        dilation: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        if group not in LATTICE:
            raise ArgumentError.of(
                "SteerableConv", "group 'so2' or 'o2'", repr(group), "use GroupConv for finite groups"
            )
        self.group, self.scalar = group, "0"
        self.before, self.after = irreps(in_irreps, group), irreps(out_irreps, group)
        self.acting = grid_group(LATTICE[group], 2)
        self.settle(2, self.before.dim, self.after.dim, kernel_size, stride, padding, dilation, 1, padding_mode, policy)
        self._check_lattice_alike()
        self._make(bias, device, dtype)

    def basis(self, source: str, to: str) -> np.ndarray:
        return pairing(self.kernel_size[0], source, to, self.group)

    def definition_basis(self, source: str, to: str) -> np.ndarray:
        """Tap by tap: the matrices of both fields at its angle, with the starting matrices' rings between them."""
        taps, found = self.kernel_size[0], []
        for ring in rings(taps):
            for start, frequency in _commuting(source, to, self.group):
                if frequency > ring.frequency:
                    continue
                values = [
                    (r > 0 or frequency == 0)
                    * math.exp(-((r - ring.radius) ** 2) / (2 * ring.sigma**2))
                    * turned(to, _turn(a))
                    @ start
                    @ turned(source, _turn(a)).T
                    for r, a in zip(*polar(taps), strict=True)
                ]
                element = np.stack(values, -1)
                norm = np.sqrt((element**2).sum())
                if norm > 1e-6:
                    found.append(element / norm * size(to) ** 0.5)
        return np.array(found)

    def symmetries(self) -> Iterable[Symmetry]:
        yield from super().symmetries()
        yield from field_acts(self.acting, self.before, self.after)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example(
            {"in_irreps": "2x0 + 1", "out_irreps": "2x0 + 2x1 + 2", "kernel_size": 3, "padding": 1}, ((2, 4, 4, 3),)
        )
        yield Example(
            {"in_irreps": "0 + 1 + 0-", "out_irreps": "0- + 2 + 0", "kernel_size": 5, "group": "o2", "stride": 2, "padding": 2},
            ((1, 4, 5, 5),),
        )  # fmt: skip


def field_acts(acting: GridGroup, before: Irreps | None, after: Irreps | None) -> Iterator[Symmetry]:
    """Equivariance of fields of the plane to the elements of the square grid's group."""
    for g in range(1, acting.order):
        yield Symmetry(f"element {g}", partial(turn_field, acting, g, before), partial(turn_field, acting, g, after))


def turn_field(acting: GridGroup, element: int, fields: Irreps | None, x: Tensor) -> Tensor:
    """An image of fields, turned by an element of "c4" or "d4": places move, and their numbers are mixed; None for scalars."""
    moved = act(x, acting, element)
    if fields is None:
        return moved
    matrix = fields.matrix(PLANE @ acting.matrices[element] @ PLANE.T)
    return torch.einsum("ab,nb...->na...", torch.from_numpy(matrix).to(x), moved)


def _turn(angle: float) -> np.ndarray:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _commuting(source: str, to: str, group: str) -> list[tuple[np.ndarray, int]]:
    """All starting matrices of 1, J, σ, Jσ that a mirror leaves alone, with the frequency that their kernels have."""
    m, n = int(source.rstrip("-")), int(to.rstrip("-"))
    j, flip = np.array([[0.0, -1.0], [1.0, 0.0]]), np.diag([1.0, -1.0])
    if size(source) == size(to) == 2:
        found = [(np.eye(2), abs(n - m)), (j, abs(n - m)), (flip, n + m), (j @ flip, n + m)]
    else:
        units = np.eye(size(source) * size(to)).reshape(-1, size(to), size(source))
        found = [(unit, n + m) for unit in units]
    mirror = np.diag([1.0, -1.0])
    same = [np.allclose(turned(to, mirror) @ start @ turned(source, mirror).T, start) for start, _ in found]
    return [pair for pair, kept in zip(found, same, strict=True) if kept or group == "so2"]
