"""FFT convolution: one transform of the whole signal."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from faltung.kernels.fourier import on_scipy as fourier
from faltung.methods.method import Context, Machine, padded_bytes
from faltung.methods.spectral import Spectral, transform_cost
from faltung.problem import Problem


class FFT(Spectral):
    """y = F⁻¹(F x̃ · F k) with one transform as long as the padded signal; cost grows as n·log n whatever the filter."""

    name = "fft"
    summary = "one Fourier transform of the whole signal; for filters about as long as the signal"

    def cost(self, problem: Problem, machine: Machine) -> float:
        lengths = self.lengths(problem)
        s = problem.sizes
        values = s.B * (s.N * (s.C + s.O) + s.O * s.C) * math.prod(lengths)
        place = "cache" if math.prod(lengths) * np.dtype(problem.compute_dtype).itemsize <= machine.cache else "memory"
        # Spectra are written, multiplied and read again, none of which fits a cache.
        copy = 8.0 * values * np.dtype(problem.compute_dtype).itemsize * machine.seconds("copy")
        share = machine.threads if problem.grid.ndim > 1 or s.B * s.N * (s.C + s.O) > 2 else 1
        return machine.seconds("call.fft") + copy + transform_cost(problem, lengths, 1, machine, place) / share

    def scratch(self, problem: Problem, machine: Machine) -> int:
        lengths, s = self.lengths(problem), problem.sizes
        half = math.prod(lengths[:-1]) * (lengths[-1] + 2)
        values = s.B * (s.N * s.C + 3 * s.N * s.O + 2 * s.O * s.C) * half
        if s.C > 1 and s.O > 1:
            values *= 2
        return padded_bytes(problem) + int(values * np.dtype(problem.compute_dtype).itemsize) + (1 << 16)

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> np.ndarray:
        return self.filter_spectrum(problem, k, self.lengths(problem), context.threads)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        grid, lengths = problem.grid, self.lengths(problem)
        x = operands["x"] if grid.unpadded else grid.pad(operands["x"], 0)
        mixed = fourier.product(fourier.spectrum(x, lengths, context.threads), prepared, grid.ndim)
        y = fourier.signal(mixed, lengths, not np.iscomplexobj(x), context.threads)
        cut: Any = [slice(r - 1, r + (m - 1) * s, s) for r, m, s in zip(grid.reach, grid.m, grid.stride, strict=True)]
        return np.ascontiguousarray(y[(..., *cut)])


FFT_ = FFT()
