"""Cases for the kernels of semirings that are no rings: gradients by selection, logarithms of sums, bits."""

import itertools
from typing import Any

import numpy as np

from faltung import algebras
from faltung.kernels.bits import contract as bits_contract
from faltung.kernels.log_sums import contract as log_contract
from faltung.kernels.monotone import contract as monotone_contract
from faltung.kernels.selection import contract as selection_contract
from faltung.kernels.selection.on_numba import STRIP
from faltung.testing.kernel_cases import compare

ORDERED = [a for a in algebras.ALL if a.beats is not None]


def check_selected(tool: Any, seed: int = 0) -> int:
    """Ties, strips, pieces, several channels and outputs, both unknowns, every ordered algebra.

    Raises:
        AssertionError: with the case and the first value that differs.
    """
    cases = 0
    for B, N, C, O, rows, J, T, stride in (
        (1, 1, 1, 1, 1, 1, 1, 1),
        (2, 2, 3, 2, 5, 9, 7, 2),
        (1, 1, 1, 1, 40, 300, 25, 1),  # pieces of one sample
        (1, 1, 1, 1, 1, STRIP + 50, 130, 1),
        (1, 3, 2, 1, 20, 111, 18, 3),
    ):
        for algebra in ORDERED:
            for unknown in ("x", "k"):
                random = np.random.default_rng(seed + cases)
                dtype = ("float32", "float64")[cases % 2]
                width = J * stride + 40
                base = np.arange(rows, dtype=np.int64) * width
                offset = random.integers(0, 40 if rows == 1 else width + 40, T).astype(np.int64)
                size = int(base[-1] + (J - 1) * stride + offset.max()) + 1
                # Few different values: most results have several terms that attain them.
                x, k = (random.integers(0, 4, shape).astype(dtype) for shape in ((B, N, C, size), (B, O, T)))
                y = random.integers(-3, 4, (B, N, O, rows, J)).astype(dtype)
                channel = random.integers(0, C, T).astype(np.int64)
                given = x, k, y, base, offset, channel, stride, algebra, unknown
                came, wanted = tool.selected(*given, 1 + cases % 2), selection_contract.selected(*given)
                # Whole numbers: every sum is exact.
                compare(came, wanted, 0.0, f"selection over {algebra.name} in {dtype} for {unknown}, {T} terms")
                if algebra.shifts and unknown == "x":
                    assert came.sum() == y.sum(), "cotangents were lost"
                cases += 1
    return cases


def check_log_sums(tool: Any, seed: int = 0) -> int:
    """Exponentials and logarithms over the whole range; sums that are trusted, too small, empty, infinite and no number.

    Raises:
        AssertionError: with the case and the first value that differs.
    """
    cases = 0
    for dtype in ("float32", "float64"):
        random = np.random.default_rng(seed)
        special = [0.0, -0.0, np.inf, -np.inf, np.nan, -708.5, -707.5, 708.5, 1e-300, -1e30]
        x = np.stack([(random.random(3000) * 1400 - 700), np.resize(special, 3000)]).astype(dtype)
        shift = np.array([3.0, 0.0])
        wanted = log_contract.raised(x, shift)
        came = tool.raised(x, shift, 1)
        with np.errstate(invalid="ignore"):
            same = (came == wanted) | (np.isnan(came) & np.isnan(wanted)) | (np.abs(came - wanted) <= 2**-51 * wanted)
        assert same.all(), f"exponentials in {dtype}: {came[~same][0]}, the contract {wanted[~same][0]}"
        s = np.stack(
            [10.0 ** (random.random(2000) * 500 - 250), np.resize([0.0, np.inf, np.nan, 1.0, 2.0**-501], 2000)]
        )
        (came, count), (wanted, doubtful) = tool.lowered(s, shift, dtype, 2), log_contract.lowered(s, shift, dtype)
        assert count == doubtful, f"{count} doubtful sums, the contract {doubtful}"
        with np.errstate(invalid="ignore"):
            near = 2.0 ** (-51 if dtype == "float64" else -22) * np.maximum(1.0, np.abs(wanted))
            same = (came == wanted) | (np.isnan(came) & np.isnan(wanted)) | (np.abs(came - wanted) <= near)
        assert same.all(), f"logarithms in {dtype}: {came[~same][0]}, the contract {wanted[~same][0]}"
        cases += 2
        for B, N, O, rows, J, T, stride in ((1, 1, 1, 1, 1, 1, 1), (2, 2, 3, 4, 9, 7, 2), (1, 1, 2, 3, 700, 30, 1)):
            for content in ("normal", "wide", "empty", "infinite"):
                case = random, tool, content, dtype, (B, N, O, rows, J, T, stride), 1 + cases % 2
                _log_sums(*case)
                cases += 1
    return cases


