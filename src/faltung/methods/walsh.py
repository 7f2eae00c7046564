"""Convolution over bit strings by the Walsh–Hadamard transform: y = H(Hx · Hk) / n."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from faltung.algebras import integer
from faltung.kernels.hadamard import on_numba as kernel
from faltung.methods.method import ROUNDOFF, Context, Machine, Method
from faltung.methods.on_sets import mixed
from faltung.problem import Problem

# Primes below 2³¹ whose product exceeds 2⁶⁴: residues modulo these determine every integer of 64 bits.
PRIMES = (2_147_483_647, 2_147_483_629, 2_147_483_587)


class Walsh(Method):
    """y(w) = Σ_u x(u) k(u XOR w): the transform turns it into products, of every channel once and of every pair of channels.

    Integers: where their types prove that n·y fits 64 bits the transforms are taken of the integers themselves, which is exact;
    elsewhere modulo three primes below 2³¹, whose residues are put together. Residues modulo an odd p < 2³¹ likewise.

    Error: four unit roundoffs a level, the usual model of three transforms with a margin: a transform's rounding noise is spread
    evenly over all results. Of constants, impulses, signs and rows of the transform itself, with up to 2^18 values, the worst met a
    ninth of it.
    """

    name = "walsh"
    summary = "Walsh–Hadamard transforms on bit strings under exclusive or, cost n·log n"
    source = "Walsh (1923); Pollard (1971) for residues"
    arithmetics = ("machine", "residues")
    places = ("index",)
    spreads = True

    def refuses(self, problem: Problem) -> str | None:
        if problem.domain != "dyadic":
            return f"transforms bit strings under exclusive or, not {problem.domain}"
        if not problem.over.ring:
            return f"needs subtraction, which {problem.algebra} does not have"
        p = problem.over.modulus
        if p and (p % 2 == 0 or p > PRIMES[0]):
            return f"divides by n modulo p, for odd p below 2^31, not modulo {p}"
        if problem.unknown != "out" and p:
            return f"computes results over {problem.algebra}, not gradients"
        if problem.device != "cpu":
            return f"runs on the CPU, the arrays are on {problem.device}"
        return None

    def cost(self, problem: Problem, machine: Machine) -> float:
        s, n = problem.sizes, problem.grid.n[0]
        runs = 3 if problem.over.exact and not _direct(problem) else 1
        transforms = s.B * (s.N * s.C + s.O * s.C + s.N * s.O) * n * max(1, n.bit_length() - 1)
        products = s.B * s.N * s.O * s.C * n
        seconds = transforms * machine.seconds("walsh.level", problem.compute_dtype) + products * machine.seconds(
            "walsh.product"
        )
        return machine.seconds("call.fft") + runs * seconds

    def error(self, problem: Problem) -> float:
        if problem.over.exact:
            return 0.0
        levels, channels = math.log2(max(problem.grid.n[0], 2)), max(1.0, problem.sizes.C) ** 0.5
        return 4.0 * ROUNDOFF[problem.compute_dtype] * (levels + 2.0) * (1.0 + 0.2 * channels)

    def scratch(self, problem: Problem, machine: Machine) -> int:
        s, n = problem.sizes, problem.grid.n[0]
        values = s.B * (s.N * s.C + s.O * s.C + s.N * s.O) * n
        return (4 if _direct(problem) else 12) * 2 * values * np.dtype(problem.compute_dtype).itemsize + (1 << 14)

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        # On bit strings every index is its own inverse: convolution and correlation are one, and so are the gradients.
        if problem.unknown == "out":
            a, b = operands["x"], prepared
        elif problem.unknown == "x":
            a, b = operands["y"], prepared.swapaxes(1, 2)
        else:
            a, b = operands["x"].swapaxes(1, 2), operands["y"].swapaxes(1, 2)
        y = _product(problem, np.ascontiguousarray(a), np.ascontiguousarray(b), context.threads)
        return y.swapaxes(1, 2) if problem.unknown == "k" else y


def _direct(problem: Problem) -> bool:
    """Whether n·y fits the accumulator for all values of the operands' types."""
    if not problem.over.exact:
        return True
    n = problem.grid.n[0]
    return not problem.over.modulus and integer.proven(
        problem.x_dtype, problem.k_dtype, problem.depth * n, problem.compute_dtype
    )


def _product(problem: Problem, a: np.ndarray, b: np.ndarray, threads: int) -> np.ndarray:
    n, p = a.shape[-1], problem.over.modulus
    if not problem.over.exact:
        y = mixed(kernel.hadamard(a, threads=threads), kernel.hadamard(b, threads=threads))
        return kernel.hadamard(y, scale=1.0 / n, threads=threads)
    if p:
        return _modulo(a, b, p, threads)
    if _direct(problem):
        y = mixed(kernel.hadamard(a, threads=threads), kernel.hadamard(b, threads=threads))
        return kernel.hadamard(y, threads=threads) // y.dtype.type(n)
    rests = []
    for q in PRIMES:
        left, right = ((v % v.dtype.type(q)).astype(np.int64) for v in (a, b))
        rests.append(_modulo(left, right, q, threads))
    return _together(rests, a.dtype)


def _modulo(a: np.ndarray, b: np.ndarray, p: int, threads: int) -> np.ndarray:
    """The product of residues; sums of n < 2³² of them fit 64 bits."""
    n = a.shape[-1]
    left, right = (kernel.hadamard(v, threads=threads) % p for v in (a, b))
    mixed = np.zeros((*left.shape[:2], right.shape[1], n), dtype=np.int64)
    for c in range(a.shape[2]):
        mixed = (mixed + left[:, :, None, c] * right[:, None, :, c]) % p
    return kernel.hadamard(mixed, threads=threads) % p * pow(n, -1, p) % p


def _together(rests: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    """The integer of 64 bits with these residues, by mixed radix digits (Garner); wraps modulo 2⁶⁴ as it is put together."""
    p, q, r = PRIMES
    first = rests[0]
    second = (rests[1] - first) % q * pow(p, -1, q) % q
    third = ((rests[2] - first) % r - second * (p % r)) % r * pow(p * q, -1, r) % r
    # Integers below zero stand in the upper half of 0 ... p·q·r − 1, whose multiple of the product is taken off.
    negative = (third > r // 2) & (dtype.kind == "i")
    modulus = np.uint64((p * q * r) % 2**64)
    y = first.astype(np.uint64) + second.astype(np.uint64) * np.uint64(p)
    y += third.astype(np.uint64) * np.uint64((p * q) % 2**64)
    return np.where(negative, y - modulus, y).astype(dtype)


WALSH = Walsh()
