"""What the kernel for channels innermost needs to know of one correlation: blocks, shares of work, addresses of the taps."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from faltung.algebras import Algebra
from faltung.kernels.correlation import Correlation
from faltung.kernels.indirect import on_numba as kernel
from faltung.kernels.native import address, lanes
from faltung.kernels.threads import Own, kept, lined, share
from faltung.kernels.turn.on_numba import turned

ITEMS = 16  # pieces that threads share at least, where the problem has so many
PIECE = 1 << 18  # products below which a piece is not cut further
THIN = 16  # channels below which a row of taps is read as one longer row of channels


@dataclass(frozen=True, eq=False)
class Indirect(Correlation):
    """The correlation of signals with channels innermost (N, *n, B, C) into (N, *m, B, O).

    Chunks of positions whose signal stays within `cache` bytes meet all filters before the next chunk comes.
    """

    algebra: Algebra
    cache: int

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Positions and vectors of a block: as few idle lanes as possible, then the fewest loads a product."""
        width, choices = lanes(self.dtype), kernel.shapes(self.dtype)
        return min(choices, key=lambda c: -(-self.O // (c[1] * width)) * c[1] * (1.15 if c[1] == 1 else 1.0))

    @property
    def wide(self) -> int:
        """Outputs of a block."""
        return self.shape[1] * lanes(self.dtype)

    @property
    def parts(self) -> int:
        """Blocks that all outputs make."""
        return -(-self.O // self.wide)

    @cached_property
    def merged(self) -> bool:
        """Whether a row of taps is one long row of channels, which lie side by side in the (padded) signal.

        A row beyond an outer edge is then one constant, so all axes must have the same.
        """
        long = self.B == 1 and self.C < THIN and self.t[-1] > 1 and self.dilation[-1] == 1
        return long and len(set(self.fills)) == 1

    @cached_property
    def deep(self) -> tuple[int, int]:
        """Taps along the last axis and channels, as the kernel sees them."""
        return (1, self.t[-1] * self.C) if self.merged else (self.t[-1], self.C)

    @cached_property
    def work(self) -> tuple[int, int, int]:
        """Positions of a chunk, shares into which the outputs are cut, pieces of work."""
        positions, rows = self.N * math.prod(self.m), self.shape[0]
        row = self.C * math.prod(self.stride) * np.dtype(self.dtype).itemsize
        products = math.prod(self.t) * self.C * self.wide
        chunk = min(positions, max(4 * rows, self.cache // 2 // row))

        def pieces(chunk: int, shares: int) -> int:
            return self.B * -(-positions // chunk) * shares

        shares = 1
        while pieces(chunk, shares) < ITEMS and chunk * products * -(-self.parts // shares) > PIECE:
            # Halve what is larger: the signal's chunk or the filters that it meets.
            if (
                chunk * row > products * np.dtype(self.dtype).itemsize * -(-self.parts // shares)
                or shares == self.parts
            ):
                if chunk <= 2 * rows:
                    break
                chunk = -(-chunk // 2 // rows) * rows
            else:
                shares = min(self.parts, 2 * shares)
        chunk = -(-chunk // rows) * rows
        return chunk, shares, pieces(chunk, shares)

    @cached_property
    def whole(self) -> tuple[int, ...]:
        return tuple((m - 1) * s + r for m, s, r in zip(self.m, self.stride, self.reach, strict=True))

    @cached_property
    def _constants(self) -> tuple[np.ndarray, np.ndarray]:
        """Zero, and a row of channels for the constant beyond each axis."""
        dtype = np.dtype(self.dtype)
        rows = np.repeat(np.array(self.fills).astype(dtype)[:, None], self.deep[1], 1)
        return np.array([self.algebra.zero(dtype)], dtype), np.ascontiguousarray(rows)

    def packed(self, k: np.ndarray, threads: int) -> tuple[np.ndarray, tuple[int, int]]:
        """The filters (B, O, C, *t) with the outputs of a block side by side, and the steps between taps and channels."""
        taps = math.prod(self.t)
        last = k.strides[2] == k.itemsize and self.C > 1  # channels innermost here too
        k = np.moveaxis(k, 2, -1) if last else k
        rows = np.ascontiguousarray(k).reshape(self.B, self.O, self.C * taps)
        out = lined((self.B, self.parts, self.C * taps, self.wide), np.dtype(self.dtype))
        full = self.O // self.wide
        for b in range(self.B):
            if full:
                turned(rows[b, : full * self.wide].reshape(full, self.wide, -1), threads, out[b, :full])
            if full < self.parts:
                out[b, full:] = 0
                turned(rows[b, full * self.wide :][None], threads, out[b, full:])
        channel, tap = (1, self.C) if last else (taps, 1)
        if self.merged and not last:  # rows of taps and channels: tap after tap
            out = np.ascontiguousarray(out.reshape(self.B, self.parts, self.C, taps, self.wide).swapaxes(2, 3))
            channel, tap = 1, self.C
        return out, (tap * self.wide, channel * self.wide)

    def extended(self, x: np.ndarray) -> np.ndarray:
        """The signal (N, *n, 1, C) with its last spatial axis padded, for rows of taps that are read in one."""
        at = self.sources(len(self.n) - 1, -self.lo[-1], self.whole[-1] - self.lo[-1])
        if at.size == self.n[-1] and np.array_equal(at, np.arange(at.size)):
            return np.ascontiguousarray(x)
        out = np.take(x, np.maximum(at, 0), axis=-3)
        out[..., at < 0, :, :] = self._constants[1][-1, 0]
        return out

    def correlate(
        self, x: np.ndarray, packed: tuple[np.ndarray, tuple[int, int]], threads: int, passing: bool = False
    ) -> np.ndarray:
        """The canonical result (B, N, O, *m), a view of memory with channels innermost, from a canonical signal.

        A `passing` result lies in memory that the next call overwrites: for who moves it elsewhere at once.
        """
        k, steps = packed
        x = innermost(self, x, threads)
        x = self.extended(x) if self.merged else x
        y, apart = vacant(self, passing)
        sizes, outer, inner, zero, fills = self.fixed((*x.strides, *(step * x.itemsize for step in steps), *apart))[1]
        run, room = self._run, self._room
        at = (
            address(x),
            address(k),
            address(y),
            address(y),
            address(zero),
            address(fills),
            address(outer),
            address(inner),
        )
        share(run, (*at, address(sizes), Own(0), Own(0), Own(room - 512 * 8)), self.work[2], threads, own=room)
        return y

    @cached_property
    def _room(self) -> int:
        """Working memory of a thread: a block of results, and the places of its positions."""
        return -(-self.shape[0] * self.wide * np.dtype(self.dtype).itemsize // 64) * 64 + 512 * 8

    @cached_property
    def _run(self) -> Callable:
        return kernel.indirect(self.dtype, self.algebra, *self.shape)

    def tables(self, steps: list[int]) -> list[np.ndarray]:
        """Sizes, offsets of all outer and inner taps and positions in bytes (below zero: the constant of that axis), constants."""
        item, (tap, channel) = np.dtype(self.dtype).itemsize, steps[-4:-2]
        axes = [self._axis(a, step * item) for a, step in enumerate(steps[1:-6])]
        inner = axes.pop()
        outer = np.zeros((1, 1), np.int64)
        for axis in axes:
            far, near = outer[:, None, :, None], axis[None, :, None, :]
            both = np.where(near < 0, near, np.where(far < 0, far, far + near))
            outer = both.reshape(outer.shape[0] * axis.shape[0], -1)
        s = np.zeros(kernel.COUNT, np.int64)
        chunk, shares, _ = self.work
        taps, channels = self.deep
        part = self.C * math.prod(self.t) * self.wide
        for place, value in (
            (kernel.SAMPLES, self.N), (kernel.CHANNELS, channels), (kernel.OUTPUTS, self.O), (kernel.GROUPS, self.B),
            (kernel.X_B, steps[-6]), (kernel.X_N, steps[0]), (kernel.OUTER, outer.shape[1]), (kernel.INNER, inner.shape[1]),
            (kernel.OUTER_TAPS, outer.shape[0]), (kernel.INNER_TAPS, taps), (kernel.W_CHANNEL, channel),
            (kernel.W_TAP, self.t[-1] * tap if self.merged else tap), (kernel.W_PART, part), (kernel.W_GROUP, part * self.parts),
            (kernel.PARTS, self.parts), (kernel.SHARE, -(-self.parts // shares)), (kernel.SHARES, shares),
            (kernel.CHUNK, chunk), (kernel.CHUNKS, -(-self.N * math.prod(self.m) // chunk)), (kernel.FILL, channels),
            (kernel.Y_P, steps[-2]), (kernel.Y_B, steps[-1]),
        ):  # fmt: skip
            s[place] = value
        return [s, np.ascontiguousarray(outer), np.ascontiguousarray(inner), *self._constants]

    def _axis(self, a: int, step: int) -> np.ndarray:
        """Offsets of taps (rows) at positions (columns) of one axis."""
        start = np.arange(self.m[a]) * self.stride[a]
        if self.merged and a == len(self.n) - 1:  # padded already
            return (start * step)[None]
        at = self.sources(a, -self.lo[a], self.whole[a] - self.lo[a])
        at = at[start[None] + (np.arange(self.t[a]) * self.dilation[a])[:, None]]
        return np.where(at < 0, -1 - a, at * step)

    @property
    def thread_bytes(self) -> int:
        """Working memory of one thread."""
        return self._room + 64

    @property
    def table_bytes(self) -> int:
        """Memory of the tables, kept with the layout."""
        outer = math.prod(self.t[:-1]) * math.prod(self.m[:-1])
        return (
            8 * (2 * outer + 4 * max(self.whole) + self.t[-1] * self.m[-1] + kernel.COUNT) + self._constants[1].nbytes
        )


def innermost(layout: Correlation, x: np.ndarray, threads: int) -> np.ndarray:
    """The canonical signal (B, N, C, *n) with channels innermost, (N, *n, B, C): a view where they are, a copy otherwise."""
    moved = np.moveaxis(x, (1, 0, 2), (0, -2, -1))
    item = np.dtype(layout.dtype).itemsize
    if (layout.C == 1 or x.strides[2] == item) and x.flags.aligned and not any(s % item for s in x.strides):
        return moved
    lead = layout.N * layout.B
    if x.flags.c_contiguous and lead in (layout.N, layout.B):  # each group is turned by itself where it is one sample
        out = kept("x", (lead, math.prod(layout.n), layout.C), x.dtype)
        x = turned(x.reshape(lead, layout.C, -1), threads, out).reshape(layout.B, layout.N, *layout.n, layout.C)
        return np.moveaxis(x, 0, -2)
    return np.ascontiguousarray(moved)


def vacant(layout: Correlation, passing: bool) -> tuple[np.ndarray, tuple[int, int]]:
    """Memory for the result with outputs innermost, as its canonical view (B, N, O, *m), and two steps in it in bytes.

    They lead from one position to the next and from one group to the next. Groups lie side by side, (N, *m, B, O), but those of a
    single sample whose result is `passing` one after the other: then each is turned back by itself.
    """
    item, apart = np.dtype(layout.dtype).itemsize, passing and layout.N == 1
    shape = (layout.B, 1, *layout.m, layout.O) if apart else (layout.N, *layout.m, layout.B, layout.O)
    y = kept("y", shape, np.dtype(layout.dtype)) if passing else np.empty(shape, layout.dtype)
    if apart:
        return np.moveaxis(y, -1, 2), (layout.O * item, layout.O * math.prod(layout.m) * item)
    return np.moveaxis(y, (0, -2, -1), (1, 0, 2)), (layout.B * layout.O * item, layout.O * item)
