"""Kernels of whole residual blocks against their contracts: strips, bands and segments that end anywhere, every activation."""

from typing import Any

import numpy as np

from faltung.kernels.block import contract
from faltung.methods.method import ROUNDOFF
from faltung.testing.kernel_cases import compare

# (N, C, E), size, taps: one place, one row, rows longer than a strip, more channels than a block of products, a ring that turns.
INVERTED = (
    ((1, 1, 1), (1, 1), (1, 1)),
    ((2, 3, 14), (9, 10), (3, 3)),
    ((1, 5, 20), (1, 300), (1, 5)),
    ((1, 13, 30), (40, 17), (3, 5)),
    ((1, 2, 9), (5, 140), (7, 3)),
    ((1, 6, 1200), (20, 18), (5, 3)),
)
# (N, C, E, groups), size, taps: groups of one channel, of two, of more than run together, of a number that does not.
FIRST = (
    ((1, 1, 1, 1), (1, 1), (1, 1)),
    ((2, 6, 14, 6), (9, 10), (3, 3)),
    ((1, 16, 30, 2), (1, 300), (1, 5)),
    ((1, 15, 20, 3), (40, 17), (3, 5)),
    ((1, 4, 9, 2), (5, 140), (7, 3)),
    ((1, 8, 1500, 1), (20, 18), (5, 3)),
)
SOME = slice(1, 6, 4)  # for one activation all cases, for the others these: each is a kernel of its own to compile


def check_inverted(tool: Any, seed: int = 0) -> int:
    """Inverted bottlenecks, on one thread and on two."""
    cases = 0
    for bend in contract.BENDS:
        for (N, C, E), size, taps in INVERTED if bend == "gelu" else INVERTED[SOME]:
            random = np.random.default_rng(seed + cases)
            x, p, a, m, q, b = (_drawn(random, shape) for shape in ((N, C, *size), (E,), (E,), (E,), (C,), (C,)))
            widen, mix, narrow = (
                _drawn(random, (E, C), C),
                _drawn(random, (E, *taps), taps[0] * taps[1]),
                _drawn(random, (C, E), E),
            )
            given = x, widen, p, a, mix, m, narrow, q, b
            wanted = contract.inverted(*(v.astype(np.float64) for v in given), bend)
            cases += _held(
                tool.inverted, given, wanted, bend, cases, f"inverted block, {bend}, {(N, C, E)}, {size}, {taps}"
            )
    return cases


def check_first(tool: Any, seed: int = 0) -> int:
    """Blocks whose grouped convolution comes first, on one thread and on two."""
    cases = 0
    for bend in contract.BENDS:
        for (N, C, E, groups), size, taps in FIRST if bend == "gelu" else FIRST[SOME]:
            random = np.random.default_rng(seed + cases)
            x, m, a, q, b = (_drawn(random, shape) for shape in ((N, C, *size), (C,), (E,), (C,), (C,)))
            width = C // groups
            mix = _drawn(random, (C, width, *taps), width * taps[0] * taps[1])
            given = x, mix, m, _drawn(random, (E, C), C), a, _drawn(random, (C, E), E), q, b
            wanted = contract.first(*(v.astype(np.float64) for v in given), bend)
            cases += _held(
                tool.first,
                given,
                wanted,
                bend,
                cases,
                f"convolution first, {bend}, {(N, C, E, groups)}, {size}, {taps}",
            )
    return cases


def _held(call: Any, given: tuple[np.ndarray, ...], wanted: np.ndarray, bend: str, cases: int, what: str) -> int:
    """Near the definition in float64, and the same bits however many threads share the work: two comparisons."""
    near = 64 * ROUNDOFF["float32"] * float(np.abs(wanted).max() + 1)
    y = call(*given, bend, 1)
    compare(y, wanted, near, what)
    assert np.array_equal(call(*given, bend, 2 + cases // 2 % 2), y), f"{what}: other bits on more threads"
    return 2


def _drawn(random: np.random.Generator, shape: tuple[int, ...], terms: int = 1) -> np.ndarray:
    return (random.standard_normal(shape) / terms**0.5).astype(np.float32)
