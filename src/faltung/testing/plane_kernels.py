"""Cases for the kernel of planes: every dimension and boundary, rows around a vector and a block, views, in place."""

from typing import Any

import numpy as np

from faltung.domains import Boundary
from faltung.kernels.planes import contract
from faltung.kernels.planes.layout import Planes
from faltung.methods.method import ROUNDOFF
from faltung.testing.kernel_cases import compare, data

# (B, C), samples, taps, boundary.
CASES = (
    ((1, 1), (1,), (1,), "constant"),
    ((2, 3), (40,), (11,), "constant"),
    ((1, 2), (130,), (5,), "wrap"),
    ((2, 2), (7, 9), (3, 3), "constant"),
    ((3, 2), (5, 64), (1, 11), "constant"),
    ((1, 2), (20, 33), (11, 1), "constant"),
    ((1, 3), (4, 3), (7, 9), "reflect"),  # margins wider than the plane
    ((2, 1), (1, 17), (3, 5), "edge"),
    ((1, 2), (3, 4, 18), (3, 1, 5), "symmetric"),
    ((2, 1), (3, 2, 3, 5), (3, 3, 1, 3), "wrap"),
)


def check_planes(tool: Any, seed: int = 0) -> int:
    """The kernel of planes in both dtypes, on channels within larger arrays, into another array and into its own.

    Raises:
        AssertionError: with the case and the first value that differs.
    """
    cases = 0
    for dtype in ("float32", "float64"):
        for (B, C), n, t, kind in CASES:
            random = np.random.default_rng(seed + cases)
            sources = tuple(Boundary(kind).sources(size, taps // 2, taps // 2) for size, taps in zip(n, t, strict=True))
            layout = Planes(n, t, sources)
            x, k, bias = (
                data(random, (B, C + 2, *n), dtype)[:, 1 : C + 1],
                data(random, (C, *t), dtype),
                data(random, (C,), dtype),
            )
            wanted = np.empty((B, C, *n), dtype)
            contract.planes(x, k, bias, wanted, layout)
            near = 8 * ROUNDOFF[dtype] * float(np.abs(k).sum(axis=tuple(range(1, k.ndim))).max() * np.abs(x).max() + 1)
            around = np.full((B, C + 3, *n), 7.5, dtype)
            tool.planes(x, k, bias, around[:, 2 : C + 2], layout, 1 + cases % 2)
            what = f"planes in {dtype}, {(B, C)} of {n} by {t}, {kind}"
            compare(around[:, 2 : C + 2], wanted, near, what)
            beside = np.delete(around, np.s_[2 : C + 2], axis=1)
            assert (beside == 7.5).all(), f"{what}: values beside the results were overwritten"
            tool.planes(x, k, bias, x, layout, 2 - cases % 2)
            compare(x, wanted, near, f"{what}, in place")
            cases += 2
    return cases
