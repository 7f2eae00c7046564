"""Residues modulo a prime below 2^49 in the lanes of double-precision vectors, every operation exact.

A residue is an integer of either sign held in a float64; it need not be the smallest one. `product` is Dekker's: h = x·w rounded,
q = the integer next to h/p, and x·w − q·p = (h − q·p) + (x·w − h), where both brackets are integers that one fused multiply-add
each computes without rounding. With u = 2⁻⁵³, |x| ≤ B·p and |w| ≤ β·p, and 1/p and h rounded once each, q differs from x·w/p by
at most 1/2 + 2u·B·β·p(1 + u) ≤ 1/2 + B·β/8 (1 + u), so |result| ≤ (1/2 + B·β/8)(1 + u)·p; adding 1.5·2^52 rounds to an integer as
long as B·β·p < 2^51, that is B·β < 4.

So that nobody has to trust a hand count, the generators below carry such a bound with every value, insert `reduced` where a bound
would grow beyond what the next step allows, and stop with an AssertionError where a product would not be exact.

Why doubles: 2^16 points, twelve levels in radix 4, on one core with 512-bit vectors. Predicted from instruction counts: 1.1 to 1.3
times the bits per second of 30-bit primes in 32-bit lanes with Shoup's product, which needs two widening products for sixteen
lanes and corrections after each sum. Measured: 51 µs for 50-bit primes against 34 µs for 30-bit ones, 1.10 times. And
one or two such primes hold what takes two to four small ones.

Source: Dekker (1971); van der Hoeven, Lecerf and Quintin, Modular SIMD arithmetic in Mathemagix (2016).
"""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.core import types as _types
from numba.extending import intrinsic

from faltung.kernels.ntt.primes import BITS
from faltung.kernels.simd import Vector, _at, _transposed

types: Any = _types
LARGE = 4.0  # bound on B·β in a product; as a bound on values, what a multiplier of 1/2 p and more may meet
KEPT = 2.0  # bound on what is stored between passes, in multiples of p
ROUND = 6755399441055744.0  # 1.5·2^52: what is added to it is rounded to an integer
SLACK = 1 + 2.0**-40  # for the powers (1 + u) in the bounds


class Residue:
    """A vector of residues while code is generated: LLVM's value and its bound in multiples of p."""

    def __init__(self, value: Any, bound: float) -> None:
        self.value, self.bound = value, bound


class Arithmetic:
    """Emits operations on residues; p and 1/p are vectors."""

    def __init__(self, builder: Any, width: int, p: Any, inverse: Any) -> None:
        self.b, self.p, self.inverse = builder, p, inverse
        self.type = Vector("float64", width).value
        self.round = ir.Constant(self.type, [ROUND] * width)
        self.minus_p = builder.fneg(p)

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        return fused(self.b, x, y, z)

    def reduced(self, x: Residue) -> Residue:
        """The residue next to zero, or one beside it where two are about as near."""
        assert x.bound < 2 * LARGE
        q = self.b.fsub(self.fma(x.value, self.inverse, self.round), self.round)
        return Residue(self.fma(q, self.minus_p, x.value), 0.5 * SLACK + x.bound * 2.0**-52)

    def within(self, x: Residue, limit: float) -> Residue:
        return x if x.bound <= limit else self.reduced(x)

    def product(self, x: Residue, w: Residue) -> Residue:
        if x.bound * w.bound >= LARGE:
            x = self.reduced(x)
        if x.bound * w.bound >= LARGE:
            w = self.reduced(w)
        assert x.bound * w.bound < LARGE
        h = self.b.fmul(x.value, w.value)
        q = self.b.fsub(self.fma(h, self.inverse, self.round), self.round)
        low = self.fma(x.value, w.value, self.b.fneg(h))
        high = self.fma(q, self.minus_p, h)
        return Residue(self.b.fadd(high, low), (0.5 + x.bound * w.bound * 2.0 ** (BITS - 52)) * SLACK)

    def sum(self, x: Residue, y: Residue) -> Residue:
        return Residue(self.b.fadd(x.value, y.value), x.bound + y.bound)

    def difference(self, x: Residue, y: Residue) -> Residue:
        return Residue(self.b.fsub(x.value, y.value), x.bound + y.bound)

    def split(self, rows: list[Residue], first: int, distance: int, w: Residue) -> None:
        """Modulo X^2m − w² to modulo X^m − w and X^m + w: (a, b) to (a + w·b, a − w·b), m rows from the first on."""
        for i in range(first, first + distance):
            a, b = rows[i], self.product(rows[i + distance], w)
            a = self.within(a, 2 * LARGE - 1 - b.bound)
            rows[i], rows[i + distance] = self.sum(a, b), self.difference(a, b)

    def join(self, rows: list[Residue], first: int, distance: int, w: Residue) -> None:
        """Back, times two: (a, b) to (a + b, (a − b)·w), where w is the inverse."""
        for i in range(first, first + distance):
            a, b = rows[i], rows[i + distance]
            if (a.bound + b.bound) * w.bound >= LARGE:
                a, b = (self.reduced(v) if v.bound > 1 else v for v in (a, b))
            rows[i], rows[i + distance] = self.sum(a, b), self.product(self.difference(a, b), w)


