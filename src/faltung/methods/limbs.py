"""Exact integer convolution by Fourier transforms: numbers cut into limbs so short that rounding cannot reach the next integer."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.algebras.algebra import INTEGERS
from faltung.kernels.fourier import on_scipy as fourier
from faltung.kernels.fourier.lengths import fast_length
from faltung.kernels.threads import kept, spread
from faltung.methods.method import ROUNDOFF, Context, Machine, Method, padded_bytes
from faltung.problem import Problem

SAFE = 0.25  # half of the distance at which an integer would be rounded to its neighbour
MOST = 8  # limbs that a number may be cut into
# Error of the transforms' roots of unity in unit roundoffs: products (√5) of two roots of a table, each the rounded cosine and sine
# (√2) of an angle below π/4 that was rounded twice (π/2).
ROOTS = 9
SHORT = 1 << 15  # values of a transform below which threads do not pay
PIECE = 1 << 15  # values that are cut or put together at a time, in the cache


@dataclass(frozen=True)
class Cut:
    """Widths of the limbs in bits, and how many there are of the signal and of the filter, whatever values their types hold."""

    x_width: int
    k_width: int
    x_count: int
    k_count: int

    def shifts(self, x_count: int, k_count: int) -> dict[int, list[tuple[int, int]]]:
        """The pairs of limbs whose products have the same weight 2^shift; weights from 2^64 on do not reach the result."""
        found: dict[int, list[tuple[int, int]]] = {}
        for a in range(x_count):
            for b in range(k_count):
                shift = a * self.x_width + b * self.k_width
                if shift < 64:
                    found.setdefault(shift, []).append((a, b))
        return found


class Limbs(Method):
    """y = Σ over limbs of 2^(ia + jb) · F⁻¹(F x̃ᵢ · F kⱼ), every transform rounded to integers; sums modulo 2^64, which is exact.

    The limbs are balanced digits, |limb| ≤ 2^(width − 1). Limbs of equal weight are added before the inverse transform.

    Error: none. With ‖·‖ the Euclidean norm, ε the unit roundoff of float64 and n = log₂ of the transform's length, a circular
    convolution by transforms differs from the exact one by at most ‖x‖·‖k‖·((1 + ε)^3n·(1 + ε√5)^(3n+1)·(1 + β)^3n − 1), where β
    is the error of the roots of unity. The limbs are so short that this stays below 1/4 for all values of the types, with
    β = 9ε, n rounded up and one level more an axis for lengths that are no powers of two (their butterflies of three and five
    count as two levels and three); half of the distance that would do harm is left.
    Cost: transforms of every limb of either operand and of every weight of their products.
    Source: Brent, Percival and Zimmermann, Error bounds on complex floating-point multiplication, theorem 5 (2007); limbs after
    Pollard (1971) and Crandall and Fagin (1994).
    """

    name = "limbs"
    summary = "exact integers by Fourier transforms of limbs, short enough that rounding cannot reach the next integer"
    source = "Brent, Percival and Zimmermann (2007) for the bound; balanced limbs after Crandall and Fagin (1994)"

    def refuses(self, problem: Problem) -> str | None:
        if problem.algebra != "integer":
            return f"is for integers, the algebra is {problem.algebra}"
        if problem.unknown != "out":
            return "computes results, not gradients"
        if problem.device != "cpu":
            return f"runs on the CPU, the arrays are on {problem.device}"
        if _cut(problem) is None:
            return f"would need more than {MOST} limbs for sums of {problem.depth} products in transforms of {_lengths(problem)}"
        return None

    def cost(self, problem: Problem, machine: Machine) -> float:
        cut, s, size = _known(problem), problem.sizes, math.prod(_lengths(problem))
        weights = len(cut.shifts(cut.x_count, cut.k_count))
        transforms = s.B * (s.N * s.C * cut.x_count + s.O * s.C * cut.k_count + s.N * s.O * weights)
        place = "cache" if 8 * size <= machine.cache else "memory"
        work = transforms * size * math.log2(max(size, 2)) * machine.seconds(f"fft.{place}", "float64")
        pairs = s.B * s.N * s.O * s.C * cut.x_count * cut.k_count * (size // 2 + 1)
        work += pairs * machine.seconds("fft.pairs" if s.O > 1 and s.C > 1 else "fft.product", "float64")
        # One transform stays on one thread; the values are cut and put together by pieces.
        share = machine.threads if size >= SHORT and (problem.grid.ndim > 1 or transforms > 3 * s.B) else 1
        return machine.seconds("call.fft") + work / share + transforms * size * machine.seconds("limbs.value") / share

    def error(self, problem: Problem) -> float:
        return 0.0

    def scratch(self, problem: Problem, machine: Machine) -> int:
        cut, s, lengths = _known(problem), problem.sizes, _lengths(problem)
        half = math.prod(lengths[:-1]) * (lengths[-1] + 2) * 8
        weights = len(cut.shifts(cut.x_count, cut.k_count))
        at_once = min(machine.threads, weights)
        values = s.B * (s.N * s.C * 2 * cut.x_count + s.O * s.C * 2 * cut.k_count + (4 * at_once + 2) * s.N * s.O)
        if s.C > 1 and s.O > 1:
            values += s.B * 4 * at_once * (s.N * s.C + s.O * s.C + s.N * s.O)
        cut_bytes = 8 * MOST * PIECE * machine.threads
        return 2 * padded_bytes(problem) + values * half + cut_bytes + (1 << 16)

    def prepare(self, problem: Problem, k: np.ndarray, context: Context) -> list[np.ndarray]:
        """Spectra (B, O, C, *frequencies) of the flipped filter's limbs, as many as its values need."""
        grid = problem.grid
        backwards: Any = [slice(None, None, -1)] * grid.ndim
        flipped = k[(..., *backwards)]
        if grid.reach != grid.t:
            wide = np.zeros((*k.shape[:3], *grid.reach), dtype=k.dtype)
            wide[(..., *[slice(None, None, d) for d in grid.dilation])] = flipped
            flipped = wide
        cut = _known(problem)
        lengths = _lengths(problem)
        return _spectra(flipped, cut.k_width, cut.k_count, lengths, _threads(lengths, context))

    def run(self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: Context) -> np.ndarray:
        grid, lengths, cut = problem.grid, _lengths(problem), _known(problem)
        threads = _threads(lengths, context)
        x = operands["x"] if _plain(problem) else grid.pad(operands["x"], 0)
        spectra = _spectra(x, cut.x_width, cut.x_count, lengths, threads)
        firsts = [r - 1 - lo * _plain(problem) for r, (lo, _) in zip(grid.reach, grid.pads, strict=True)]
        ends: Any = [slice(f, f + (m - 1) * s + 1, s) for f, m, s in zip(firsts, grid.m, grid.stride, strict=True)]
        y: np.ndarray | None = None
        weights = list(cut.shifts(len(spectra), len(prepared)).items())
        parts: list[Any] = [None] * threads
        multiplies = problem.sizes.C > 1 and problem.sizes.O > 1
        for start in range(0, len(weights), threads):  # as many inverse transforms at a time as there are threads
            some = weights[start : start + threads]

            def task(first: int, last: int, some: list = some) -> None:
                for number in range(first, last):
                    mixed = _mixed(spectra, prepared, some[number][1], grid.ndim)
                    parts[number] = fourier.signal(mixed, lengths, True, threads)[(..., *ends)]

            spread(task, len(some), threads, multiplies=multiplies)
            y = _put_together(parts[: len(some)], [shift for shift, _ in some], y, problem.compute_dtype, threads)
        assert y is not None
        return y


