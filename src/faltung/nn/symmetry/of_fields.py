"""What layers of single fields share: named fields of a group at every place, channels first or last, taken apart and joined."""

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.nn.base import Layer, Symmetry
from faltung.nn.symmetry.groups import GridGroup, grid_group
from faltung.nn.symmetry.irreps import Irreps, irreps, size
from faltung.nn.symmetry.motions import drawn_turn, of_fields, words
from faltung.nn.symmetry.steerable import LATTICE, field_acts
from faltung.nn.symmetry.steerable_space import turn_volume


class OfFields(Layer):
    """A layer that does the same at every place with fields that a text names; a subclass calls `_name` in its constructor.

    Inputs are images (batch, dim, h, w) for "so2" and "o2", volumes (batch, dim, x, y, z) for "o3"; with `last` fields at points,
    (..., dim), with any number of axes before, at least one.
    """

    dims = ()

    fields: Irreps
    group: str
    last: bool
    acting: GridGroup
    scalar: str
    """The name of fields that no element moves."""

    def _name(self, text: str, group: str, last: bool = False) -> None:
        if group not in (*LATTICE, "o3"):
            raise ArgumentError.of(type(self).__name__, "group 'so2', 'o2' or 'o3'", repr(group), "choose one")
        self.fields, self.group, self.last = irreps(text, group), group, bool(last)
        space = group == "o3"
        self.scalar, self.acting = ("0e", grid_group("oh", 3)) if space else ("0", grid_group(LATTICE[group], 2))

    def _opened(self, input: Tensor, dim: int) -> Tensor:
        """The input, checked, with the numbers of all fields on axis 1."""
        if not self.last:
            self.expect(input, dim, 3 if self.group == "o3" else 2)
            return input
        self.expect(input, None, None)
        if input.ndim < 2 or input.shape[-1] != dim:
            raise ArgumentError.of(
                type(self).__name__, f"an input (..., {dim})", f"shape {tuple(input.shape)}", "put the fields last"
            )
        return input.movedim(-1, 1)

    def _closed(self, result: Tensor) -> Tensor:
        """The result with axis 1 where the input had it."""
        return result.movedim(1, -1) if self.last else result

    def _parts(self, x: Tensor) -> Iterator[tuple[int, str, Tensor]]:
        """(how many, name, values (n, how many, size, ...)) of each part."""
        at = 0
        for many, name in self.fields.parts:
            wide = many * size(name)
            yield many, name, x[:, at : at + wide].unflatten(1, (many, size(name)))
            at += wide

    def _each(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """(name, values (n, size, ...)) of one field after the other: for definitions."""
        at = 0
        for many, name in self.fields.parts:
            for _ in range(many):
                yield name, x[:, at : at + size(name)]
                at += size(name)

    def received(self) -> Irreps:
        """The fields of the input."""
        return self.fields

    def symmetries(self) -> Iterable[Symmetry]:
        before, after = self.received(), self.fields
        if self.last:
            for name, element in _elements(self.group):
                yield Symmetry(name, of_fields(before, element), of_fields(after, element))
        elif self.group == "o3":
            for g in (7, 14, 21, 28, 47):
                one, two = (partial(turn_volume, self.acting, g, fields) for fields in (before, after))
                yield Symmetry(f"element {g}", one, two)
        else:
            yield from field_acts(self.acting, before, after)

    def random_symmetries(self, random: np.random.Generator) -> Iterable[Symmetry]:
        if self.last:  # a grid has no other turns than those listed
            turn = drawn_turn(random, 3 if self.group == "o3" else 2, self.group != "so2" and bool(random.integers(2)))
            yield Symmetry(words(turn), of_fields(self.received(), turn), of_fields(self.fields, turn))


def per_field(values: Tensor, like: Tensor) -> Tensor:
    """Numbers (how many) so that they meet values (n, how many, size, ...)."""
    return values.reshape(-1, *[1] * (like.ndim - 2))


def _elements(group: str) -> Iterator[tuple[str, np.ndarray]]:
    """A turn that maps no grid to itself, and the same after a mirror where the group has one."""
    c, s = np.cos(0.7), np.sin(0.7)
    turn = np.array([[c, -s], [s, c]])
    mirror = np.diag([1.0, -1.0])
    if group == "o3":
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, s, -c], [0, c, s]])
        mirror = -np.eye(3)
    yield "a turn", turn
    if group != "so2":
        yield "a turn and a mirror", turn @ mirror