def fused(builder: Any, x: Any, y: Any, z: Any) -> Any:
    """x·y + z rounded once, whatever the processor."""
    t = x.type
    name = f"llvm.fma.v{t.count}f64" if isinstance(t, ir.VectorType) else "llvm.fma.f64"
    return builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(t, [t, t, t]), name), [x, y, z])


def _splat(builder: Any, width: int, scalar: Any) -> Any:
    vector = Vector("float64", width).value
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), width), None)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)


class _Memory:
    """Loads and stores of vectors of residues while code is generated."""

    def __init__(self, builder: Any, width: int) -> None:
        self.b, self.vector, self.width = builder, Vector("float64", width), width

    def shifted(self, index: Any, by: Any) -> Any:
        return self.b.add(index, by if isinstance(by, ir.Value) else ir.Constant(ir.IntType(64), by))

    def load(self, pointer: Any, index: Any, bound: float) -> Residue:
        at = _at(self.b, self.vector, (pointer, index))
        return Residue(self.b.load(at, align=8, typ=self.vector.value), bound)

    def splat(self, pointer: Any, index: Any, bound: float) -> Residue:
        place = self.b.gep(pointer, [index], source_etype=ir.DoubleType())
        return Residue(_splat(self.b, self.width, self.b.load(place, typ=ir.DoubleType(), align=8)), bound)

    def store(self, pointer: Any, index: Any, x: Residue) -> None:
        self.b.store(x.value, _at(self.b, self.vector, (pointer, index)), align=8)


