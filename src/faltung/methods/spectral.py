"""What the two Fourier methods share: when they apply, their filter's spectrum, their error."""

import math
from typing import Any

import numpy as np

from faltung.kernels.fourier import on_scipy as fourier
from faltung.kernels.fourier.lengths import fast_length
from faltung.methods.method import ROUNDOFF, Machine, Method
from faltung.problem import Problem


class Spectral(Method):
    """Convolution theorem: y = F⁻¹(F x̃ · F k), zero-extended so that what wraps around is thrown away."""

    spreads = True
    source = "Cooley and Tukey (1965); overlap-save after Stockham (1966)"

    def refuses(self, problem: Problem) -> str | None:
        if not problem.over.ring:
            return f"needs subtraction, which {problem.algebra} does not have"
        if problem.over.exact:
            return "rounds, and integer results are exact"
        if problem.unknown != "out":
            return "computes results, not gradients"
        if problem.device != "cpu":
            return f"runs on the CPU, the arrays are on {problem.device}"
        return None

    def lengths(self, problem: Problem) -> tuple[int, ...]:
        """Transform length along every axis."""
        return tuple(map(fast_length, problem.grid.padded))

    def error(self, problem: Problem) -> float:
        """Four unit roundoffs a butterfly level of the three transforms: the usual model with a margin, tested on draws."""
        size = math.prod(self.lengths(problem))
        channels = max(1.0, problem.sizes.C) ** 0.5
        return 4.0 * ROUNDOFF[problem.compute_dtype] * (math.log2(max(size, 2)) + 2.0) * (1.0 + 0.2 * channels)

    def filter_spectrum(self, problem: Problem, k: np.ndarray, lengths: tuple[int, ...], threads: int) -> np.ndarray:
        """Spectrum of the flipped filter, its taps spread by the dilation."""
        grid = problem.grid
        backwards: Any = [slice(None, None, -1)] * grid.ndim
        flipped = k[(..., *backwards)]
        if grid.reach != grid.t:
            spread = np.zeros((*k.shape[:3], *grid.reach), dtype=k.dtype)
            spread[(..., *[slice(None, None, d) for d in grid.dilation])] = flipped
            flipped = spread
        return fourier.spectrum(flipped, lengths, threads)


def transform_cost(problem: Problem, lengths: tuple[int, ...], tiles: int, machine: Machine, place: str) -> float:
    """Seconds on one thread: transforms paid by channel, products paid by pair of channels."""
    s, size = problem.sizes, math.prod(lengths)
    complex_data = problem.compute_dtype.startswith("complex")
    transforms = s.B * (s.N * tiles * (s.C + s.O) + s.O * s.C)
    work = transforms * size * math.log2(max(size, 2)) * machine.seconds(f"fft.{place}", problem.compute_dtype)
    pairs = s.B * s.N * s.O * s.C * tiles * (size if complex_data else size // 2 + 1)
    dense = "fft.pairs" if s.O > 1 and s.C > 1 else "fft.product"
    return work + pairs * machine.seconds(dense, problem.compute_dtype)