def _threads(lengths: tuple[int, ...], context: Context) -> int:
    """Short transforms take less time than handing them over."""
    return context.threads if math.prod(lengths) >= SHORT else 1


def _spectra(values: np.ndarray, width: int, most: int, lengths: tuple[int, ...], threads: int) -> list[np.ndarray]:
    """Spectra of the limbs of these values, as many as they need."""
    length = lengths[0] if len(lengths) == 1 else values.shape[-1]
    limbs = _limbs(values, width, most, length, threads)
    found: list[Any] = [None] * len(limbs)

    def task(first: int, last: int) -> None:
        for i in range(first, last):
            found[i] = fourier.spectrum(limbs[i], lengths, threads)

    spread(task, len(limbs), threads)
    return found


def _mixed(x: list[np.ndarray], k: list[np.ndarray], pairs: list[tuple[int, int]], ndim: int) -> np.ndarray:
    """The sum of the products of pairs of limbs, frequency by frequency; in memory of this thread where it is plain.

    Fresh memory costs more than the products themselves.
    """
    (a, b), *more = pairs
    if x[a].shape[2] > 1 or k[b].shape[1:3] != (1, 1):
        total = fourier.product(x[a], k[b], ndim)
        for a, b in more:
            total += fourier.product(x[a], k[b], ndim)
        return total
    total = np.multiply(x[a], k[b], out=kept("limbs mixed", x[a].shape, x[a].dtype))
    for a, b in more:
        total += x[a] * k[b]
    return total


