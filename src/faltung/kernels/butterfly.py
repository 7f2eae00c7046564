"""Transforms that are a power of one 2 by 2 matrix: the engine of the Hadamard and the zeta kernels.

An axis of 2^m places is m axes of two; on each of them a pair (a, b) becomes another pair, and the m levels may come in any order.
So a level costs one pass over the data whatever its distance, and the engine's work is to make few passes through memory:

- levels whose pairs lie within one vector are done by shuffles, three more in registers (radix 8);
- blocks that fit the first cache go through all their levels there;
- longer lines go on in strips: a few neighbouring columns of up to `ROWS` rows are carried into scratch memory, go through nine
  levels there and are carried back, because rows a power of two apart would push each other out of the cache.

Imported without Numba; the builders import it.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.kernels import native
from faltung.kernels.native import address, lanes
from faltung.kernels.threads import available, scratch, spread

BLOCK = 1 << 15  # bytes that go through all their levels in the first cache
STRIP = 1 << 9  # bytes of one row of a strip
ROWS = 1 << 9  # rows of a strip
GRAIN = 1 << 16  # bytes worth handing to another thread
PARTS = {"complex64": "float32", "complex128": "float64"}

# What (a, b) becomes: the first and the second result, each "a", "b" or an operation on (b, a) or (a, b).
STEPS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "hadamard": (("add", "a", "b"), ("sub", "a", "b")),
    "subset-add": (("a",), ("add", "b", "a")),
    "subset-sub": (("a",), ("sub", "b", "a")),
    "subset-max": (("a",), ("larger", "b", "a")),
    "subset-min": (("a",), ("smaller", "b", "a")),
    "superset-add": (("add", "a", "b"), ("b",)),
    "superset-sub": (("sub", "a", "b"), ("b",)),
    "superset-max": (("larger", "a", "b"), ("b",)),
    "superset-min": (("smaller", "a", "b"), ("b",)),
}


def transform(
    x: np.ndarray, step: str, axis: int, out: np.ndarray | None = None, scale: float = 1.0, threads: int | None = None
) -> np.ndarray:
    """All levels of a step of `STEPS` along one axis of a contiguous array.

    Args:
        x: C-contiguous; the axis holds a power of two places.   out: where to, C-contiguous, of the shape and dtype of x; x itself
            for a transform in place; memory of its own by default.   scale: a factor of real and complex results.
    """
    axis %= x.ndim
    n, inner = x.shape[axis], math.prod(x.shape[axis + 1 :])
    y = np.empty_like(x) if out is None else out
    if x.size == 0:
        return y
    dtype = _name(x.dtype)
    if dtype in PARTS:  # a complex number is a pair of columns
        dtype, inner = PARTS[dtype], 2 * inner
    _Run(dtype, step, n, inner, scale, threads or available())(x, y)
    return y


@lru_cache(maxsize=32)
def _name(dtype: np.dtype) -> str:
    return str(dtype)  # which takes NumPy longer than a short transform


class _Run:
    """One transform of lines of n rows of `inner` neighbours each."""

    def __init__(self, dtype: str, step: str, n: int, inner: int, scale: float, threads: int) -> None:
        self.dtype, self.step, self.n, self.inner, self.scale, self.threads = dtype, step, n, inner, scale, threads
        self.item, self.width = np.dtype(dtype).itemsize, lanes(dtype)

    def __call__(self, x: np.ndarray, y: np.ndarray) -> None:
        n, inner, width = self.n, self.inner, self.width
        flat, size = x.nbytes // self.item, n * inner
        low = inner if inner < width and inner & (inner - 1) == 0 else 0
        high = min(width, size) if low else 0
        kernel = native.load(*key(self.dtype, self.step))

        def run(*items: int) -> None:
            kernel(*items, low, high, self.scale)

        if low and size < width:  # several lines in each vector
            whole = flat // width
            self._blocks(run, x, y, whole, 1, width)
            if rest := flat - whole * width:
                last = np.zeros(width, self.dtype)
                source, target = (a.reshape(-1).view(self.dtype)[-rest:] for a in (x, y))
                last[:rest] = source
                run(address(last), address(last), 0, 1, 1, width)
                target[:] = last[:rest]
            return
        block = n
        while block > 1 and block * inner * self.item > BLOCK:
            block //= 2
        if low:
            block = max(block, width // inner)
            self._blocks(run, x, y, flat // (block * inner), block * inner // width, width)
        else:
            self._blocks(run, x, y, flat // (block * inner), block, inner)
        self._strips(y, flat, block)

    def _blocks(self, run: Callable, x: np.ndarray, y: np.ndarray, items: int, rows: int, unit: int) -> None:
        source, target = address(x), address(y)

        def task(first: int, last: int) -> None:
            run(source, target, first, last, rows, unit)

        spread(task, items, self.threads, max(1, GRAIN // (rows * unit * self.item)))

    def _strips(self, y: np.ndarray, flat: int, done: int) -> None:
        """The levels from `done` rows on, up to nine at a time."""
        if done == self.n:
            return
        run, target = native.load(*strip_key(self.dtype, self.step)), address(y)
        left = (self.n // done).bit_length() - 1
        rounds = -(-left // (ROWS.bit_length() - 1))
        for r in range(rounds):
            levels = left * (r + 1) // rounds - left * r // rounds
            rows, step = 1 << levels, done * self.inner
            strip = min(step, STRIP // self.item)
            pieces = -(-step // strip)

            def task(first: int, last: int, rows: int = rows, step: int = step, strip: int = strip) -> None:
                run(target, scratch(rows * strip * self.item), first, last, rows, step, strip)

            spread(task, flat // (rows * step) * pieces, self.threads, max(1, GRAIN // (rows * strip * self.item)))
            done *= rows


def key(dtype: str, step: str) -> tuple:
    """What `native.load` takes for the kernel of blocks."""
    return f"butterfly-{step}-{dtype}", build, dtype, step, lanes(dtype)


def strip_key(dtype: str, step: str) -> tuple:
    """The same for the kernel of strips."""
    return f"butterfly-strips-{step}-{dtype}", build_strips, dtype, step, lanes(dtype)


def build(dtype: str, step: str, width: int) -> tuple[Callable, str]:
    """The kernel of blocks: items of `rows` rows, each `unit` values long, every level of them; `width` is the vector's.

    Where levels of distances from low up to high lie within vectors, a row is one vector.
    """
    one, two, four, eight = (_butterfly(dtype, width, step, radix, True) for radix in (1, 2, 4, 8))
    copy, pair, quad, octet = (_butterfly(dtype, 1, step, radix, False) for radix in (1, 2, 4, 8))
    plain = _butterfly(dtype, width, step, 8, False)
    from faltung.kernels.simd import lanes as vectors

    v, real = vectors(dtype, width), dtype.startswith("f")
    load, store, splat = v.load, v.store, v.splat
    number = getattr(np, dtype)

    def blocks(x, y, first, last, rows, unit, low, high, scale):
        size = rows * unit
        radix = rows
        while radix > 8:
            radix >>= 3
        for item in range(first, last):
            base = item * size
            for p in range(base, base + size, radix * unit):
                whole = unit // width * width
                for c in range(p, p + whole, width):
                    if radix == 8:
                        eight(x, c, unit, y, c, unit, low, high)
                    elif radix == 4:
                        four(x, c, unit, y, c, unit, low, high)
                    elif radix == 2:
                        two(x, c, unit, y, c, unit, low, high)
                    else:
                        one(x, c, unit, y, c, unit, low, high)
                for c in range(p + whole, p + unit):
                    if radix == 8:
                        octet(x, c, unit, y, c, unit)
                    elif radix == 4:
                        quad(x, c, unit, y, c, unit)
                    elif radix == 2:
                        pair(x, c, unit, y, c, unit)
                    else:
                        copy(x, c, unit, y, c, unit)
            d = radix * unit
            while d < size:
                whole = d // width * width
                for p in range(base, base + size, 8 * d):
                    for c in range(p, p + whole, width):
                        plain(y, c, d, y, c, d)
                    for c in range(p + whole, p + d):
                        octet(y, c, d, y, c, d)
                d *= 8
            if real and scale != 1.0:
                factor = number(scale)
                whole = size // width * width
                for c in range(base, base + whole, width):
                    store(y, c, load(y, c) * splat(factor))
                for c in range(base + whole, base + size):
                    y[c] *= factor

    return blocks, f"p:{dtype},p:{dtype},i,i,i,i,i,i,d"


def build_strips(dtype: str, step: str, width: int) -> tuple[Callable, str]:
    """The kernel of strips: items of `rows` rows that lie `step` values apart, of each up to `strip` neighbours."""
    from faltung.kernels.native import inner

    wide = [_butterfly(dtype, width, step, radix, False) for radix in (2, 4, 8)]
    single = [_butterfly(dtype, 1, step, radix, False) for radix in (2, 4, 8)]
    two, four, eight = wide
    pair, quad, octet = single

    @inner
    def columns(x, p, sstep, y, q, dstep, count, radix):
        """One radix step of `count` neighbouring columns from x to y."""
        whole = count // width * width
        if radix == 8:
            for c in range(0, whole, width):
                eight(x, p + c, sstep, y, q + c, dstep)
            for c in range(whole, count):
                octet(x, p + c, sstep, y, q + c, dstep)
        elif radix == 4:
            for c in range(0, whole, width):
                four(x, p + c, sstep, y, q + c, dstep)
            for c in range(whole, count):
                quad(x, p + c, sstep, y, q + c, dstep)
        else:
            for c in range(0, whole, width):
                two(x, p + c, sstep, y, q + c, dstep)
            for c in range(whole, count):
                pair(x, p + c, sstep, y, q + c, dstep)

    def strips(y, held, first, last, rows, step, strip):
        pieces = (step + strip - 1) // strip
        radix = rows
        while radix > 8:
            radix >>= 3
        for item in range(first, last):
            at = item % pieces * strip
            base, count = item // pieces * rows * step + at, min(strip, step - at)
            if rows <= 8:
                columns(y, base, step, y, base, step, count, radix)
                continue
            for r in range(0, rows, radix):
                columns(y, base + r * step, step, held, r * strip, strip, count, radix)
            d = radix * strip
            while 8 * d < rows * strip:
                for p in range(0, rows * strip, 8 * d):
                    columns(held, p, d, held, p, d, d, 8)
                d *= 8
            eighth = rows // 8
            for r in range(eighth):
                columns(held, r * strip, d, y, base + r * step, eighth * step, count, 8)

    return strips, f"p:{dtype},p:{dtype},i,i,i,i,i"


def _butterfly(dtype: str, width: int, step: str, radix: int, within: bool) -> Any:
    """A function that takes one vector from each of `radix` rows through the levels among them.

    `(x, p, sstep, y, q, dstep)` reads vectors from x[p] on, `sstep` apart, and writes them to y[q] on, `dstep` apart. With levels
    `within` vectors it is `(x, p, sstep, y, q, dstep, low, high)` and does those of distance low up to high as well.
    """
    from llvmlite import ir
    from numba.extending import intrinsic

    from faltung.kernels.simd import Vector, _at, combine, types

    vector = Vector(dtype, width)
    pointer, size = types.CPointer(getattr(types, dtype)), np.dtype(dtype).itemsize
    mask = ir.VectorType(ir.IntType(32), width)

    def result(builder: Any, form: tuple[str, ...], a: Any, b: Any) -> Any:
        values = {"a": a, "b": b}
        return values[form[0]] if len(form) == 1 else combine(builder, dtype, form[0], values[form[1]], values[form[2]])

    def level(builder: Any, v: Any, d: int) -> Any:
        """A level whose pairs are lanes at distance d: each lane meets its partner, and takes its own side's result."""
        partner = builder.shuffle_vector(v, v, ir.Constant(mask, [i ^ d for i in range(width)]))
        if step == "hadamard" and dtype.startswith(
            "f"
        ):  # partner ± own: one fused operation, of which the product is exact
            signs = ir.Constant(vector.value, [-1.0 if i & d else 1.0 for i in range(width)])
            return builder.fadd(builder.fmul(v, signs, flags=("contract",)), partner, flags=("contract",))
        lower, upper = result(builder, STEPS[step][0], v, partner), result(builder, STEPS[step][1], partner, v)
        chosen = ir.Constant(mask, [i + width if i & d else i for i in range(width)])
        return builder.shuffle_vector(lower, upper, chosen)

    def levels(builder: Any, vs: list, low: Any, high: Any) -> list:
        """Those levels within vectors that are asked for."""
        d = 1
        while d < width:
            at = ir.Constant(ir.IntType(64), d)
            asked = builder.and_(builder.icmp_signed("<=", low, at), builder.icmp_signed("<", at, high))
            before = builder.block
            with builder.if_then(asked):
                done = [level(builder, v, d) for v in vs]
                inside = builder.block
            met = []
            for v, w in zip(vs, done, strict=True):
                phi = builder.phi(vector.value)
                phi.add_incoming(v, before)
                phi.add_incoming(w, inside)
                met.append(phi)
            vs, d = met, 2 * d
        return vs

    def steps(builder: Any, x: Any, p: Any, sstep: Any, y: Any, q: Any, dstep: Any, *asked: Any) -> None:
        vs = []
        for _ in range(radix):
            vs.append(builder.load(_at(builder, vector, (x, p)), align=size, typ=vector.value))
            p = builder.add(p, sstep)
        if asked:
            vs = levels(builder, vs, *asked)
        d = 1
        while d < radix:
            for i in range(radix):
                if not i & d:
                    a, b = vs[i], vs[i + d]
                    vs[i], vs[i + d] = (result(builder, form, a, b) for form in STEPS[step])
            d *= 2
        for v in vs:
            builder.store(v, _at(builder, vector, (y, q)), align=size)
            q = builder.add(q, dstep)

    long = types.int64
    if within:

        @intrinsic
        def inside(typingctx, x, p, sstep, y, q, dstep, low, high):
            def generate(context, builder, sig, args):
                steps(builder, *args)
                return context.get_dummy_value()

            return types.void(pointer, long, long, pointer, long, long, long, long), generate

        return inside

    @intrinsic
    def butterfly(typingctx, x, p, sstep, y, q, dstep):
        def generate(context, builder, sig, args):
            steps(builder, *args)
            return context.get_dummy_value()

        return types.void(pointer, long, long, pointer, long, long), generate

    return butterfly
