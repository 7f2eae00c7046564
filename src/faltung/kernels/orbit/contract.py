"""What the kernel of the chaos game computes, in Python: the reference that every tool's version equals, bit for bit."""

import numpy as np


def orbit(maps: np.ndarray, upto: np.ndarray, draws: np.ndarray, start: np.ndarray) -> np.ndarray:
    """A point moved by one affine map after another, each chosen by a number.

    Formula: `p[t] = A[i] p[t - 1] + b[i]` with i the number of entries of `upto[:-1]` that are at most `draws[t]`, `p[-1] = start`;
    each of the two products and sums rounded, from left to right.

    Shapes: maps (n, 2, 3) = [A | b], upto (n,) running sums of the maps' shares, draws (count,) in [0, 1), start (2,);
    returns (count, 2), float64.
    """
    points = np.empty((len(draws), 2))
    x, y = float(start[0]), float(start[1])
    for t, u in enumerate(draws):
        i = int(np.count_nonzero(upto[:-1] <= u))
        (a, b, e), (c, d, f) = maps[i].tolist()
        x, y = a * x + b * y + e, c * x + d * y + f
        points[t] = x, y
    return points
