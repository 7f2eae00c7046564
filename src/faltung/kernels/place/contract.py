"""What the kernels that place elements at real positions compute, in NumPy: the reference that every tool's version equals."""

from collections.abc import Sequence

import numpy as np

SMALLEST = 1e-6  # a Gaussian narrower than this is taken for one of this width
KINDS = ("gauss", "linear", "shares")


def profile(position: np.ndarray, width: np.ndarray, taps: int, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What elements give to the taps of one axis, and the derivatives of that for position and width, each (..., taps).

    Formula: `linear` is `φ(q) = max(0, s − |q − p|)`, `shares` the same divided by its sum over all taps (0 where none is reached),
    `gauss` is `exp(−½ ((q − p) / s)²)` divided by its sum. Derivatives at a kink are the mean of those on its two sides.
    """
    at, s = np.arange(taps) - position[..., None].astype("float64"), width[..., None].astype("float64")
    if kind == "gauss":
        s = np.maximum(s, SMALLEST)
        squares = (at / s) ** 2
        f = np.exp(-0.5 * (squares - squares.min(-1, keepdims=True)))
        by_position, by_width = f * at / s**2, f * at**2 / s**3
    else:
        f = np.maximum(0.0, s - np.abs(at))
        by_width = (np.sign(s - np.abs(at)) + 1) / 2
        by_position = by_width * np.sign(at)
    if kind == "linear":
        return f, by_position, by_width
    total = f.sum(-1, keepdims=True)
    total = np.where(total > 0, total, np.inf)
    f, by_position, by_width = f / total, by_position / total, by_width / total
    return tuple(d if d is f else d - f * d.sum(-1, keepdims=True) for d in (f, by_position, by_width))


def placed(weight: np.ndarray, position: np.ndarray, width: np.ndarray, window: Sequence[int], kind: str) -> np.ndarray:
    """Rows of taps from elements at real positions.

    Formula: `y[r, q] = Σ_m weight[r, m] · Π_d φ_d(q_d)`, see `profile`.

    Shapes: weight (R, M), position and width (n, R, M), y (R, *window).
    """
    y = weight.astype("float64")
    for axis, taps in enumerate(window):
        factor = profile(position[axis], width[axis], taps, kind)[0]
        y = y[..., None] * factor.reshape(*weight.shape, *[1] * axis, taps)
    return y.sum(1)


def gradients(
    y: np.ndarray, weight: np.ndarray, position: np.ndarray, width: np.ndarray, kind: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The derivatives of `Σ y · placed(...)` for weight, position and width, in their shapes."""
    window = y.shape[1:]
    known = [profile(position[d], width[d], taps, kind) for d, taps in enumerate(window)]

    def total(chosen: Sequence[int]) -> np.ndarray:
        left = y[:, None].astype("float64")
        for axis in reversed(range(len(window))):
            factor = known[axis][chosen[axis]]
            left = (left * factor.reshape(*weight.shape, *[1] * axis, -1)).sum(-1)
        return left

    one = [[int(a == d) for a in range(len(window))] for d in range(len(window))]
    by_position = np.stack([weight * total(kinds) for kinds in one])
    by_width = np.stack([weight * total([2 * k for k in kinds]) for kinds in one])
    return total([0] * len(window)), by_position, by_width
