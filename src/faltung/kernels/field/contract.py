"""What the field kernels compute, in NumPy: the reference that every tool's version equals.

A field w has a value for every problem (a, b), output o, input i, tap t and place p of the result. Its three maps are the partial
derivatives of one trilinear form, so each is the gradient of another.

Shapes: x (A, B, N, I, *n), w (A, B, O, I, *t, *m), y (A, B, N, O, *m).
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from faltung.kernels.field.layout import Field


def results(x: np.ndarray, w: np.ndarray, field: Field) -> np.ndarray:
    """`y[a, b, n, o, p] = Σ over i, t of w[a, b, o, i, t, p] · x[a, b, n, i, p·stride + t·dilation − lo]`, zeros beyond x."""
    y = np.zeros((*x.shape[:3], w.shape[2], *field.m), x.dtype)
    for tap, places, seen in _meetings(field):
        y[(..., *places)] += np.einsum("abni...,aboi...->abno...", x[(..., *seen)], w[(..., *tap, *places)])
    return y


def signals(w: np.ndarray, y: np.ndarray, field: Field) -> np.ndarray:
    """The transpose: `x[a, b, n, i, q] = Σ over o and (t, p) that meet in q of w[a, b, o, i, t, p] · y[a, b, n, o, p]`."""
    x = np.zeros((*y.shape[:3], w.shape[3], *field.n), y.dtype)
    for tap, places, seen in _meetings(field):
        x[(..., *seen)] += np.einsum("abno...,aboi...->abni...", y[(..., *places)], w[(..., *tap, *places)])
    return x


def fields(x: np.ndarray, y: np.ndarray, field: Field) -> np.ndarray:
    """`w[a, b, o, i, t, p] = Σ over n of y[a, b, n, o, p] · x[a, b, n, i, p·stride + t·dilation − lo]`, zeros beyond x."""
    w = np.zeros((*x.shape[:2], y.shape[3], x.shape[3], *field.t, *field.m), x.dtype)
    for tap, places, seen in _meetings(field):
        w[(..., *tap, *places)] = np.einsum("abni...,abno...->aboi...", x[(..., *seen)], y[(..., *places)])
    return w


def _meetings(field: Field) -> Iterator[tuple[tuple[int, ...], tuple[Any, ...], tuple[Any, ...]]]:
    """Every tap with the places at which it meets the signal, and the samples that it meets there."""
    for tap in itertools.product(*map(range, field.t)):
        places, seen = [], []
        for n, m, s, d, lo, t in zip(field.n, field.m, field.stride, field.dilation, field.lo, tap, strict=True):
            at = [p for p in range(m) if 0 <= p * s + t * d - lo < n]
            if not at:
                break
            first = at[0] * s + t * d - lo
            places.append(slice(at[0], at[-1] + 1))
            seen.append(slice(first, first + (len(at) - 1) * s + 1, s))
        else:
            yield tap, tuple(places), tuple(seen)
