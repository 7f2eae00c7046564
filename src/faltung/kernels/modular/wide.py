"""Products of 64-bit words in 128 bits, as functions for kernels."""

from typing import Any

from llvmlite import ir
from numba.core import types as _types
from numba.extending import intrinsic

types: Any = _types


@intrinsic
def high(typingctx, a, b):
    """The upper word of the product of two unsigned words."""

    def generate(context, builder, sig, args):
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate
