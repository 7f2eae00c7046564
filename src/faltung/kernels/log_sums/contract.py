"""What the kernels of logarithms of sums compute, in NumPy: the reference that every tool's version equals."""

import numpy as np


def raised(x: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """exp(x[g, i] − shift[g]) in float64, 0 from −708 down. Shapes: x (G, size), shift (G,)."""
    with np.errstate(over="ignore", invalid="ignore"):
        z = x.astype("float64") - shift[:, None]
        return np.where(z <= -708.0, 0.0, np.exp(z))


def lowered(s: np.ndarray, shift: np.ndarray, dtype: str) -> tuple[np.ndarray, int]:
    """log(s[g, i]) + shift[g] and how many of the sums are no numbers from LEAST on. Shapes: s (G, size), shift (G,)."""
    from faltung.kernels.log_sums.on_numba import LEAST

    with np.errstate(divide="ignore", invalid="ignore"):
        return (np.log(s) + shift[:, None]).astype(dtype), int((~((s >= LEAST) & (s < np.inf))).sum())


def terms(x: np.ndarray, k: np.ndarray, b: int, n: int, o: int, at: int, place: np.ndarray) -> np.ndarray:
    """The terms of one result."""
    return x[b, n].ravel()[at + place].astype("float64") + k[b, o].astype("float64")


def repaired(
    x: np.ndarray, k: np.ndarray, s: np.ndarray, y: np.ndarray, base: np.ndarray, place: np.ndarray, stride: int
) -> np.ndarray:
    """y with those results that belong to sums outside [LEAST, ∞) computed from their terms.

    Formula: `log Σ over t of exp(x[base[r] + place[t] + j·stride] + k[t])`.

    Shapes: x (B, N, size), k (B, O, T), s and y (B, N, O, R, J), base (R,), place (T,).
    """
    from faltung.kernels.log_sums.on_numba import LEAST

    y = y.copy()
    for b, n, o, r, j in np.argwhere(~((s >= LEAST) & (s < np.inf))):
        with np.errstate(invalid="ignore"):
            y[b, n, o, r, j] = np.logaddexp.reduce(terms(x, k, b, n, o, base[r] + j * stride, place))
    return y


def handed(
    x: np.ndarray, k: np.ndarray, s: np.ndarray, y: np.ndarray, base: np.ndarray, place: np.ndarray, stride: int,
    unknown: str,
) -> np.ndarray:  # fmt: skip
    """The gradient of the results that `repaired` computes: each term gets its share exp(term − result) of the cotangent y.

    Shapes as there; returns float64 of the shape of x or k.
    """
    from faltung.kernels.log_sums.on_numba import LEAST

    out = np.zeros(x.shape if unknown == "x" else k.shape)
    for b, n, o, r, j in np.argwhere(~((s >= LEAST) & (s < np.inf))):
        at = base[r] + j * stride
        with np.errstate(invalid="ignore"):
            v = terms(x, k, b, n, o, at, place)
            total = np.logaddexp.reduce(v)
            share = np.zeros(v.shape) if total == -np.inf else np.exp(v - total)
        if unknown == "x":
            np.add.at(out[b, n], at + place, share * y[b, n, o, r, j])
        else:
            out[b, o] += share * y[b, n, o, r, j]
    return out


def weights(y: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, int]:
    """y / s where the sum is a number from LEAST on, else 0, and how many are not. Shapes: y and s alike; returns float64."""
    from faltung.kernels.log_sums.on_numba import LEAST

    trusted = (s >= LEAST) & (s < np.inf)
    return np.divide(y, s, out=np.zeros(s.shape), where=trusted), int((~trusted).sum())


def dots(x: np.ndarray, w: np.ndarray, base: np.ndarray, place: np.ndarray, stride: int) -> np.ndarray:
    """The gradient of a correlation for its filter.

    Formula: `k[b, o, t] = Σ over n, r, j of x[b, n, base[r] + place[t] + j·stride] w[b, n, o, r, j]`.

    Shapes: x (B, N, size), w (B, N, O, R, J); returns (B, O, T).
    """
    at = base[:, None] + np.arange(w.shape[-1]) * stride
    return np.stack([np.einsum("bnrj,bnorj->bo", x[:, :, at + p], w) for p in place], axis=-1)
