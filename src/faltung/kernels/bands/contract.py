"""What the kernels for depthwise filters compute, in NumPy: the reference that every tool's version equals.

Formula: `y[b, n, i] = Σ over taps u of x[b, n, i + u − low] k[b, u]`, with zeros beyond the edge; along one axis or two.

Shapes: x (B, N, *n), k (B, *t), y (B, N, *m).
"""

import numpy as np


def correlate(x: np.ndarray, k: np.ndarray, low: tuple[int, ...], m: tuple[int, ...]) -> np.ndarray:
    """The formula. Turned filters and other margins make it the signal's gradient."""
    y = np.zeros((*x.shape[:2], *m))
    for u in np.ndindex(*k.shape[1:]):
        y += _window(x, u, low, m) * k[(slice(None), None, *u)][(..., *[None] * len(m))]
    return y


def filters(x: np.ndarray, y: np.ndarray, low: tuple[int, ...], t: tuple[int, ...]) -> np.ndarray:
    """`k[b, u] = Σ over n, i of x[b, n, i + u − low] y[b, n, i]`."""
    k = np.zeros((x.shape[0], *t))
    for u in np.ndindex(*t):
        k[(slice(None), *u)] = (_window(x, u, low, y.shape[2:]) * y).sum(axis=tuple(range(1, y.ndim)))
    return k


def _window(x: np.ndarray, u: tuple[int, ...], low: tuple[int, ...], m: tuple[int, ...]) -> np.ndarray:
    """The signal where the tap u meets it, zeros outside."""
    index = [np.arange(size) + place - lo for size, place, lo in zip(m, u, low, strict=True)]
    at: tuple = (..., *np.ix_(*[np.clip(i, 0, n - 1) for i, n in zip(index, x.shape[2:], strict=True)]))
    window = x[at].astype(float)
    for axis, (i, n) in enumerate(zip(index, x.shape[2:], strict=True)):
        np.moveaxis(window, 2 + axis, 0)[(i < 0) | (i >= n)] = 0.0
    return window
