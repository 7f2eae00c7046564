"""Cases for the field kernels: every map, block and piece, whole and ragged; steps, gaps and margins; strided arrays."""

from typing import Any

import numpy as np

from faltung.kernels.field import contract
from faltung.kernels.field.layout import Field
from faltung.methods.method import ROUNDOFF
from faltung.testing.kernel_cases import compare, data

# (A, B, N, O, I), signal, taps, stride, dilation, zeros before and behind.
CASES = (
    ((1, 1, 1, 1, 1), (1,), (1,), (1,), (1,), (0,), (0,)),
    ((2, 3, 8, 1, 1), (9, 21), (3, 3), (1, 1), (1, 1), (1, 1), (1, 1)),
    ((1, 2, 11, 1, 1), (70,), (11,), (1,), (2,), (12,), (3,)),
    ((1, 1, 3, 1, 1), (3, 9000), (2, 3), (1, 1), (1, 1), (0, 1), (1, 1)),
    ((1, 1, 2, 7, 2), (5, 331), (3, 3), (1, 1), (1, 1), (1, 1), (1, 1)),
    ((1, 2, 5, 7, 4), (9, 21), (3, 2), (2, 2), (1, 2), (1, 3), (1, 0)),
    ((1, 1, 9, 13, 21), (6, 20), (2, 2), (1, 1), (1, 1), (0, 0), (0, 0)),
    ((2, 1, 3, 2, 3), (50,), (4,), (3,), (2,), (4,), (5,)),
    ((1, 1, 4, 3, 2), (2, 3), (5, 7), (1, 1), (1, 1), (2, 3), (2, 3)),  # taps that never meet the signal in most rows
    ((2, 1, 3, 2, 3), (5, 4, 37), (3, 2, 2), (1, 2, 1), (2, 1, 1), (1, 0, 4), (1, 0, 2)),
    ((1, 1, 2, 2, 2), (3, 4, 3, 5), (2, 2, 2, 2), (1, 1, 1, 2), (1, 1, 1, 1), (1, 0, 0, 1), (0, 0, 0, 1)),
    ((1, 1, 0, 2, 2), (7,), (3,), (1,), (1,), (1,), (1,)),
    ((1, 1, 2, 3, 0), (7,), (3,), (1,), (1,), (1,), (1,)),
)


def check_field(tool: Any, seed: int = 0) -> int:
    """Results, signals and fields of the field kernel in both dtypes, on one thread and on two.

    Raises:
        AssertionError: with the case and the first value that differs.
    """
    cases = 0
    for case in CASES:
        (A, B, N, O, I), n, t, stride, dilation, lo, hi = case
        sizes = zip(n, lo, hi, dilation, t, stride, strict=True)
        m = tuple((size + a + b - d * (taps - 1) - 1) // s + 1 for size, a, b, d, taps, s in sizes)
        field = Field(n, t, m, stride, dilation, lo)
        for dtype in ("float32", "float64"):
            random = np.random.default_rng(seed + cases)
            x, y = (_apart(data(random, shape, dtype)) for shape in ((A, B, N, I, *n), (A, B, N, O, *m)))
            w = data(random, (A, B, O, I, *t, *m), dtype)
            for name, ours, operands in (
                ("results", y, (x, w)),
                ("signals", x, (w, y)),
                ("fields", w, (x, y)),
            ):
                wanted = getattr(contract, name)(*operands, field)
                came = ours.copy() if name == "fields" else _apart(ours)
                came[...] = np.nan  # every value is to be written
                getattr(tool, name)(*operands, came, field, 1 + cases % 2)
                terms = max(N, O * field.taps, I * field.taps)
                near = 8 * ROUNDOFF[dtype] * terms * float(max(np.abs(a).max(initial=1) ** 2 for a in (x, w, y)))
                compare(came, wanted, near, f"{name} in {dtype}, {case}")
                cases += 1
    return cases


def _apart(values: np.ndarray) -> np.ndarray:
    """The same values with the third axis outermost in memory, as samples lie before groups of channels."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 2, 0)), 0, 2)
