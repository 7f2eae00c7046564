"""What the kernels of matrix products over semirings compute, in NumPy: the reference that every tool's version equals."""

import numpy as np

from faltung.algebras import Algebra


def times(a: np.ndarray, b: np.ndarray, algebra: Algebra) -> np.ndarray:
    """a ⊗ b with the zero that annihilates infinities, too; NaN stays."""
    with np.errstate(invalid="ignore"):
        value = algebra.mul(a, b)
    if algebra.arithmetic != "machine" or np.asarray(value).dtype.kind != "f":
        return value
    zero = algebra.zero(np.asarray(value).dtype)
    nothing = ((a == zero) & (b == b)) | ((b == zero) & (a == a))
    return np.where(nothing, zero, value)


def product(a: np.ndarray, b: np.ndarray, algebra: Algebra) -> np.ndarray:
    """C[i, j] = ⊕ over k of a[i, k] ⊗ b[k, j], from the algebra's zero, in order of k. Shapes: a (m, K), b (K, n), C (m, n)."""
    c = np.full((a.shape[0], b.shape[1]), algebra.zero(a.dtype), a.dtype)
    for k in range(a.shape[1]):
        with np.errstate(invalid="ignore"):
            c = algebra.add(c, times(a[:, k, None], b[None, k], algebra))
    return c


def chosen(a: np.ndarray, b: np.ndarray, algebra: Algebra) -> np.ndarray:
    """The first k that attains C[i, j] over an ordered algebra, int64; the first of all where none beats it."""
    beats = algebra.beats
    assert beats is not None
    best, choice = times(a[:, 0, None], b[None, 0], algebra), np.zeros((a.shape[0], b.shape[1]), np.int64)
    for k in range(1, a.shape[1]):
        value = times(a[:, k, None], b[None, k], algebra)
        better = beats(value, best)
        best, choice = np.where(better, value, best), np.where(better, k, choice)
    return choice


def kleene(a: np.ndarray, algebra: Algebra, star: np.ufunc) -> np.ndarray:
    """one ⊕ a ⊕ a² ⊕ …, one index after the other: a[i, j] ⊕= a[i, k] ⊗ a[k, k]* ⊗ a[k, j]."""
    a = a.copy()
    for k in range(a.shape[0]):
        around = times(a[:, k, None], np.asarray(star(a[k, k])).astype(a.dtype)[()], algebra)
        a = algebra.add(a, times(around, a[None, k].copy(), algebra))
    at = np.arange(a.shape[0])
    a[at, at] = algebra.add(a[at, at], algebra.one(a.dtype))
    return a