@lru_cache(maxsize=4)
def butterflies(width: int) -> SimpleNamespace:
    """What the transforms do to vectors, as functions for kernels. All take p and 1/p as vectors last.

    `split(levels)`: (x, i, hop, s, j, p, 1/p): the blocks of node j split `levels` times, 2^levels vectors hop apart.
    `join(levels)`: the way back with the inverse constants.   `leaf`: (x, i, s, j, t, u, p, 1/p): width² neighbours split all
    the way down, transposed in between; the constants of the second half are in t[u] and on.   `unleaf`: the way back.
    `product(x, y, p, 1/p)` and `near(x, p, 1/p)`: one product, one reduction; the caller knows the bounds.
    """
    vector = Vector("float64", width)
    levels = width.bit_length() - 1
    pointer, long = types.CPointer(types.float64), types.int64
    constant = 0.5 * SLACK  # bound of the tables' entries

    def split_rows(a: Arithmetic, rows: list[Residue], depth: int, constants: Any) -> None:
        for level in range(depth):
            distance = len(rows) >> (level + 1)
            for block in range(1 << level):
                a.split(rows, 2 * block * distance, distance, constants(level, block))

    def join_rows(a: Arithmetic, rows: list[Residue], depth: int, constants: Any) -> None:
        for level in reversed(range(depth)):
            distance = len(rows) >> (level + 1)
            for block in range(1 << level):
                a.join(rows, 2 * block * distance, distance, constants(level, block))

    def scalars(memory: _Memory, s: Any, j: Any) -> Any:
        """Constants of node j and its descendants: s[2^level · j + block]."""
        found: dict[tuple[int, int], Residue] = {}

        def of(level: int, block: int) -> Residue:
            if (level, block) not in found:
                index = memory.shifted(memory.b.shl(j, ir.Constant(ir.IntType(64), level)), block)
                found[level, block] = memory.splat(s, index, constant)
            return found[level, block]

        return of

    def vectors(memory: _Memory, a: Arithmetic, s: Any, t: Any, u: Any) -> Any:
        """Those of width nodes side by side: s[2^level·j + block] = s[2^level·j] · s[block]."""
        found: dict[tuple[int, int], Residue] = {}

        def of(level: int, block: int) -> Residue:
            if (level, block) not in found:
                if block == 0:
                    found[level, 0] = memory.load(t, memory.shifted(u, level * width), constant)
                else:
                    turn = memory.splat(s, ir.Constant(ir.IntType(64), block), constant)
                    found[level, block] = a.product(of(level, 0), turn)
            return found[level, block]

        return of

    def passes(depth: int, back: bool) -> Any:
        @intrinsic
        def step(typingctx, x, i, hop, s, j, p, inverse):
            def generate(context, builder, sig, args):
                x, i, hop, s, j, p, inverse = args
                a, memory = Arithmetic(builder, width, p, inverse), _Memory(builder, width)
                places, rows = [i], []
                for _ in range((1 << depth) - 1):
                    places.append(builder.add(places[-1], hop))
                rows = [memory.load(x, place, KEPT) for place in places]
                if not back:
                    rows[0] = a.reduced(rows[0])
                (join_rows if back else split_rows)(a, rows, depth, scalars(memory, s, j))
                for place, row in zip(places, rows, strict=True):
                    memory.store(x, place, a.within(row, KEPT))
                return context.get_dummy_value()

            return types.void(pointer, long, long, pointer, long, vector, vector), generate

        return step

    def leaves(back: bool) -> Any:
        @intrinsic
        def step(typingctx, x, i, s, j, t, u, p, inverse):
            def generate(context, builder, sig, args):
                x, i, s, j, t, u, p, inverse = args
                a, memory = Arithmetic(builder, width, p, inverse), _Memory(builder, width)
                places = [memory.shifted(i, row * width) for row in range(width)]
                rows = [memory.load(x, place, SPECTRAL if back else KEPT) for place in places]
                first, second = scalars(memory, s, j), vectors(memory, a, s, t, u)
                (join_rows if back else split_rows)(a, rows, levels, second if back else first)
                top = max(row.bound for row in rows)
                rows = [Residue(row, top) for row in _transposed(builder, [row.value for row in rows])]
                (join_rows if back else split_rows)(a, rows, levels, first if back else second)
                for place, row in zip(places, rows, strict=True):
                    memory.store(x, place, a.within(row, KEPT if back else 2 * LARGE - 1))
                return context.get_dummy_value()

            return types.void(pointer, long, pointer, long, pointer, long, vector, vector), generate

        return step

    @intrinsic
    def product(typingctx, x, y, p, inverse):
        def generate(context, builder, sig, args):
            a = Arithmetic(builder, width, args[2], args[3])
            return a.product(Residue(args[0], 0.0), Residue(args[1], 0.0)).value

        return vector(vector, vector, vector, vector), generate

    @intrinsic
    def near(typingctx, x, p, inverse):
        def generate(context, builder, sig, args):
            return Arithmetic(builder, width, args[1], args[2]).reduced(Residue(args[0], 0.0)).value

        return vector(vector, vector, vector), generate

    return SimpleNamespace(
        split=lambda depth: passes(depth, False),
        join=lambda depth: passes(depth, True),
        leaf=leaves(False),
        unleaf=leaves(True),
        product=product,
        near=near,
    )


# Bound on the spectra that go into the way back: sums of products, reduced (see `mix`).
SPECTRAL = 1.0


@lru_cache(maxsize=4)
def words(width: int) -> SimpleNamespace:
    """Vectors of int64 in float64 and back, where either holds the value exactly, and the halves of a word."""
    floats, longs, unsigned = (Vector(dtype, width) for dtype in ("float64", "int64", "uint64"))

    def make(returns: Vector, takes: Vector, emit: Any) -> Any:
        @intrinsic
        def convert(typingctx, v):
            def generate(context, builder, sig, args):
                return emit(builder, args[0])

            return returns(takes), generate

        return convert

    def fixed(value: int) -> Any:
        return ir.Constant(longs.value, [value] * width)

    return SimpleNamespace(
        signed=make(floats, longs, lambda b, v: b.sitofp(v, floats.value)),
        whole=make(longs, floats, lambda b, v: b.fptosi(v, longs.value)),
        low=make(longs, longs, lambda b, v: b.and_(v, fixed(0xFFFFFFFF))),
        low_unsigned=make(unsigned, unsigned, lambda b, v: b.and_(v, fixed(0xFFFFFFFF))),
        high=make(longs, longs, lambda b, v: b.ashr(v, fixed(32))),
        high_unsigned=make(longs, longs, lambda b, v: b.lshr(v, fixed(32))),
    )


@intrinsic
def pointer(typingctx, address):
    """An address as a pointer to float64."""

    def generate(context, builder, sig, args):
        return builder.inttoptr(args[0], ir.PointerType())

    return types.CPointer(types.float64)(types.int64), generate
