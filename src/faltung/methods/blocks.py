"""Direct convolution in register blocks: results stay in registers while all taps pass by, tiles of the signal in the cache."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.kernels.blocks.layout import Blocks
from faltung.kernels.blocks.on_numba import key
from faltung.kernels.native import lanes
from faltung.methods.method import Context, Machine, bytes_of, summation_error
from faltung.methods.pieced import VectorSums
from faltung.problem import Problem

KINDS = ("fma", "load", "visit", "stage")


class RegisterBlocks(VectorSums):
    """y = Σ over taps of k[u]·x̃[· + u], four rows (or outputs) by a few vectors of results at a time.

    Boundaries, strides and dilations are dealt with while a tile is copied into the cache, so the signal is never padded.
    """

    name = "blocks"
    summary = "direct sums in register blocks, tiles and their boundary gathered into the cache"
    source = "the definition; register blocking after Goto and van de Geijn (2008)"

    def alone(self, problem: Problem, machine: Machine) -> tuple[float, int]:
        layout = _layout(problem, machine.cache)
        work = sum(amount * machine.seconds(f"blocks.{kind}", problem.compute_dtype) for kind, amount in _work(layout))
        return work, layout.items[0]

    def error(self, problem: Problem) -> float:
        return summation_error(problem)

    def scratch(self, problem: Problem, machine: Machine) -> int:
        layout = _layout(problem, machine.cache)
        s, g = problem.sizes, problem.grid
        operands = bytes_of(problem, (s.B * s.O + 7) * s.C * g.taps)
        return machine.threads * layout.thread_bytes + layout.table_bytes + operands + (1 << 16)

    def kernels(self, problem: Problem, machine: Machine) -> tuple[tuple, ...]:
        return (key(problem.compute_dtype, problem.over, *_layout(problem, machine.cache).shape),)

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> tuple[Blocks, np.ndarray]:
        layout = _layout(problem, context.machine.cache)
        return layout, layout.packed(k)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        layout, k = prepared
        x = operands["x"]
        y = layout.correlate(x[:, :, :, None] if problem.grid.ndim == 1 else x, k, context.threads)
        return y[:, :, :, 0] if problem.grid.ndim == 1 else y


def _work(layout: Blocks) -> list[tuple[str, float]]:
    """How much of each kind of work a call does: vector products, vector loads, visits of a loop over taps, values staged."""
    rows, vectors, by_output = layout.shape
    items, share = layout.items
    width, tile, U = lanes(layout.dtype), layout.tile, layout.t[-1]
    fma = load = visit = 0.0
    for _, length in layout.chain[2]:
        met = length if by_output else length + rows - 1 if length >= rows else rows * length
        fma += rows * length * U * vectors
        load += met * U * vectors + rows * length * U
        visit += met
    chains = layout.C * math.prod(layout.t[:-2])
    blocks = math.prod(tile[:-2]) * -(-tile[-1] // (width * vectors))
    blocks *= tile[-2] * -(-share // rows) if by_output else -(-tile[-2] // rows) * share
    times = items * blocks * chains
    staged = items * layout.C * math.prod(layout.extents) * (3.0 if layout.stride[-1] > 1 else 1.0)
    staged += 20.0 * items * layout.C * math.prod(layout.extents[:-1])
    if layout.algebra.ordered:  # nothing fuses; where a stride sorts the signal, each choice looks for NaN, too
        load += (3.0 if layout.stride[-1] > 1 else 0.75) * fma
    amounts = times * fma, times * load, times * visit + 4.0 * items * blocks, staged
    return list(zip(KINDS, amounts, strict=True))


@lru_cache(maxsize=256)
def _layout(problem: Problem, cache: int) -> Blocks:
    g, s = problem.grid, problem.sizes
    flat = g.ndim == 1  # one axis becomes a row of a picture
    zero = problem.over.zero(np.dtype(problem.compute_dtype))

    def sources(axis: int, first: int, stop: int) -> np.ndarray:
        if flat and axis == 0:
            return np.zeros(max(0, stop - first), np.int64)
        return g.boundary[axis - flat].sources(g.n[axis - flat], -first, stop - g.n[axis - flat])

    def with_row(values: tuple, filler: Any) -> tuple:
        return (filler, *values) if flat else values

    return Blocks(
        problem.compute_dtype, s.B, s.N, s.C, s.O, with_row(g.n, 1), with_row(g.t, 1), with_row(g.m, 1),
        with_row(g.stride, 1), with_row(g.dilation, 1), with_row(tuple(lo for lo, _ in g.pads), 0), sources,
        with_row(g.fills(zero), zero), problem.over, cache,
    )  # fmt: skip


BLOCKS = RegisterBlocks()
