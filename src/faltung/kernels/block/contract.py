"""What the block kernels compute, in NumPy: the reference that every tool's version equals."""

import math

import numpy as np

BENDS = {
    "gelu": lambda v: v * (1 + np.vectorize(math.erf)(v / math.sqrt(2))) / 2,
    "relu": lambda v: np.maximum(v, 0),
    "relu6": lambda v: np.minimum(np.maximum(v, 0), 6),
    "silu": lambda v: v / (1 + np.exp(-v)),
}


def grouped(x: np.ndarray, k: np.ndarray) -> np.ndarray:
    """A correlation in groups that keeps the size, zeros beyond the edge.

    Shapes: x (N, C, H, W), k (O, C / groups, KH, KW) of odd sizes, result (N, O, H, W).
    """
    (N, C, H, W), (O, width, KH, KW) = x.shape, k.shape
    groups = C // width
    padded = np.pad(x, ((0, 0), (0, 0), (KH // 2, KH // 2), (KW // 2, KW // 2))).reshape(
        N, groups, width, H + KH - 1, -1
    )
    taps = k.reshape(groups, O // groups, width, KH, KW)
    y = np.zeros((N, groups, O // groups, H, W), x.dtype)
    for r in range(KH):
        for s in range(KW):
            y += np.einsum("ngchw,goc->ngohw", padded[..., r : r + H, s : s + W], taps[..., r, s])
    return y.reshape(N, O, H, W)


def pointwise(x: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Sums over channels: x (N, C, H, W), k (O, C)."""
    return np.einsum("nchw,oc->nohw", x, k)


def inverted(
    x: np.ndarray, widen: np.ndarray, p: np.ndarray, a: np.ndarray, mix: np.ndarray, m: np.ndarray,
    narrow: np.ndarray, q: np.ndarray, b: np.ndarray, bend: str,
) -> np.ndarray:  # fmt: skip
    """An inverted bottleneck beside a shortcut.

    Formula: `y = x + q·(narrow·bend(mix ∗ bend(p·(widen·x) + a) + m)) + b`, mix depthwise with zeros beyond the edge.

    Shapes: x (N, C, H, W), widen (E, C), p and a (E), mix (E, KH, KW) of odd sizes, m (E), narrow (C, E), q and b (C), y as x.
    """
    act, (p, a, m, q, b) = BENDS[bend], (v[:, None, None] for v in (p, a, m, q, b))
    u = act(grouped(act(p * pointwise(x, widen) + a), mix[:, None]) + m)
    return (x + q * pointwise(u, narrow) + b).astype(x.dtype)


def first(
    x: np.ndarray, mix: np.ndarray, m: np.ndarray, widen: np.ndarray, a: np.ndarray, narrow: np.ndarray, q: np.ndarray,
    b: np.ndarray, bend: str,
) -> np.ndarray:  # fmt: skip
    """A grouped convolution, then a pointwise network, beside a shortcut.

    Formula: `y = x + q·(narrow·bend(widen·(mix ∗ x + m) + a)) + b`.

    Shapes: x (N, C, H, W), mix (C, C / groups, KH, KW) of odd sizes, m, q and b (C), widen (E, C), a (E), narrow (C, E), y as x.
    """
    m, a, q, b = (v[:, None, None] for v in (m, a, q, b))
    u = BENDS[bend](pointwise(grouped(x, mix) + m, widen) + a)
    return (x + q * pointwise(u, narrow) + b).astype(x.dtype)
