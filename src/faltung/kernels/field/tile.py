"""Blocks of sums in registers for kernels whose filter changes from place to place: both operands are vectors along a row.

Columns of a row that see beyond the edge of the signal are masked: they are not read, and count as zeros.
"""

from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from faltung.kernels.field.layout import ENTRY
from faltung.kernels.simd import Tile, Vector, combine, types

_LONG, _INT, _BIT, _PLACE = ir.IntType(64), ir.IntType(32), ir.IntType(1), ir.PointerType()


@lru_cache(maxsize=64)
def blocks(dtype: str, width: int, rows: int, columns: int) -> SimpleNamespace:
    """Functions of a block of `rows` by `columns` vectors. Steps between rows and columns are read from int64 arrays.

    `zero()`; `load(o, at, down, across, count)` reads `count` values of every vector from o[at + down[r] + across[c]] on, and
    `store(block, o, at, to, hop, rows, columns, count)` writes those of the first rows and columns to o[at + r·to + c·hop].
    `sum(block, w, p, down, s, q, across, entries, entry, at)` adds w[p + down[r]]·s[q + across[c]], both at column `at` of what
    the entry says; `pack(w, p, down, entries, entry, at, packed, to)` keeps these values of w together, and
    `sum_packed(block, packed, p, s, q, across, entries, entry, at)` takes them from there.
    `cross(block, y, p, down, x, q, entries, entry, last, at, count)` adds y[p + down[r]]·x[q + where entry + c says], with entries
    no further than `last` behind the first.
    """
    vector = Vector(dtype, width)
    value, element, size = vector.value, vector.value.element, np.dtype(dtype).itemsize
    bits, vector_bytes = 8 * size, size * width
    mask_type = ir.VectorType(_BIT, width)
    tile = Tile(vector, rows, columns)
    pointer, long, table = types.CPointer(getattr(types, dtype)), types.int64, types.CPointer(types.int64)

    def address(builder: Any, base: Any, at: Any) -> Any:
        return builder.gep(base, [at], source_etype=element)

    def number(builder: Any, array: Any, at: Any) -> Any:
        at = ir.Constant(_LONG, at) if isinstance(at, int) else at
        return builder.load(builder.gep(array, [at], source_etype=_LONG), typ=_LONG)

    def lanes_within(builder: Any, first: Any, span: Any) -> Any:
        """The lanes whose number less `first` lies in [0, span): one comparison without signs."""
        wide = ir.VectorType(_INT, width)
        zeros = ir.Constant(wide, [0] * width)

        def splat(number: Any) -> Any:
            small = builder.trunc(number, _INT)
            one = builder.insert_element(ir.Constant(wide, ir.Undefined), small, ir.Constant(_INT, 0))
            return builder.shuffle_vector(one, ir.Constant(wide, ir.Undefined), zeros)

        lanes = builder.sub(ir.Constant(wide, list(range(width))), splat(first))
        return builder.icmp_unsigned("<", lanes, splat(span))

    def read(builder: Any, place: Any, mask: Any) -> Any:
        name = f"llvm.masked.load.v{width}f{bits}.p0"
        kind = ir.FunctionType(value, [_PLACE, _INT, mask_type, value])
        found = cgutils.get_or_insert_function(builder.module, kind, name)
        place = builder.bitcast(place, _PLACE)
        return builder.call(found, [place, ir.Constant(_INT, size), mask, ir.Constant(value, [0.0] * width)])

    def write(builder: Any, what: Any, place: Any, mask: Any) -> None:
        name = f"llvm.masked.store.v{width}f{bits}.p0"
        kind = ir.FunctionType(ir.VoidType(), [value, _PLACE, _INT, mask_type])
        found = cgutils.get_or_insert_function(builder.module, kind, name)
        builder.call(found, [what, builder.bitcast(place, _PLACE), ir.Constant(_INT, size), mask])

    def each(builder: Any, many: tuple, task: Callable) -> None:
        """`task(i)` for the vectors of the block that exist."""
        for r in range(rows):
            with builder.if_then(builder.icmp_signed(">", many[0], ir.Constant(_LONG, r))):
                for c in range(columns):
                    with builder.if_then(builder.icmp_signed(">", many[1], ir.Constant(_LONG, c))):
                        task(r * columns + c)

    def add(builder: Any, block: Any, i: int, a: Any, b: Any) -> Any:
        total = combine(builder, dtype, "add", builder.extract_value(block, i), combine(builder, dtype, "mul", a, b))
        return builder.insert_value(block, total, i)

    @intrinsic
    def zero(typingctx):
        def generate(context, builder, sig, args):
            return ir.Constant(ir.ArrayType(value, rows * columns), None)

        return tile(), generate

    @intrinsic
    def load(typingctx, o, at, down, across, count):
        def generate(context, builder, sig, args):
            o, at, down, across, count = args
            block = ir.Constant(ir.ArrayType(value, rows * columns), None)
            mask = lanes_within(builder, ir.Constant(_LONG, 0), count)
            for r in range(rows):
                row = builder.add(at, number(builder, down, r))
                for c in range(columns):
                    place = address(builder, o, builder.add(row, number(builder, across, c)))
                    block = builder.insert_value(block, read(builder, place, mask), r * columns + c)
            return block

        return tile(pointer, long, table, table, long), generate

    @intrinsic
    def store(typingctx, block, o, at, to, hop, many_rows, many_columns, count):
        def generate(context, builder, sig, args):
            block, o, at, to, hop, many_rows, many_columns, count = args
            rows_at = [builder.add(at, builder.mul(to, ir.Constant(_LONG, r))) for r in range(rows)]
            hops = [builder.mul(hop, ir.Constant(_LONG, c)) for c in range(columns)]
            mask = lanes_within(builder, ir.Constant(_LONG, 0), count)

            def put(i: int) -> None:
                place = address(builder, o, builder.add(rows_at[i // columns], hops[i % columns]))
                write(builder, builder.extract_value(block, i), place, mask)

            each(builder, (many_rows, many_columns), put)
            return context.get_dummy_value()

        return types.void(tile, pointer, long, long, long, long, long, long), generate

    @intrinsic
    def sum_(typingctx, block, w, p, down, s, q, across, entries, entry, at):
        def generate(context, builder, sig, args):
            block, w, p, down, s, q, across, entries, entry, at = args
            e = builder.gep(entries, [builder.mul(entry, ir.Constant(_LONG, ENTRY))], source_etype=_LONG)
            p, q = (builder.add(builder.add(x, number(builder, e, i)), at) for i, x in enumerate((p, q)))
            mask = lanes_within(builder, builder.sub(number(builder, e, 2), at), number(builder, e, 3))
            row_at = [builder.add(p, number(builder, down, r)) for r in range(rows)]
            ws = [read(builder, address(builder, w, place), mask) for place in row_at]
            for c in range(columns):
                b = read(builder, address(builder, s, builder.add(q, number(builder, across, c))), mask)
                for r in range(rows):
                    block = add(builder, block, r * columns + c, ws[r], b)
            return block

        return tile(tile, pointer, long, table, pointer, long, table, table, long, long), generate

    @intrinsic
    def pack(typingctx, w, p, down, entries, entry, at, packed, to):
        def generate(context, builder, sig, args):
            w, p, down, entries, entry, at, packed, to = args
            e = builder.gep(entries, [builder.mul(entry, ir.Constant(_LONG, ENTRY))], source_etype=_LONG)
            p = builder.add(builder.add(p, number(builder, e, 0)), at)
            mask = lanes_within(builder, builder.sub(number(builder, e, 2), at), number(builder, e, 3))
            for r in range(rows):
                a = read(builder, address(builder, w, builder.add(p, number(builder, down, r))), mask)
                place = address(builder, packed, builder.add(to, ir.Constant(_LONG, r * width)))
                builder.store(a, builder.bitcast(place, ir.PointerType(value)), align=vector_bytes)
            return context.get_dummy_value()

        return types.void(pointer, long, table, table, long, long, pointer, long), generate

    @intrinsic
    def sum_packed(typingctx, block, packed, p, s, q, across, entries, entry, at):
        def generate(context, builder, sig, args):
            block, packed, p, s, q, across, entries, entry, at = args
            e = builder.gep(entries, [builder.mul(entry, ir.Constant(_LONG, ENTRY))], source_etype=_LONG)
            q = builder.add(builder.add(q, number(builder, e, 1)), at)
            mask = lanes_within(builder, builder.sub(number(builder, e, 2), at), number(builder, e, 3))
            ws = []
            for r in range(rows):
                place = address(builder, packed, builder.add(p, ir.Constant(_LONG, r * width)))
                ws.append(builder.load(builder.bitcast(place, ir.PointerType(value)), align=vector_bytes, typ=value))
            for c in range(columns):
                b = read(builder, address(builder, s, builder.add(q, number(builder, across, c))), mask)
                for r in range(rows):
                    block = add(builder, block, r * columns + c, ws[r], b)
            return block

        return tile(tile, pointer, long, pointer, long, table, table, long, long), generate

    @intrinsic
    def cross(typingctx, block, y, p, down, x, q, entries, entry, last, at, count):
        def generate(context, builder, sig, args):
            block, y, p, down, x, q, entries, entry, last, at, count = args
            rest = lanes_within(builder, ir.Constant(_LONG, 0), count)
            p, q = builder.add(p, at), builder.add(q, at)
            row_at = [builder.add(p, number(builder, down, r)) for r in range(rows)]
            ys = [read(builder, address(builder, y, place), rest) for place in row_at]
            for c in range(columns):
                there = ir.Constant(_LONG, c)
                there = builder.select(builder.icmp_signed("<", there, last), there, last)
                there = builder.mul(builder.add(entry, there), ir.Constant(_LONG, ENTRY))
                e = builder.gep(entries, [there], source_etype=_LONG)
                mask = lanes_within(builder, builder.sub(number(builder, e, 2), at), number(builder, e, 3))
                b = read(builder, address(builder, x, builder.add(q, number(builder, e, 1))), mask)
                for r in range(rows):
                    block = add(builder, block, r * columns + c, ys[r], b)
            return block

        return tile(tile, pointer, long, table, pointer, long, table, long, long, long, long), generate

    return SimpleNamespace(zero=zero, load=load, store=store, sum=sum_, pack=pack, sum_packed=sum_packed, cross=cross)
