"""Cases for the kernels of learnt positions.

Elements: windows of one to four axes, positions on taps, between, at the border and beyond. Delays: see `check_delayed`.
"""

from typing import Any

import numpy as np

from faltung.kernels.delay import contract as delay_contract
from faltung.kernels.place import contract
from faltung.methods.method import ROUNDOFF

# Window, rows, elements, smallest width of the tents, and how wide the Gaussians are.
CASES = (
    ((5,), 3, 1, 1.0, 0.3),
    ((1,), 2, 2, 1.0, 0.3),
    ((4,), 40, 3, 1.7, 2.0),
    ((17, 17), 70, 6, 1.0, 0.5),
    ((3, 6), 5, 4, 2.5, 5.0),
    ((2, 5, 3), 9, 3, 1.0, 0.27),
    ((3, 1, 4, 2), 4, 2, 1.4, 0.8),
)


def check_placed(tool: Any, seed: int = 0) -> int:
    """Both kernels for every profile in both dtypes, on one thread and on two.

    Raises:
        AssertionError: with the case and the largest difference.
    """
    cases = 0
    for window, R, M, tent, bell in CASES:
        for kind in contract.KINDS:
            for dtype in ("float32", "float64"):
                random = np.random.default_rng(seed + cases)
                n, threads, floor = len(window), 1 + cases % 2, bell if kind == "gauss" else tent
                weight = random.standard_normal((R, M)).astype(dtype)
                middle = np.array([t // 2 for t in window]).reshape(-1, 1, 1)
                spread = np.array(window).reshape(-1, 1, 1) * 0.6
                position = (random.uniform(-1, 1, (n, R, M)) * spread).astype(dtype)
                position[random.random(position.shape) < 0.2] = 1.0  # on a tap, perhaps at the border or beyond
                width = (random.standard_normal((n, R, M)) * 0.1 * (tent != 1.0 or kind == "gauss")).astype(dtype)
                y = random.standard_normal((R, *window)).astype(dtype)
                at, wide = position.astype("float64") + middle, np.abs(width.astype("float64")) + floor
                sign = np.where(width >= 0, 1.0, -1.0)
                by_weight, by_position, by_width = contract.gradients(y, weight, at, wide, kind)
                came = tool.placed(weight, position, width, window, kind, floor, threads)
                back = tool.gradients(y, weight, position, width, kind, floor, threads)
                if not width.any():  # one number for all widths says the same
                    none = np.zeros((), dtype)
                    again = tool.placed(weight, position, none, window, kind, floor, threads)
                    assert np.array_equal(again, came)
                    others = tool.gradients(y, weight, position, none, kind, floor, threads)
                    assert np.array_equal(others[1], back[1])
                pairs = zip(
                    (came, *back),
                    (contract.placed(weight, at, wide, window, kind), by_weight, by_position, by_width * sign),
                    strict=True,
                )
                for what, (ours, wanted) in zip(("taps", "by weight", "by position", "by width"), pairs, strict=True):
                    off, near = np.abs(ours - wanted).max(), 64 * ROUNDOFF[dtype] * (np.abs(wanted).max() + 1)
                    text = f"{what} of {kind} in {dtype}, window {window}, {R} rows of {M} elements"
                    assert (ours.dtype, ours.shape) == (np.dtype(dtype), wanted.shape), (
                        f"{text}: {ours.dtype} {ours.shape}"
                    )
                    assert off <= near, f"{text}: off by {off}, {near} is allowed"
                cases += 1
    return cases


def check_delayed(tool: Any, seed: int = 0) -> int:
    """Sums of delayed signals, bit for bit: shifts within the signal and beyond both its ends, more results than one piece holds.

    Raises:
        AssertionError: with the case.
    """
    cases = 0
    for B, I, O, n, length in (
        (1, 1, 1, 1, 1),
        (2, 3, 4, 20, 17),
        (1, 40, 3, 33, 40),
        (2, 2, 2, 3, 50),
        (1, 2, 1, 9000, 9100),
    ):
        for dtype in ("float32", "float64"):
            for threads in (1, 2):
                random = np.random.default_rng(seed + cases)
                x, weight = (
                    random.standard_normal((B, I, n)).astype(dtype),
                    random.standard_normal((O, I)).astype(dtype),
                )
                start = random.integers(-n - 2, n + 3, (O, I))
                came, wanted = (
                    tool.delayed(x, weight, start, length, threads),
                    delay_contract.delayed(x, weight, start, length),
                )
                assert came.dtype == wanted.dtype, f"sums of delayed signals in {dtype}: {came.dtype}"
                assert np.array_equal(came, wanted), (
                    f"sums of {I} delayed signals in {dtype}, {n} samples, {length} results"
                )
                cases += 1
    return cases
