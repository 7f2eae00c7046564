"""What the kernel of packed truth values computes, in NumPy: the reference that every tool's version equals."""

import numpy as np


def united(
    x: np.ndarray, base: np.ndarray, start: np.ndarray, place: np.ndarray, shift: np.ndarray, words: int, outputs: int
) -> np.ndarray:
    """Rows of bits, each the union of rows of a signal that are shifted by whole words and bits.

    Formula: `y[b, n, o, r] = or over taps i of (b, o) of the words from x[b, n, base[r] + place[i]] on, moved by shift[i] bits`;
    bit j of word w is position 64·w + j of a row.

    Shapes: x (B, N, size) uint64, base (R,), place and shift (taps,), start (B·O + 1,): the taps of filter f are start[f] to
    start[f + 1]; y (B, N, O, R, words). One word behind the last that a tap reads must exist.
    """
    B, N, _ = x.shape
    y = np.zeros((B, N, outputs, base.size, words), np.uint64)
    at = np.arange(words)
    for b, o in np.ndindex(B, outputs):
        for i in range(start[b * outputs + o], start[b * outputs + o + 1]):
            low = x[b][:, (base[:, None] + place[i] + at)]
            high = x[b][:, (base[:, None] + place[i] + at + 1)]
            by = np.uint64(shift[i])
            y[b, :, o] |= low >> by
            if by:
                y[b, :, o] |= high << np.uint64(64 - by)
    return y
