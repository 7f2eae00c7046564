"""Warps by fields: values read from moved places, and where points of the picture are to be found afterwards."""

from itertools import product
from math import prod
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates

from faltung.arrays import import_torch, is_torch
from faltung.errors import ArgumentError

STEPS = 12  # Newton's; some four do unless a cell is folded
SHOWN = 1e-6  # pixels within which a place shows a point


def warp(x: Any, fields: Any, strength: Any, order: int = 1) -> Any:
    """Values from places moved by the fields: `x(T(p))`, `T(p) = p + strength · size/4 · (2P(p) - 1)`, held within the picture.

    Shapes: x (..., *size), array or tensor; fields (D, *size), one an axis of size; returns x's shape.

    Args:
        order: of the interpolation: 1 linear, 0 nearest, for masks; arrays take those of `scipy.ndimage.map_coordinates`.

    Returns: an array, or a tensor, differentiable in x and, with order 1, in fields and strength.
    Raises: ArgumentError where there are fewer fields than axes, or for tensors of another order.
    """
    size = tuple(fields.shape[1:])
    if len(fields) != len(size):
        raise ArgumentError.of(
            "synth.warp",
            f"{len(size)} fields, one an axis",
            f"{len(fields)}",
            f"LocalAugment(warp, fields={len(size)})",
        )
    places = moved(fields, strength)
    if is_torch(x):
        return _read(x, places, order)
    flat = x.reshape(-1, *size)
    out = np.stack([map_coordinates(plane, places, order=order, mode="nearest") for plane in flat])
    return out.reshape(x.shape)


def moved(fields: Any, strength: Any) -> Any:
    """Where each pixel of a warped picture comes from: coordinates T (D, *size), within the picture."""
    lib: Any = import_torch("synth.warp") if is_torch(fields) else np
    kind = {"dtype": fields.dtype, "device": fields.device} if is_torch(fields) else {"dtype": float}
    size = tuple(fields.shape[1:])
    places = []
    for axis, n in enumerate(size):
        line = lib.arange(n, **kind).reshape([-1 if a == axis else 1 for a in range(len(size))])
        places.append((line + strength * n / 4 * (2 * fields[axis] - 1)).clip(0, n - 1))
    return lib.stack(places)


def landed(points: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Where points of a picture are found after a warp: p with T(p) = q, T linear between pixels; NaN for those that it lost.

    All cells between neighbouring pixels that can show a point are searched by Newton's steps. A warp that folds shows a point in
    several places; one of them is returned. A warp that leaves a part of the picture out shows its points nowhere.

    Shapes: points (N, D), NaN among them stay; places (D, *size); returns (N, D).
    Error: `|T(p) - q| ≤ 1e-6` pixels.
    Cost: a look at every cell for each point.
    """
    size = places.shape[1:]
    sides = list(product((0, 1), repeat=len(size)))
    # The pixels at each corner of all cells; an axis of one pixel has one cell, whose corners are that pixel.
    ranges = [[np.minimum(np.arange(max(n - 1, 1)) + c, n - 1) for c in (0, 1)] for n in size]
    corners = np.stack([places[(slice(None), *np.ix_(*(r[c] for r, c in zip(ranges, s, strict=True))))] for s in sides])
    low, high = corners.min(0) - SHOWN, corners.max(0) + SHOWN
    out = np.full(points.shape, np.nan)
    for point, found in zip(points, out, strict=True):
        q = point.reshape(-1, *[1] * len(size))
        cells = np.argwhere(((low <= q) & (q <= high)).all(0))
        if len(cells):
            within, miss = _solved(corners[(slice(None), slice(None), *cells.T)], point, sides)
            best = miss.argmin()
            if miss[best] <= SHOWN:
                found[:] = np.minimum(cells[best] + within[best], np.array(size) - 1)
    return out


def _solved(corners: np.ndarray, point: np.ndarray, sides: list[tuple[int, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """For cells with corners (2^D, D, K) the place (K, D) in [0, 1]^D that comes nearest to the point, and how near.

    Newton's steps from the middle and from all corners, since a folded cell may hold the point twice or turn back halfway.
    """
    starts = np.array([[0.5] * len(point), *sides], float)
    many = corners.shape[2]
    at, cells = np.repeat(starts, many, 0), np.tile(corners, (1, 1, len(starts)))
    for _ in range(STEPS):
        value, slope = _linear(at, cells, sides)
        step = np.linalg.pinv(slope, rcond=1e-12) @ (point - value)[:, :, None]
        at = np.clip(at + step[:, :, 0], 0, 1)
    miss = np.linalg.norm(_linear(at, cells, sides)[0] - point, axis=1).reshape(len(starts), many)
    best = miss.argmin(0)
    return at.reshape(len(starts), many, -1)[best, np.arange(many)], miss.min(0)


def _linear(at: np.ndarray, corners: np.ndarray, sides: list[tuple[int, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """T (K, D) and its slopes (K, D, D) at places (K, D) within cells of corners (2^D, D, K)."""
    value, slope = np.zeros(at.shape), np.zeros((*at.shape, at.shape[1]))
    for corner, here in zip(sides, corners, strict=True):
        weights = np.where(np.array(corner), at, 1 - at)
        value += weights.prod(1)[:, None] * here.T
        for axis, side in enumerate(corner):
            slope[:, :, axis] += (np.delete(weights, axis, 1).prod(1) * (1 if side else -1))[:, None] * here.T
    return value, slope


def _read(x: Any, places: Any, order: int) -> Any:
    """A tensor's values at places, linear between pixels or nearest."""
    torch = import_torch("synth.warp")
    if order not in (0, 1):
        raise ArgumentError.of("synth.warp", "order 0 or 1 for tensors", f"order {order}", "warp an array")
    places = torch.as_tensor(places, device=x.device)
    size = tuple(places.shape[1:])
    flat = x.reshape(-1, prod(size))

    def taken(at: list[Any]) -> Any:
        index = torch.zeros(size, dtype=torch.int64, device=x.device)
        for line, n in zip(at, size, strict=True):
            index = index * n + line.clamp(0, n - 1)
        return flat[:, index.reshape(-1)]

    if order == 0:
        return taken(list((places.detach() + 0.5).floor().long())).reshape(x.shape)
    low = [p.detach().floor().long() for p in places]
    part = [(p - at).to(x.dtype).reshape(-1) for p, at in zip(places, low, strict=True)]
    out = torch.zeros_like(flat)
    for corner in product((0, 1), repeat=len(size)):
        weight = torch.ones_like(part[0])
        for side, share in zip(corner, part, strict=True):
            weight = weight * (share if side else 1 - share)
        out = out + weight * taken([at + side for at, side in zip(low, corner, strict=True)])
    return out.reshape(x.shape)
