"""Exact convolution of integers, residues and Python's numbers by number-theoretic transforms."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from faltung.algebras import integer
from faltung.algebras.algebra import INTEGERS
from faltung.kernels.modular import objects
from faltung.kernels.modular.product import balanced
from faltung.kernels.modular.transformed import SHORT, Transform
from faltung.methods.method import Context, Machine, Method, padded_bytes
from faltung.problem import Problem

FIXED = 12  # levels' worth of work around a transform: into residues, products, mixed-radix digits
GUESS = 4  # primes that a cost assumes where the values are Python's integers
LONGEST = 1 << 28


@dataclass(frozen=True)
class Line:
    """A convolution in several dimensions as one along a line: rows of the last axes one behind the other, zeros between them.

    Sample (i, j) stands at i·S + j, S long enough that what leaves one row meets zeros before the next. `steps` are these weights
    of the axes, `sizes` the extents S of all but the first. Points from `offset` on, `span` of them, hold the results; the whole
    product has at most `count` points, on a circle of `circle` the results are right.
    """

    plain: bool
    sizes: tuple[int, ...]
    steps: tuple[int, ...]
    count: int
    circle: int
    offset: int
    span: int

    @classmethod
    def of(cls, problem: Problem) -> "Line":
        g = problem.grid
        # The zeros beyond the edge are those between the rows, so that nothing need be padded.
        plain = g.zero_padded and all(max(lo, hi) < r for (lo, hi), r in zip(g.pads, g.reach, strict=True))
        pads = g.pads if plain else ((0, 0),) * g.ndim
        n = g.n if plain else g.padded
        sizes = tuple(max(v + max(lo, hi, 0), r) for v, (lo, hi), r in zip(n, pads, g.reach, strict=True))
        steps = tuple(math.prod(sizes[a + 1 :]) for a in range(g.ndim))
        # In front of the first row the circle must hold as many zeros as are read there.
        front = sum(max(lo, 0) * step for (lo, _), step in zip(pads, steps, strict=True))
        behind = max(pads[0][1], 0) * steps[0]
        filter_ = sum((r - 1) * step for r, step in zip(g.reach, steps, strict=True)) + 1
        circle = max(n[0] * steps[0] + max(front, behind), filter_)
        first = [r - 1 - lo for r, (lo, _) in zip(g.reach, pads, strict=True)]
        offset = sum(f * step for f, step in zip(first, steps, strict=True))
        span = sum((m - 1) * s * step for m, s, step in zip(g.m, g.stride, steps, strict=True)) + 1
        return cls(plain, sizes[1:], steps, n[0] * steps[0] + filter_ - 1, circle, offset, span)

    def laid(self, values: np.ndarray, ndim: int) -> np.ndarray:
        """Rows (rows, points) of an array with `ndim` spatial axes."""
        lead, space = values.shape[:-ndim], values.shape[-ndim:]
        if ndim == 1 or space[1:] == self.sizes:
            return np.ascontiguousarray(values).reshape(math.prod(lead), -1)
        wide = np.zeros((*lead, space[0], *self.sizes), values.dtype)
        wide[(..., *map(slice, space))] = values
        return wide.reshape(math.prod(lead), -1)

    def taken(self, line: np.ndarray, problem: Problem) -> np.ndarray:
        """The results (B, N, O, *m) among the points of the line."""
        s, g = problem.sizes, problem.grid
        strides = tuple(st * step * line.itemsize for st, step in zip(g.stride, self.steps, strict=True))
        view = np.lib.stride_tricks.as_strided(line, (len(line), *g.m), (line.strides[0], *strides))
        return np.ascontiguousarray(view).reshape(s.B, s.N, s.O, *g.m)


class NTT(Method):
    """y = Σ over c of N⁻¹(N x̃ · N k) modulo primes, and from the residues the integers; n-D arrays laid along one line.

    Error: none. |y| ≤ products · max|x| · max|k|; as many primes below 2^49 are taken as hold four times that, and every operation
    modulo them is exact. Residues modulo p are found as the integers that they stand for, or modulo p itself where it is a
    prime with the roots of unity that the length takes. Fractions are brought to one denominator first; infinity, which
    `count` knows, is convolved as a set of places.
    Cost: a transform of every signal, filter and result for each prime.
    Source: Pollard (1971); Agarwal and Burrus (1975) for lines in place of planes; van der Hoeven (2004) for lengths.
    """

    name = "ntt"
    summary = "exact integers, residues and fractions by number-theoretic transforms modulo 49-bit primes"
    source = "Pollard (1971); van der Hoeven, Lecerf and Quintin (2016) for the arithmetic"
    arithmetics = ("machine", "residues", "objects")

    def refuses(self, problem: Problem) -> str | None:
        if problem.algebra not in ("integer", "count", "rational") and not problem.over.modulus:
            return f"is for exact sums of products, the algebra is {problem.algebra}"
        if problem.unknown != "out":
            return "computes results, not gradients"
        if problem.device != "cpu":
            return f"runs on the CPU, the arrays are on {problem.device}"
        if (count := Line.of(problem).count) > LONGEST:
            return f"transforms at most {LONGEST} points, these are {count}"
        return None

    def cost(self, problem: Problem, machine: Machine) -> float:
        s, primes, length = problem.sizes, *_size(problem)
        transforms = s.B * (s.N * s.C + s.O * s.C + s.N * s.O)
        work = transforms * primes * length * (math.log2(length) + FIXED)
        work += s.B * s.N * s.O * (s.C - 1) * primes * length
        share = machine.threads if length >= SHORT and transforms * primes > 3 * s.B else 1
        seconds = machine.seconds("call.ntt") + work * machine.seconds("ntt.point") / share
        if problem.over.arithmetic == "objects":
            g = problem.grid
            values = s.B * (s.N * s.C * math.prod(g.n) + s.O * s.C * g.taps + s.N * s.O * math.prod(g.m))
            seconds += values * machine.seconds("ntt.object")
        return seconds

    def error(self, problem: Problem) -> float:
        return 0.0

    def scratch(self, problem: Problem, machine: Machine) -> int:
        """For Python's integers: as long as results have no more than 64 bits for each prime that the cost assumes."""
        s, line, (primes, length) = problem.sizes, Line.of(problem), _size(problem)
        rows = s.B * (s.N * s.C + s.O * s.C + 2 * s.N * s.O)
        spectra = rows * primes * length
        wide = 10 * primes if problem.over.arithmetic == "objects" else 3  # words, bytes and objects on the way
        points = s.B * (s.N * s.C + s.O * s.C) * line.count + s.B * s.N * s.O * line.span
        return 2 * padded_bytes(problem) + 8 * (spectra + 2 * wide * points) + (1 << 16)

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> Any:
        """Scaled spectra (primes, B·O·C, length) of the flipped filter; with Python's integers, the filter along its line."""
        g, line = problem.grid, Line.of(problem)
        flipped = k[(..., *[slice(None, None, -1)] * g.ndim)]
        if g.reach != g.t:
            wide = np.zeros((*k.shape[:3], *g.reach), k.dtype)
            wide[(..., *[slice(None, None, d) for d in g.dilation])] = flipped
            flipped = wide
        rows = line.laid(flipped, g.ndim)
        rows = rows[:, : sum((r - 1) * step for r, step in zip(g.reach, line.steps, strict=True)) + 1]
        if k.dtype == object:
            return rows
        way, centre = _way(problem)
        rows = balanced(rows, problem.over.modulus) if centre else rows
        return way.scaled(way.spectra(rows[None], context.threads, "ntt k" if context.passing else ""))

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        line, s, grid = Line.of(problem), problem.sizes, problem.grid
        objects_ = problem.over.arithmetic == "objects"
        x = operands["x"]
        if not line.plain:
            x = _extended(problem, x)
        rows = line.laid(x, grid.ndim)
        shape = (s.B, s.N, s.O, s.C)
        if objects_:
            found = _exact(rows, prepared, shape, line, context.threads)
            return line.taken(found % problem.over.modulus if problem.over.modulus else found, problem)
        way, centre = _way(problem)
        rows = balanced(rows, problem.over.modulus) if centre else rows
        spectra = way.spectra(rows[None], context.threads, "ntt x")
        residues = way.mixed(spectra, prepared, shape, context.threads)
        out = way.leave(residues, line.offset, np.empty((residues.shape[1], line.span), np.int64), context.threads)
        return line.taken(out.view(problem.compute_dtype), problem)


