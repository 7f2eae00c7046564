"""Products by splitting in two halves, three multiplications for four: for residues and for rings that have no transform."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from faltung.kernels.modular import short
from faltung.methods.line import Line, extended
from faltung.methods.method import Context, Machine, Method, padded_bytes
from faltung.problem import Problem

OBJECTS = 24  # terms below which Python's numbers are multiplied one by one


class Karatsuba(Method):
    """y = (x₀ + x₁Xʰ)(k₀ + k₁Xʰ) = p₀ + (p₁ − p₀ − p₂)Xʰ + p₂X²ʰ with three products, again and again; n-D arrays along one line.

    Error: none; results are equal bit for bit, because rings allow any order of sums.
    Cost: (n/t)·t^1.585 products for t terms of the shorter operand.
    Source: Karatsuba and Ofman (1962).
    """

    name = "karatsuba"
    summary = "exact products by splitting in halves, for residues and Python's numbers of medium length"
    source = "Karatsuba and Ofman (1962)"
    arithmetics = ("residues", "objects")

    def refuses(self, problem: Problem) -> str | None:
        if not problem.over.ring:
            return f"takes differences, which {problem.algebra} does not have"
        if problem.algebra != "rational" and not problem.algebra.startswith("modular("):
            return f"computes with the + and × of rational and modular(p), not with those of {problem.algebra}"
        if problem.unknown != "out":
            return "computes results, not gradients"
        if problem.device != "cpu":
            return f"runs on the CPU, the arrays are on {problem.device}"
        return None

    def cost(self, problem: Problem, machine: Machine) -> float:
        n, t, products = _sizes(problem)
        limit, rate = _limit(problem)
        levels = max(0.0, math.log2(t / limit))
        work = products * math.ceil(n / t) * t * t * 0.75**levels if levels else products * n * t
        return machine.seconds("call.karatsuba") + work * machine.seconds(rate)

    def kernels(self, problem: Problem, machine: Machine) -> tuple[tuple, ...]:
        return () if problem.over.arithmetic == "objects" else (short.key(problem.over.modulus),)

    def error(self, problem: Problem) -> float:
        return 0.0

    def scratch(self, problem: Problem, machine: Machine) -> int:
        s, (n, t, _) = problem.sizes, _sizes(problem)
        value = 80 if problem.over.arithmetic == "objects" else 8
        rows = s.B * (2 * s.N * s.C * n + 2 * s.O * s.C * t + 4 * s.N * s.O * (n + t))
        return 2 * padded_bytes(problem) + value * (rows + 4 * s.B * (n + t) + 16 * t) + (1 << 16)

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> np.ndarray:
        """Rows (B·O·C, points) of the flipped filter along the line."""
        return Line.of(problem).filter(problem, k)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        line, s, x = Line.of(problem), problem.sizes, operands["x"]
        rows = line.laid(x if line.plain else extended(problem, x), problem.grid.ndim).reshape(s.B, s.N, s.C, -1)
        taps = prepared.reshape(s.B, s.O, s.C, -1)
        count, modulus = rows.shape[-1] + taps.shape[-1] - 1, problem.over.modulus
        out = np.zeros((s.B, s.N, s.O, line.span), x.dtype)
        for n in range(s.N):
            for o in range(s.O):
                for c in range(s.C):
                    found = _product(rows[:, n, c], taps[:, o, c], modulus, context.threads)
                    part = out[:, n, o]
                    kept = found[:, line.offset : min(line.offset + line.span, count)]
                    part[:, : kept.shape[1]] = (part[:, : kept.shape[1]] + kept) % modulus if modulus else part + kept
        return line.taken(out.reshape(-1, line.span), problem)


def _product(x: np.ndarray, k: np.ndarray, modulus: int, threads: int) -> np.ndarray:
    """Full products of rows."""
    longer, shorter = (x, k) if x.shape[1] >= k.shape[1] else (k, x)
    if x.dtype != object:
        return short.product(longer, shorter, modulus, threads).view(np.int64)
    return np.stack([_split(a, b) for a, b in zip(longer, shorter, strict=True)])


def _split(x: np.ndarray, k: np.ndarray) -> np.ndarray:
    """The product of two rows of Python's numbers, the first no shorter than the second."""
    n, t = len(x), len(k)
    if t <= OBJECTS:
        return np.convolve(x, k)
    if n >= 2 * t:  # pieces as long as the shorter one
        y = np.zeros(n + t - 1, object)
        for at in range(0, n, t):
            piece = x[at : at + t]
            y[at : at + len(piece) + t - 1] += _split(k, piece) if len(piece) < t else _split(piece, k)
        return y
    h = -(-n // 2)
    if t <= h:  # the shorter one has no upper half
        y = np.zeros(n + t - 1, object)
        for at, piece in ((0, x[:h]), (h, x[h:])):
            part = _split(piece, k) if len(piece) >= t else _split(k, piece)
            y[at : at + len(part)] += part
        return y
    low, high = _split(x[:h], k[:h]), _split(x[h:], k[h:])
    a, b = x[:h].copy(), k[:h].copy()
    a[: n - h] += x[h:]
    b[: t - h] += k[h:]
    middle = _split(a, b) - low
    middle[: len(high)] -= high
    y = np.zeros(n + t - 1, object)
    y[: len(low)] = low
    y[2 * h :] = high
    y[h : h + len(middle)] += middle[: len(y) - h]
    return y


def _sizes(problem: Problem) -> tuple[int, int, int]:
    """Points of the longer and of the shorter row, and how many products of such rows there are."""
    s, g, line = problem.sizes, problem.grid, Line.of(problem)
    taps = sum((r - 1) * step for r, step in zip(g.reach, line.steps, strict=True)) + 1
    points = line.count - taps + 1
    return max(points, taps), min(points, taps), s.B * s.N * s.O * s.C


def _limit(problem: Problem) -> tuple[int, str]:
    """Terms from which on products are split, and the rate of a product."""
    if problem.over.arithmetic == "objects":
        return OBJECTS, "karatsuba.object"
    narrow = problem.over.modulus < short.NARROW
    return short.BASE[narrow], "karatsuba.narrow" if narrow else "karatsuba.wide"


KARATSUBA = Karatsuba()
