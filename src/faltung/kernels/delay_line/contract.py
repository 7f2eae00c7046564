"""What the kernel of the frequency-domain delay line computes, in NumPy: the reference that every tool's version equals."""

import numpy as np


def delay_line(x: np.ndarray, h: np.ndarray, start: int, count: int) -> np.ndarray:
    """Spectra of the last blocks against those of a filter's partitions, summed over channels and partitions.

    Formula: `y[b, n, o, j] = Σ over c, p of x[b, n, c, start + j − p] · h[b, o, c, p]`, complex, frequency by frequency; places
    outside of the line count as zero.

    Shapes: x (B, N, C, G, S, 2, W), h (B, O, C, G, P, 2, W), y (B, N, O, G, count, 2, W): frequencies in G strips of W, real and
    imaginary parts apart, so that what one strip reads lies side by side.
    """
    (B, N, _, G), (O, P) = x.shape[:4], (h.shape[1], h.shape[4])
    wide = np.zeros((B, N, O, G, count, x.shape[-1]), np.complex128)
    xs, hs = (a[..., 0, :] + 1j * a[..., 1, :].astype(np.complex128) for a in (x, h))
    for j in range(count):
        for p in range(P):
            if not 0 <= start + j - p < x.shape[4]:
                continue
            wide[..., j, :] += np.einsum("bncgf,bocgf->bnogf", xs[..., start + j - p, :], hs[..., p, :])
    return np.stack([wide.real, wide.imag], -2)
