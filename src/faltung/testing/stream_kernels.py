"""The frequency-domain delay line against its contract."""

from typing import Any

import numpy as np

from faltung.kernels.delay_line import contract
from faltung.methods.method import ROUNDOFF
from faltung.testing.kernel_cases import compare


def check_delay_line(tool: Any, seed: int = 0) -> int:
    """One block and many, one channel and several, lines that start in the middle, filters shared by samples and not."""
    cases = 0
    for dtype in ("float32", "float64"):
        for B, N, C, O, P, S, start, count, bins in (
            (1, 1, 1, 1, 1, 1, 0, 1, 1),
            (1, 1, 1, 1, 3, 9, 2, 1, 5),
            (1, 1, 1, 1, 5, 30, 20, 7, 33),
            (1, 3, 1, 2, 4, 8, 3, 5, 17),
            (2, 2, 3, 2, 2, 5, 1, 3, 65),
            (3, 1, 2, 1, 7, 12, 8, 2, 40),
            (2, 1, 1, 3, 1, 4, 0, 4, 16),
            (1, 2, 5, 4, 6, 11, 5, 6, 9),
            (1, 1, 1, 1, 40, 60, 50, 3, 129),
        ):
            random, W = np.random.default_rng(seed + cases), tool.strip(dtype)
            G = -(-bins // W)
            x, h = (
                random.standard_normal(shape).astype(dtype) for shape in ((B, N, C, G, S, 2, W), (B, O, C, G, P, 2, W))
            )  # fmt: skip
            wanted = contract.delay_line(x, h, start, count)
            near = 8 * ROUNDOFF[dtype] * C * P * 2 * float(np.abs(x).max() * np.abs(h).max())
            y = tool.delay_line(x, h, start, count, 1 + cases % 2)
            compare(y, wanted, near, f"delay line in {dtype}, {(B, N, C, O, P, S, start, count, bins)}")
            cases += 1
    return cases
