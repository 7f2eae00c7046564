"""What the scattering kernel needs to know of one scale of first wavelets: sizes, places, weights and waves in two arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from faltung.kernels import native
from faltung.kernels.native import address, lanes
from faltung.kernels.scattering import on_numba as kernel
from faltung.kernels.threads import Own, share

Grid = tuple[int, int]


def suits(grids: Sequence[Grid]) -> bool:
    """Whether the kernel transforms all of these sizes: their odd factors are not too large."""
    odd = [factors(n) for grid in grids for n in grid]
    return all(len(primes) <= kernel.STAGES_AT_MOST and max(primes, default=1) <= kernel.PRIME for primes in odd)


def factors(n: int) -> list[int]:
    """The odd prime factors of a number, each as often as it divides, the largest first."""
    found, p = [], 3
    n //= n & -n
    while n > 1:
        while n % p == 0:
            found.append(p)
            n //= p
        p = p + 2 if p * p <= n else max(n, p + 2)
    return found[::-1]


def order(n: int) -> list[int]:
    """Which place of the signal stands where after a transform from the natural order."""
    power, radices = n & -n, factors(n)
    if power.bit_length() % 2 == 0:
        radices.append(2)
    radices += [4] * ((power.bit_length() - 1) // 2)
    places = [0]
    for radix in reversed(radices):
        places = [k + radix * p for k in range(radix) for p in places]
    return places


@dataclass(eq=False)
class Scale:
    """The first wavelets of one scale and all that follows them, as the kernel reads it.

    Args: dtype; size of the spectra; first wavelets (waves, *size); the grid of their moduli; for each second scale (grid,
        filters (waves', *that grid)), the filters on the grid of the first moduli; for each grid its averages, matrices
        (m, n₀) and (l, n₁); paths of the first wavelets (waves), and of both (waves, all second waves); the kernel's module.
    """

    dtype: np.dtype
    size: Grid
    first: np.ndarray
    grid: Grid
    seconds: list[tuple[Grid, np.ndarray]]
    lines: dict[Grid, tuple[np.ndarray, np.ndarray]]
    ones: np.ndarray
    twos: np.ndarray
    tool: Any = kernel

    def __post_init__(self) -> None:
        if not suits([self.grid, *(grid for grid, _ in self.seconds)]):
            raise ValueError(f"no transforms of {self.grid}, {[grid for grid, _ in self.seconds]}")
        self.width = lanes(str(self.dtype))
        self._numbers: list[np.ndarray] = []
        self._whole: list[int] = [0] * (kernel.HEAD + kernel.SECOND * len(self.seconds))
        s = self._whole
        rows, columns = self.lines[self.grid]
        self.result = (len(rows), len(columns))
        s[kernel.WAVES], s[kernel.ROWS], s[kernel.COLUMNS] = len(self.first), *self.result
        s[kernel.HEIGHT], s[kernel.WIDTH], s[kernel.SECONDS] = *self.size, len(self.seconds)
        s[kernel.ALL] = self.twos.shape[1]
        s[kernel.GRID] = self._grid(self.grid)
        s[kernel.ONES], s[kernel.TWOS] = self._places(self.ones), self._places(self.twos)
        wave = filters = 0
        for number, (grid, values) in enumerate(self.seconds):
            at = kernel.HEAD + kernel.SECOND * number
            s[at : at + kernel.SECOND] = [len(values), filters, self._grid(grid), wave]
            wave, filters = wave + len(values), filters + values.size
        self._one = np.ascontiguousarray(self.first, self.dtype)
        two = [np.asarray(v, self.dtype).reshape(-1) for _, v in self.seconds]
        self._two = np.concatenate(two) if two else np.zeros(1, self.dtype)
        self._floats = np.concatenate([np.asarray(a, self.dtype).reshape(-1) for a in self._numbers])

    def run(self, spectra: np.ndarray, y: np.ndarray, threads: int) -> None:
        """Write the features of spectra (samples, 2, *size), real and imaginary parts, into y (samples, paths, m, l)."""
        sizes = np.array(self._whole, np.int64)
        sizes[kernel.SAMPLES], sizes[kernel.PATHS] = len(spectra), y.shape[1]
        work = native.load(*self.tool.key(str(self.dtype)))
        item, W = self.dtype.itemsize, self.width
        (height, width), (rows, columns) = self.grid, self.result
        values = (
            height * self._hop(self.grid), 2 * max([g[0] * self._hop(g) for g, _ in self.seconds], default=0),
            2 * W * kernel.PRIME, (height + 3) * columns * W, rows * columns * W, 2 * W * width,
        )  # fmt: skip
        parts = [*(-(-v * item // 64) * 64 for v in values), 16 * W]
        at = [address(a) for a in (spectra, self._one, self._two, y)]
        floats, whole = address(self._floats), address(sizes)
        *memory, numbers = (Own(place) for place in accumulate(parts[:-1], initial=0))
        given = (*at, *memory, floats, whole, numbers, memory[-1], at[-1])
        share(work, given, -(-len(spectra) * len(self.first) // W), threads, own=sum(parts))

    def _hop(self, grid: Grid) -> int:
        """Values from row to row: a point more than dense, or the points of a column would share places in the cache."""
        return 2 * self.width * (grid[1] + (grid[0] > 1))

    def _grid(self, grid: Grid) -> int:
        """Where the description of a grid begins, which is written now."""
        at = len(self._whole)
        self._whole += [0] * (kernel.AXES + 2 * kernel.AXIS)
        g = [*grid, self._hop(grid)]
        hops = (1, 2 * self.width)  # rows of what is averaged along columns are counted, columns are values apart
        lists = [self._kept(matrix, hop) for matrix, hop in zip(self.lines[grid], hops, strict=True)]
        g += [places for places, _, _ in lists] + [kept for _, kept, _ in lists] + [weights for _, _, weights in lists]
        for n in grid:
            power, primes = n & -n, factors(n)
            w = np.exp(-2j * np.pi * np.arange(power) / power)
            axis = [n, power, self._kept_numbers(w.view(np.float64)), len(primes)]
            for prime in primes:
                twists = 2 * np.pi * np.outer(np.arange(n // prime), np.arange(prime)) / n
                half = np.arange(1, (prime + 1) // 2)
                both = (twists, 2 * np.pi * np.outer(half, half) / prime)
                axis += [prime, *(self._kept_numbers(np.stack([np.cos(a), np.sin(a)], -1)) for a in both)]
                n //= prime
            g += axis + [0] * (kernel.AXIS - len(axis))
        self._whole[at : at + len(g)] = g
        return at

    def _kept(self, matrix: np.ndarray, hop: int) -> tuple[int, int, int]:
        """Lists of places and of weights of an average, and their length: what is below rounding is left out."""
        sizes = np.abs(matrix)
        tail = np.cumsum(np.sort(sizes, 1), 1) > np.finfo(self.dtype).eps / 16 * sizes.sum(1, keepdims=True)
        kept = max(1, int(tail.sum(1).max()))
        where = np.argsort(-sizes, 1, kind="stable")[:, :kept]
        weights = np.take_along_axis(matrix, where, 1)
        stands = np.argsort(order(matrix.shape[1]))[where]
        turn = np.argsort(stands, 1)
        stands, weights = (np.take_along_axis(a, turn, 1) for a in (stands, weights))
        return self._places(stands * hop), kept, self._kept_numbers(weights)

    def _places(self, values: np.ndarray) -> int:
        self._whole += np.asarray(values).reshape(-1).tolist()
        return len(self._whole) - np.asarray(values).size

    def _kept_numbers(self, values: np.ndarray) -> int:
        at = sum(a.size for a in self._numbers)
        self._numbers.append(np.asarray(values))
        return at
