"""What the Winograd kernel needs to know of one correlation: tiles, chunks of them, addresses, the filter at all points."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from faltung.kernels.correlation import Correlation
from faltung.kernels.indirect.layout import innermost, vacant
from faltung.kernels.native import address, lanes
from faltung.kernels.threads import Own, kept, lined, share
from faltung.kernels.turn.on_numba import turned
from faltung.kernels.winograd import on_numba as kernel

BLOCK, MOST = 12, 192  # tiles of a block of products where vectors are longest, tiles of a chunk
PIECES = 8  # pieces of work at least, where there are so many tiles
LARGE = 12  # caches that hold what stays near all threads; more comes from memory


@dataclass(frozen=True, eq=False)
class Minimal(Correlation):
    """The correlation with stride and dilation 1 by tiles of `outputs` results along each of one to three axes."""

    outputs: tuple[int, ...]
    cache: int

    @cached_property
    def shape(self) -> tuple[tuple[int, int], ...]:
        """Results and taps of a tile along each axis."""
        return tuple(zip(self.outputs, self.t, strict=True))

    @cached_property
    def points(self) -> int:
        """Points of a tile: products a channel and an output."""
        return math.prod(m + t - 1 for m, t in self.shape)

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Tiles along each axis."""
        return tuple(-(-n // m) for n, m in zip(self.m, self.outputs, strict=True))

    @cached_property
    def deep(self) -> tuple[int, int]:
        """Channels and outputs, filled up to whole vectors and blocks."""
        width = lanes(self.dtype)
        wide = kernel.VECTORS * width
        return -(-self.C // width) * width, -(-self.O // wide) * wide

    @cached_property
    def chunk(self) -> int:
        """Tiles that go through the cache together: more share a reading of the filters, fewer stay in the cache.

        Whole blocks of products, as even as they come.
        """
        row = self.points * sum(self.deep) * np.dtype(self.dtype).itemsize
        filters = self.points * self.C * self.deep[1] * np.dtype(self.dtype).itemsize
        blocks = -(-self.N * math.prod(self.counts) // BLOCK)
        most = max(self.cache // row, min(MOST, filters // row)) // BLOCK
        pieces = PIECES if filters < LARGE * self.cache else 2  # every piece reads all filters
        most = max(1, min(most, -(-blocks * self.B // pieces)))
        return BLOCK * -(-blocks // -(-blocks // most))

    @cached_property
    def pieces(self) -> int:
        """Chunks in all groups."""
        return self.B * -(-self.N * math.prod(self.counts) // self.chunk)

    @cached_property
    def whole(self) -> tuple[int, ...]:
        return tuple(q * m + t - 1 for q, (m, t) in zip(self.counts, self.shape, strict=True))

    @cached_property
    def memory(self) -> tuple[int, int]:
        """Working memory of one thread in bytes: tiles and points, addresses."""
        values = self.points * (5 * lanes(self.dtype) + self.chunk * sum(self.deep))
        return -(-values * np.dtype(self.dtype).itemsize // 64) * 64, 16 * max(self.points, 16) + 64

    @cached_property
    def _constants(self) -> tuple[np.ndarray, np.ndarray]:
        """Zero; and a row of channels for the constant beyond each axis, and for what lies behind all that results need."""
        dtype = np.dtype(self.dtype)
        rows = np.repeat(np.array([*self.fills, 0]).astype(dtype)[:, None], self.deep[0], 1)
        return np.zeros(1, dtype), np.ascontiguousarray(rows)

    def packed(self, k: np.ndarray, threads: int, passing: bool = False) -> np.ndarray:
        """The filters (B, O, C, *t) at all points, (B, points, parts · C · outputs of a part and a little more).

        `passing` ones lie in memory that the next call overwrites.
        """
        taps, (_, wide) = math.prod(self.t), self.deep
        part = kernel.VECTORS * lanes(self.dtype)
        parts, bands = wide // part, -(-self.C // kernel.BAND)
        shape = (self.B, self.points, kernel.apart(parts, self.C, part))
        dtype = np.dtype(self.dtype)
        out = kept("points", shape, dtype) if passing else lined(shape, dtype)
        last = k.strides[2] == k.itemsize and self.C > 1  # channels innermost: they come before the taps
        k = np.ascontiguousarray(np.moveaxis(k, 2, -1) if last else k).reshape(self.B, 1, self.O, -1)
        steps = (wide, self.C * wide) if last else (taps * wide, wide)
        for b in range(self.B):
            flat = kept("k", (1, self.C * taps, wide), dtype)
            flat[..., self.O :] = 0
            turned(k[b], threads, flat)
            at = address(flat), address(out[b])

            share(self._filters, (*at, Own(0), self.C, wide, *steps), parts * bands, threads, own=self.memory[0])
        return out

    def correlate(self, x: np.ndarray, k: np.ndarray, threads: int, passing: bool = False) -> np.ndarray:
        """The canonical result (B, N, O, *m), a view of memory with channels innermost, from a canonical signal.

        A `passing` result lies in memory that the next call overwrites: for who moves it elsewhere at once.
        """
        x = innermost(self, x, threads)
        y, apart = vacant(self, passing)
        tables, run, (size, places) = self.fixed((*x.strides, *apart))[0], self._run, self.memory
        at = address(x), address(k), address(y)
        share(run, (*at, *tables, Own(0), Own(0), Own(size)), self.pieces, threads, own=size + places)
        return y

    @cached_property
    def _run(self) -> Callable:
        return kernel.minimal(self.dtype, self.shape)

    @cached_property
    def _filters(self) -> Callable:
        return kernel.filters(self.dtype, self.shape)

    def tables(self, steps: list[int]) -> list[np.ndarray]:
        """Zero, constants, offsets of all positions in values (below zero: the constant of that axis), sizes."""
        s, offsets, place = np.zeros(kernel.HEAD + 3 * kernel.AXIS, np.int64), [], 0
        behind = -2 - len(self.n)  # the row of zeros
        for axis in range(3):
            h, a = kernel.HEAD + axis * kernel.AXIS, axis - 3 + len(self.n)
            if a >= 0:
                used = self.m[a] + self.t[a] - 1
                at = self.sources(a, -self.lo[a], used - self.lo[a])
                at = np.where(at < 0, -1 - a, at * steps[1 + a])
                offsets.append(np.concatenate([at, np.full(self.whole[a] - used, behind + 1)]))
                s[h : h + kernel.AXIS] = self.counts[a], self.m[a], place
            else:
                offsets.append(np.zeros(1, np.int64))
                s[h : h + kernel.AXIS] = 1, 1, place
            place += offsets[-1].size
        tiles = self.N * math.prod(self.counts)
        for field, value in (
            (kernel.SAMPLES, self.N), (kernel.CHANNELS, self.C), (kernel.OUTPUTS, self.O), (kernel.GROUPS, self.B),
            (kernel.X_B, steps[-4]), (kernel.X_N, steps[0]), (kernel.DEEP, self.deep[0]), (kernel.WIDE_OUT, self.deep[1]),
            (kernel.PARTS, self.deep[1] // (kernel.VECTORS * lanes(self.dtype))), (kernel.CHUNK, self.chunk),
            (kernel.CHUNKS, -(-tiles // self.chunk)), (kernel.FILL, self.deep[0]), (kernel.TILES, tiles),
            (kernel.Y_P, steps[-2]), (kernel.Y_B, steps[-1]),
        ):  # fmt: skip
            s[field] = value
        return [*self._constants, np.concatenate(offsets).astype(np.int64), s]

    @property
    def table_bytes(self) -> int:
        """Memory of the tables, kept with the layout."""
        return 8 * (sum(self.whole) + 64) + self._constants[1].nbytes
