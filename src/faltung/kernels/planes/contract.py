"""What the kernel of planes computes, in NumPy: the reference that every tool's version equals."""

from itertools import product
from typing import Any

import numpy as np

from faltung.kernels.planes.layout import Planes


def planes(x: np.ndarray, k: np.ndarray, bias: np.ndarray, out: np.ndarray, layout: Planes) -> None:
    """Each channel filtered by its own taps, written into `out`, which may be `x` itself.

    Formula: `out[b, c, p] = bias[c] + Σ over t of x̃[b, c, p + t] · k[c, t]`, `x̃[q] = x[sources(q)]`, zero where a source is -1.

    Shapes: x and out (B, C, *n), k (C, *t), bias (C).
    """
    wide = x
    for axis, source in enumerate(layout.sources):
        shape = [1] * wide.ndim
        shape[axis + 2] = len(source)
        wide = np.where((source < 0).reshape(shape), x.dtype.type(0), wide.take(np.maximum(source, 0), axis + 2))
    y = np.broadcast_to(bias.reshape(-1, *[1] * len(layout.n)), out.shape).copy()
    for tap in product(*map(range, layout.t)):
        there: Any = (..., *(slice(a, a + n) for a, n in zip(tap, layout.n, strict=True)))
        own: Any = (slice(None), *tap)
        y += wide[there] * k[own].reshape(-1, *[1] * len(layout.n))
    out[...] = y
