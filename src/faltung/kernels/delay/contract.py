"""What the kernel of sums of delayed signals computes, in NumPy: the reference that every tool's version equals, bit for bit."""

import numpy as np


def delayed(x: np.ndarray, weight: np.ndarray, start: np.ndarray, length: int) -> np.ndarray:
    """Every result is a sum of all signals, each with a weight and a shift of its own.

    Formula: `y[b, o, t] = Σ_i weight[o, i] · x[b, i, t + start[o, i]]`, i ascending, every product and every sum rounded; x is 0
    beyond its ends.

    Shapes: x (B, I, n), weight and start (O, I), y (B, O, length).
    """
    (B, I, n), O = x.shape, len(weight)
    y = np.zeros((B, O, length), x.dtype)
    for o in range(O):
        for i in range(I):
            at = int(start[o, i])
            first, stop = max(0, -at), max(0, min(length, n - at))
            if first < stop:
                y[:, o, first:stop] += weight[o, i] * x[:, i, first + at : stop + at]
    return y
