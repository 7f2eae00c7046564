"""Cases for the gather kernels: channels below, at and above whole vectors, rows that are named often, never, or not at all."""

from typing import Any

import numpy as np

from faltung.kernels.gather import contract
from faltung.methods.method import ROUNDOFF
from faltung.testing.kernel_cases import compare, data

# (B, Q, C, R, J)
CASES = (
    (1, 1, 1, 1, 1), (2, 7, 3, 20, 2), (3, 30, 16, 100, 4), (1, 50, 37, 300, 4), (9, 12, 64, 70, 8), (2, 5, 100, 9, 16),
    (1, 4, 3, 0, 4), (0, 4, 3, 5, 4),
)  # fmt: skip


def check_gather(tool: Any, seed: int = 0) -> int:
    """The three maps in both dtypes, on one thread and on two.

    Raises:
        AssertionError: with the case and the first value that differs.
    """
    cases = 0
    for case in CASES:
        B, Q, C, R, J = case
        for dtype in ("float32", "float64"):
            random = np.random.default_rng(seed + cases)
            x, w, y = (data(random, shape, dtype) for shape in ((B, Q, C), (B, R, J), (B, R, C)))
            index, threads = random.integers(-1, Q, (B, R, J)), 1 + cases % 2
            for name, operands, wanted in (
                ("sums", (x, index, w), contract.sums(x, index, w)),
                ("rows", (index, w, y), contract.rows(index, w, y, Q)),
                ("weights", (x, index, y), contract.weights(x, index, y)),
            ):
                came = np.full(wanted.shape, np.nan, dtype)
                getattr(tool, name)(*operands, came, threads)
                top = max(float(np.abs(a).max(initial=1)) for a in (x, w, y)) ** 2
                compare(came, wanted, 8 * ROUNDOFF[dtype] * max(C, R * J) * top, f"{name} in {dtype}, {case}")
                cases += 1
    return cases
