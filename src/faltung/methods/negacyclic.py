"""Negacyclic transforms: long filters along one axis, each signal by itself, whatever the number of signals."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.kernels.native import lanes
from faltung.kernels.negacyclic.frame import Frame, frame_points, least_points
from faltung.kernels.negacyclic.on_numba import key
from faltung.methods.method import Context, Machine, padded_bytes
from faltung.methods.pieced import awake
from faltung.methods.spectral import Spectral
from faltung.problem import Problem

RATES = ("transform", "move", "product", "far")


class Negacyclic(Spectral):
    """Real signals of 2F points as F complex ones modulo z^F − i, by transforms of rows and columns that fill all lanes alone.

    Signals that are longer are cut into windows that overlap. Working memory is one spectrum a thread and those of the filters.
    """

    name = "negacyclic"
    summary = "long filters by transforms modulo z^F − i, each signal by itself, one axis"
    source = "Nussbaumer (1980); Crandall and Fagin, Discrete weighted transforms (1994); Bailey (1990)"
    silent = True

    def refuses(self, problem: Problem) -> str | None:
        if problem.grid.ndim != 1:
            return f"transforms one axis, the signal has {problem.grid.ndim}"
        if problem.compute_dtype not in ("float32", "float64"):
            return f"halves the transforms of real numbers, not of {problem.compute_dtype}"
        if problem.grid.stride != (1,):
            return "computes every result, and strides leave some out"
        return super().refuses(problem)

    def error(self, problem: Problem) -> float:
        """As for one transform of the whole signal, the weights and twists three roundings more; tested on draws."""
        return super().error(problem) * 1.25

    def cost(self, problem: Problem, machine: Machine) -> float:
        frame, s = frame_of(problem, machine), problem.sizes
        one, items = tile_cost(frame, machine), s.B * s.N * frame.tiles
        share = self.threads(problem, machine)
        filters = s.B * s.O * s.C * tile_cost(_alone(frame), machine) / 2
        handing = 2 * machine.seconds("thread") * (share > 1)
        return machine.seconds("call.overlap") + handing + -(-items // share) * one + filters / share

    def threads(self, problem: Problem, machine: Machine) -> int:
        frame, s = frame_of(problem, machine), problem.sizes
        items = s.B * s.N * frame.tiles
        return awake(items * tile_cost(frame, machine), items, machine)

    def scratch(self, problem: Problem, machine: Machine) -> int:
        frame, s = frame_of(problem, machine), problem.sizes
        item = np.dtype(problem.compute_dtype).itemsize
        spectra = item * 2 * frame.points * (s.B * s.O * s.C + 4)
        taps = 2 * s.B * s.O * s.C * frame.reach * item
        return padded_bytes(problem) + spectra + taps + machine.threads * frame.thread_bytes + (1 << 16)

    def kernels(self, problem: Problem, machine: Machine) -> tuple[tuple, ...]:
        return key("spectra", problem.compute_dtype), key("convolve", problem.compute_dtype)

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> tuple[Frame, np.ndarray]:
        frame = frame_of(problem, context.machine)
        h = k[..., ::-1]
        if frame.reach != k.shape[-1]:
            h = np.zeros((*k.shape[:-1], frame.reach), k.dtype)
            h[..., :: problem.grid.dilation[0]] = k[..., ::-1]
        return frame, frame.spectra(h, context.threads)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        frame, spectra = prepared
        s, g, x = problem.sizes, problem.grid, operands["x"]
        x = dense_rows(x if g.zero_padded else g.pad(x, 0))
        # In the order in which the caller's result lies, so that nothing is moved on the way out.
        last = bool(problem.layout.y) and problem.layout.y[0] in problem.layout.roles["N"]
        y = (
            np.empty((s.N, s.B, s.O, *g.m), x.dtype).swapaxes(0, 1)
            if last
            else np.empty((s.B, s.N, s.O, *g.m), x.dtype)
        )
        frame.convolve(x, spectra, y, context.threads)
        return y


def dense_rows(x: np.ndarray) -> np.ndarray:
    """The array, or a copy where its last axis is not dense or values do not lie at whole steps."""
    item = x.itemsize
    plain = x.flags.aligned and x.strides[-1] == item and not any(step % item for step in x.strides)
    return x if plain else np.ascontiguousarray(x)


def frame_of(problem: Problem, machine: Machine) -> Frame:
    """The cheapest frame for a problem on a machine."""
    s, g = problem.sizes, problem.grid
    plain, (lo, hi) = g.zero_padded, g.pads[0]
    n, first = (g.n[0], g.reach[0] - 1 - lo) if plain else (g.n[0] + lo + hi, g.reach[0] - 1)
    return cheapest(problem.compute_dtype, s.B, s.N, s.C, s.O, n, g.reach[0], g.m[0], first, machine)


def cheapest(
    dtype: str, B: int, N: int, C: int, O: int, n: int, reach: int, m: int, first: int, machine: Machine
) -> Frame:  # fmt: skip
    """The frame whose tiles take the least time together, on one thread: results must not depend on how many there are."""
    rates = tuple(machine.seconds(f"ring.{kind}", dtype) for kind in RATES)
    return _cheapest(dtype, B, N, C, O, n, reach, m, first, rates, machine.cache)


@lru_cache(maxsize=4096)
def _cheapest(
    dtype: str, B: int, N: int, C: int, O: int, n: int, reach: int, m: int, first: int, rates: tuple, cache: int
) -> Frame:  # fmt: skip
    width = lanes(dtype)
    whole = frame_points(least_points(n, reach, m, first), width)
    candidates, points = [whole], frame_points(-(-reach // 2) + 1, width)
    while points < whole:
        candidates.append(points)
        points = frame_points(points + 1, width)

    def seconds(points: int) -> float:
        frame = Frame(dtype, B, N, C, O, n, reach, m, first, points)
        return frame.tiles * _seconds(frame, rates, cache)

    return Frame(dtype, B, N, C, O, n, reach, m, first, min(candidates, key=seconds))


def _alone(frame: Frame) -> Frame:
    """One channel in and out, as the filters are transformed."""
    return Frame(frame.dtype, 1, 1, 1, 1, frame.n, frame.reach, frame.m, frame.first, frame.points)


def tile_work(frame: Frame, cache: int) -> tuple[float, ...]:
    """How much of each kind of work, in the order of RATES, one tile is."""
    points, both, vectors = frame.points, frame.C + frame.O, frame.points / frame.width
    far = 0.0
    if 1.5 * frame.thread_bytes > cache:  # planes, spectra and twists come from beyond the core's own cache
        far = np.dtype(frame.dtype).itemsize * 2.0 * points * (4.0 * both + frame.C * frame.O)
    return both * vectors * math.log2(points), both * vectors, frame.C * frame.O * vectors, far


def _seconds(frame: Frame, rates: tuple, cache: int) -> float:
    return sum(amount * rate for amount, rate in zip(tile_work(frame, cache), rates, strict=True))


def tile_cost(frame: Frame, machine: Machine) -> float:
    """Seconds of one tile on one thread."""
    return _seconds(frame, tuple(machine.seconds(f"ring.{kind}", frame.dtype) for kind in RATES), machine.cache)


NEGACYCLIC = Negacyclic()