def _limbs(values: np.ndarray, width: int, most: int, length: int, threads: int) -> np.ndarray:
    """Balanced digits as float64 (limbs, *shape), the lowest first: values = Σ 2^(i·width) · limbᵢ modulo 2^64.

    No more limbs than these values need; a single one is the values themselves. The last axis is extended by zeros to `length`,
    which the transforms would do in memory of their own. In memory of this thread, until the next call.
    """
    n = values.shape[-1]
    # Two's complement: modulo 2^64, large unsigned numbers are negative ones.
    rows = np.ascontiguousarray(values).reshape(-1, n).view("int64")
    count = 1
    if most > 1:
        top = max(int(rows.max()), -int(rows.min()))
        count = min(most, _count(top.bit_length() + 1, width))
    out = kept("limbs", (count, len(rows), length), np.dtype("float64"))
    out[..., n:] = 0.0
    half, mask, pieces = np.int64(1 << (width - 1)), np.int64((1 << width) - 1), -(-n // PIECE)

    def task(first: int, last: int) -> None:
        for item in range(first, last):
            row, start = item // pieces, item % pieces * PIECE
            rest = rows[row, start : start + PIECE]
            part = slice(start, start + rest.size)
            for i in range(count - 1):
                low = ((rest + half) & mask) - half
                out[i, row, part] = low
                rest = (rest - low) >> width  # wraps around at the very top, by a multiple of 2^64 in the sum
            out[count - 1, row, part] = rest

    spread(task, len(rows) * pieces, threads, max(1, PIECE // n))
    return out.reshape(count, *values.shape[:-1], length)


def _put_together(
    parts: list[np.ndarray], shifts: list[int], y: np.ndarray | None, dtype: str, threads: int
) -> np.ndarray:
    """y + Σ 2^shift · (part rounded to integers), modulo 2^64."""
    fresh = y is None
    if y is None:
        y = np.empty(parts[0].shape, "int64")
    flat, flats = y.reshape(-1).view("int64"), [np.ascontiguousarray(part).reshape(-1) for part in parts]

    def task(first: int, last: int) -> None:
        for piece in range(first, last):
            part = slice(piece * PIECE, (piece + 1) * PIECE)
            for number, (shift, source) in enumerate(zip(shifts, flats, strict=True)):
                values = np.rint(source[part]).astype("int64") << np.int64(shift)
                if fresh and number == 0:
                    flat[part] = values
                else:
                    flat[part] += values

    spread(task, -(-flat.size // PIECE), threads)
    return y.view(dtype)


def _count(bits: int, width: int) -> int:
    """How many balanced digits numbers of so many bits, sign included, take: each but the last may carry one."""
    return 1 if bits <= width else -(-(bits + 1) // width)


def _plain(problem: Problem) -> bool:
    """Whether the zeros beyond the edge are those of the transform, so that nothing need be padded."""
    g = problem.grid
    return g.zero_padded and all(max(lo, hi) < r for (lo, hi), r in zip(g.pads, g.reach, strict=True))


def _sizes(problem: Problem) -> tuple[int, ...]:
    """Samples of the signal that is transformed, axis by axis."""
    return problem.grid.n if _plain(problem) else problem.grid.padded


def _lengths(problem: Problem) -> tuple[int, ...]:
    """Transform lengths for which what wraps around stays outside of the results."""
    g = problem.grid
    if not _plain(problem):
        return tuple(map(fast_length, g.padded))
    return tuple(fast_length(max(n + max(lo, hi, 0), r)) for n, (lo, hi), r in zip(g.n, g.pads, g.reach, strict=True))


def _known(problem: Problem) -> Cut:
    cut = _cut(problem)
    assert cut is not None
    return cut


def _bits(dtype: str, fill: int = 0) -> int:
    """Bits of a type's values, sign included; 64 for unsigned ones too, which are taken modulo 2^64."""
    own = 2 if dtype == "bool" else np.iinfo(dtype).bits + (dtype[0] == "u") if dtype in INTEGERS else 64
    return min(64, max(own, abs(fill).bit_length() + 1))


@lru_cache(maxsize=1024)
def _cut(problem: Problem) -> Cut | None:
    """The limbs that take the fewest transforms; None where more than MOST would be needed."""
    s, fills = problem.sizes, [int(complex(v).real) for v in problem.grid.fills(0)]
    x_bits, k_bits = _bits(problem.x_dtype, max(fills, key=abs)), _bits(problem.k_dtype)
    best: tuple[float, Cut] | None = None
    for x_count in range(1, MOST + 1):
        for k_count in range(1, MOST + 1):
            cut = Cut(_width(x_bits, x_count), _width(k_bits, k_count), x_count, k_count)
            weights = cut.shifts(x_count, k_count)
            if rounding(problem, cut) >= SAFE:
                continue
            work = s.N * s.C * x_count + s.O * s.C * k_count + s.N * s.O * len(weights)
            if best is None or work < best[0]:
                best = work, cut
    return None if best is None else best[1]


def _width(bits: int, count: int) -> int:
    """Bits of each of so many balanced digits."""
    return bits if count == 1 else -(-(bits + 1) // count)


def rounding(problem: Problem, cut: Cut) -> float:
    """The bound of Brent, Percival and Zimmermann on a result before it is rounded, over all values of the types."""
    u, pairs = ROUNDOFF["float64"], max(map(len, cut.shifts(cut.x_count, cut.k_count).values()))
    terms = problem.sizes.C * pairs  # products that are added before the inverse transform
    levels = sum(_levels(length) for length in _lengths(problem))
    growth = math.expm1(
        3 * levels * math.log1p(u) + (3 * levels + 1) * math.log1p(u * 5**0.5) + 3 * levels * math.log1p(ROOTS * u)
    )
    norms = math.sqrt(math.prod(_sizes(problem))) * math.sqrt(problem.grid.taps)
    # Their sum rounds as well: by Parseval's theorem at most two roundoffs a term of the norms' product.
    return 2.0 ** (cut.x_width - 1 + cut.k_width - 1) * norms * terms * (growth + 2 * terms * u)


def _levels(length: int) -> int:
    """Butterfly levels of a transform of length 2^a·3^b·5^c; one more where the length is no power of two."""
    if length & (length - 1) == 0:
        return length.bit_length() - 1
    levels = 1
    for factor, worth in ((2, 1), (3, 2), (5, 3)):
        while length % factor == 0:
            length //= factor
            levels += worth
    return levels


LIMBS = Limbs()
