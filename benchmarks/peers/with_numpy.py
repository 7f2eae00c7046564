"""NumPy: `numpy.convolve`, one dimension, zeros beyond the edge."""

import numpy as np

name = "NumPy"


def calls(problem, hint, x, k, y) -> dict:
    taps = problem.grid.taps
    if problem.pattern != "*s, *s -> *s" or x.ndim != 1 or not problem.grid.zero_padded or problem.unknown != "out":
        return {}
    if not problem.over.ring or problem.pads != ((taps - 1, taps - 1),) or taps * x.size > 2e8:
        return {}
    flipped = k[::-1].copy()
    wide = np.int64 if problem.algebra == "integer" else x.dtype
    x, flipped = x.astype(wide), flipped.astype(wide)
    return {"convolve": lambda: np.convolve(x, flipped)}
