"""Triangular systems that are convolutions, compiled: all positions that do not wait for each other at once.

The position p is computed at the time Σ sᵢ·pᵢ. The slopes s are the least for which every tap looks back in time, so that what
stands at one time is a matrix product. Signals are kept skewed, one plane for each time: a tap is one distance in memory whatever
the position, and neighbours along the second-last axis (and the samples of the batch) are lanes of a vector.

Beyond the edge stand zeros that nobody writes.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import as_strided

from faltung.kernels import native
from faltung.kernels.native import address, lanes
from faltung.kernels.threads import Own, kept, share

COLUMNS = 2
SIZES = (2, 4, 8, 12)  # channels of a block of results


def build(dtype: str, rows: int, width: int) -> tuple[Callable, str]:
    """The kernel whose block is `rows` channels by two vectors of positions."""
    from faltung.kernels import simd

    tile, v = simd.tiles(dtype, width, rows, COLUMNS, "add", "mul"), simd.lanes(dtype, width)
    start, write, advance, load, store = tile.start, tile.write, tile.step(0, rows), v.load, v.store
    WIDE = COLUMNS * width

    def wavefront(x, k, back, begins, counts, zero, temp, temp_at, segments, T, G, C, line, space, first, last):
        # Item i of [first, last) is (piece of the batch, group), a space of its own; k is (g, t, i, o), o in whole blocks.
        blocks = (C + rows - 1) // rows
        hop = blocks * rows
        for item in range(first, last):
            home, taps = item * space, item % G * T * C * hop
            for s in range(segments):
                end = begins[s] + counts[s]
                for p in range(begins[s], end, WIDE):
                    size = min(WIDE, end - p)
                    for o in range(0, C, rows):
                        good, at = min(rows, C - o), taps + o
                        block = start(zero[0])
                        for t in range(T):
                            seen = home + p - back[t]
                            for i in range(C):
                                block = advance(block, x, seen + i * line, k, at, 1)
                                at += hop
                        write(block, temp_at, WIDE, good)
                        for r in range(good):
                            to, sums = home + p + (o + r) * line, r * WIDE
                            if size == WIDE:
                                for j in range(0, WIDE, width):
                                    store(x, to + j, load(x, to + j) - load(temp, sums + j))
                            else:
                                for j in range(size):
                                    x[to + j] -= temp[sums + j]

    pointer, long = f"p:{dtype}", "p:int64"
    kinds = [pointer, pointer, long, long, long, pointer, pointer, *"iiiiiiiii"]
    return wavefront, ",".join(kinds)


def slopes(offsets: np.ndarray) -> tuple[int, ...]:
    """The least whole numbers s, the last of them 1, with Σ sᵢ·offsetᵢ ≥ 1 for all offsets that come first in raster order."""
    found = [1]
    for axis in reversed(range(offsets.shape[1] - 1)):
        early = offsets[offsets[:, axis] > 0]
        late = -(early[:, axis + 1 :] * found).sum(axis=1) if len(early) else np.zeros(1, int)
        # offset·s ≥ 1 + late, for every tap that moves along this axis
        steps = early[:, axis] if len(early) else np.ones(1, int)
        found.insert(0, max(1, int(np.max(-(-(late + 1) // steps)))))
    return tuple(found)


def steps(n: tuple[int, ...], slope: tuple[int, ...]) -> int:
    """How many products one after the other a signal of these sizes takes: H + W − 1 for an image and slopes of 1."""
    return sum(s * (size - 1) for s, size in zip(slope, n, strict=True)) + 1


class Layout:
    """The skewed planes of signals of sizes n: (time, channel, *padded axes but the last, samples)."""

    def __init__(self, n: tuple[int, ...], offsets: tuple[tuple[int, ...], ...], channels: int, samples: int) -> None:
        taps = np.array(offsets, np.int64).reshape(len(offsets), len(n))
        self.slopes = slopes(taps)
        times = taps @ np.array(self.slopes)
        self.front, self.steps = int(times.max(initial=0)), steps(n, self.slopes)
        lo = [max(0, int(taps[:, a].max(initial=0))) for a in range(len(n) - 1)]
        hi = [max(0, int(-taps[:, a].min(initial=0))) for a in range(len(n) - 1)]
        rows = [size + a + b for size, a, b in zip(n[:-1], lo, hi, strict=True)]
        self.line = math.prod(rows) * samples
        plane = channels * self.line
        self.space = (self.front + self.steps) * plane
        row = [math.prod(rows[a + 1 :]) * samples for a in range(len(rows))]  # from one row to the next
        self.back = times * plane + taps[:, :-1] @ np.array(row, np.int64).reshape(-1)
        self.origin = self.front * plane + sum(a * b for a, b in zip(lo, row, strict=True))
        self.strides = (*(s * plane + r for s, r in zip(self.slopes, [*row, 0], strict=True)), 1)
        self.begins, self.counts = self._segments(n, plane, row, samples)

    def _segments(self, n: tuple[int, ...], plane: int, row: list[int], samples: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the runs of neighbours start that lie within the signal, in the order of their times, and their lengths."""
        time = np.arange(self.steps)
        if len(n) == 1:
            return self.origin + time * plane, np.full(self.steps, samples)
        outer = np.indices((1, *n[:-2]))[1:].reshape(len(n) - 2, math.prod(n[:-2]))
        spent = np.array(self.slopes[:-2], np.int64) @ outer
        left, slope = time[:, None] - spent, self.slopes[-2]
        first = np.maximum(0, -(-(left - n[-1] + 1) // slope))
        stop = np.minimum(n[-2] - 1, left // slope) + 1
        begins = self.origin + time[:, None] * plane + np.array(row[:-1], np.int64) @ outer + first * row[-1]
        inside = stop > first
        return begins[inside], ((stop - first) * samples)[inside]


@lru_cache(maxsize=64)
def layout(n: tuple[int, ...], offsets: tuple[tuple[int, ...], ...], channels: int, samples: int) -> Layout:
    """A layout, remembered: signals of one size come again and again."""
    return Layout(n, offsets, channels, samples)


def wavefront(r: np.ndarray, taps: np.ndarray, offsets: tuple[tuple[int, ...], ...], threads: int) -> np.ndarray:
    """The contract's result for float32 or float64, with any strides of r and any memory order."""
    (B, G, C), n, dtype = r.shape[:3], r.shape[3:], r.dtype
    T, width = len(offsets), lanes(str(dtype))
    if r.size == 0 or T == 0:
        return r.copy()
    rows = next((size for size in SIZES if size >= C), SIZES[-1])
    pieces = next(p for p in range(min(B, max(1, -(-threads // G))), 0, -1) if B % p == 0)
    plan = layout(n, offsets, C, B // pieces)
    k = np.zeros((G, T, C, -(-C // rows) * rows), dtype)
    k[..., :C] = taps.swapaxes(2, 3)
    x = kept("wavefront", (pieces * G * plan.space + COLUMNS * width,), dtype)
    x.fill(0)
    item, space = dtype.itemsize, plan.space
    strides = [item * s for s in (G * space, space, plan.line, *plan.strides)]
    view = as_strided(x[plan.origin :], (pieces, G, C, *n, B // pieces), strides)
    order = (0, *range(2, 4 + len(n)), 1)  # (piece, sample, g, c, *n) with the samples last
    view[...] = r.reshape(pieces, B // pieces, G, C, *n).transpose(order)
    zero, work = np.zeros(1, dtype), native.load(*key(str(dtype), rows))
    at = [address(a) for a in (x, k, plan.back, plan.begins, plan.counts, zero)]
    sizes = len(plan.begins), T, G, C, plan.line, space
    share(work, (*at, Own(0), Own(0), *sizes), pieces * G, threads, own=rows * COLUMNS * width * item)
    return np.moveaxis(view, -1, 1).copy().reshape(r.shape)  # a copy always: x is this thread's memory


def key(dtype: str, rows: int) -> tuple:
    """What `native.load` takes for one scalar type and block."""
    return f"wavefront-{rows}-{dtype}", build, dtype, rows, lanes(dtype)
