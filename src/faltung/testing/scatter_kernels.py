"""Holds the kernel of listed pairs against its contract."""

from typing import Any

import numpy as np

from faltung import algebras
from faltung.kernels.scatter import contract


def check_paired(tool: Any, seed: int = 0) -> int:
    """Lists with gaps and repetitions, several channels, every compiled algebra.

    Raises:
        AssertionError: with the case.
    """
    cases = 0
    compiled = [a for a in (*algebras.ALL, algebras.modular(7)) if a.scalar_mul]
    for B, I, J, R, n, t, size, pairs in (
        (1, 1, 1, 1, 1, 1, 1, 1),
        (2, 3, 2, 4, 6, 5, 7, 40),
        (1, 2, 3, 1, 9, 9, 4, 0),
        (3, 1, 1, 2, 30, 20, 30, 300),
    ):
        for algebra in compiled:
            for dtype in sorted({d for a in algebra.dtypes if (d := algebra.compute(a, a))}):
                random = np.random.default_rng(seed + cases)
                x, k = (
                    random.integers(0, 2 if dtype == "bool" else 5, shape).astype(dtype)
                    for shape in ((B, I, R, n), (B, J, R, t))
                )
                v = np.sort(random.integers(0, t, pairs)).astype(np.int32)
                u, w = random.integers(0, n, pairs).astype(np.int32), random.integers(0, size, pairs).astype(np.int32)
                start = np.searchsorted(v, np.arange(t + 1)).astype(np.int64)
                came = tool.paired(x, k, u, start, w, size, algebra, 1 + cases % 2)
                wanted = contract.paired(x, k, u, v, w, size, algebra)
                text = f"listed pairs over {algebra.name} in {dtype}, {pairs} pairs"
                assert (came.dtype, came.shape) == (wanted.dtype, wanted.shape), f"{text}: {came.dtype} {came.shape}"
                # Whole numbers: only the log semiring rounds.
                near = np.isclose(came, wanted, rtol=1e-5) | (came == wanted)
                assert near.all() if algebra.share else np.array_equal(came, wanted), f"{text}: other values"
                cases += 1
    return cases
