"""Vectors of a fixed width as values in Numba kernels: loads, stores and arithmetic that LLVM keeps in registers.

Numba leaves vectorisation to LLVM, which cannot tile loops in registers over sizes that are known only at run time. Kernels that
live on that (register-blocked correlation, transforms of many tiles side by side) say it themselves:

    v = lanes("float32", 16)
    a = v.load(x, i)               # sixteen neighbours from x[i] on, at any alignment
    v.store(y, i, a * v.splat(k[0]) + b)

A width that the processor does not have is split by LLVM. `a * b + c` becomes one fused multiply-add, as in all our kernels.
Imported by kernel builders only: it loads Numba.
"""

import operator
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.core import types as _types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

types: Any = _types  # Numba's stubs do not name all of them
_SCALARS = {"float32": ir.FloatType(), "float64": ir.DoubleType()}
_SCALARS |= {f"{sign}int{bits}": ir.IntType(bits) for sign in ("", "u") for bits in (8, 16, 32, 64)}


# What takes one instruction where no NaN can come.
TAME = {"larger": "larger number", "smaller": "smaller number"}


class Vector(_types.Type):
    """The Numba type of `width` values of one dtype."""

    def __init__(self, dtype: str, width: int) -> None:
        self.dtype, self.width = dtype, width
        super().__init__(name=f"Vector({dtype}, {width})")

    @property
    def value(self) -> ir.Type:
        return ir.VectorType(_SCALARS[self.dtype], self.width)


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        super().__init__(dmm, fe_type, fe_type.value)


class _Binary(AbstractTemplate):
    def generic(self, args: tuple, kws: dict) -> Any:
        if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1]:
            return signature(args[0], *args)
        return None


def _operator(symbol: Any, of_floats: str, of_integers: str) -> None:
    infer_global(symbol)(type(f"_{symbol.__name__}", (_Binary,), {"key": symbol}))

    @lower_builtin(symbol, Vector, Vector)
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if sig.return_type.dtype.startswith("f"):
            return getattr(builder, of_floats)(*args, flags=("contract",))
        return getattr(builder, of_integers)(*args)


for _symbol, _float, _integer in (
    (operator.add, "fadd", "add"),
    (operator.sub, "fsub", "sub"),
    (operator.mul, "fmul", "mul"),
):
    _operator(_symbol, _float, _integer)


@lru_cache(maxsize=64)
def lanes(dtype: str, width: int) -> SimpleNamespace:
    """What kernels do with vectors of that dtype and width.

    `load(pointer, i)`, `store(pointer, i, v)`, `splat(scalar)`, `root(v)`; `turn(addresses, shift, pointer, i, step)` reads a
    vector from every address (`shift` values behind it) and stores the transposed square, `step` values between its rows;
    `turn_back(pointer, i, step, addresses, shift)` is the way back.
    """
    vector = Vector(dtype, width)
    scalar = getattr(types, dtype)
    align = max(1, vector.value.element.get_abi_size(_layout()))

    @intrinsic
    def load(typingctx, pointer, index):
        def generate(context, builder, sig, args):
            return builder.load(_at(builder, vector, args), align=align, typ=vector.value)

        return vector(types.CPointer(scalar), types.int64), generate

    @intrinsic
    def store(typingctx, pointer, index, value):
        def generate(context, builder, sig, args):
            builder.store(args[2], _at(builder, vector, args), align=align)
            return context.get_dummy_value()

        return types.void(types.CPointer(scalar), types.int64, vector), generate

    @intrinsic
    def splat(typingctx, value):
        def generate(context, builder, sig, args):
            one = builder.insert_element(
                ir.Constant(vector.value, ir.Undefined), args[0], ir.Constant(ir.IntType(32), 0)
            )
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), width), None)
            return builder.shuffle_vector(one, ir.Constant(vector.value, ir.Undefined), zeros)

        return vector(scalar), generate

    @intrinsic
    def root(typingctx, value):
        def generate(context, builder, sig, args):
            kind = ir.FunctionType(vector.value, [vector.value])
            name = f"llvm.sqrt.v{width}f{8 * np.dtype(dtype).itemsize}"
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)

        return vector(vector), generate

    def vectors(builder, addresses, shift):
        """Pointers to `width` vectors, `shift` values behind the addresses in an int64 array."""
        for lane in range(width):
            place = builder.gep(addresses, [ir.Constant(ir.IntType(64), lane)], source_etype=ir.IntType(64))
            bytes_ = builder.mul(shift, ir.Constant(ir.IntType(64), align))
            yield builder.inttoptr(builder.add(builder.load(place, typ=ir.IntType(64)), bytes_), ir.PointerType())

    @intrinsic
    def turn(typingctx, addresses, shift, pointer, index, step):
        def generate(context, builder, sig, args):
            rows = [builder.load(p, align=align, typ=vector.value) for p in vectors(builder, args[0], args[1])]
            at = args[3]
            for column in _transposed(builder, rows):
                builder.store(column, _at(builder, vector, (args[2], at)), align=align)
                at = builder.add(at, args[4])
            return context.get_dummy_value()

        to = types.CPointer(scalar)
        return types.void(types.CPointer(types.int64), types.int64, to, types.int64, types.int64), generate

    @intrinsic
    def turn_back(typingctx, pointer, index, step, addresses, shift):
        def generate(context, builder, sig, args):
            columns, at = [], args[1]
            for _ in range(width):
                columns.append(builder.load(_at(builder, vector, (args[0], at)), align=align, typ=vector.value))
                at = builder.add(at, args[2])
            for row, place in zip(_transposed(builder, columns), vectors(builder, args[3], args[4]), strict=True):
                builder.store(row, place, align=align)
            return context.get_dummy_value()

        at = types.CPointer(scalar)
        return types.void(at, types.int64, types.int64, types.CPointer(types.int64), types.int64), generate

    return SimpleNamespace(load=load, store=store, splat=splat, root=root, turn=turn, turn_back=turn_back)