def _log_sums(random: np.random.Generator, tool: Any, content: str, dtype: str, sizes: tuple, threads: int) -> None:
    B, N, O, rows, J, T, stride = sizes
    base = np.arange(rows, dtype=np.int64) * (J * stride + 30)
    place = random.integers(0, 60, T).astype(np.int64)
    size = int(base[-1] + (J - 1) * stride + place.max()) + 1
    x, k = (random.standard_normal(shape) for shape in ((B, N, size), (B, O, T)))
    x = x * 2000 if content == "wide" else x
    if content == "empty":
        x[random.random(x.shape) < 0.7] = -np.inf
    if content == "infinite":
        x[random.random(x.shape) < 0.1] = np.inf
        x[random.random(x.shape) < 0.1] = np.nan
    x, k = x.astype(dtype), k.astype(dtype)
    s = np.where(random.random((B, N, O, rows, J)) < 0.5, 0.0, 1.0)
    y = random.standard_normal(s.shape).astype(dtype)
    wanted, came = log_contract.repaired(x, k, s, y, base, place, stride), y.copy()
    came = tool.repaired(x, k, s, came, base, place, stride, threads)
    near = (2.0**-48 if dtype == "float64" else 2.0**-22) * (1 + np.abs(x[np.isfinite(x)]).max(initial=0.0) + T)
    pairs = [("sums", came, wanted)]
    for unknown in ("x", "k"):
        given = x, k, s, y, base, place, stride, unknown
        pairs.append((f"shares for {unknown}", tool.handed(*given, threads), log_contract.handed(*given)))
    (w, count), (wished, doubtful) = tool.weights(y, s, threads), log_contract.weights(y, s)
    assert count == doubtful, f"{count} doubtful sums, the contract {doubtful}"
    pairs.append(("weights", w, wished))
    if content == "normal":
        given = x.astype("float64"), wished, base, place, stride
        pairs.append(("dot products", tool.dots(*given, threads), log_contract.dots(*given)))
    for what, ours, theirs in pairs:
        with np.errstate(invalid="ignore"):
            same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs)) | (np.abs(ours - theirs) <= near)
        assert same.all(), (
            f"{what} of {content} values in {dtype}, {sizes}: {ours[~same][0]}, the contract {theirs[~same][0]}"
        )


def check_united(tool: Any, seed: int = 0) -> int:
    """Shifts of all sizes, filters without a tap, rows of one word and of many.

    Raises:
        AssertionError: with the case and the first word that differs.
    """
    cases = 0
    for B, N, O, rows, words, taps in itertools.product((1, 2), (1, 3), (1, 2), (1, 7), (1, 2, 9, 40), (0, 1, 4, 11)):
        random = np.random.default_rng(seed + cases)
        counts = random.integers(0, taps + 1, B * O)
        start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        place, shift = random.integers(0, 30, start[-1]), random.integers(0, 64, start[-1]).astype(np.uint64)
        base = random.integers(0, 50, rows).astype(np.int64)
        x = random.integers(0, 2**64, (B, N, 82 + words), np.uint64)
        given = x, base, start, place.astype(np.int64), shift, words, O
        came, wanted = tool.united(*given, 1 + cases % 2), bits_contract.united(*given)
        compare(came, wanted, 0.0, f"unions of {taps} rows of {words} words")
        cases += 1
    return cases


def check_monotone(tool: Any, seed: int = 0) -> int:
    """Convex taps of several shapes, windows that leave the signal on both sides, gaps, convex signals, NaN and infinity.

    Raises:
        AssertionError: with the case and the first value that differs.
    """
    cases = 0
    for (L, n, J), t, lo, m in (
        ((3, 40, 1), 79, 39, 40), ((1, 40, 5), 81, 40, 40), ((2, 60, 1), 7, 3, 60), ((2, 61, 3), 8, 7, 68), ((1, 33, 1), 33, 0, 1),
        ((1, 1, 1), 2, 1, 2), ((2, 50, 3), 9, -5, 30), ((2, 50, 1), 12, 30, 90), ((1, 700, 1), 64, 32, 700),
    ):  # fmt: skip
        for content in ("normal", "gaps", "sparse", "convex", "spoilt", "empty"):
            random, largest = np.random.default_rng(seed + cases), bool(cases % 2)
            dtype, zero = ("float32", "float64")[cases // 2 % 2], -np.inf if largest else np.inf
            # Whole numbers: sums are exact, and many are equal.
            taps = np.cumsum(np.cumsum(random.integers(0, 2, t)) - t // 4).astype("float64")
            x = random.integers(-20, 20, (L, n, J)).astype(dtype)
            if content == "convex":
                x = np.cumsum(np.sort(random.integers(-5, 6, (L, n, J)), axis=1), axis=1).astype(dtype)
                x = -x if largest else x
            elif content != "normal":
                x[random.random(x.shape) < {"gaps": 0.5, "sparse": 0.95, "spoilt": 0.2, "empty": 1.0}[content]] = zero
            if content == "spoilt":
                for bad in (np.nan, np.inf, -np.inf):
                    x[random.random(x.shape) < 0.03] = bad
            taps = -taps if largest else taps
            came = tool.monotone(x, taps, lo, m, largest, 1 + cases % 2)
            wanted = monotone_contract.monotone(x, taps, lo, m, largest)
            same = (came == wanted) | (np.isnan(came) & np.isnan(wanted))
            what = f"convex taps, {content} values in {dtype}, {'largest' if largest else 'smallest'}, {(L, n, J), t, lo, m}"
            assert same.all(), f"{what}: {came[~same][0]}, the contract {wanted[~same][0]}"
            cases += 1
    return cases
