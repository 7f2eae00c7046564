"""Directions of the circle and the sphere, invariants of a pair of points with directions, and functions of these."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faltung.errors import ArgumentError


@lru_cache(maxsize=32)
def directions(dims: int, count: int, arrangement: str = "solid") -> np.ndarray:
    """Unit vectors (count, dims): equal angles; on the sphere the corners of a solid (6, 8, 12, 20), else a spiral.

    With arrangement "repelled" the spiral's points push each other away like charges until they rest, as published.

    A grid of directions is moved to itself by its own symmetries only, so layers on it are exact for these, approximate for
    others. The corners of the icosahedron are a spherical 5-design, those of the octahedron and cube 3-designs.

    Example:
        >>> directions(3, 12).shape
        (12, 3)
    """
    if dims not in (2, 3) or count < 1 or arrangement not in ("solid", "repelled"):
        raise ArgumentError.of(
            "directions", "2 or 3 dimensions, at least one direction, arrangement 'solid' or 'repelled'",
            f"{dims}, {count}, {arrangement!r}", "correct them",
        )  # fmt: skip
    if dims == 2:
        angle = 2 * np.pi * np.arange(count) / count
        return np.stack([np.cos(angle), np.sin(angle)], 1)
    golden = (1 + 5**0.5) / 2
    signs = [(a, b) for a in (1, -1) for b in (1, -1)]
    cube = np.array([(a, b, c) for a, b in signs for c in (1, -1)], dtype=float)
    if arrangement == "repelled":
        found = _repelled(_spiral(count))
    elif count == 6:
        found = np.concatenate([np.eye(3), -np.eye(3)])
    elif count == 8:
        found = cube
    elif count == 12:
        found = np.array([np.roll((0, a, b * golden), k) for k in range(3) for a, b in signs])
    elif count == 20:
        edges = [np.roll((0, a / golden, b * golden), k) for k in range(3) for a, b in signs]
        found = np.concatenate([cube, np.array(edges)])
    else:
        found = _spiral(count)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def _spiral(count: int) -> np.ndarray:
    """Points on equal rings of the sphere, each turned by the golden angle from the one before."""
    height = 1 - (2 * np.arange(count) + 1) / count
    around = 8 * np.pi * np.arange(count) / (1 + 5**0.5) ** 2
    ring = np.sqrt(1 - height**2)
    return np.stack([ring * np.cos(around), ring * np.sin(around), height], 1)


def _repelled(points: np.ndarray, steps: int = 400) -> np.ndarray:
    """The points after steps downhill on `Σ 1 / ‖p − q‖`, none longer than a tenth of the smallest distance."""
    for n in range(steps):
        gap = points[:, None] - points
        distance = np.linalg.norm(gap, axis=2) + np.eye(len(points))
        force = (gap / distance[..., None] ** 3).sum(1)
        force -= (force * points).sum(1, keepdims=True) * points
        most = np.linalg.norm(force, axis=1).max()
        length = 0.1 * (1 - n / steps) * np.where(most > 1e-9, distance.min() / max(most, 1e-9), 0)
        points = points + min(float(length), 0.1) * force
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points


def position_invariants(rel: Tensor, grid: Tensor) -> Tensor:
    """What a rigid motion leaves of a pair (offset, direction): (edges, directions, 2).

    Formula: in 3-D `(rel·o, ‖rel − (rel·o) o‖)`, in the plane `(rel·o, −rel_x o_y + rel_y o_x)`. With `o·o'` these are all
    there is: two pairs with the same ones differ by a motion. The norm has the derivative 0 where rel is along o.

    Shapes: rel (edges, dims), grid (directions, dims).
    """
    along = rel @ grid.T
    if rel.shape[1] == 2:
        across = rel[:, 1:] * grid[:, 0] - rel[:, :1] * grid[:, 1]
    else:
        left = rel[:, None] - along[..., None] * grid
        square = left.square().sum(-1)
        live = square > 1e-24
        across = torch.where(live, torch.where(live, square, 1).sqrt(), 0)
    return torch.stack([along, across], -1)


def polynomials(x: Tensor, degree: int) -> Tensor:
    """All products of 1 to `degree` entries of the last axis, in every order: d + d² + ... columns.

    Example:
        >>> [polynomials(torch.ones(d), 3).shape[-1] for d in (1, 2, 3)]
        [3, 14, 39]
    """
    found = [x]
    for _ in range(degree - 1):
        found.append((found[-1].unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2))
    return torch.cat(found, -1)


def cutoff(u: Tensor) -> Tensor:
    """1 − 28u⁶ + 48u⁷ − 21u⁸ for u < 1, else 0: from 1 to 0 with two derivatives that vanish at 1.

    Example:
        >>> cutoff(torch.tensor(0.5)).item()
        0.85546875
    """
    return torch.where(u < 1, 1 - u**6 * (28 - u * (48 - 21 * u)), 0)


def lifted(vectors: Tensor, grid: Any) -> Tensor:
    """A vector at each point as a function of directions, v·o: (..., directions)."""
    return vectors @ torch.as_tensor(grid, dtype=vectors.dtype, device=vectors.device).T


def vectors_of(values: Tensor, grid: Any) -> Tensor:
    """The vector that a function of directions points to, the mean of dims·s(o)·o: (..., dims); undoes `lifted` on a 2-design."""
    o = torch.as_tensor(grid, dtype=values.dtype, device=values.device)
    return values @ o * (o.shape[1] / o.shape[0])


def spread_of(grid: np.ndarray) -> float:
    """The largest angle, in degrees, of a direction from its nearest one in the grid, over a fine spiral."""
    fine = directions(grid.shape[1], 2001)
    return math.degrees(float(np.arccos(np.clip((fine @ grid.T).max(1), -1, 1)).max()))


def permuted(grid: np.ndarray, matrix: np.ndarray) -> np.ndarray | None:
    """From which direction the value at each comes when space is turned, None where the grid is not turned to itself.

    Example:
        >>> permuted(directions(2, 4), np.array([[0.0, -1.0], [1.0, 0.0]])).tolist()
        [3, 0, 1, 2]
    """
    near = grid @ (grid @ matrix.T).T  # (there, from)
    return near.argmax(1) if (near.max(1) > 1 - 1e-6).all() else None


def motions(grid: np.ndarray) -> list[np.ndarray]:
    """The rotations, in space with mirrors, that turn a grid of directions to itself, the identity first.

    Two directions that are not parallel say where all others go: all pairs of the same angle are tried. Where all are parallel,
    it is the identity alone.

    Example:
        >>> len(motions(directions(2, 5))), len(motions(directions(3, 6)))
        (5, 48)
    """
    count, dims = grid.shape
    if dims == 2:
        turns = 2 * np.pi * np.arange(count) / count
        found = [np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) for a in turns]
        return [m for m in found if permuted(grid, m) is not None]
    cosines = grid @ grid.T
    apart = np.flatnonzero(np.abs(cosines[0]) < 1 - 1e-6)
    if not len(apart):
        return [np.eye(3)]

    def frame(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        b = b - (a @ b) * a
        b = b / np.linalg.norm(b)
        return np.stack([a, b, np.cross(a, b)], 1)

    first, found = frame(grid[0], grid[apart[0]]), [np.eye(3)]
    for i, j in zip(*np.nonzero(np.abs(cosines - cosines[0, apart[0]]) < 1e-6), strict=True):
        there = frame(grid[i], grid[j])
        for sign in (1, -1):
            matrix = there * [1, 1, sign] @ first.T
            if permuted(grid, matrix) is not None and np.abs(matrix - np.eye(3)).max() > 1e-6:
                found.append(matrix)
    return found
