"""What the pass kernel needs to know of one correlation with a filter of low rank: as for blocks, with room for three buffers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from faltung.kernels.blocks import on_numba as blocks
from faltung.kernels.blocks.layout import Blocks
from faltung.kernels.native import address, lanes
from faltung.kernels.passes import on_numba as kernel
from faltung.kernels.threads import Own, share


@dataclass(frozen=True, eq=False)
class Passes(Blocks):
    """A correlation with one channel, stride and dilation 1, whose filters are sums of `terms` products of rows of taps.

    With `window`, the only term's taps are all equal.
    """

    terms: int
    window: bool
    copies: ClassVar[int] = 4

    @property
    def shape(self) -> tuple[int, int, bool]:
        return kernel.ROWS, 4 if lanes(self.dtype) * np.dtype(self.dtype).itemsize == 64 else 2, False

    @property
    def items(self) -> tuple[int, int]:
        return self.B * self.N * math.prod(-(-m // b) for m, b in zip(self.m, self.tile, strict=True)), 1

    @property
    def factor_taps(self) -> int:
        """Taps of one term: those of all axes in a row."""
        return sum(self.t)

    @cached_property
    def _pitch(self) -> tuple[int, int]:
        wide = lanes(self.dtype) * self.shape[1]
        pitch = -(-(self.extents[-1] + 2 * wide) // wide) * wide
        pitch += wide * (pitch * np.dtype(self.dtype).itemsize % 4096 == 0)
        return pitch, pitch

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        """Sizes, chains, offsets of taps, tiles, rows of a tile's signal."""
        pitch, _ = self._pitch
        z = len(self.n) - 1
        lines = np.indices(self.extents[:-1]).reshape(z, -1).T
        tiles = self._tiles()
        s = np.zeros(kernel.HEAD + kernel.AXIS * (z + 1), np.int64)
        for place, value in (
            (blocks.Z, z), (blocks.SAMPLES, self.N), (blocks.LINES, lines.shape[0]), (blocks.PITCH, pitch),
            (blocks.STRIDE, 1), (blocks.EXTENT, self.extents[-1]), (blocks.TILES, len(tiles)), (kernel.TERMS, self.terms),
            (kernel.FACTORS, self.factor_taps), (kernel.SPACE, lines.shape[0] * pitch), (kernel.WINDOW, self.window),
            (kernel.PLANE, math.prod(self.m)),
        ):  # fmt: skip
            s[place] = value
        at = 0
        for a in range(z + 1):
            h = kernel.HEAD + kernel.AXIS * a
            s[h : h + kernel.AXIS] = self.t[a], self.extents[a], self.tile[a], self.m[a], at
            at += self.t[a]
        chains = [(0, 0, self.t[a] if a < z else 1) for a in range(z + 1)]
        return (s, *(np.ascontiguousarray(a, np.int64) for a in (chains, np.arange(max(self.t)), tiles, lines)))

    @cached_property
    def _memory(self) -> tuple[int, int]:
        """Working memory of one thread in bytes: three buffers of a tile and one for sums of terms, a row of results."""
        item, (rows, vectors, _), pitch = np.dtype(self.dtype).itemsize, self.shape, self._pitch[0]
        space = math.prod(self.extents[:-1]) * pitch
        inner = math.prod(self.extents[1:-1]) * pitch
        row = self.extents[-1] + 2 * lanes(self.dtype) * vectors
        return -(-((3 + (self.terms > 1)) * space + rows * inner + pitch) * item // 64) * 64, -(-row * item // 64) * 64

    def tables(self, steps: list[int]) -> list[np.ndarray]:
        sizes, *tables = self._arrays
        sizes = sizes.copy()
        sizes[[blocks.X_B, blocks.X_N]] = steps[:2]
        zero, fills = self._constants
        return [zero, self.extension.tables, fills, sizes, self.extension.axes(steps[3:]), *tables]

    @cached_property
    def _work(self) -> Callable:
        return kernel.passes(self.dtype, self.algebra)

    def correlate(self, x: np.ndarray, k: np.ndarray, threads: int) -> np.ndarray:
        """The result for the canonical signal x and factors k (B, terms, sum of t).

        Of a window's factors only the first of the last axis counts.
        """
        y = np.empty((self.B, self.N, 1, *self.m), self.dtype)
        x = self.readable(x)
        work, tables, memory, (buffers, _) = self._work, self.fixed(x.strides), self.thread_bytes, self._memory
        at = address(x), address(k), address(y)
        given = (*at, Own(0), Own(buffers), *tables[0], at[2], Own(0), Own(buffers))
        share(work, given, self.items[0], threads, own=memory)
        return y
