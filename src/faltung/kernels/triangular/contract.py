"""What the wavefront kernel computes, in NumPy: the reference that every tool's version equals."""

from typing import Any

import numpy as np


def wavefront(r: np.ndarray, taps: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The signal that a recurrence over a grid makes: one position after the other in raster order, zero beyond the edge.

    Formula: `x[b, g, o, p] = r[b, g, o, p] − Σ over t, i of taps[g, t, o, i] · x[b, g, i, p − offsets[t]]`.

    Shapes: r (B, G, C, *n), taps (G, T, C, C), offsets (T, len(n)), the first of each offset's entries that is not zero positive.
    """
    x, n = np.zeros_like(r), r.shape[3:]
    for p in np.ndindex(*n):
        at: Any = (Ellipsis, *p)
        value = r[at].copy()
        for t, offset in enumerate(offsets):
            q = tuple(int(a - b) for a, b in zip(p, offset, strict=True))
            if all(0 <= a < size for a, size in zip(q, n, strict=True)):
                seen: Any = (Ellipsis, *q)
                value -= np.einsum("goi,bgi->bgo", taps[:, t], x[seen])
        x[at] = value
    return x
