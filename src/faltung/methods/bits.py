"""Boolean convolution with 64 positions in a word: one shift and one or for each tap that is set."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from faltung.kernels.bits.on_numba import KEY, united
from faltung.methods.method import Context, Machine, Method
from faltung.problem import Problem


class Taps(NamedTuple):
    """The taps that are set: where each filter's begin, how many words and bits further each reads."""

    start: np.ndarray
    place: np.ndarray
    shift: np.ndarray


class Bits(Method):
    """y = ⋁ over set taps u of (x̃ moved by u), rows of the last axis packed into words; strides are kept from the result.

    Cost: nnz(k) / 64 words a result and channel; plans count with all taps, because how many are set is a matter of values.
    """

    name = "bits"
    summary = "truth values, 64 positions a word: shift and or for every tap that is set, any dimension"
    source = "Baeza-Yates and Gonnet (1992), words as sets"
    silent = False

    def refuses(self, problem: Problem) -> str | None:
        if problem.algebra != "boolean":
            return f"packs truth values, {problem.algebra} has other ones"
        if problem.unknown != "out":
            return "computes results, not gradients"
        if problem.device != "cpu":
            return f"runs on the CPU, the arrays are on {problem.device}"
        return None

    def kernels(self, problem: Problem, machine: Machine) -> tuple[tuple, ...]:
        return (KEY,)

    def cost(self, problem: Problem, machine: Machine) -> float:
        g, s = problem.grid, problem.sizes
        _, words = _words(problem)
        rows = s.B * s.N * s.O * math.prod(g.m[:-1])
        work = rows * s.C * g.taps * (words * machine.seconds("bits.word") + machine.seconds("bits.row") / 4)
        values = s.B * s.N * (s.C * math.prod(g.padded) + 2 * s.O * rows // max(1, s.B * s.N * s.O) * 64 * words)
        packing = values * machine.seconds("bits.pack") + s.B * s.O * s.C * g.taps * 2e-9
        return 4 * machine.seconds("call.blocks") + packing + work / machine.threads

    def error(self, problem: Problem) -> float:
        return 0.0

    def scratch(self, problem: Problem, machine: Machine) -> int:
        g, s = problem.grid, problem.sizes
        row, words = _words(problem)
        lead = s.B * s.N * s.C
        pad = 2 * lead * math.prod(max(n, p) for n, p in zip(g.n, g.padded, strict=True)) + 64 * sum(g.padded)
        packed = 17 * lead * math.prod(g.padded[:-1]) * row
        rows = s.B * s.N * s.O * math.prod(g.m[:-1])
        taps = 80 * s.B * s.O * s.C * g.taps
        return pad + packed + rows * (8 * words + 64 * words + g.m[-1]) + taps + 24 * math.prod(g.m[:-1]) + (1 << 14)

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> Taps:
        g, s = problem.grid, problem.sizes
        row, _ = _words(problem)
        filters, c, *u = np.nonzero(k.reshape(s.B * s.O, s.C, *g.t))
        place, step = c * math.prod(g.padded[:-1]) * row, row
        for a in range(g.ndim - 2, -1, -1):
            place = place + u[a] * (g.dilation[a] * step)
            step *= g.padded[a]
        last = u[-1] * g.dilation[-1]
        start = np.searchsorted(filters, np.arange(s.B * s.O + 1)).astype(np.int64)
        return Taps(start, (place + last // 64).astype(np.int64), (last % 64).astype(np.uint64))

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        g, s = problem.grid, problem.sizes
        row, words = _words(problem)
        x = np.packbits(g.pad(operands["x"], False), axis=-1, bitorder="little")
        packed = np.zeros((*x.shape[:-1], 8 * row), np.uint8)
        packed[..., : x.shape[-1]] = x
        bits = packed.view("<u8").reshape(s.B, s.N, -1)
        y = united(bits, _rows(problem), prepared.start, prepared.place, prepared.shift, words, s.O, context.threads)
        length = (g.m[-1] - 1) * g.stride[-1] + 1
        flat = np.unpackbits(y.view(np.uint8), axis=-1, count=length, bitorder="little").view(bool)
        return flat[..., :: g.stride[-1]].reshape(s.B, s.N, s.O, *g.m)


def _words(problem: Problem) -> tuple[int, int]:
    """Words of a row of x̃, with one to spare behind what the last tap reads, and of a row of results without strides."""
    g = problem.grid
    words = -(-((g.m[-1] - 1) * g.stride[-1] + 1) // 64)
    return max(-(-g.padded[-1] // 64), words + (g.reach[-1] - 1) // 64) + 1, words


@lru_cache(maxsize=64)
def _rows(problem: Problem) -> np.ndarray:
    """Where each row of results starts, in words of a sample."""
    g, (row, _) = problem.grid, _words(problem)
    base, steps = np.zeros(1, np.int64), [row * math.prod(g.padded[a + 1 : -1]) for a in range(g.ndim - 1)]
    for m, stride, step in zip(g.m[:-1], g.stride[:-1], steps, strict=True):
        base = (base[:, None] + np.arange(m) * (stride * step)).ravel()
    return base


BITS = Bits()
