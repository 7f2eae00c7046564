"""Motions of space, and of the plane, on features of points and of edges: `SpaceMotion`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faltung.certify.actions.action import relative
from faltung.certify.actions.fields import UNKNOWN, FieldAction, Kind
from faltung.certify.steps import Step
from faltung.errors import ArgumentError
from faltung.nn.symmetry import (
    ESCNConv,
    FieldBatchNorm,
    GatedFields,
    GauntPower,
    GauntProduct,
    NormReLU,
    PointConv,
    PositionOrientationBlock,
    PositionOrientationConv,
    RadialConv,
    SO2Conv,
    SphereActivation,
)  # fmt: skip
from faltung.nn.symmetry.directions import motions, permuted
from faltung.nn.symmetry.irreps import Irreps, irreps
from faltung.nn.symmetry.motions import drawn_turn
from faltung.nn.symmetry.so3 import rotate, wigner

GROUPS = {"SO(3)": (3, False, False), "O(3)": (3, True, False), "SE(3)": (3, False, True), "E(3)": (3, True, True),
          "SO(2)": (2, False, False), "SE(2)": (2, False, True)}  # fmt: skip
"""Axes, mirrors, moves."""


class OfSpace(Kind):
    """Numbers of points: `moved` says how a motion p ↦ turn·p + move changes them, None for motions that they do not know."""

    def moved(self, y: Tensor, turn: Tensor, move: Tensor) -> Tensor | None:
        return y


class Invariants(OfSpace):
    """Numbers that stay."""

    plain = True


@dataclass(frozen=True)
class Places(OfSpace):
    """Vectors along the last axis that turn; of `places` also move."""

    dims: int
    places: bool

    def fits(self, y: Tensor) -> bool:
        return y.shape[-1] == self.dims

    def moved(self, y: Tensor, turn: Tensor, move: Tensor) -> Tensor | None:
        turned = y @ turn.to(y).T
        return turned + move.to(y) if self.places else turned


@dataclass(frozen=True)
class Harmonics(OfSpace):
    """Spherical harmonics along axis 1, ((l + 1)², channels) for each point; `odd` ones change sign in a mirror."""

    count: int
    odd: bool = False

    def fits(self, y: Tensor) -> bool:
        return y.ndim == 3 and y.shape[1] == self.count

    def moved(self, y: Tensor, turn: Tensor, move: Tensor) -> Tensor | None:
        found = rotate(y, [d.to(y) for d in wigner(round(self.count**0.5) - 1, turn)])
        return found * torch.linalg.det(turn).round().to(y) if self.odd else found


@dataclass(frozen=True)
class Turned(OfSpace):
    """Irreducible fields of O(3) along the last axis."""

    fields: Irreps

    def fits(self, y: Tensor) -> bool:
        return y.shape[-1] == self.fields.dim

    def moved(self, y: Tensor, turn: Tensor, move: Tensor) -> Tensor | None:
        return y @ torch.from_numpy(self.fields.matrix(turn.numpy())).to(y).T


class Directed(OfSpace):
    """Functions of a grid of directions, (..., directions, channels), for motions that turn the grid to itself."""

    def __init__(self, grid: Tensor) -> None:
        self.grid = grid.detach().cpu().double().numpy()

    def fits(self, y: Tensor) -> bool:
        return y.ndim > 2 and y.shape[-2] == len(self.grid)

    def moved(self, y: Tensor, turn: Tensor, move: Tensor) -> Tensor | None:
        to = permuted(self.grid, turn.numpy())
        return None if to is None else y[..., torch.from_numpy(to).to(y.device), :]


INVARIANTS, POINTS, VECTORS = Invariants(), Places(3, True), Places(3, False)


def _harmonics(highest: int, odd: bool = False) -> Harmonics:
    return Harmonics((highest + 1) ** 2, odd)


def _product(m: GauntProduct) -> tuple[tuple[Kind, ...], Kind]:
    one, two, three = m.degrees
    return (_harmonics(one), _harmonics(two)), _harmonics(three, m.couplings == "odd")


def _directed(grid: Tensor) -> tuple[tuple[Kind, ...], Kind]:
    own = Directed(grid)
    return (own, Places(grid.shape[1], True)), own


def _single(m: Any) -> tuple[tuple[Kind, ...], Kind] | None:
    """Layers of single fields, of which those of points have them on the last axis."""
    return ((Turned(m.received()),), Turned(m.fields)) if m.last and m.group == "o3" else None


OF_LAYERS: dict[type, Callable[[Any], tuple[tuple[Kind, ...], Kind] | None]] = {
    PointConv: lambda m: ((Turned(m.before), POINTS), Turned(m.after)),
    RadialConv: lambda m: ((INVARIANTS, Places(m.space, True)), INVARIANTS),
    NormReLU: _single,
    GatedFields: _single,
    FieldBatchNorm: _single,
    SO2Conv: lambda m: ((_harmonics(m.l_in), VECTORS), _harmonics(m.l_out)),
    ESCNConv: lambda m: ((_harmonics(m.l_in), VECTORS), _harmonics(m.l_out)),
    GauntProduct: _product,
    GauntPower: lambda m: ((_harmonics(m.l),), _harmonics(m.l3)),
    SphereActivation: lambda m: ((_harmonics(m.l),), _harmonics(m.l)),
    PositionOrientationConv: lambda m: _directed(m.grid),
    PositionOrientationBlock: lambda m: _directed(m.conv.grid),
}
"""What each layer takes and makes: a line for each."""


class SpaceMotion(FieldAction):
    """Rotations of space or the plane, with mirrors and moves or without, of all inputs: features, positions, vectors of edges.

    Formula: `p ↦ R·p + t` for positions, `v ↦ R·v` for vectors, D(R) for spherical features and irreducible fields; functions of a
    grid of directions are permuted, and R is then one of those that turn the grid to itself.

    Args:
        group: "SO(3)" (default), "O(3)" (with mirrors), "SE(3)" (with moves), "E(3)" (both), "SO(2)" or "SE(2)".
        *inputs: the kind of each: a text of irreducible fields ("2x0e + 1o"), "points", "vectors", "harmonics", or "stay".
            Default: as the layers take them that see the inputs first (`PointConv`, `SO2Conv`, `GauntProduct`,
            `PositionOrientationConv`, ...); others stay.
        reach: the longest move along an axis. Default 1.

    Elements are drawn, rotations with Haar's measure. Errors are relative to all results of a call together.

    Raises:
        ArgumentError: no such group or kind, inputs of which none turns, a grid of directions that nothing turns to itself.

    Example:
        >>> import torch
        >>> from faltung import certify, nn
        >>> layer = nn.PointConv("2x0e", "0e + 1o", 3.0, dtype=torch.float64)
        >>> x, p = torch.randn(1, 5, 2).double(), torch.randn(1, 5, 3).double()
        >>> certify.equivariance(layer, "E(3)", (x, p), count=3).kept
        True
    """

    together = True

    def __init__(self, group: str = "SO(3)", *inputs: str, reach: float = 1.0) -> None:
        if group not in GROUPS or not reach >= 0:
            known = ", ".join(GROUPS)
            raise ArgumentError.of(
                "SpaceMotion", f"a group among {known} and a reach of at least 0", f"{group!r}, {reach!r}", "choose one"
            )
        self.dims, self.mirrors, self.moves = GROUPS[group]
        self.texts, self.reach = inputs, float(reach)
        self.name = f"{group}: motions of {'space' if self.dims == 3 else 'the plane'}"

    def of_layer(self, module: Any) -> tuple[tuple[Kind, ...], Kind] | None:
        known = next((OF_LAYERS[kind] for kind in type(module).__mro__ if kind in OF_LAYERS), None)
        return known(module) if known else None

    def scalars(self, number: int) -> Kind:
        return INVARIANTS

    def informed(self, steps: Sequence[Step], inputs: Sequence[Any]) -> "SpaceMotion":
        made = super().informed(steps, inputs)
        if self.texts:
            pairs = zip(self.texts, inputs, strict=False)
            made.given = (*(self._kind(text, x) for text, x in pairs), *made.given[len(self.texts) :])
        if all(kind is None or kind.plain for kind in made.given):
            raise ArgumentError.of(
                self.name, "an input that turns", f"{len(inputs)} of which no layer says how",
                "name them, SpaceMotion('SE(3)', '2x0e + 1o', 'points')",
            )  # fmt: skip
        return made

    def _kind(self, text: str, x: Tensor) -> Kind:
        words = {"points": Places(self.dims, True), "vectors": Places(self.dims, False), "stay": INVARIANTS}
        if text == "harmonics":
            return Harmonics(x.shape[1])
        return words[text] if text in words else Turned(irreps(text, "o3"))

    def joined(self, step: Step, taken: Sequence[Kind | None]) -> Kind | None:
        fields = [kind for kind in taken if kind is not None and not kind.plain]
        return UNKNOWN if fields and step.module is None else INVARIANTS

    def made(self, step: Step, taken: Sequence[Kind | None]) -> Kind:
        places = [kind for kind in taken if isinstance(kind, Places) and kind.places]
        if len(places) == 2 and step.kind in ("sub", "subtract"):
            return Places(places[0].dims, False)
        return super().made(step, taken)

    def sample(self, random: np.random.Generator, x: Any) -> Any:
        grids = [kind.grid for kind in self.given if isinstance(kind, Directed)]
        if grids:
            found = [m for m in motions(grids[0]) if self.mirrors or np.linalg.det(m) > 0]
            if len(found) < 2:
                raise ArgumentError.of(
                    self.name, "a grid of directions that rotations turn to itself", f"{len(grids[0])} that none does",
                    "use 4, 6, 8, 12 or 20 directions",
                )  # fmt: skip
            turn = found[random.integers(1, len(found))]
        else:
            turn = drawn_turn(random, self.dims, self.mirrors and bool(random.integers(2)))
        move = random.uniform(-self.reach, self.reach, self.dims) if self.moves else np.zeros(self.dims)
        return torch.from_numpy(turn.copy()), torch.from_numpy(move)

    def apply(self, element: Any, x: Any) -> Any:
        turn, move = element
        kinds = (*self.given, *[None] * (len(x) - len(self.given)))
        moved = [k.moved(a, turn, move) if isinstance(k, OfSpace) else a for k, a in zip(kinds, x, strict=True)]
        return tuple(a if m is None else m for m, a in zip(moved, x, strict=True))

    def turned(self, element: Any, y: Tensor, kind: Kind, x: Any) -> Tensor | None:
        return kind.moved(y, *element) if isinstance(kind, OfSpace) else None

    def apply_output(self, element: Any, y: Tensor, x: Any) -> Tensor | None:
        """Invariants stay."""
        return y

    def difference(self, element: Any, after: Tensor, before: Tensor, x: Any) -> Tensor | None:
        return self.difference_of(element, after, before, self.out or INVARIANTS, x)

    def difference_of(self, element: Any, after: Tensor, before: Tensor, kind: Kind, x: Any) -> Tensor | None:
        wanted = self.turned(element, before, kind, x)
        if wanted is None or wanted.shape != after.shape:
            return None
        return relative(
            after.reshape(1, -1), wanted.reshape(1, -1)
        )  # points near 0 have no relative error of their own

    def words(self, element: Any) -> str:
        turn, move = element
        sign = torch.linalg.det(turn).round().item()
        cosine = ((sign * turn.diagonal().sum() - 1) / 2).clamp(-1, 1) if self.dims == 3 else turn[0, 0].clamp(-1, 1)
        angle = np.degrees(np.arccos(float(cosine)))
        return (
            ("mirrored, " if sign < 0 else "")
            + f"{angle:.0f}°"
            + (f", moved by {move.norm():.2f}" if self.moves else "")
        )
