"""Several dimensions as one: the geometry that exact methods share, which know products of rows only."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.problem import Problem


@dataclass(frozen=True)
class Line:
    """A convolution in several dimensions as one along a line: rows of the last axes one behind the other, zeros between them.

    Sample (i, j) stands at i·S + j, S long enough that what leaves one row meets zeros before the next. `steps` are these weights
    of the axes, `sizes` the extents S of all but the first. Points from `offset` on, `span` of them, hold the results; the whole
    product has at most `count` points, on a circle of `circle` the results are right.
    """

    plain: bool
    sizes: tuple[int, ...]
    steps: tuple[int, ...]
    count: int
    circle: int
    offset: int
    span: int

    @classmethod
    @lru_cache(maxsize=1024)
    def of(cls, problem: Problem) -> "Line":
        """The geometry of a problem on the grid."""
        g = problem.grid
        # The zeros beyond the edge are those between the rows, so that nothing need be padded.
        plain = g.zero_padded and all(max(lo, hi) < r for (lo, hi), r in zip(g.pads, g.reach, strict=True))
        pads = g.pads if plain else ((0, 0),) * g.ndim
        n = g.n if plain else g.padded
        sizes = tuple(max(v + max(lo, hi, 0), r) for v, (lo, hi), r in zip(n, pads, g.reach, strict=True))
        steps = tuple(math.prod(sizes[a + 1 :]) for a in range(g.ndim))
        # In front of the first row the circle must hold as many zeros as are read there.
        front = sum(max(lo, 0) * step for (lo, _), step in zip(pads, steps, strict=True))
        behind = max(pads[0][1], 0) * steps[0]
        filter_ = sum((r - 1) * step for r, step in zip(g.reach, steps, strict=True)) + 1
        circle = max(n[0] * steps[0] + max(front, behind), filter_)
        first = [r - 1 - lo for r, (lo, _) in zip(g.reach, pads, strict=True)]
        offset = sum(f * step for f, step in zip(first, steps, strict=True))
        span = sum((m - 1) * s * step for m, s, step in zip(g.m, g.stride, steps, strict=True)) + 1
        return cls(plain, sizes[1:], steps, n[0] * steps[0] + filter_ - 1, circle, offset, span)

    def laid(self, values: np.ndarray, ndim: int) -> np.ndarray:
        """Rows (rows, points) of an array with `ndim` spatial axes."""
        lead, space = values.shape[:-ndim], values.shape[-ndim:]
        if ndim == 1 or space[1:] == self.sizes:
            return np.ascontiguousarray(values).reshape(math.prod(lead), -1)
        wide = np.zeros((*lead, space[0], *self.sizes), values.dtype)
        wide[(..., *map(slice, space))] = values
        return wide.reshape(math.prod(lead), -1)

    def filter(self, problem: Problem, k: np.ndarray) -> np.ndarray:
        """Rows of the flipped filter, zeros between its taps where it is dilated."""
        g = problem.grid
        backwards: Any = [slice(None, None, -1)] * g.ndim
        flipped = k[(..., *backwards)]
        if g.reach != g.t:
            wide = np.zeros((*k.shape[:3], *g.reach), k.dtype)
            wide[(..., *[slice(None, None, d) for d in g.dilation])] = flipped
            flipped = wide
        rows = self.laid(flipped, g.ndim)
        return rows[:, : sum((r - 1) * step for r, step in zip(g.reach, self.steps, strict=True)) + 1]

    def taken(self, line: np.ndarray, problem: Problem) -> np.ndarray:
        """The results (B, N, O, *m) among the points of the line."""
        s, g = problem.sizes, problem.grid
        strides = tuple(st * step * line.itemsize for st, step in zip(g.stride, self.steps, strict=True))
        view = np.lib.stride_tricks.as_strided(line, (len(line), *g.m), (line.strides[0], *strides))
        return np.ascontiguousarray(view).reshape(s.B, s.N, s.O, *g.m)


def extended(problem: Problem, x: np.ndarray) -> np.ndarray:
    """The signal with its boundary; what stands there are whole numbers."""
    g = problem.grid
    if x.dtype != object:
        return g.pad(x, 0)
    # Python's own integers, in place of the floats that boundaries hold.
    places = g.pad(np.arange(1, x[0, 0, 0].size + 1).reshape(g.n).astype(object), 0)
    constant = g.pad(np.zeros(g.n, object), 0)
    at = np.where(constant == 0, places, 0).astype(np.int64)
    fills = np.vectorize(int, otypes=[object])(constant)
    flat = x.reshape(*x.shape[:3], -1)
    return np.where(at > 0, flat[..., np.maximum(at - 1, 0)], fills)
