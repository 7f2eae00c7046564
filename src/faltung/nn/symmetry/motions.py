"""Motions of space as symmetries that layers declare: rotations, mirrors and moves of features, of positions and of edges."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from faltung.nn.base import Symmetry
from faltung.nn.symmetry.directions import motions, permuted
from faltung.nn.symmetry.irreps import Irreps
from faltung.nn.symmetry.so3 import rotate, wigner

Turns = Callable[[Tensor], Tensor]


def drawn_turn(random: np.random.Generator, dims: int = 3, mirrored: bool = False) -> np.ndarray:
    """A rotation by Haar's measure, with a mirror where that is asked for, (dims, dims).

    Example:
        >>> bool(np.isclose(np.linalg.det(drawn_turn(np.random.default_rng(0), 3, True)), -1))
        True
    """
    q, r = np.linalg.qr(random.normal(size=(dims, dims)))
    turn: np.ndarray = q * np.sign(np.diag(r))
    turn[:, 0] *= np.sign(np.linalg.det(turn)) * (-1 if mirrored else 1)
    return turn


STILL = drawn_turn(np.random.default_rng(1))
"""A rotation that is no symmetry of any grid: what layers list, beside those that are drawn."""


def words(turn: np.ndarray) -> str:
    """The motion for people."""
    return "a rotation with a mirror" if np.linalg.det(turn) < 0 else "a rotation"


def of_harmonics(turn: np.ndarray) -> Turns:
    """Spherical features (..., (l + 1)², channels) turned by D(turn)."""

    def by(x: Tensor) -> Tensor:
        matrices = wigner(round(x.shape[-2] ** 0.5) - 1, torch.from_numpy(turn))
        return rotate(x.reshape(-1, *x.shape[-2:]), [d.to(x) for d in matrices]).reshape(x.shape)

    return by


def of_places(turn: np.ndarray, move: np.ndarray | None = None) -> Turns:
    """Positions (..., dims) turned and moved, or vectors turned."""

    def by(p: Tensor) -> Tensor:
        turned = p @ torch.from_numpy(turn).to(p).T
        return turned if move is None else turned + torch.from_numpy(move).to(p)

    return by


def of_fields(fields: Irreps, turn: np.ndarray) -> Turns:
    """Irreducible fields along the last axis, turned by their matrices."""
    matrix = torch.from_numpy(fields.matrix(turn))
    return lambda x: x @ matrix.to(x).T


def edges_turned(turn: np.ndarray) -> Symmetry:
    """Features of edges and their directions turned together; what else comes in stays."""
    features, vectors = of_harmonics(turn), of_places(turn)

    def both(x: Tensor, edge: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        return features(x), vectors(edge), *others

    return Symmetry(words(turn), both, features, together=True)


def spheres_turned(turn: np.ndarray, sign: float = 1.0) -> Symmetry:
    """All inputs, functions on the sphere, turned; the result too, times a sign."""
    by = of_harmonics(turn)
    return Symmetry(words(turn), lambda *x: tuple(map(by, x)), lambda y: sign * by(y), together=True)


def points_moved(before: Turns, after: Turns, turn: np.ndarray, move: np.ndarray, order: int | None = None) -> Symmetry:
    """Features of points and their positions moved together, and the points listed in an order drawn from a seed."""
    places = of_places(turn, move)

    def listed(x: Tensor) -> Tensor:
        if order is None:
            return x
        return x[:, torch.from_numpy(np.random.default_rng(order).permutation(x.shape[1])).to(x.device)]

    def both(features: Tensor, positions: Tensor) -> tuple[Tensor, ...]:
        return listed(before(features)), listed(places(positions))

    name = f"{words(turn)}, a move{'' if order is None else ', another order of points'}"
    return Symmetry(name, both, lambda y: listed(after(y)), together=True)


def clouds_moved(fields: Irreps, result: Irreps, random: np.random.Generator) -> Iterable[Symmetry]:
    """Clouds of fields under a rotation, with a mirror or without, and a move."""
    turn = drawn_turn(random, 3, bool(random.integers(2)))
    move = random.uniform(-1, 1, 3)
    yield points_moved(of_fields(fields, turn), of_fields(result, turn), turn, move, int(random.integers(99)))


def directions_moved(grid: Tensor, random: np.random.Generator) -> Iterable[Symmetry]:
    """Clouds of functions of directions under motions that turn the grid of directions to itself."""
    own = grid.detach().cpu().double().numpy()
    found = motions(own)
    turn = found[random.integers(len(found))]
    to = permuted(own, turn)
    assert to is not None  # such are the motions of the grid

    def by(x: Tensor) -> Tensor:
        return x[:, :, torch.from_numpy(to).to(x.device)]

    yield points_moved(by, by, turn, random.uniform(-1, 1, own.shape[1]), int(random.integers(99)))
