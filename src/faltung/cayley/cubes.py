"""Rubik's cubes as generators, from the geometry of their stickers."""

import itertools
from collections.abc import Iterator

import numpy as np

from faltung.cayley.families import family
from faltung.cayley.rows import Row, inverse
from faltung.errors import ArgumentError

Sticker = tuple[tuple[int, ...], tuple[int, ...]]  # where its cubie is, which way it looks


@family([(2, 1), (2, 2), (3, 1), (3, 2)])
def cube(n: int, k: int) -> list[Row]:
    """Turns of the faces of the cube of size n, 2 or 3: quarter turns (k = 1), or half turns too (k = 2).

    The cube of size 2 has one corner fixed, which leaves three faces to turn; that of size 3 has its centres fixed.
    """
    if n not in (2, 3) or k not in (1, 2):
        raise ArgumentError.of(
            "cube", "size 2 or 3 and metric 1 (quarter turns) or 2", f"cube({n}, {k})", "choose them"
        )
    stickers = list(_stickers(n))
    number = {s: i for i, s in enumerate(stickers)}
    rows = []
    for axis, side in itertools.product(range(3), (1,) if n == 2 else (1, -1)):
        quarter = [number[_turned(s, axis) if s[0][axis] == side else s] for s in stickers]
        rows += [quarter, inverse(quarter)]
        if k == 2:
            rows.append([quarter[i] for i in quarter])
    return rows


def colours(n: int) -> np.ndarray:
    """The solved cube as a word of six colours, to start from: shorter than numbered stickers, and no less telling."""
    normals = [s[1] for s in _stickers(n)]
    return np.unique(np.array(normals), axis=0, return_inverse=True)[1].ravel()


def _stickers(n: int) -> Iterator[Sticker]:
    """Those that move: with n = 2 not those of the corner (−1, −1, −1), with n = 3 not the centres."""
    for place in itertools.product((-1, 1) if n == 2 else (-1, 0, 1), repeat=3):
        outer = sum(map(abs, place))
        if (n == 2 and place == (-1, -1, -1)) or (n == 3 and outer < 2):
            continue
        for axis in range(3):
            if place[axis]:
                yield place, tuple(place[axis] if a == axis else 0 for a in range(3))


def _turned(sticker: Sticker, axis: int) -> Sticker:
    """A quarter turn around an axis."""
    a, b = [i for i in range(3) if i != axis]

    def turn(v: tuple[int, ...]) -> tuple[int, ...]:
        w = list(v)
        w[a], w[b] = -v[b], v[a]
        return tuple(w)

    return turn(sticker[0]), turn(sticker[1])
