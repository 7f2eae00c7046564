"""Cases for the wavefront kernel: one to four axes, taps that look ahead along later axes, diagonals shorter than a vector."""

import itertools
from typing import Any

import numpy as np

from faltung.kernels.triangular import contract
from faltung.methods.method import ROUNDOFF
from faltung.testing.kernel_cases import compare

# Batch, groups, channels, signal, and for every axis how far back and ahead the taps reach.
CASES = (
    ((1, 1, 1), (1,), ((1, 0),)),
    ((3, 2, 3), (40,), ((3, 0),)),
    ((1, 1, 13), (3, 7), ((1, 0), (2, 0))),  # channels beyond the largest block
    ((4, 1, 4), (33, 20), ((2, 0), (2, 0))),  # the batch is split among threads
    ((8, 4, 4), (17, 18), ((1, 0), (1, 1))),  # a raster mask: slopes 2, 1
    ((1, 2, 5), (2, 9), ((4, 0), (1, 3))),  # taps beyond the signal
    ((2, 3, 2), (5, 1), ((1, 0), (1, 0))),
    ((2, 1, 2), (4, 5, 6), ((1, 0), (1, 0), (1, 0))),
    ((3, 1, 1), (4, 3, 7), ((1, 0), (1, 1), (2, 1))),
    ((1, 2, 3), (3, 2, 3, 4), ((1, 0), (1, 0), (0, 1), (1, 0))),
)


def check_wavefront(tool: Any, seed: int = 0) -> int:
    """The wavefront kernel in both dtypes, on one thread and on two, contiguous signals and views.

    Raises:
        AssertionError: with the case and the first value that differs.
    """
    cases = 0
    for dtype, threads, case in itertools.product(("float32", "float64"), (1, 2), CASES):
        (B, G, C), n, reach = case
        random = np.random.default_rng(seed + cases)
        every = itertools.product(*(range(-ahead, back + 1) for back, ahead in reach))
        offsets = tuple(o for o in every if o > (0,) * len(n))
        r = random.standard_normal((B, G, C, *n)).astype(dtype)
        if cases % 3 == 0:  # a view with its last axis backwards
            r = r[..., ::-1]
        taps = (random.standard_normal((G, len(offsets), C, C)) / (C * len(offsets))).astype(dtype)
        came = tool.wavefront(r, taps, offsets, threads)
        tool.wavefront(2 * r, taps, offsets, threads)  # the next call leaves the last one's result alone
        wanted = contract.wavefront(r, taps, np.array(offsets))
        near = 64 * ROUNDOFF[dtype] * float(np.abs(wanted).max())
        compare(came, wanted, near, f"wavefront in {dtype}, {threads} threads, {case}")
        assert np.array_equal(tool.wavefront(r, taps, offsets, 3 - threads), came), (
            f"other bits with other threads, {case}"
        )
        cases += 1
    return cases