def _transposed(builder: Any, rows: list) -> list:
    """Square transposition in registers: blocks of half the width change sides, then blocks of a quarter, and so on."""
    width = len(rows)
    distance = width // 2
    while distance:
        for i in range(width):
            if i & distance:
                continue
            a, b = rows[i], rows[i + distance]
            low = [j if not j & distance else width + j - distance for j in range(width)]
            high = [j + distance if not j & distance else width + j for j in range(width)]
            rows[i], rows[i + distance] = (
                builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), width), m)) for m in (low, high)
            )
        distance //= 2
    return rows


class Tile(_types.Type):
    """The Numba type of a block of vectors, `rows` by `columns`, that LLVM takes apart into registers."""

    def __init__(self, vector: Vector, rows: int, columns: int) -> None:
        self.vector, self.rows, self.columns = vector, rows, columns
        super().__init__(name=f"Tile({vector.name}, {rows}, {columns})")


@register_model(Tile)
class _TileModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Tile) -> None:
        super().__init__(dmm, fe_type, ir.ArrayType(fe_type.vector.value, fe_type.rows * fe_type.columns))


def combine(builder: Any, dtype: str, operation: str, a: Any, b: Any) -> Any:
    """`add`, `mul`, `larger` or `smaller` (a where it is that or a NaN, else b) of two vectors; products and sums may fuse.

    The operations of `TAME` are `larger` and `smaller` of what is no NaN.
    """
    if operation in TAME or operation in TAME.values():
        sign = ">" if operation.startswith("larger") else "<"
        if dtype.startswith("f"):  # the inner choice is the processor's own, which loses a NaN in a
            chosen = builder.select(builder.fcmp_ordered(sign, a, b), a, b)
            if operation in TAME.values():
                return chosen
            return builder.select(builder.fcmp_unordered("uno", a, a), a, chosen)
        return builder.select((builder.icmp_unsigned if dtype[0] == "u" else builder.icmp_signed)(sign, a, b), a, b)
    if dtype.startswith("f"):
        return getattr(builder, f"f{operation}")(a, b, flags=("contract",))
    return getattr(builder, operation)(a, b)


@lru_cache(maxsize=64)
def combiner(dtype: str, width: int, operation: str) -> Any:
    """One operation of `combine` as a function of two vectors."""
    vector = Vector(dtype, width)

    @intrinsic
    def apply(typingctx, a, b):
        def generate(context, builder, sig, args):
            return combine(builder, dtype, operation, *args)

        return vector(vector, vector), generate

    return apply


