"""What the selection kernel computes, in NumPy: the reference that every tool's version equals."""

import numpy as np

from faltung.algebras import Algebra


def selected(
    x: np.ndarray, k: np.ndarray, y: np.ndarray, base: np.ndarray, offset: np.ndarray, channel: np.ndarray, stride: int,
    algebra: Algebra, unknown: str,
) -> np.ndarray:  # fmt: skip
    """Every result of an ordered correlation hands its cotangent y to the first term that attains it.

    Formula: terms of result (r, j) are `x[c(t), base[r] + offset[t] + j·stride] ⊗ k[o, t]`; the gradient of the term that is picked
    is y times the derivative of its product, 0 where y is 0.

    Shapes: x (B, N, C, size), k (B, O, T), y (B, N, O, R, J), base (R,), offset and channel (T,). Returns float64: (B, N, C, size)
    for unknown x, (B, O, T) for k. Terms are compared in float64.
    """
    beats, partials = algebra.beats, algebra.partials
    assert beats is not None
    assert partials is not None
    (B, N, C, size), (_, O, T) = x.shape, k.shape
    J = np.arange(y.shape[-1]) * stride
    out = np.zeros((B, N, C, size) if unknown == "x" else (B, O, T))
    for b, n, o, r in np.ndindex(B, N, O, base.size):
        left = np.stack([x[b, n, channel[t], base[r] + offset[t] + J].astype("float64") for t in range(T)])
        right = np.broadcast_to(k[b, o].astype("float64")[:, None], left.shape)
        value, best, choice = algebra.mul(left, right), None, np.zeros(J.size, int)
        for t in range(T):
            better = np.full(J.size, True) if best is None else beats(value[t], best)
            best, choice = value[t] if best is None else np.where(better, value[t], best), np.where(better, t, choice)
        at = (choice, np.arange(J.size))
        with np.errstate(invalid="ignore"):
            slope = np.broadcast_to(partials(left[at], right[at])[0 if unknown == "x" else 1], J.shape)
            flow = np.where(y[b, n, o, r] == 0, 0.0, y[b, n, o, r] * slope)
        if unknown == "x":
            np.add.at(out[b, n], (channel[choice], base[r] + offset[choice] + J), flow)
        else:
            np.add.at(out[b, o], choice, flow)
    return out
