"""Monarch: Fourier transforms as products with small matrices, for machines that multiply matrices faster than they transform."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.kernels.fourier import on_scipy as fourier
from faltung.kernels.monarch import on_numpy as monarch
from faltung.methods.method import ROUNDOFF, Context, Machine, padded_bytes
from faltung.methods.spectral import Spectral
from faltung.problem import Problem

ORDERS = (2, 3, 4)


class Monarch(Spectral):
    """y = F⁻¹(F x̃ · F k), each transform as two to four batched matrix products, the spectra in the order that these leave.

    The length is a product of any factors, not of small primes only. Two real signals that share a filter are one complex signal.
    Rows of zeros behind the signal, and results that nobody wants, are left out of the first and the last product.
    """

    name = "monarch"
    summary = "Fourier transforms as products with small matrices (Monarch), one axis"
    source = "Dao et al., Monarch (2022); Fu, Kumbong, Nguyen, Ré, FlashFFTConv (2024)"

    def refuses(self, problem: Problem) -> str | None:
        if problem.grid.ndim != 1:
            return f"transforms one axis, the signal has {problem.grid.ndim}"
        return super().refuses(problem)

    def error(self, problem: Problem) -> float:
        """Each product is a sum of as many terms as its factor, on the way there and back; tested on draws."""
        channels = max(1.0, problem.sizes.C) ** 0.5
        bound = max(sum(2.0 + factor**0.5 for factor in _balanced(problem.grid.padded[0], p)) for p in ORDERS)
        return 8.0 * ROUNDOFF[problem.compute_dtype] * bound * (1.0 + 0.2 * channels)

    def cost(self, problem: Problem, machine: Machine) -> float:
        factors, s = self._factors(problem, machine), problem.sizes
        real = not problem.compute_dtype.startswith("complex")
        rows = s.B * (-(-s.N // 2) if real else s.N)
        N, dtype = math.prod(factors), _complex(problem)
        item = np.dtype(dtype).itemsize / 8
        transforms = rows * (s.C + s.O) * _stages(factors, *_rates(problem, machine))
        products = rows * s.C * s.O * N * machine.seconds("fft.product") * item
        taps = (
            s.B
            * s.C
            * s.O
            * N
            * (math.log2(N) * machine.seconds("fft.cache", dtype) + 16 * item * machine.seconds("copy"))
        )
        # The matrix products share threads; what lies between them does not.
        return machine.seconds("call.fft") * (1 + 2 * len(factors)) + transforms + products + taps

    def scratch(self, problem: Problem, machine: Machine) -> int:
        N, s = math.prod(self._factors(problem, machine)), problem.sizes
        item = np.dtype(_complex(problem)).itemsize
        rows = self._together(problem, N, machine.cache)
        group = rows * (5 * s.C + 5 * s.O) * (N + max(self._factors(problem, machine)) + 64)
        dense = 2 * rows * (s.C + s.O) * N + 2 * s.O * s.C * N if s.C > 1 and s.O > 1 else 0
        tables = 4 * 2 * N + 2 * sum(f * f for f in self._factors(problem, machine))
        values = group + dense + 4 * s.B * s.O * s.C * N + tables + 2 * s.B * s.N * s.O * sum(problem.grid.m)
        return padded_bytes(problem) + item * int(values) + (1 << 17)

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> np.ndarray:
        """The filter's spectrum by an ordinary transform, put into the order of the products once."""
        factors = self._factors(problem, context.machine)
        N = math.prod(factors)
        spectrum = self.filter_spectrum(problem, k.astype(_complex(problem)), (N,), context.threads)
        return monarch.permuted(spectrum, factors)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        s, g = problem.sizes, problem.grid
        factors = self._factors(problem, context.machine)
        N, dtype = math.prod(factors), _complex(problem)
        there, back = monarch.tables(factors, dtype, True), monarch.tables(factors, dtype)
        x = operands["x"] if g.unpadded else g.pad(operands["x"], 0)
        real = not np.iscomplexobj(x)
        wanted = (g.m[0] - 1) * g.stride[0] + g.reach[0]
        y = np.empty((s.B, s.N, s.O, *g.m), x.dtype)
        many = self._together(problem, N, context.machine.cache)
        for b in range(s.B):
            for n in range(0, s.N, many * (2 if real else 1)):
                part = x[b : b + 1, n : n + many * (2 if real else 1)]
                joined = _paired(part, dtype) if real else part
                mixed = fourier.product(monarch.forward(joined, there), prepared[b : b + 1], 1)
                z = monarch.backward(mixed, back, wanted)[..., g.reach[0] - 1 :: g.stride[0]]
                into = y[b : b + 1, n : n + part.shape[1]]
                if real:
                    into[:, 0::2], into[:, 1::2] = z.real, z.imag[:, : part.shape[1] // 2]
                else:
                    into[...] = z
        return y

    def _factors(self, problem: Problem, machine: Machine) -> tuple[int, ...]:
        return _chosen(problem.grid.padded[0], *_rates(problem, machine))

    def _together(self, problem: Problem, N: int, cache: int) -> int:
        """Complex signals that are worked on at once: some that fit the cache, one at least."""
        s = problem.sizes
        return max(1, cache // (4 * N * (s.C + s.O) * np.dtype(_complex(problem)).itemsize))


def _complex(problem: Problem) -> str:
    return {"float32": "complex64", "float64": "complex128"}.get(problem.compute_dtype, problem.compute_dtype)


def _paired(x: np.ndarray, dtype: str) -> np.ndarray:
    """Pairs of real samples (B, N, C, n) as complex ones; the last of an odd number stands alone."""
    z = np.zeros((x.shape[0], -(-x.shape[1] // 2), *x.shape[2:]), dtype)
    z.real = x[:, 0::2]
    z.imag[:, : x.shape[1] // 2] = x[:, 1::2]
    return z


def _rates(problem: Problem, machine: Machine) -> tuple[float, float]:
    real = {"complex64": "float32", "complex128": "float64"}.get(problem.compute_dtype, problem.compute_dtype)
    item = np.dtype(_complex(problem)).itemsize / 8
    return machine.seconds("monarch.fma", real), machine.seconds("fft.product") * item


def _stages(factors: tuple[int, ...], fma: float, value: float) -> float:
    """One transform: a complex product takes four multiply-adds; twiddle factors are a pass each."""
    N = math.prod(factors)
    return sum(4.0 * N * factor * fma for factor in factors) + (len(factors) - 1) * N * value


def _balanced(least: int, order: int) -> tuple[int, ...]:
    """That many factors, as equal as can be, with a product of at least `least`, little above."""
    factors = [max(2, math.ceil(round(least ** (1.0 / order), 9)))] * order
    for i in range(order):
        while factors[i] > 2 and math.prod(factors) // factors[i] * (factors[i] - 1) >= least:
            factors[i] -= 1
    return tuple(sorted(factors, reverse=True))


@lru_cache(maxsize=4096)
def _chosen(least: int, fma: float, value: float) -> tuple[int, ...]:
    """The cheapest of the balanced factorisations."""
    return min((_balanced(least, p) for p in ORDERS), key=lambda factors: _stages(factors, fma, value))


MONARCH = Monarch()
