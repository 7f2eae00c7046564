"""Rounding floating-point results into small integers in one pass, compiled."""

from collections.abc import Callable

import numpy as np

from faltung.kernels import native
from faltung.kernels.threads import share

SMALL = ("uint8", "int8", "uint16", "int16")


def build(source: str, target: str) -> tuple[Callable, str]:
    """The kernel for one pair of types; the target's range must be exact in the source type."""
    info = np.iinfo(target)
    low, high = (getattr(np, source)(limit) for limit in (info.min, info.max))
    nothing = getattr(np, source)(0)
    cast = getattr(np, target)

    def convert(x, y, first, last):
        for i in range(first, last):
            v = x[i]
            v = v if v == v else nothing
            v = v if v < high else high
            v = v if v > low else low
            y[i] = cast(np.int32(np.rint(v)))

    return convert, f"p:{source},p:{target},i,i"


def rounded(values: np.ndarray, dtype: str, threads: int) -> np.ndarray:
    """The contract's result for a contiguous float32 or float64 array and a target among `SMALL`."""
    out = np.empty(values.shape, dtype)
    kernel = native.load(f"round-{values.dtype}-{dtype}", build, str(values.dtype), dtype)
    x, y = values.ctypes.data, out.ctypes.data
    share(kernel, (x, y), values.size, threads, 1 << 16)
    return out
