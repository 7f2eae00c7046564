"""What the separable kernel computes, in NumPy: the reference that every tool's version equals."""

import numpy as np


def separable(x: np.ndarray, d: np.ndarray, k: np.ndarray, pads: tuple[tuple[int, int], tuple[int, int]]) -> np.ndarray:
    """Filters in space, then sums over channels at every position.

    Formula: `u[n, i·m + j] = d[i·m + j] ∗ x̃[n, i]`, `y[n, o, p] = Σ over c of k[o, c]·u[n, c, p]`, x̃ with zeros in the margins.

    Shapes: x (N, C, H, W), d (C·m, KH, KW), k (O, C·m), y (N, O, H + pads − KH + 1, W + pads − KW + 1).
    """
    padded = np.pad(x, ((0, 0), (0, 0), *pads))
    heights, widths = (padded.shape[2 + a] - d.shape[1 + a] + 1 for a in range(2))
    padded = padded.repeat(d.shape[0] // x.shape[1], 1)
    u = np.zeros((*padded.shape[:2], heights, widths), x.dtype)
    for r in range(d.shape[1]):
        for s in range(d.shape[2]):
            u += d[:, r, s, None, None] * padded[:, :, r : r + heights, s : s + widths]
    return np.tensordot(u, k, (1, 1)).transpose(0, 3, 1, 2)
