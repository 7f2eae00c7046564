"""Overlap-save in long segments: for filters so long that their tiles leave the caches; a library transforms them one by one."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from faltung.kernels.fourier import on_scipy as fourier
from faltung.kernels.fourier.lengths import tile_length
from faltung.kernels.threads import spread
from faltung.methods.method import Context, Machine, padded_bytes
from faltung.methods.spectral import Spectral, transform_cost
from faltung.problem import Problem

LONGEST = {1: 1 << 17, 2: 512, 3: 64}  # longest tile axis worth trying, by number of dimensions


class Segments(Spectral):
    """Each tile of F points yields F − reach + 1 results that no wrap-around touched; tiles overlap by reach − 1.

    The filter is transformed once. Memory beside the padded signal is one row of tiles a thread.
    """

    name = "segments"
    summary = "overlap-save in long segments, for filters of many thousand taps"

    def lengths(self, problem: Problem) -> tuple[int, ...]:
        grid = problem.grid
        longest = LONGEST.get(grid.ndim, 32)
        outputs = ((m - 1) * s + 1 for m, s in zip(grid.m, grid.stride, strict=True))
        return tuple(tile_length(o, r, longest) for o, r in zip(outputs, grid.reach, strict=True))

    def _tiles(self, problem: Problem) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Valid outputs of one tile and number of tiles, along every axis."""
        grid = problem.grid
        valid = tuple(f - r + 1 for f, r in zip(self.lengths(problem), grid.reach, strict=True))
        return valid, tuple(-(-((m - 1) * s + 1) // v) for m, s, v in zip(grid.m, grid.stride, valid, strict=True))

    def _block(self, problem: Problem, cache: int) -> tuple[int, int]:
        """How many samples, and how many tiles along the last axis, go through one pass."""
        s, lengths = problem.sizes, self.lengths(problem)
        one = math.prod(lengths) * (2 * s.C + 2 * s.O) * np.dtype(problem.compute_dtype).itemsize
        fit = max(1, cache // max(one, 1))
        count = self._tiles(problem)[1][-1]
        if s.C > 1 and s.O > 1:
            fit = max(fit, 16)  # the products between channels are matrix products: give them rows
        return (max(1, fit // count), count) if fit >= count else (1, fit)

    def cost(self, problem: Problem, machine: Machine) -> float:
        s, (_, counts), lengths = problem.sizes, self._tiles(problem), self.lengths(problem)
        samples, along = self._block(problem, machine.cache)
        passes = s.B * math.ceil(s.N / samples) * math.prod(counts[:-1]) * math.ceil(counts[-1] / along)
        share = min(machine.threads, passes)
        values = s.B * s.N * (s.C * math.prod(problem.grid.padded) + s.O * math.prod(counts) * math.prod(lengths))
        # Every tile is copied into its transform and out of it again, in short rows.
        copy = 10.0 * values * np.dtype(problem.compute_dtype).itemsize * machine.seconds("copy")
        work = transform_cost(problem, lengths, math.prod(counts), machine, "cache")
        return machine.seconds("call.fft") + passes * machine.seconds("pass.segments") + (copy + work) / share

    def scratch(self, problem: Problem, machine: Machine) -> int:
        s, (valid, counts), lengths = problem.sizes, self._tiles(problem), self.lengths(problem)
        item = np.dtype(problem.compute_dtype).itemsize
        samples, along = self._block(problem, machine.cache)
        whole = math.prod((q - 1) * v + f for q, v, f in zip(counts, valid, lengths, strict=True))
        half = math.prod(lengths[:-1]) * (lengths[-1] + 2)
        tile = samples * min(along, counts[-1]) * half * (3 * s.C + 4 * s.O)
        values = s.B * s.N * s.C * whole + 3 * s.B * s.O * s.C * half + machine.threads * tile
        return padded_bytes(problem) + int(item * values) + 200 * s.B * s.N * math.prod(counts) + (1 << 16)

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> np.ndarray:
        return self.filter_spectrum(problem, k, self.lengths(problem), context.threads)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        grid, s, lengths = problem.grid, problem.sizes, self.lengths(problem)
        valid, counts = self._tiles(problem)
        windows = _windows(problem, operands["x"], lengths, valid, counts)
        samples, along = self._block(problem, context.machine.cache)
        y = np.empty((s.B, s.N, s.O, *grid.m), dtype=operands["x"].dtype)
        real = not np.iscomplexobj(y)
        jobs = [
            (b, n, lead, q)
            for b in range(s.B)
            for n in range(0, s.N, samples)
            for lead in np.ndindex(*counts[:-1])
            for q in range(0, counts[-1], along)
        ]

        def task(first: int, last: int) -> None:
            for b, n, lead, q in jobs[first:last]:
                many = slice(n, min(n + samples, s.N))
                tiles = windows[(slice(b, b + 1), many, slice(None), *lead, slice(q, q + along))]
                mixed = fourier.product(fourier.spectrum(tiles, lengths), prepared[b : b + 1], grid.ndim)
                _place(problem, fourier.signal(mixed, lengths, real), y[b : b + 1, many], (*lead, q), valid)

        spread(task, len(jobs), context.threads, multiplies=s.C > 1 and s.O > 1)
        return y


def _windows(problem: Problem, x: np.ndarray, lengths: tuple, valid: tuple, counts: tuple) -> np.ndarray:
    """A view (B, N, C, *counts, *lengths) of all tiles in the padded signal, which is extended to whole tiles."""
    grid = problem.grid
    whole = tuple((q - 1) * v + f for q, v, f in zip(counts, valid, lengths, strict=True))
    # What lies behind the last result is never used, so it may be whatever the boundary continues with.
    pads = tuple((lo, w - n - lo) for w, n, (lo, _) in zip(whole, grid.n, grid.pads, strict=True))
    padded = replace(grid, pads=pads).pad(x, 0)
    steps = padded.strides
    tile_steps = tuple(v * step for v, step in zip(valid, steps[3:], strict=True))
    shape = (*padded.shape[:3], *counts, *lengths)
    return np.lib.stride_tricks.as_strided(padded, shape, (*steps[:3], *tile_steps, *steps[3:]), writeable=False)


def _place(problem: Problem, tiles: np.ndarray, y: np.ndarray, first: tuple[int, ...], valid: tuple[int, ...]) -> None:
    """Put a run of tiles along the last axis into the result: cut what wrapped around, keep every stride-th value."""
    grid = problem.grid
    kept, target = [], []
    for a in range(grid.ndim - 1):
        low, r, s, v = first[a] * valid[a], grid.reach[a], grid.stride[a], valid[a]
        start, stop = -(-low // s), min(-(-(low + v) // s), grid.m[a])
        kept.append(slice(r - 1 + start * s - low, r - 1 + max(stop - 1, start) * s - low + (stop > start), s))
        target.append(slice(start, stop))
    r, s, v, m = grid.reach[-1], grid.stride[-1], valid[-1], grid.m[-1]
    body = tiles[(slice(None), slice(None), slice(None), slice(None), *kept, slice(r - 1, r - 1 + v))]
    low = first[-1] * v
    if s == 1:
        ahead = (slice(None), slice(None), slice(None), *target)
        full = min(body.shape[3], (m - low) // v)
        into = y[(*ahead, slice(low, low + full * v))]
        into = into.reshape(*into.shape[:-1], full, v)  # splitting an axis never copies
        into[...] = np.moveaxis(body[:, :, :, :full], 3, -2)
        if full < body.shape[3]:
            rest = low + full * v
            y[(*ahead, slice(rest, m))] = body[:, :, :, full][..., : m - rest]
        return
    for q in range(body.shape[3]):
        at = low + q * v
        start, stop = -(-at // s), min(-(-(at + v) // s), m)
        if stop > start:
            part = body[:, :, :, q][..., start * s - at : (stop - 1) * s - at + 1 : s]
            y[(slice(None), slice(None), slice(None), *target, slice(start, stop))] = part


SEGMENTS = Segments()
