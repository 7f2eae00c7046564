"""What the tile kernels need to know of one convolution: sizes, tables and twiddle factors in arrays, and who works on what."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

from faltung.kernels.correlation import Correlation
from faltung.kernels.fourier import on_numba as kernel
from faltung.kernels.native import address, lanes
from faltung.kernels.threads import Own, scratch, share, spread


@dataclass(frozen=True, eq=False)
class Layout(Correlation):
    """The correlation by tiles of `lengths` points."""

    lengths: tuple[int, ...]

    @cached_property
    def groups(self) -> tuple[bool, int, int]:
        """Whether lanes run over batches (rather than over tiles), groups of tiles, groups of filters."""
        return arrangement(self.dtype, self.B, self.N, self.C, self.O, math.prod(self.counts))

    @cached_property
    def valid(self) -> tuple[int, ...]:
        """Results of one tile that no wrap-around touched."""
        return tuple(f - r + 1 for f, r in zip(self.lengths, self.reach, strict=True))

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Tiles along each axis."""
        return counts_of(self.m, self.stride, self.valid)

    @cached_property
    def steps(self) -> tuple[int, ...]:
        """Values between neighbours along each axis of a tile: a point more than dense, or columns would share cache sets."""
        point, steps = 2 * lanes(self.real), [2 * lanes(self.real)]
        for f in self.lengths[:0:-1]:
            steps.insert(0, steps[0] * f + point)
        return tuple(steps)

    @cached_property
    def columns(self) -> int:
        return math.prod(self.lengths[1:])

    @cached_property
    def _sizes(self) -> np.ndarray:
        wide, _, _ = self.groups
        width, element, D = lanes(self.real), 2 if self.dtype != self.real else 1, len(self.n)
        s = np.zeros(kernel.HEAD + kernel.AXIS * D, np.int64)
        tiles = math.prod(self.counts)
        pairs = (
            -(-self.N * tiles // 2) if element == 1 else self.N * tiles
        )  # whichever tiles of samples that share filters
        s[kernel.DIMS], s[kernel.PAIRED], s[kernel.WIDE], s[kernel.BATCH] = D, element == 1, wide, self.B
        s[kernel.SAMPLES], s[kernel.CHANNELS], s[kernel.OUTPUTS] = self.N, self.C, self.O
        s[kernel.PAIRS], s[kernel.GROUPS] = pairs, -(-pairs // width)
        s[kernel.ELEMENT], s[kernel.COLUMNS] = element, self.columns
        twiddles = 0
        for d in range(D):
            h = kernel.HEAD + kernel.AXIS * d
            for place, value in (
                (kernel.F, self.lengths[d]), (kernel.VALID, self.valid[d]), (kernel.COUNT, self.counts[d]),
                (kernel.M, self.m[d]), (kernel.STRIDE, self.stride[d]), (kernel.W_AT, twiddles),
                (kernel.STEP, self.steps[d]), (kernel.TAPS, self.t[d]), (kernel.DILATION, self.dilation[d]),
            ):  # fmt: skip
                s[h + place] = value
            twiddles += 2 * self.lengths[d]
        return s

    @cached_property
    def whole(self) -> tuple[int, ...]:
        return tuple((q - 1) * v + f for f, v, q in zip(self.lengths, self.valid, self.counts, strict=True))

    @cached_property
    def _twiddles(self) -> np.ndarray:
        """cos and −sin of 2πk/F for every axis."""
        w = [np.exp(-2j * np.pi * np.arange(f) / f) for f in self.lengths]
        return np.concatenate(w).view(np.float64).astype(self.real)

    @cached_property
    def _memory(self) -> tuple[int, ...]:
        """Working memory of one thread in bytes, part by part: tiles, a line, rows, their addresses, origins of the tiles."""
        item, width = np.dtype(self.real).itemsize, lanes(self.real)
        tile = max(self.C, self.O) * self.lengths[0] * self.steps[0]
        values = (tile, 2 * self.O * width, width * self.lengths[-1])
        return (*(-(-item * v // 64) * 64 for v in values), 8 * width, 16 * width * (len(self.n) + 3))

    @property
    def thread_bytes(self) -> int:
        """Working memory of one thread."""
        return sum(self._memory) + 64

    def spectra(self, k: np.ndarray, threads: int) -> np.ndarray:
        """The filters' transforms, divided by the number of points, as the tile kernel reads them."""
        wide, _, groups = self.groups
        k = np.ascontiguousarray(k)
        points, width = math.prod(self.lengths), lanes(self.real)
        many = groups * 2 * width if wide else self.B * self.O * self.C * 2
        out = np.empty(many * points, self.real)
        work, sizes = self._filters, self._sizes.ctypes.data
        at, to, w = k.ctypes.data, out.ctypes.data, self._twiddles.ctypes.data

        def task(first: int, last: int) -> None:
            work(at, to, scratch(self._memory[0]), w, sizes, 1.0 / points, first, last)

        spread(task, groups, threads)
        return out

    def convolve(self, x: np.ndarray, spectra: np.ndarray, threads: int) -> np.ndarray:
        """All tiles of the canonical signal x, strides as they come."""
        y = np.empty((self.B, self.N, self.O, *self.m), self.dtype)
        x = self.readable(x)
        work, tables, memory = self._tiles, self.fixed(x.strides), self._memory
        at = address(x), address(spectra), address(y)
        tiles, line, temp, rows, origins = (Own(place) for place in accumulate(memory[:-1], initial=0))
        given = (*at, tiles, line, temp, rows, *tables[0], origins, at[0], temp)
        share(work, given, self.groups[1], threads, own=sum(memory))
        return y

    @cached_property
    def _tiles(self) -> Callable:
        return kernel.tiles(self.real)

    @cached_property
    def _filters(self) -> Callable:
        return kernel.filters(self.real)

    def tables(self, steps: list[int]) -> list[np.ndarray]:
        sizes = self._sizes.copy()
        sizes[[kernel.X_B, kernel.X_N, kernel.X_C]] = steps[:3]
        fills = np.array([[v.real, v.imag] for v in map(complex, self.fills)], self.real)
        return [self._twiddles, self.extension.tables, fills, sizes, self.extension.axes(steps[3:])]


def counts_of(m: tuple[int, ...], stride: tuple[int, ...], valid: tuple[int, ...]) -> tuple[int, ...]:
    """Tiles along each axis that yield m strided results."""
    return tuple(-(-((a - 1) * s + 1) // v) for a, s, v in zip(m, stride, valid, strict=True))


def arrangement(dtype: str, B: int, N: int, C: int, O: int, tiles: int) -> tuple[bool, int, int]:
    """Whether lanes run over batches, how many groups of tiles that makes, and how many of filters."""
    real = {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)
    width = lanes(real)
    pairs = -(-N * tiles // 2) if dtype == real else N * tiles
    by_tile, by_batch = B * -(-pairs // width), -(-B // width) * pairs
    if C == 1 and by_batch < by_tile:
        return True, by_batch, -(-B // width) * O
    return False, by_tile, -(-B * O * C // width)
