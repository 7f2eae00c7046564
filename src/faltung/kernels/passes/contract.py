"""What the pass kernel computes, in NumPy: the reference that every tool's version equals."""

from functools import reduce

import numpy as np

from faltung.algebras import Algebra
from faltung.kernels.blocks import contract


def passes(x: np.ndarray, factors: list[list[list[np.ndarray]]], m: tuple[int, ...], algebra: Algebra) -> np.ndarray:
    """Correlate an extended signal with filters that are sums of products of factors along single axes.

    Formula: `y[b, n, o, p] = ⊕ over r, u of x[b, n, 0, p + u] ⊗ factors[b][r][0][u₀] ⊗ factors[b][r][1][u₁] …`.

    Shapes: x (B, N, 1, *whole), factors[b][r] one row of taps for each axis, y (B, N, 1, *m).
    """
    ones = (1,) * len(m)
    total = None
    for r in range(len(factors[0])):
        k = np.stack([reduce(algebra.mul, np.ix_(*terms[r])).astype(x.dtype) for terms in factors])[:, None, None]
        y = contract.blocks(x, k, m, ones, ones, algebra)
        total = y if total is None else algebra.add(total, y)
    assert total is not None
    return total