@lru_cache(maxsize=64)
def tiles(dtype: str, width: int, rows: int, columns: int, add: str, mul: str) -> SimpleNamespace:
    """Sums of products in a block of `rows` by `columns` vectors; `add` and `mul` are operations of `combine`.

    `start(scalar)` is a block of one value. `step(first, last)` makes a function `(block, x, p, k, q, hop)` that reads `columns`
    vectors from x[p] on and, for every row r in [first, last), adds their product with k[q + r·hop] to the row.
    `reach(depth)` makes `(block, w, p, hop, places, shift)` that does so `depth` times: it reads `columns` vectors from
    w[p + d·hop] on and, for every row r, adds their product with the value d steps behind the address places[r] + shift bytes.
    `write(block, address, hop, count)` stores the first `count` rows, `hop` values apart.
    """
    vector = Vector(dtype, width)
    tile, scalar, size = Tile(vector, rows, columns), getattr(types, dtype), np.dtype(dtype).itemsize
    pointer = types.CPointer(scalar)

    def splat(builder, value):
        one = builder.insert_element(ir.Constant(vector.value, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), width), None)
        return builder.shuffle_vector(one, ir.Constant(vector.value, ir.Undefined), zeros)

    @intrinsic
    def start(typingctx, value):
        def generate(context, builder, sig, args):
            block, fill = ir.Constant(ir.ArrayType(vector.value, rows * columns), ir.Undefined), splat(builder, args[0])
            for i in range(rows * columns):
                block = builder.insert_value(block, fill, i)
            return block

        return tile(scalar), generate

    def step(first: int, last: int) -> Any:
        @intrinsic
        def advance(typingctx, block, x, p, k, q, hop):
            def generate(context, builder, sig, args):
                block, x, p, k, q, hop = args
                xs = []
                for v in range(columns):
                    at = builder.add(p, ir.Constant(ir.IntType(64), v * width))
                    xs.append(builder.load(_at(builder, vector, (x, at)), align=size, typ=vector.value))
                for r in range(first, last):
                    at = builder.add(q, builder.mul(hop, ir.Constant(ir.IntType(64), r)))
                    element = vector.value.element
                    w = splat(
                        builder, builder.load(builder.gep(k, [at], source_etype=element), typ=element, align=size)
                    )
                    for v in range(columns):
                        i = r * columns + v
                        product = combine(builder, dtype, mul, xs[v], w)
                        total = combine(builder, dtype, add, builder.extract_value(block, i), product)
                        block = builder.insert_value(block, total, i)
                return block

            return tile(tile, pointer, types.int64, pointer, types.int64, types.int64), generate

        return advance

    def reach(depth: int) -> Any:
        @intrinsic
        def advance(typingctx, block, w, p, hop, places, shift):
            def generate(context, builder, sig, args):
                block, w, p, hop, places, shift = args
                long, element = ir.IntType(64), vector.value.element
                starts = []
                for r in range(rows):
                    place = builder.gep(places, [ir.Constant(long, r)], source_etype=long)
                    place = builder.add(builder.load(place, typ=long), shift)
                    starts.append(builder.inttoptr(place, ir.PointerType()))
                for d in range(depth):
                    ws = []
                    for v in range(columns):
                        at = builder.add(p, ir.Constant(long, v * width))
                        ws.append(builder.load(_at(builder, vector, (w, at)), align=size, typ=vector.value))
                    for r in range(rows):
                        at = builder.gep(starts[r], [ir.Constant(long, d)], source_etype=element)
                        value = splat(builder, builder.load(at, typ=element, align=size))
                        for v in range(columns):
                            i = r * columns + v
                            product = combine(builder, dtype, mul, value, ws[v])
                            total = combine(builder, dtype, add, builder.extract_value(block, i), product)
                            block = builder.insert_value(block, total, i)
                    p = builder.add(p, hop)
                return block

            long = types.int64
            return tile(tile, pointer, long, long, types.CPointer(long), long), generate

        return advance

    @intrinsic
    def write(typingctx, block, address, hop, count):
        def generate(context, builder, sig, args):
            block, at, hop, count = args
            hop = builder.mul(hop, ir.Constant(ir.IntType(64), size))
            for r in range(rows):
                with builder.if_then(builder.icmp_signed(">", count, ir.Constant(ir.IntType(64), r))):
                    for v in range(columns):
                        place = builder.add(at, ir.Constant(ir.IntType(64), v * width * size))
                        place = builder.inttoptr(place, ir.PointerType())
                        builder.store(builder.extract_value(block, r * columns + v), place, align=size)
                at = builder.add(at, hop)
            return context.get_dummy_value()

        return types.void(tile, types.int64, types.int64, types.int64), generate

    return SimpleNamespace(start=start, step=step, reach=reach, write=write)


@lru_cache(maxsize=64)
def mixer(dtype: str, width: int, matrix: tuple[tuple[float, ...], ...]) -> Any:
    """A function `(x, p, step, y, q, hop)`: vectors at y[q + i·hop] = Σ over j of matrix[i][j] · vectors at x[p + j·step].

    The matrix is part of the code: zeros cost nothing, ones no product.
    """
    vector, scalar = Vector(dtype, width), getattr(types, dtype)
    size = np.dtype(dtype).itemsize

    @intrinsic
    def mix(typingctx, x, p, step, y, q, hop):
        def generate(context, builder, sig, args):
            x, p, step, y, q, hop = args
            xs = []
            for _ in matrix[0]:
                xs.append(builder.load(_at(builder, vector, (x, p)), align=size, typ=vector.value))
                p = builder.add(p, step)
            for row in matrix:
                total = None
                for a, weight in sorted(zip(xs, row, strict=True), key=lambda term: abs(term[1]) != 1.0):
                    if weight == 0.0:
                        continue
                    constant = ir.Constant(vector.value, [weight] * width)
                    if abs(weight) != 1.0:
                        a = builder.fmul(a, constant, flags=("contract",))
                    if total is None:
                        total = builder.fsub(ir.Constant(vector.value, [-0.0] * width), a) if weight == -1.0 else a
                    else:
                        join = builder.fsub if weight == -1.0 else builder.fadd
                        total = join(total, a, flags=("contract",))
                total = ir.Constant(vector.value, [0.0] * width) if total is None else total
                builder.store(total, _at(builder, vector, (y, q)), align=size)
                q = builder.add(q, hop)
            return context.get_dummy_value()

        at, long = types.CPointer(scalar), types.int64
        return types.void(at, long, long, at, long, long), generate

    return mix


def _layout() -> Any:
    import llvmlite.binding as llvm

    return llvm.create_target_data("")


def _at(builder: Any, vector: Vector, args: Any) -> Any:
    address = builder.gep(args[0], [args[1]], source_etype=vector.value.element)
    return builder.bitcast(address, ir.PointerType(vector.value))
