"""Symmetries of grids of places, with what they do to fields: `GridTurn`, and what it shares with `Turn`."""

import copy
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from torch import Tensor

from faltung.certify.actions.fibres import SCALARS, Joined, OfChannels, cosets, fields_of
from faltung.certify.actions.fields import UNKNOWN, FieldAction, Kind
from faltung.certify.steps import Step
from faltung.errors import ArgumentError
from faltung.nn.symmetry import act, grid_group
from faltung.nn.symmetry.groups import GridGroup


class GridAction(FieldAction):
    """An action by orthogonal matrices on the axes of images and volumes. A subclass writes `matrix` and `places`.

    Channels of fields are mixed as their layer says; an element that such fields do not know leaves channels as they are, so that
    what makes them is where the symmetry is lost.
    """

    def matrix(self, element: Any, ndim: int) -> np.ndarray:
        """What the element does to offsets along the spatial axes, (ndim, ndim)."""
        raise TypeError(f"{type(self).__name__} does not say by which matrix it acts")

    def places(self, element: Any, x: Tensor) -> Tensor:
        """The map with its places moved, channels as they are."""
        raise TypeError(f"{type(self).__name__} does not say how places move")

    def of_layer(self, module: Any) -> tuple[tuple[Kind, ...], Kind] | None:
        own = fields_of(module)
        return None if own is None else (own[:1], own[1])

    def scalars(self, number: int) -> Kind:
        return SCALARS

    def joined(self, step: Step, taken: Sequence[Kind | None]) -> Kind | None:
        known = [(kind, t) for kind, t in zip(taken, step.inputs, strict=False) if isinstance(kind, OfChannels)]
        sizes = tuple(t.shape[1] if t.ndim > 1 else 0 for _, t in known)
        if len(known) > 1 and step.result.shape[1:2] == (sum(sizes),):
            return Joined(tuple(kind for kind, _ in known), sizes)
        # A view with an axis for the fibre, say, is no map and no vector of channels.
        maps = step.result.ndim == 2 or any(step.result.ndim == t.ndim for _, t in known)
        return UNKNOWN if known and not maps and not all(kind.plain for kind, _ in known) else SCALARS

    def turned(self, element: Any, y: Tensor, kind: Kind, x: Tensor) -> Tensor | None:
        if not isinstance(kind, OfChannels):
            return None
        if not kind.plain and kind.fits(y) and y.ndim in (2, x.ndim):
            mixed = kind.mixed(y, self.matrix(element, x.ndim - 2))
            if mixed is not None:
                return self.places(element, mixed) if y.ndim == x.ndim else mixed
        return self.apply_output(element, y, x)

    def apply(self, element: Any, x: Tensor) -> Tensor:
        kind = self.given[0] if self.given else SCALARS
        mixed = kind.mixed(x, self.matrix(element, x.ndim - 2)) if isinstance(kind, OfChannels) else None
        return self.places(element, x if mixed is None else mixed)

    def apply_output(self, element: Any, y: Tensor, x: Tensor) -> Tensor | None:
        """Scalars move like the input, vectors stay."""
        return self.places(element, y) if y.ndim == x.ndim else y


class GridTurn(GridAction):
    """The elements of a grid's group that map the grid to itself, on maps (batch, channels, *n): exact, only addresses move.

    Formula: `(g·f)(g·p, g·c) = f(p, c)` for places p about the centre (on hexagonal axes about the first sample, periodic) and
    the values c of a fibre, `faltung.nn.symmetry.act`; irreducible fields are mixed by their matrices.

    Args:
        group: a name of `faltung.nn.symmetry.grid_group`: "p4", "p4m", "d1", "p6", "p6m" (rhombi, circular), "o", "oh" (volumes).
        fields: the type of the input's fields, as for `GroupConv`. Default: what the model's first layer takes, else scalars.
        out: that of the result. Default: what the model's last layer makes.

    Raises:
        ArgumentError: no such group, or none on the axes of the input.

    Example:
        >>> import torch
        >>> from faltung import certify, nn
        >>> x, layer = torch.randn(1, 3, 8, 8).double(), nn.GroupConv2d(3, 2, 3, "p4m", "trivial", padding=1).double()
        >>> certify.equivariance(layer, "p4m", x).kept
        True
    """

    def __init__(self, group: str, fields: Any = None, out: Any = None) -> None:
        self.group, self.types = group, (fields, out)
        self.name = f"{group}: symmetries of the grid"

    def _acting(self, x: Tensor) -> GridGroup:
        return grid_group(self.group, x.ndim - 2)

    def prepare(self, x: Tensor) -> Tensor:
        acting = self._acting(x)
        if acting.hexagonal and x.shape[-1] != x.shape[-2]:
            raise ArgumentError.of(
                self.name, "as many rows as columns on hexagonal axes", f"{tuple(x.shape[-2:])}", "use a rhombus"
            )
        return x

    def informed(self, steps: Sequence[Step], inputs: Sequence[Any]) -> Self:
        acting = self._acting(inputs[0])
        first, last = (None if kind is None else cosets(acting, acting.fibre(kind), 0) for kind in self.types)
        made = copy.copy(self)
        made.given, made.out = (first,), last
        return super(GridTurn, made).informed(steps, inputs)

    def elements(self, x: Tensor) -> list[Any]:
        return [int(g) for g in np.flatnonzero(self._acting(x).integral)[1:]]

    def matrix(self, element: Any, ndim: int) -> np.ndarray:
        found: np.ndarray = grid_group(self.group, ndim).matrices[element]
        return found

    def places(self, element: Any, x: Tensor) -> Tensor:
        return act(x, self._acting(x), element)

    def words(self, element: Any) -> str:
        return f"element {element}"
