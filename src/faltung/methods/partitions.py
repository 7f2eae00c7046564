"""Partitioned overlap-save: a long filter in pieces, so that transforms stay short and what is read twice stays in the cache."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from faltung.kernels.delay_line.on_numba import delay_line, key, strip
from faltung.kernels.delay_line.strips import bins_of, from_strips, into_strips, real_of, strips_of
from faltung.kernels.fourier import on_scipy as fourier
from faltung.kernels.native import lanes
from faltung.kernels.threads import kept, spread
from faltung.methods.method import ROUNDOFF, Context, Machine, padded_bytes
from faltung.methods.spectral import Spectral
from faltung.problem import Problem

SMALLEST = 7  # the power of two of the shortest piece worth trying


class Cut(NamedTuple):
    """A filter of `pieces` times `block` taps meets `windows` of two blocks of the signal from `first` on; `results` blocks."""

    block: int
    pieces: int
    results: int
    first: int
    windows: int
    at: int  # where the signal starts, counted from the first window that any result reads

    @property
    def products(self) -> int:
        """Pairs of a window and a piece that meet."""
        lows = (max(0, self.pieces - 1 - self.first + j - self.windows + 1) for j in range(self.results))
        highs = (min(self.pieces, self.pieces - self.first + j) for j in range(self.results))
        return sum(max(0, high - low) for low, high in zip(lows, highs, strict=True))


class Partitions(Spectral):
    """y of block j = F⁻¹ Σ over pieces p of F x of block j − p · F k of piece p; windows of zeros beyond the edges are left out.

    Transforms are as short as pieces, however long the filter; the products between windows and pieces, their number squared, go
    through the cache a few frequencies at a time.
    """

    name = "partitions"
    summary = "long filters in pieces, transforms as short as these (partitioned overlap-save), one axis"
    source = "Kulp (1988); Wefers (2015)"

    def refuses(self, problem: Problem) -> str | None:
        if problem.grid.ndim != 1:
            return f"cuts filters along one axis, the signal has {problem.grid.ndim}"
        return super().refuses(problem)

    def error(self, problem: Problem) -> float:
        """One transform of two of the largest blocks that are chosen from, and the sum over pieces and channels."""
        reach, channels = problem.grid.reach[0], max(1, problem.sizes.C)
        terms = channels * max(1, reach >> SMALLEST)
        u = ROUNDOFF[problem.compute_dtype]
        largest = 4.0 * u * (math.log2(4 * max(reach, 1 << SMALLEST)) + 2.0) * (1.0 + 0.2 * channels**0.5)
        return largest + (min(terms, 6.0 * terms**0.5) + 1.0) * u

    def cost(self, problem: Problem, machine: Machine) -> float:
        cut = _cut(problem, *_rates(problem, machine))
        s = problem.sizes
        rows = s.B * s.N
        share = machine.threads if rows >= machine.threads or cut.windows > 8 else 1
        filters = (
            s.B * s.O * s.C * cut.pieces * _transform(cut.block, machine.seconds("fft.cache", problem.compute_dtype))
        )
        return (
            2 * machine.seconds("call.fft")
            + rows * 2 * machine.seconds("call.fft") / share
            + (rows * _seconds(problem, cut, *_rates(problem, machine)) + filters) / share
        )

    def scratch(self, problem: Problem, machine: Machine) -> int:
        cut, s = _cut(problem, *_rates(problem, machine)), problem.sizes
        real = np.dtype(real_of(problem.compute_dtype))
        planes = strips_of(cut.block, problem.compute_dtype) * 2 * strip(str(real)) * real.itemsize
        filters = s.B * s.O * s.C * cut.pieces * planes
        row = (s.C * (cut.windows + 2) + s.O * cut.results) * planes
        item = np.dtype(problem.compute_dtype).itemsize
        ends = (s.C * (cut.windows + 2) + s.O * cut.results) * 2 * cut.block * item
        passing = 6 * _at_once(cut.block, machine.cache, item) * max(s.C, s.O) * 2 * cut.block * item
        taps = 2 * s.B * s.O * s.C * cut.pieces * cut.block * item
        return padded_bytes(problem) + 2 * filters + taps + machine.threads * (row + ends + passing) + (1 << 17)

    def kernels(self, problem: Problem, machine: Machine) -> tuple[tuple, ...]:
        return (key(real_of(problem.compute_dtype)),)

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> np.ndarray:
        cut, s = _cut(problem, *_rates(problem, context.machine)), problem.sizes
        reach, d, W = problem.grid.reach[0], problem.grid.dilation[0], strip(real_of(problem.compute_dtype))
        taps = np.zeros((s.B, s.O, s.C, cut.pieces * cut.block), k.dtype)
        taps[..., :reach:d] = k[..., ::-1]
        spectra = fourier.spectrum(taps.reshape(*taps.shape[:3], cut.pieces, -1), (2 * cut.block,), context.threads)
        shape = (s.B, s.O, s.C, strips_of(cut.block, str(k.dtype)), cut.pieces, 2, W)
        strips = np.zeros(shape, real_of(str(k.dtype)))
        into_strips(spectra, strips)
        return strips

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        s, g, x = problem.sizes, problem.grid, operands["x"]
        plain = g.zero_padded and min(g.pads[0]) >= 0
        x = x if plain else g.pad(x, 0)
        cut = _cut(problem, *_rates(problem, context.machine))
        at = cut.at + (0 if plain else -g.pads[0][0])
        y = np.empty((s.B, s.N, s.O, *g.m), x.dtype)
        alone = context.threads > s.B * s.N

        def task(first: int, last: int) -> None:
            for row in range(first, last):
                b, n = divmod(row, s.N)
                _row(problem, cut, x[b, n], at, prepared[b : b + 1], y[b, n], context.threads if alone else 1, context)

        spread(task, s.B * s.N, 1 if alone else context.threads)
        return y


def _row(
    problem: Problem, cut: Cut, x: np.ndarray, at: int, h: np.ndarray, y: np.ndarray, threads: int, context: Context
) -> None:
    """One sample: windows of x (C, n), which starts `at` behind the first window, into y (O, m)."""
    g, b = problem.grid, cut.block
    C, O, dtype = len(x), len(y), np.dtype(x.dtype)
    real, bins = real_of(str(dtype)), bins_of(b, str(dtype))
    line = kept("partitions.signal", (C, (cut.windows + 1) * b), dtype)
    start = at - cut.first * b
    low, high = max(0, start), min(line.shape[1], start + x.shape[1])
    line[:, :low], line[:, high:] = 0, 0
    line[:, low:high] = x[:, low - start : high - start]
    step = line.strides
    windows = np.lib.stride_tricks.as_strided(line, (C, cut.windows, 2 * b), (step[0], b * step[1], step[1]))
    W, G = strip(real), h.shape[3]
    spectra = kept("partitions.spectra", (1, 1, C, G, cut.windows, 2, W), np.dtype(real))
    spectra[..., -1, :, :, :] = 0  # what a last strip has more than there are frequencies
    many = _at_once(b, context.machine.cache, dtype.itemsize)

    def there(first: int, last: int) -> None:
        for group in range(first, last):
            part = slice(group * many, (group + 1) * many)
            into_strips(fourier.spectrum(windows[:, part], (2 * b,)), spectra[0, 0, ..., part, :, :])

    spread(there, -(-cut.windows // many), threads)
    mixed = kept("partitions.mixed", (1, 1, O, G, cut.results, 2, W), np.dtype(real))
    delay_line(spectra, h, cut.pieces - 1 - cut.first, cut.results, threads, mixed)
    stride, m = g.stride[0], g.m[0]
    wide = y if stride == 1 else kept("partitions.results", (O, (m - 1) * stride + 1), dtype)

    def back(first: int, last: int) -> None:
        for group in range(first, last):
            part = slice(group * many, (group + 1) * many)
            values = from_strips(mixed[0, 0, ..., part, :, :], bins)
            tiles = fourier.signal(values, (2 * b,), dtype.kind != "c")[..., b:]
            low, high = group * many * b, min((group * many + tiles.shape[1]) * b, wide.shape[1])
            whole = (high - low) // b
            wide[:, low : low + whole * b].reshape(O, whole, b)[...] = tiles[:, :whole]
            if low + whole * b < high:
                wide[:, low + whole * b : high] = tiles[:, whole, : high - low - whole * b]

    spread(back, -(-cut.results // many), threads)
    if stride > 1:
        y[...] = wide[:, ::stride]


def _at_once(block: int, cache: int, item: int) -> int:
    """Windows that are transformed together: as many as fit the cache with their spectra."""
    return max(1, cache // (12 * block * item))


def _rates(problem: Problem, machine: Machine) -> tuple[float, float, float, float, int]:
    dtype = problem.compute_dtype
    real = real_of(dtype)
    return (
        machine.seconds("fft.cache", dtype), machine.seconds("copy"), machine.seconds("line.product", real),
        machine.seconds("fft.spilled", dtype), machine.cache,
    )  # fmt: skip


def _transform(block: int, fft: float) -> float:
    """A transform of two blocks."""
    return 2 * block * math.log2(2 * block) * fft


def _seconds(problem: Problem, cut: Cut, fft: float, copy: float, product: float, far: float, cache: int) -> float:
    """One sample on one thread."""
    s, dtype = problem.sizes, problem.compute_dtype
    item = np.dtype(dtype).itemsize
    # A library transforms several windows in the lanes of its vectors, out of place; beyond the cache each pass goes further.
    rate = fft if 32 * cut.block * item < cache else far
    transforms = (s.C * cut.windows + s.O * cut.results) * _transform(cut.block, rate)
    moved = (s.C * cut.windows + s.O * cut.results) * 6.0 * 2 * cut.block * item * copy
    pairs = s.C * s.O * cut.products * bins_of(cut.block, dtype) / lanes(real_of(dtype))
    return transforms + moved + pairs * product


def _shape(problem: Problem, block: int) -> Cut:
    g = problem.grid
    reach, (lo, hi), n = g.reach[0], g.pads[0], g.n[0]
    pieces, results = -(-reach // block), -(-((g.m[0] - 1) * g.stride[0] + 1) // block)
    at = pieces * block - (reach - 1) + lo  # of x[0], behind the first window that the first result reads
    if g.zero_padded and min(lo, hi) >= 0:
        first, last = max(0, at // block - 1), (at + n - 1) // block
    else:
        first, last = 0, (at - lo + n + lo + hi - 1) // block
    last = min(last, results + pieces - 2)
    first = min(first, last)
    return Cut(block, pieces, results, first, last - first + 1, at)


@lru_cache(maxsize=4096)
def _cut(problem: Problem, fft: float, copy: float, product: float, far: float, cache: int) -> Cut:
    """The cheapest block among powers of two up to the filter's own length."""
    reach = problem.grid.reach[0]
    largest = max(SMALLEST, math.ceil(math.log2(max(reach, 2))))
    cuts = [_shape(problem, 1 << e) for e in range(SMALLEST, largest + 1)]
    cuts = [cut for cut in cuts if cut.pieces <= 4096] or cuts[-1:]
    return min(cuts, key=lambda cut: _seconds(problem, cut, fft, copy, product, far, cache))


PARTITIONS = Partitions()
