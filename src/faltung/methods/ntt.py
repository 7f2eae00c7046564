"""Exact convolution of integers, residues and Python's numbers by number-theoretic transforms."""

import math
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.algebras import integer
from faltung.algebras.algebra import INTEGERS
from faltung.kernels.modular import objects
from faltung.kernels.modular.product import balanced
from faltung.kernels.modular.transformed import SHORT, Transform
from faltung.kernels.ntt.on_numba import keys
from faltung.methods.line import Line, extended
from faltung.methods.method import Context, Machine, Method, padded_bytes
from faltung.problem import Problem

FIXED = 12  # levels' worth of work around a transform: into residues, products, mixed-radix digits
GUESS = 4  # primes that a cost assumes where the values are Python's integers
LONGEST = 1 << 28


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
        if problem.algebra not in ("integer", "count", "rational") and not problem.algebra.startswith("modular("):
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

    def kernels(self, problem: Problem, machine: Machine) -> tuple[tuple, ...]:
        return keys(_pairs(problem))

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
        """Scaled spectra (primes, B·O·C, length) of the flipped filter, or its rows where they are better transformed along."""
        rows = Line.of(problem).filter(problem, k)
        if k.dtype == object:
            return rows
        way, centre = _way(problem)
        rows = balanced(rows, problem.over.modulus) if centre else rows
        if context.passing and _pairs(problem):
            return rows  # for pairs of rows one kernel does it all
        return way.scaled(way.spectra(rows[None], context.threads, "ntt k" if context.passing else ""))

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        line, s, grid = Line.of(problem), problem.sizes, problem.grid
        objects_ = problem.over.arithmetic == "objects"
        x = operands["x"]
        if not line.plain:
            x = extended(problem, x)
        rows = line.laid(x, grid.ndim)
        shape = (s.B, s.N, s.O, s.C)
        if objects_:
            found = _exact(rows, prepared, shape, line, context.threads)
            return line.taken(found % problem.over.modulus if problem.over.modulus else found, problem)
        way, centre = _way(problem)
        rows = balanced(rows, problem.over.modulus) if centre else rows
        if prepared.ndim == 2:  # rows that nobody has transformed
            residues = way.products(rows[None], prepared[None], context.threads)
        else:
            spectra = way.spectra(rows[None], context.threads, "ntt x")
            residues = way.mixed(spectra, prepared, shape, context.threads)
        out = way.leave(residues, line.offset, np.empty((residues.shape[1], line.span), np.int64), context.threads)
        return line.taken(out.view(problem.compute_dtype), problem)


def _exact(x: np.ndarray, k: np.ndarray, shape: tuple[int, int, int, int], line: Line, threads: int) -> np.ndarray:
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


def _pairs(problem: Problem) -> bool:
    """Whether products of pairs of rows are all there is."""
    s = problem.sizes
    return s.N == s.O == s.C == 1


@lru_cache(maxsize=1024)
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
