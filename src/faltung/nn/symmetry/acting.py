"""How a finite group acts on tensors that hold fields: places move, and the values of each fibre with them."""

from collections.abc import Iterable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.nn.base import Symmetry
from faltung.nn.symmetry.groups import Fibre, GridGroup


def act(x: Tensor, acting: GridGroup, element: int, fibre: Fibre | None = None) -> Tensor:
    """The field, turned: `(g·x)(g·p, g·c) = x(p, c)` for places p and cosets c.

    Grids turn about their centre. On hexagonal axes they turn about their first sample and are periodic, so both sizes are alike.

    Args:
        x: (batch, fields·|F|, *n), or (batch, channels, *n) where `fibre` is None and channels stay.
        element: its number.   fibre: from `GridGroup.fibre`.

    Raises:
        ArgumentError: an element that does not map the grid to itself.
    """
    if not acting.integral[element]:
        raise ArgumentError.of(
            "act",
            "an element that maps the grid to itself",
            f"{element} of {acting.name}",
            "use those with .integral true",
        )
    matrix = acting.matrices[element].round().astype(int)
    moved = _on_hexagons(x, matrix) if acting.hexagonal else _on_box(x, matrix)
    if fibre is None or fibre.size == 1:
        return moved
    back = fibre.moved[acting.group.inverses[element]]  # the value that comes to coset c stood at g⁻¹c
    return moved.unflatten(1, (-1, fibre.size))[:, :, torch.from_numpy(back)].flatten(1, 2)


def acts(
    acting: GridGroup, before: Fibre | None, after: Fibre | None, random: np.random.Generator | None = None
) -> Iterable[Symmetry]:
    """Equivariance to the elements that map the grid to itself: all of a small group, those that generate a large one.

    With `random` one of them, drawn.
    """
    found = np.flatnonzero(acting.integral)[1:]
    if random is not None:
        found = random.choice(found, min(1, len(found)))
    elif len(found) > 8:
        found = found[[0, 1, len(found) // 2, -1]]
    for g in found:
        name = f"element {g} of {acting.name}"
        yield Symmetry(name, partial(_by, acting, int(g), before), partial(_by, acting, int(g), after))


def _by(acting: GridGroup, element: int, fibre: Fibre | None, x: Tensor) -> Tensor:
    return act(x, acting, element, fibre)


def _on_box(x: Tensor, matrix: np.ndarray) -> Tensor:
    """By a signed permutation: axis a of the result is axis b of x where the matrix sends b to a, reversed by its sign."""
    ndim = len(matrix)
    first = x.ndim - ndim
    source = [int(np.flatnonzero(row)[0]) for row in matrix]
    turned = x.permute(*range(first), *(first + b for b in source))
    return turned.flip([first + a for a, b in enumerate(source) if matrix[a, b] < 0])


def _on_hexagons(x: Tensor, matrix: np.ndarray) -> Tensor:
    n, m = x.shape[-2:]
    if n != m:
        raise ArgumentError.of("act", "as many rows as columns on hexagonal axes", f"{n} and {m}", "use a rhombus")
    inverse = np.linalg.inv(matrix).round().astype(int)
    rows, columns = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    i, j = np.einsum("ab,bij->aij", inverse, np.stack([rows, columns])) % n
    return x[..., torch.from_numpy(i), torch.from_numpy(j)]
