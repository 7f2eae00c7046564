"""Direct convolution with channels innermost: a matrix product whose rows are found by address."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.kernels.indirect.layout import Indirect
from faltung.kernels.indirect.on_numba import key
from faltung.kernels.turn.on_numba import moved_out
from faltung.methods.method import Context, Machine, bytes_of, summation_error
from faltung.methods.pieced import VectorSums
from faltung.problem import Problem

KINDS = ("fma", "tap", "turn")


class IndirectProduct(VectorSums):
    """y = Σ over taps and channels of x̃[p·stride + u·dilation, c]·k[u, c, ·], some positions by a few vectors of outputs at a time.

    Signals with channels innermost are read where they lie, whatever boundary, stride and dilation; others are turned first, and
    the result is turned back by whoever needs channels first.
    """

    name = "indirect"
    summary = "dense layers with channels innermost, rows of the product found by address"
    source = "Dukhan, The Indirect Convolution Algorithm (2019); register blocking after Goto and van de Geijn (2008)"
    call = "call.indirect"
    innermost = True

    def alone(self, problem: Problem, machine: Machine) -> tuple[float, int]:
        layout = _layout(problem, machine.cache)
        work = sum(
            amount * machine.seconds(f"indirect.{kind}", problem.compute_dtype) for kind, amount in _work(layout)
        )
        return work, layout.work[2]

    def error(self, problem: Problem) -> float:
        return summation_error(problem)

    def scratch(self, problem: Problem, machine: Machine) -> int:
        layout, s, g = _layout(problem, machine.cache), problem.sizes, problem.grid
        signal = s.B * s.N * s.C * math.prod(g.n)
        turned = 0 if problem.channels_last else s.B * s.N * s.O * math.prod(g.m)
        padded = s.N * s.C * math.prod(layout.n[:-1]) * layout.whole[-1] if layout.merged else 0
        filters = 3 * s.B * layout.parts * layout.wide * s.C * g.taps
        return (
            machine.threads * layout.thread_bytes
            + layout.table_bytes
            + bytes_of(problem, signal + turned + padded + filters)
        )

    def kernels(self, problem: Problem, machine: Machine) -> tuple[tuple, ...]:
        return (key(problem.compute_dtype, problem.over, *_layout(problem, machine.cache).shape),)

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> Any:
        layout = _layout(problem, context.machine.cache)
        return layout, layout.packed(k, context.threads)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        layout, k = prepared
        y = layout.correlate(operands["x"], k, context.threads, passing=not problem.channels_last)
        return y if problem.channels_last else moved_out(y, context.threads)


def _work(layout: Indirect) -> list[tuple[str, float]]:
    """How much of each kind of work a call does: products of vectors, addresses of taps, values turned and packed."""
    rows, vectors = layout.shape
    chunk, _, _ = layout.work
    positions = layout.N * math.prod(layout.m)
    chunks = -(-positions // chunk)
    blocks = layout.B * layout.parts * (chunks * -(-min(chunk, positions) // rows))
    taps, channels = math.prod(layout.t[:-1]) * layout.deep[0], layout.deep[1]
    packed = layout.B * layout.parts * layout.wide * layout.C * math.prod(layout.t)
    return [("fma", blocks * rows * vectors * taps * channels), ("tap", blocks * rows * (taps + 2)), ("turn", packed)]


@lru_cache(maxsize=256)
def _layout(problem: Problem, cache: int) -> Indirect:
    g, s = problem.grid, problem.sizes

    def sources(axis: int, first: int, stop: int) -> np.ndarray:
        return g.boundary[axis].sources(g.n[axis], -first, stop - g.n[axis])

    return Indirect(
        problem.compute_dtype, s.B, s.N, s.C, s.O, g.n, g.t, g.m, g.stride, g.dilation, tuple(lo for lo, _ in g.pads), sources,
        g.fills(problem.over.zero(np.dtype(problem.compute_dtype))), problem.over, cache,
    )  # fmt: skip


INDIRECT = IndirectProduct()