def _extended(problem: Problem, x: np.ndarray) -> np.ndarray:
    """The signal with its boundary; what stands there are whole numbers."""
    g = problem.grid
    if x.dtype != object:
        return g.pad(x, 0)
    # Python's own integers, in place of the floats that boundaries hold.
    places = g.pad(np.arange(1, x[0, 0, 0].size + 1).reshape(g.n).astype(object), 0)
    constant = g.pad(np.zeros(g.n, object), 0)
    at = np.where(constant == 0, places, 0).astype(np.int64)
    fills = np.vectorize(int, otypes=[object])(constant)
    flat = x.reshape(*x.shape[:3], -1)
    return np.where(at > 0, flat[..., np.maximum(at - 1, 0)], fills)


def _exact(
    x: np.ndarray, k: np.ndarray, shape: tuple[int, int, int, int], line: Line, threads: int
) -> np.ndarray:
    """Rows of Python's numbers: fractions over one denominator, infinity as a set of places."""
    (a, x_wide, x_below), (b, k_wide, k_below) = _parts(x), _parts(k)

    def through(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return objects.convolved(left, right, shape, line.circle, line.offset, line.span, threads)

    found = through(a, b)
    if x_below * k_below != 1:
        below = x_below * k_below
        found = np.array([Fraction(v, below) for v in found.ravel().tolist()], object).reshape(found.shape)
    if x_wide is not None or k_wide is not None:
        none = np.zeros(1, object)
        x_wide = none + np.zeros(x.shape, object) if x_wide is None else x_wide
        k_wide = none + np.zeros(k.shape, object) if k_wide is None else k_wide
        # Infinite is what an infinite factor reaches whose partner is not zero.
        x_any, k_any = ((v != 0).astype(object) for v in (x, k))
        reached = through(x_wide, k_any) + through(x_any, k_wide)
        found = np.where(reached != 0, math.inf, found)
    return found


def _parts(values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, int]:
    """Numerators over one denominator, ones where values are infinite (or None), and the denominator."""
    flat = values.ravel().tolist()
    kinds = set(map(type, flat))
    wide, below = None, 1
    if float in kinds:
        wide = np.array([int(v == math.inf) for v in flat], object).reshape(values.shape)
        flat = [0 if v == math.inf else v for v in flat]
    if Fraction in kinds:
        below = math.lcm(*{v.denominator for v in flat if type(v) is Fraction})
        flat = [int(v * below) for v in flat]
    elif kinds != {int}:
        flat = [int(v) for v in flat]
    numbers = np.empty(len(flat), object)
    numbers[:] = flat
    return numbers.reshape(values.shape), wide, below


def _way(problem: Problem) -> tuple[Transform, bool]:
    """Length and primes, and whether residues are centred first because that saves a prime."""
    line, modulus = Line.of(problem), problem.over.modulus
    fill = max((abs(int(complex(v).real)) for v in problem.grid.fills(0)), default=0)
    if not modulus:
        reach = max(_reach(problem.x_dtype), fill) * _reach(problem.k_dtype)
        # More than the accumulator holds is refused before anything is computed.
        return Transform.of(line.count, min(problem.depth * reach, 1 << 64), 0, line.circle), False
    way = Transform.of(line.count, problem.depth * (modulus - 1) ** 2, modulus, line.circle)
    centred = Transform.of(line.count, problem.depth * (modulus // 2) ** 2, modulus, line.circle)
    return (centred, True) if len(centred.primes) < len(way.primes) else (way, False)


def _reach(dtype: str) -> int:
    return integer._reach(dtype) if dtype in INTEGERS or dtype == "bool" else 1 << 64


def _size(problem: Problem) -> tuple[int, int]:
    """Primes and points of the transforms, the primes a guess where the values are Python's integers."""
    if problem.over.arithmetic == "objects":
        line = Line.of(problem)
        bits = 2 * max(problem.over.modulus.bit_length(), 64) + problem.depth.bit_length()
        return max(GUESS, -(-bits // 48)), Transform.of(line.count, 1, 0, line.circle).length
    way, _ = _way(problem)
    return len(way.primes), way.length


NTT_ = NTT()
