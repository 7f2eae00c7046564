"""Checks a convolution in linear time, without computing it again: both sides of the definition at one random point.

    Σ_i ρ^(s·i) y[i]  =  Σ_j x̃[j] ρ^j · Σ over taps t that meet j of  k[t] ρ^(−t·d)

holds for every ρ if y[i] = Σ_t x̃[i·s + t·d] k[t]. The inner sum runs over an interval of taps, so that it is a difference of two
running sums, whatever the mode, boundary, stride and dilation; several axes have a ρ each, channels random weights.

Exact values are compared modulo a prime: a wrong result passes with a probability of at most (degree of the polynomials) / p.
Floating-point values are compared on the unit circle, within what the plan's error bound allows to the sum of all results.

Source: Freivalds (1977); Schwartz (1980), Zippel (1979); as the arithmetic heart of Sun, Bai, Li and Zhang, zkDL (2024).
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from faltung.algebras import integer
from faltung.domains import Index
from faltung.errors import RefusedError
from faltung.methods.method import ROUNDOFF
from faltung.problem import Problem

MERSENNE = (1 << 61) - 1
LEAST = 1 << 20  # the smallest prime modulus whose field is large enough to draw points from


@dataclass(frozen=True)
class Verdict:
    """What a check found: `bool(verdict)` is whether the result was accepted.

    Fields: accepted.   missed: the probability at most that a wrong result is accepted; for floating-point results, where only
    differences above the bound are seen, None.   difference, allowed: of the two sides, floating-point results only.
    """

    accepted: bool
    missed: float | None
    difference: float = 0.0
    allowed: float = 0.0

    def __bool__(self) -> bool:
        return self.accepted


def check(
    problem: Problem, x: np.ndarray, k: np.ndarray, y: np.ndarray, error: float, repeats: int, seed: int
) -> Verdict:
    """Hold canonical arrays x (B, N, C, *n), k (B, O, C, *t, correlation order) and y (B, N, O, *m) against the definition.

    Raises:
        RefusedError: no ring, no grid, a gradient, a rounded dtype, or residues modulo a number that is no prime above 2^20.
    """
    if isinstance(problem.grid, Index) or not problem.over.ring or problem.unknown != "out":
        raise RefusedError.of(
            "verify", "the result of a convolution on a grid over a ring", problem.text,
            "compare with Policy(only='definition') instead",
        )  # fmt: skip
    if problem.over.exact and problem.out_dtype not in _whole(problem):
        raise RefusedError.of(
            "verify", f"exact results, of dtype {' or '.join(sorted(_whole(problem)))}", problem.out_dtype,
            "leave dtype out: what is rounded or cut off cannot be compared exactly",
        )  # fmt: skip
    random = np.random.default_rng(seed)
    field: Any = _Prime(_modulus(problem)) if problem.over.exact else _Circle()
    zero = problem.over.zero(np.dtype(problem.compute_dtype))
    padded = x if problem.grid.unpadded else problem.grid.pad(x, zero)
    difference = 0.0
    for _ in range(repeats):
        left, right = _sides(problem, padded, k, y, field, random)
        difference = max(difference, float(abs(left - right)))
    if problem.over.exact:
        degree = sum(problem.grid.padded) + 3
        return Verdict(difference == 0, (degree / field.p) ** repeats)
    s, g = problem.sizes, problem.grid
    with np.errstate(invalid="ignore", over="ignore"):
        largest = np.abs(padded).max(initial=0.0) * np.abs(k).reshape(s.B * s.O, -1).sum(axis=1).max(initial=0.0)
        count = s.B * s.N * s.O * math.prod(g.m)
        own = 64.0 * ROUNDOFF["float64"] * (math.log2(padded.size + 2) + 4.0 + g.taps**0.5)
        unit = ROUNDOFF.get(problem.out_dtype, 0.5) if problem.out_dtype in ROUNDOFF else 0.5 / max(largest, 1e-300)
        allowed = float((error + unit + own) * largest * count)
        allowed += count * float(np.finfo(np.float64).tiny)
    return Verdict(difference <= allowed, None, difference, allowed)


def _sides(problem: Problem, padded: np.ndarray, k: np.ndarray, y: np.ndarray, field: Any, random: Any) -> tuple:
    """Both sides of the identity, at points and for weights that are drawn now."""
    s, g = problem.sizes, problem.grid
    along = [field.weights(random, size) for size in (s.B, s.N, s.O)]
    signal = field.weighted(field.weighted(field.take(padded), along[1], 1), along[0], 0, keep=True)  # (B, C, *p)
    taps = field.weighted(field.take(k), along[2], 1)  # (B, C, *t)
    result = field.weighted(field.weighted(field.weighted(field.take(y), along[2], 2), along[1], 1), along[0], 0)
    for a in range(g.ndim):
        point = field.point(random)
        # Axis a of the result is the first that is left; those of signal and taps stand behind B and C.
        result = field.weighted(result, field.powers(point, g.m[a], g.stride[a]), 0)
        size = g.padded[a]
        inverse = field.inverse(point)
        taps = field.weighted(taps, field.powers(inverse, g.t[a], g.dilation[a]), 2 + a, keep=True)
        taps = _meeting(taps, 2 + a, size, g.m[a], g.stride[a], g.dilation[a], field)
        signal = field.weighted(signal, field.powers(point, size, 1), 2 + a, keep=True)
    return result, field.total(field.mul(signal, taps))


def _meeting(taps: np.ndarray, axis: int, size: int, m: int, s: int, d: int, field: Any) -> np.ndarray:
    """For every place j the sum of the taps t with j = i·s + t·d for an i in 0 ... m − 1: a difference of running sums.

    These t are every e-th, e = s / gcd(s, d), from one bound to another.
    """
    taps = np.moveaxis(taps, axis, 0)
    count, common = len(taps), math.gcd(s, d)
    e = s // common
    rows = -(-count // e)
    wide = np.zeros((rows * e, *taps.shape[1:]), dtype=taps.dtype)
    wide[:count] = taps
    sums = field.running(wide.reshape(rows, e, *taps.shape[1:])).reshape(wide.shape)
    j = np.arange(size)
    residue = j // common * (pow(d // common, -1, e) if e > 1 else 0) % e
    last = np.minimum(j // d, count - 1)
    last -= (last - residue) % e
    first = np.maximum(-(-(j - s * (m - 1)) // d), 0)
    first += (residue - first) % e
    some = (j % common == 0) & (last >= first)
    upper = sums[np.clip(last, 0, count - 1)]
    lower = sums[np.clip(first - e, 0, None)]
    shape = (-1,) + (1,) * (upper.ndim - 1)
    lower = np.where((first - e >= 0).reshape(shape), lower, field.zero)
    return np.moveaxis(np.where(some.reshape(shape), field.sub(upper, lower), field.zero), 0, axis)


class _Circle:
    """Points on the unit circle, complex numbers of 128 bits."""

    zero = 0.0

    def take(self, values: np.ndarray) -> np.ndarray:
        return values.astype(np.complex128)

    def point(self, random: Any) -> complex:
        return complex(np.exp(2j * np.pi * random.random()))

    def inverse(self, point: complex) -> complex:
        return point.conjugate()

    def weights(self, random: Any, count: int) -> np.ndarray:
        return np.exp(2j * np.pi * random.random(count))

    def powers(self, point: complex, count: int, step: int) -> np.ndarray:
        return np.exp(1j * np.angle(point) * step * np.arange(count))

    def mul(self, a: Any, b: Any) -> Any:
        return a * b

    def sub(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a - b

    def running(self, a: np.ndarray) -> np.ndarray:
        return np.cumsum(a, axis=0)

    def total(self, a: np.ndarray) -> complex:
        return complex(a.sum())

    def weighted(self, a: np.ndarray, weights: np.ndarray, axis: int, keep: bool = False) -> np.ndarray:
        """a times a weight for every place of one axis, summed over it unless it is kept."""
        product = a * weights.reshape([-1 if i == axis else 1 for i in range(a.ndim)])
        return product if keep else product.sum(axis=axis)


class _Prime(_Circle):
    """The residues modulo 2^61 − 1 or another prime; those modulo the Mersenne prime by halves of 32 bits, others by Python."""

    def __init__(self, p: int) -> None:
        self.p, self.mersenne = p, p == MERSENNE
        self.zero = np.uint64(0) if self.mersenne else 0  # type: ignore[assignment]

    def take(self, values: np.ndarray) -> np.ndarray:
        if values.dtype != object and self.mersenne:
            if values.dtype == np.uint64:
                return values % np.uint64(self.p)
            return (values.astype(np.int64) % self.p).astype(np.uint64)

        def one(v: Any) -> int:
            if isinstance(v, (int, np.integer)):
                return int(v) % self.p
            part = Fraction(v)  # the constant beyond an edge comes as a float
            return part.numerator * pow(part.denominator, -1, self.p) % self.p

        rests = np.frompyfunc(one, 1, 1)(values.astype(object))
        return rests.astype(np.uint64) if self.mersenne else rests

    def point(self, random: Any) -> Any:
        return int(random.integers(2, min(self.p, 2**63 - 1)))

    def inverse(self, point: Any) -> Any:
        return pow(point, -1, self.p)

    def weights(self, random: Any, count: int) -> np.ndarray:
        return self.take(random.integers(1, min(self.p, 2**63 - 1), count))

    def powers(self, point: Any, count: int, step: int) -> np.ndarray:
        base, found = pow(point, step, self.p), np.ones(1, dtype=np.uint64 if self.mersenne else object)
        while len(found) < count:  # twice as many with every product
            next_ = self.mul(found, self._scalar(pow(base, len(found), self.p)))
            found = np.concatenate([found, next_])
        return found[:count]

    def _scalar(self, v: int) -> Any:
        return np.uint64(v) if self.mersenne else v

    def mul(self, a: Any, b: Any) -> Any:
        if not self.mersenne:
            return a * b % self.p
        low, mask, p = np.uint64(31), np.uint64((1 << 31) - 1), np.uint64(self.p)
        a1, a0, b1, b0 = a >> low, a & mask, b >> low, b & mask
        middle = a1 * b0 + a0 * b1
        # 2^62 = 2 and 2^61 = 1 modulo p.
        total = (
            a1 * b1 * np.uint64(2) + (middle >> np.uint64(30)) + ((middle & np.uint64((1 << 30) - 1)) << low) + a0 * b0
        )
        total = (total & p) + (total >> np.uint64(61))
        return total - p * (total >= p)

    def sub(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if not self.mersenne:
            return (a - b) % self.p
        p = np.uint64(self.p)
        rest = a + (p - b)
        return rest - p * (rest >= p)

    def running(self, a: np.ndarray) -> np.ndarray:
        if not self.mersenne:
            return np.add.accumulate(a, axis=0) % self.p
        return self._whole(*(np.cumsum(half, axis=0) for half in self._halves(a)))

    def total(self, a: np.ndarray) -> Any:
        if not self.mersenne:
            return a.sum() % self.p
        high, low = (int(half.sum()) for half in self._halves(a))
        return ((high << 32) + low) % self.p

    def weighted(self, a: np.ndarray, weights: np.ndarray, axis: int, keep: bool = False) -> np.ndarray:
        product = self.mul(a, weights.reshape([-1 if i == axis else 1 for i in range(a.ndim)]))
        if keep:
            return product
        if not self.mersenne:
            total = product.sum(axis=axis) % self.p
        else:
            total = self._whole(*(half.sum(axis=axis) for half in self._halves(product)))
        return int(total) if np.ndim(total) == 0 else total  # type: ignore[return-value]

    def _halves(self, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The upper and the lower 32 bits: sums of 2^31 of either fit 64 bits."""
        return a >> np.uint64(32), a & np.uint64(0xFFFFFFFF)

    def _whole(self, high: Any, low: Any) -> Any:
        p = np.uint64(self.p)
        total = self.mul(high % p, np.uint64(1 << 32)) + low % p
        return total - p * (total >= p)


def _modulus(problem: Problem) -> int:
    """The prime to compare modulo: the algebra's own for residues, a large one for exact numbers."""
    p = problem.over.modulus
    if not p:
        return MERSENNE
    if p < LEAST or not _prime(p):
        raise RefusedError.of(
            "verify", f"residues modulo a prime of at least {LEAST}", f"modulo {p}",
            "compare with Policy(only='definition') instead: a small field has too few points",
        )  # fmt: skip
    return p


def _whole(problem: Problem) -> set[str]:
    """The dtypes in which no exact result is rounded or cut off."""
    if problem.algebra != "integer":
        return {problem.compute_dtype}
    return {problem.compute_dtype, integer.result_dtype(problem.x_dtype, problem.k_dtype, problem.depth)}


def _prime(n: int) -> bool:
    """Miller and Rabin's test with the first 13 primes as bases: right for all n below 3.3·10²⁴, beyond that but for 4⁻¹³."""
    bases = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)
    if n in bases or any(n % b == 0 for b in bases):
        return n in bases
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(pow(b, odd, n) in (1, n - 1) or any(pow(b, odd << r, n) == n - 1 for r in range(1, twos)) for b in bases)
