"""What the envelope kernel computes, in NumPy: the reference that every tool's version equals."""

import numpy as np


def envelope(x: np.ndarray, taps: np.ndarray, lo: int, outputs: int, largest: bool) -> np.ndarray:
    """The smallest (or largest) sum of signal and taps along the middle axis, in float64.

    Formula: `y[l, i, j] = min over u < t with 0 ≤ i − lo + u < n of x[l, i − lo + u, j] + taps[u]`; +inf (−inf for the largest)
    where no u is left; NaN where a NaN is met.

    Shapes: x (L, n, J), taps (t,), y (L, outputs, J).
    """
    pick, beyond = (np.maximum, -np.inf) if largest else (np.minimum, np.inf)
    y = np.full((x.shape[0], outputs, x.shape[2]), beyond)
    for i in range(outputs):
        first, stop = max(0, i - lo), min(x.shape[1], i - lo + taps.size)
        if first < stop:
            window = taps[first - i + lo : stop - i + lo]
            y[:, i] = pick.reduce(x[:, first:stop].astype("float64") + window[:, None], axis=1)
    return y
