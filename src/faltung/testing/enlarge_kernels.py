"""Cases for the interpolation kernels: doubling and other ratios, single samples, signals that shrink, infinity."""

from typing import Any

import numpy as np

from faltung.kernels.enlarge import contract
from faltung.methods.method import ROUNDOFF
from faltung.testing.kernel_cases import compare, data

# Sizes before and after.
CASES = (
    ((3, 4), (6, 8)),
    ((40, 33), (80, 66)),
    ((4, 4), (7, 7)),
    ((1, 1), (2, 2)),
    ((2, 1), (4, 2)),
    ((1, 9), (1, 18)),
    ((5, 3), (9, 6)),
    ((6, 6), (4, 3)),
    ((2, 2), (4, 4)),
    ((3, 5), (3, 5)),
)


def check_enlarged(tool: Any, seed: int = 0) -> int:
    """Interpolation with a sum, and its transpose, in both dtypes and ways, on one thread and on two.

    Raises:
        AssertionError: with the case and the first value that differs.
    """
    cases = 0
    for dtype in ("float32", "float64"):
        for linear in (True, False):
            for small, large in CASES:
                random = np.random.default_rng(seed + cases)
                x, base = data(random, (3, *small), dtype), data(random, (3, *large), dtype)
                what = f"{small} to {large}, {dtype}, {'linear' if linear else 'nearest'}"
                near = 16 * ROUNDOFF[dtype] * float(np.abs(x).max() + np.abs(base).max())
                y = tool.enlarged(x, base, linear, 1 + cases % 2)
                compare(y, contract.enlarged(x, base, linear), near, f"enlarged, {what}")
                back = tool.gathered(base, small, linear, 1 + cases % 2)
                wanted = contract.gathered(base, small, linear)
                compare(back, wanted, 16 * near, f"gathered, {what}")
                cases += 2
    return cases
