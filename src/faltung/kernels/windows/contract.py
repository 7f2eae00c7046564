"""What the window kernels compute, in NumPy: the reference that every tool's version equals.

Formula: `y[b, n, o, i] = ⊕ over channels c and taps u of x̃[b, n, c, i·stride + u·dilation − low] + k[b, o, c, u]`, where ⊕ is
`max`, `min`, or `log` (of the sum of exponentials), and x̃ is the fill beyond the edge.

Gradients: a result hands its cotangent to the first term that attains it (taps in their order, channels of one tap one after the
other), or over `log` to every term its share `exp(term − y)`. What goes to the fill is lost.

Shapes: x (B, N, C, *n), k (B, O, C, *t), y (B, N, O, *m).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Geometry:
    """Sizes and steps along each axis, and what stands beyond the edge."""

    n: tuple[int, ...]
    t: tuple[int, ...]
    m: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    low: tuple[int, ...]
    fill: float


def results(x: np.ndarray, k: np.ndarray, of: str, g: Geometry) -> np.ndarray:
    """The results, from float64 terms."""
    add = {"max": np.maximum, "min": np.minimum, "log": np.logaddexp}[of]
    y = np.full((x.shape[0], x.shape[1], k.shape[1], *g.m), np.inf if of == "min" else -np.inf)
    for term, *_ in _terms(x, k, g):
        y = add(y, term)
    return y


def gradients(x: np.ndarray, k: np.ndarray, y: np.ndarray, of: str, g: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """What the cotangent y hands to x and to k."""
    whole = results(x, k, of, g)
    gx, gk, taken = np.zeros(x.shape), np.zeros(k.shape), np.zeros(whole.shape, bool)
    for term, c, u, index, inside in _terms(x, k, g):
        if of == "log":
            with np.errstate(invalid="ignore"):
                flow = np.where(whole == -np.inf, 0.0, np.exp(term - whole)) * y
        else:
            mine = (term == whole) & ~taken
            taken |= mine
            flow = np.where(mine, y, 0.0)
        gk[(slice(None), slice(None), c, *u)] += flow.sum(axis=(1, *range(3, flow.ndim)))
        np.add.at(gx[:, :, c], (slice(None), slice(None), *index), np.where(inside, flow, 0.0).sum(axis=2))
    return gx, gk


def _terms(x: np.ndarray, k: np.ndarray, g: Geometry) -> Iterator[tuple]:
    """Every term of all results, with its channel, its tap, where it reads, and whether that is the signal."""
    for u in np.ndindex(*g.t):
        places = [
            np.arange(m) * s + v * d - lo for m, s, v, d, lo in zip(g.m, g.stride, u, g.dilation, g.low, strict=True)
        ]
        inside = np.ones(g.m, bool)
        for axis, (place, n) in enumerate(zip(places, g.n, strict=True)):
            np.moveaxis(inside, axis, 0)[(place < 0) | (place >= n)] = False
        index = np.ix_(*[np.clip(p, 0, n - 1) for p, n in zip(places, g.n, strict=True)])
        for c in range(x.shape[2]):
            window = np.where(inside, x[:, :, c].astype("float64")[(..., *index)], g.fill)
            tap = k[:, :, c].astype("float64")[(..., *u)][(slice(None), None, slice(None), *[None] * len(g.m))]
            yield window[:, :, None] + tap, c, u, index, inside
