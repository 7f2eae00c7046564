"""Kinds of fields on grids, by the layers that make them: values on cosets, irreducible fields of the plane and of space."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faltung.certify.actions.fields import Kind
from faltung.nn.symmetry import (
    FieldBatchNorm,
    FourierReLU,
    GatedFields,
    GroupBatchNorm,
    GroupConv,
    GroupDownsample,
    GroupPool,
    GroupUpsample,
    NormReLU,
    PositionOrientationGrid,
    SteerableConv,
    VoxelConv,
)  # fmt: skip
from faltung.nn.symmetry.groups import Fibre, GridGroup
from faltung.nn.symmetry.harmonics import PLANE
from faltung.nn.symmetry.irreps import Irreps


class OfChannels(Kind):
    """What stands in the channels of an image: `mixed` says how an orthogonal matrix on the axes changes them."""

    channels: int | None = None

    def fits(self, y: Tensor) -> bool:
        return y.ndim > 1 and y.shape[1] == self.channels

    def mixed(self, y: Tensor, matrix: np.ndarray) -> Tensor | None:
        """The channels under that matrix, None for one that such fields do not know."""
        return y


class Scalars(OfChannels):
    """Channels that stay."""

    plain = True


@dataclass(frozen=True)
class Permuted(OfChannels):
    """Channels that a finite group permutes within fibres; `index` has for an element the place from which each value comes.

    Of 0 channels: any number of fields.
    """

    acting: GridGroup
    size: int
    index: Callable[[int], Any]
    channels: int

    def fits(self, y: Tensor) -> bool:
        return y.ndim > 1 and y.shape[1] % self.size == 0 and self.channels in (0, y.shape[1])

    def mixed(self, y: Tensor, matrix: np.ndarray) -> Tensor | None:
        alike = self.acting.matrices.shape[1:] == matrix.shape
        found = [g for g, own in enumerate(self.acting.matrices) if alike and np.allclose(own, matrix, atol=1e-9)]
        index = self.index(found[0]) if found else None
        if index is None:
            return None
        return y.unflatten(1, (-1, self.size))[:, :, torch.as_tensor(index, device=y.device)].flatten(1, 2)


@dataclass(frozen=True)
class Turning(OfChannels):
    """Channels that are irreducible fields of "so2", "o2" (of images) or "o3" (of volumes)."""

    fields: Irreps
    group: str

    @property
    def channels(self) -> int:  # type: ignore[override]
        return self.fields.dim

    def mixed(self, y: Tensor, matrix: np.ndarray) -> Tensor | None:
        if len(matrix) != (3 if self.group == "o3" else 2) or (self.group == "so2" and np.linalg.det(matrix) < 0):
            return None
        own = matrix if self.group == "o3" else PLANE @ matrix @ PLANE.T
        return torch.einsum("ab,nb...->na...", torch.from_numpy(self.fields.matrix(own.astype(float))).to(y), y)


@dataclass(frozen=True)
class Directed(OfChannels):
    """Channels that are functions of a grid of directions, for matrices that move the grid to itself."""

    layer: PositionOrientationGrid

    @property
    def channels(self) -> int:  # type: ignore[override]
        return self.layer.in_channels

    def mixed(self, y: Tensor, matrix: np.ndarray) -> Tensor | None:
        to = self.layer.moved(matrix) if len(matrix) == self.layer.ndim else None
        return None if to is None else y.unflatten(1, (-1, len(to)))[:, :, to.to(y.device)].flatten(1, 2)


@dataclass(frozen=True)
class Joined(OfChannels):
    """Several kinds, one behind the other in the channels."""

    parts: tuple[OfChannels, ...]
    sizes: tuple[int, ...]

    @property
    def channels(self) -> int:  # type: ignore[override]
        return sum(self.sizes)

    def mixed(self, y: Tensor, matrix: np.ndarray) -> Tensor | None:
        pieces = zip(self.parts, y.split(self.sizes, 1), strict=True)
        found = [part.mixed(piece, matrix) for part, piece in pieces]
        whole = [piece for piece in found if piece is not None]
        return torch.cat(whole, 1) if len(whole) == len(found) else None


SCALARS = Scalars()


def cosets(acting: GridGroup, fibre: Fibre, fields: int) -> OfChannels:
    """Fields of values on the cosets of a subgroup."""
    if fibre.size == 1:
        return SCALARS
    return Permuted(acting, fibre.size, lambda g: fibre.moved[acting.group.inverses[g]], fields * fibre.size)


def restricted(acting: GridGroup, held: tuple[int, ...], fields: int) -> OfChannels:
    """Fields of values on a subgroup itself, which other elements do not permute."""

    def index(g: int) -> list[int] | None:
        order = acting.group.table[acting.group.inverses[g]]
        return [held.index(int(order[h])) for h in held] if g in held else None

    return Permuted(acting, len(held), index, fields * len(held))


def _resampling(layer: Any) -> tuple[OfChannels, OfChannels]:
    whole = cosets(layer.acting, layer.acting.fibre("regular"), layer.fields)
    part = restricted(layer.acting, layer.held, layer.fields)
    return (part, whole) if isinstance(layer, GroupUpsample) else (whole, part)


def _single(layer: Any) -> tuple[OfChannels, OfChannels] | None:
    """Layers of single fields; those of points, whose fields stand on the last axis, are none of a grid."""
    return None if layer.last else (Turning(layer.received(), layer.group), Turning(layer.fields, layer.group))


OF_LAYERS: dict[type, Callable[[Any], tuple[OfChannels, OfChannels] | None]] = {
    GroupConv: lambda m: (
        cosets(m.acting, m.source_fibre, m.in_fields), cosets(m.acting, m.into, m.out_fields)
    ),
    GroupPool: lambda m: (cosets(m.acting, m.before, m.fields), cosets(m.acting, m.after, m.fields)),
    GroupBatchNorm: lambda m: (cosets(m.acting, m.fibre, m.fields),) * 2,
    GroupDownsample: _resampling,
    GroupUpsample: _resampling,
    SteerableConv: lambda m: (Turning(m.before, m.group), Turning(m.after, m.group)),
    VoxelConv: lambda m: (Turning(m.before, "o3"), Turning(m.after, "o3")),
    NormReLU: _single,
    GatedFields: _single,
    FieldBatchNorm: _single,
    FourierReLU: lambda m: (Turning(m.fields, m.group),) * 2,
    PositionOrientationGrid: lambda m: (Directed(m), Directed(m)),
}  # fmt: skip
"""What each layer takes and makes: a line for each."""


def fields_of(module: Any) -> tuple[OfChannels, OfChannels] | None:
    """The kinds that a layer takes and makes, None for modules that know no fields."""
    known = next((OF_LAYERS[kind] for kind in type(module).__mro__ if kind in OF_LAYERS), None)
    return known(module) if known else None
