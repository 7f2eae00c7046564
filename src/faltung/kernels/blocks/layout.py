"""What the block kernel needs to know of one correlation: the shape of its blocks, its tiles, its chains of tap rows."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from faltung.algebras import Algebra
from faltung.kernels.blocks import on_numba as kernel
from faltung.kernels.correlation import Correlation
from faltung.kernels.native import address, lanes
from faltung.kernels.threads import Own, share

ITEMS = 16  # pieces that threads share at least, where the problem has so many
PIECE = 1 << 17  # products below which a piece is not cut further


@dataclass(frozen=True, eq=False)
class Blocks(Correlation):
    """The correlation along two axes or more, in any algebra with vectors, by tiles that stay within `cache` bytes."""

    algebra: Algebra
    cache: int
    copies: ClassVar[int] = 2  # how many times a tile's signal must fit into the cache

    @cached_property
    def chain(self) -> tuple[int, int, list[tuple[int, int]]]:
        """Rows of results that share rows of the signal lie `gap` apart; tap rows that follow each other in a chain, `hop`.

        And the chains of one channel and plane: first tap row, length.
        """
        T, s, d = self.t[-2], self.stride[-2], self.dilation[-2]
        if d % s == 0:
            return d // s, 1, [(0, T)]
        hop = s // d if s % d == 0 else T
        return 1, hop, [(first, -(-(T - first) // hop)) for first in range(min(hop, T))]

    @cached_property
    def shape(self) -> tuple[int, int, bool]:
        """Rows and vectors of a block, and whether its rows are outputs: whatever needs the fewest loads a product."""
        longest = max(length for _, length in self.chain[2])
        rows = min(4, longest, max(1, self.m[-2] // self.chain[0]))
        rows = rows if rows > 2 else 1
        by_output = self.O >= 4 > rows * longest / (longest + rows - 1)
        width = lanes(self.dtype)
        need, registers = -(-self.m[-1] // width), 4 if width * np.dtype(self.dtype).itemsize == 64 else 2
        # Few shapes, because each is a kernel of its own; narrow ones leave the processor waiting for its own sums.
        choices = (1, registers) if not by_output else (1, 2, registers) if self.O >= 8 else (2, registers)
        choices = (1, 2 * registers) if rows == 1 and not by_output else choices
        vectors = min(choices, key=lambda v: -(-need // v) * v * (1 + 1 / v))
        if by_output:
            rows = 8 if self.O >= 8 and vectors < registers else 4
        return rows, vectors, by_output

    @cached_property
    def tile(self) -> tuple[int, ...]:
        """Results of one tile along each axis: the halo of its signal is read again for the next tile, so tiles are large."""
        block, rows = list(self.m), self.shape[0] * self.chain[0]
        item = np.dtype(self.dtype).itemsize

        def held() -> int:
            return (
                self.C
                * item
                * math.prod((b - 1) * s + r for b, s, r in zip(block, self.stride, self.reach, strict=True))
            )

        def count() -> int:
            return self.B * self.N * math.prod(-(-m // b) for m, b in zip(self.m, block, strict=True))

        def work() -> int:
            return math.prod(block) * math.prod(self.t) * self.C * self.O

        least = [1] * (len(block) - 2) + [rows, 4 * self.shape[1] * lanes(self.dtype)]
        whole = {a for a in range(len(block)) if block[a] <= least[a]}  # axes that are not cut any further
        while len(whole) < len(block) and (held() > self.cache // self.copies or (count() < ITEMS and work() > PIECE)):
            # Cut where tiles are longest beside their halo; short rows cost more than a taller halo.
            gain = [b * s / r for b, s, r in zip(block, self.stride, self.reach, strict=True)]
            gain[-1] /= 8
            axis = max((a for a in range(len(block)) if a not in whole), key=lambda a: gain[a])
            size = -(-self.m[axis] // (-(-self.m[axis] // block[axis]) + 1))
            size = max(least[axis], -(-size // least[axis]) * least[axis])
            if size >= block[axis]:
                whole.add(axis)
            else:
                block[axis] = size
        return tuple(block)

    @cached_property
    def items(self) -> tuple[int, int]:
        """Pieces of work, and how many outputs each computes."""
        tiles = self.B * self.N * math.prod(-(-m // b) for m, b in zip(self.m, self.tile, strict=True))
        rows, _, by_output = self.shape
        share, least = self.O, rows if by_output else 1
        work = math.prod(self.tile) * math.prod(self.t) * self.C
        while tiles * -(-self.O // share) < ITEMS and share > least and work * share > PIECE:
            share = -(-(share // 2) // least) * least
        return tiles * -(-self.O // share), share

    @cached_property
    def _pitch(self) -> tuple[int, int]:
        """Values between rows of the signal in working memory, and between the phases within a row."""
        _, vectors, _ = self.shape
        width = lanes(self.dtype)
        wide = width * vectors
        phase = -(-self.tile[-1] // wide) * wide + -(-self.reach[-1] // self.stride[-1]) + 1
        phase = -(-phase // width) * width
        pitch = phase * self.stride[-1]
        return pitch + width * (pitch * np.dtype(self.dtype).itemsize % 4096 == 0), phase

    @cached_property
    def extents(self) -> tuple[int, ...]:
        """Size of a tile's signal along each axis."""
        return tuple((b - 1) * s + r for b, s, r in zip(self.tile, self.stride, self.reach, strict=True))

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        """Sizes, chains, offsets of the taps along the last axis, tiles, rows of a tile's signal, blocks of a tile."""
        (pitch, phase), (gap, hop, chains), (rows, _, by_output) = self._pitch, self.chain, self.shape
        taps, width, z = math.prod(self.t), self.t[-1], len(self.n) - 1
        lines = np.indices(self.extents[:-1]).reshape(z, -1).T
        space = lines.shape[0] * pitch
        u = np.arange(width) * self.dilation[-1]
        table = []
        for c in range(self.C):
            for outer, at in enumerate(itertools.product(*map(range, self.t[:-2]))):
                row = 0
                for q, d, extent in zip(at, self.dilation, self.extents, strict=False):
                    row = row * extent + q * d
                for first, length in chains:
                    x = c * space + (row * self.extents[-2] + first * self.dilation[-2]) * pitch
                    table.append((x, c * taps + (outer * self.t[-2] + first) * width, length))
        tiles, blocks = self._tiles(), self._blocks(gap, 1 if by_output else rows, pitch)
        s = np.zeros(kernel.COUNT, np.int64)
        for place, value in (
            (kernel.Z, z), (kernel.SAMPLES, self.N), (kernel.CHANNELS, self.C), (kernel.OUTPUTS, self.O),
            (kernel.FILTER, self.C * taps), (kernel.U, width), (kernel.SPACE, space), (kernel.LINES, lines.shape[0]),
            (kernel.PITCH, pitch), (kernel.PHASE, phase), (kernel.STRIDE, self.stride[-1]),
            (kernel.EXTENT, self.extents[-1]), (kernel.CHAINS, len(table)), (kernel.ROW, gap * self.stride[-2] * pitch),
            (kernel.TAP, hop * width), (kernel.SHARE, self.items[1]), (kernel.TILES, len(tiles)),
            (kernel.BLOCKS, len(blocks)), (kernel.LENGTH, self.tile[-1]), (kernel.SIZE, math.prod(self.m)),
            (kernel.HOP, math.prod(self.m) if by_output else gap * self.m[-1]),
        ):  # fmt: skip
            s[place] = value
        arrays = table, u % self.stride[-1] * phase + u // self.stride[-1], tiles, lines, blocks
        return (s, *(np.ascontiguousarray(a, np.int64) for a in arrays))

    def _tiles(self) -> list[tuple[int, ...]]:
        """Where each tile starts in the extended signal, and its first result.

        The last tile along an axis ends with the axis and may repeat results of the one before: the same bits, written twice.
        """
        starts = [[min(i, m - b) for i in range(0, m, b)] for m, b in zip(self.m, self.tile, strict=True)]
        out = []
        for start in itertools.product(*starts):
            result = 0
            for i, m in zip(start, self.m, strict=True):
                result = result * m + i
            out.append((*(i * s for i, s in zip(start, self.stride, strict=True)), result))
        return out

    def _blocks(self, gap: int, rows: int, pitch: int) -> list[tuple[int, int, int]]:
        """Of each block in a tile: where its signal starts, where its results, how many of its rows there are."""
        out = []
        for outer in itertools.product(*map(range, self.tile[:-2])):
            line = result = 0
            for i, s, extent, m in zip(outer, self.stride, self.extents, self.m, strict=False):
                line, result = line * extent + i * s, result * m + i
            for i in range(self.tile[-2]):
                if i // gap % rows == 0:
                    at = (line * self.extents[-2] + i * self.stride[-2]) * pitch
                    out.append((at, (result * self.m[-2] + i) * self.m[-1], min(rows, -(-(self.tile[-2] - i) // gap))))
        return out

    @cached_property
    def _memory(self) -> tuple[int, int]:
        """Working memory of one thread in bytes: the signal of a tile, a row of it or a block of results."""
        item, (rows, vectors, _), s = np.dtype(self.dtype).itemsize, self.shape, self._arrays[0]
        signal = self.C * s[kernel.SPACE] + rows * s[kernel.ROW] + s[kernel.PITCH]
        row = max(self.extents[-1], rows * vectors * lanes(self.dtype))
        return -(-int(signal) * item // 64) * 64, -(-row * item // 64) * 64

    @property
    def thread_bytes(self) -> int:
        """Working memory of one thread."""
        return sum(self._memory) + 64

    @property
    def table_bytes(self) -> int:
        """Memory of the tables, kept with the layout."""
        return sum(a.nbytes for a in self._arrays) + self.extension.table_bytes

    @cached_property
    def whole(self) -> tuple[int, ...]:
        return tuple((m - 1) * s + r for m, s, r in zip(self.m, self.stride, self.reach, strict=True))

    @cached_property
    def _constants(self) -> tuple[np.ndarray, np.ndarray]:
        dtype = np.dtype(self.dtype)
        return np.array([self.algebra.zero(dtype)], dtype), np.array(self.fills).astype(dtype)

    def packed(self, k: np.ndarray) -> np.ndarray:
        """The filters in a row, with room behind the last: a block of outputs may read past the end of them."""
        out = np.zeros(k.size + (self.shape[0] - 1) * self.C * math.prod(self.t), self.dtype)
        out[: k.size].reshape(k.shape)[...] = k
        return out

    def correlate(self, x: np.ndarray, k: np.ndarray, threads: int) -> np.ndarray:
        """The result for the canonical signal x, strides as they come, and filters as `packed` returns them."""
        y = np.empty((self.B, self.N, self.O, *self.m), self.dtype)
        x = self.readable(x)
        work, tables, memory, (signal, _) = self._work, self.fixed(x.strides), self.thread_bytes, self._memory
        at = address(x), address(k), address(y)

        given = (*at, Own(0), Own(signal), *tables[0], at[2], Own(signal))
        share(work, given, self.items[0], threads, own=memory)
        return y

    @cached_property
    def _work(self) -> Callable:
        return kernel.blocks(self.dtype, self.algebra, *self.shape)

    def tables(self, steps: list[int]) -> list[np.ndarray]:
        sizes, *tables = self._arrays
        sizes = sizes.copy()
        sizes[[kernel.X_B, kernel.X_N, kernel.X_C]] = steps[:3]
        zero, fills = self._constants
        return [zero, self.extension.tables, fills, sizes, self.extension.axes(steps[3:]), *tables]
