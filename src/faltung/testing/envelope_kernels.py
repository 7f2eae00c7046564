"""Cases for the envelope kernel: windows shorter and longer than the signal, gaps, pieces that are never met, NaN and infinity."""

from typing import Any

import numpy as np

from faltung.kernels.envelope import contract
from faltung.methods.method import ROUNDOFF

# Signal (L, n, J), taps, position of the first window before the signal, results, vertex of the parabola.
CASES = (
    ((3, 40, 1), 79, 39, 40, 39.0),  # every window meets the whole row
    ((1, 40, 33), 81, 40, 40, 40.0),
    ((2, 60, 1), 7, 3, 60, 3.0),  # many pieces
    ((2, 61, 17), 8, 7, 68, 3.5),
    ((1, 33, 1), 33, 0, 1, 10.0),
    ((1, 1, 1), 2, 1, 2, 0.5),
    ((2, 50, 3), 9, -5, 30, -4.0),  # cropped; the vertex lies before the first tap
    ((2, 50, 1), 12, 30, 90, 25.5),  # windows that meet nothing on both sides; the vertex lies behind the last tap
    ((1, 700, 1), 64, 32, 700, 31.5),
)
CONTENTS = ("normal", "large", "gaps", "sparse", "constant", "spoilt")


def check_envelope(tool: Any, seed: int = 0) -> int:
    """The envelope kernel for smallest and largest sums, in both dtypes, on one thread and on two.

    Raises:
        AssertionError: with the case and the first value that differs.
    """
    cases = 0
    for case in CASES:
        (L, n, J), t, lo, m, vertex = case
        for content in CONTENTS:
            random = np.random.default_rng(seed + cases)
            dtype, largest = ("float32", "float64")[cases % 2], bool(cases // 2 % 2)
            x, curvature = _signal(random, (L, n, J), content, largest).astype(dtype), (0.25, 1.0, 3.0)[cases % 3]
            taps = curvature * (np.arange(t) - vertex) ** 2 + 1.5
            taps = -taps if largest else taps
            came = tool.envelope(x, taps, (curvature, vertex), lo, m, largest, 1 + cases % 2)
            wanted = contract.envelope(x, taps, lo, m, largest)
            finite = np.abs(x[np.isfinite(x)])
            near = 8 * ROUNDOFF[dtype] * (float(finite.max(initial=0.0)) + float(np.abs(taps).max()))
            what = f"envelope of {content} values in {dtype}, {'largest' if largest else 'smallest'}, {case}"
            assert (came.dtype, came.shape) == (np.dtype(dtype), wanted.shape), f"{what}: {came.dtype} {came.shape}"
            with np.errstate(invalid="ignore"):  # equal infinities have no difference
                same = (came == wanted) | (np.isnan(came) & np.isnan(wanted)) | (np.abs(came - wanted) <= near)
            if not same.all():
                at = tuple(map(int, np.unravel_index(np.argmin(same), same.shape)))
                raise AssertionError(f"{what}: {came[at]} at {at}, the contract {wanted[at]}")
            cases += 1
    return cases


def _signal(random: np.random.Generator, shape: tuple[int, ...], content: str, largest: bool) -> np.ndarray:
    """Values of a kind; `gaps` and `sparse` are those of the algebra's zero, `spoilt` has NaN and both infinities."""
    x, zero = random.standard_normal(shape), -np.inf if largest else np.inf
    if content == "large":
        return x * 1e4
    if content == "gaps":
        x[random.random(shape) < 0.5] = zero
    if content == "sparse":
        x = np.where(random.random(shape) < 0.05, 0.0, zero)
    if content == "constant":
        x = np.full(shape, 0.75)
    if content == "spoilt":
        for bad in (np.nan, np.inf, -np.inf):
            x[random.random(shape) < 0.03] = bad
    return x
