"""Reading a signal beyond its edges without padding it: where each row of a box in the extended signal comes from.

The extended signal starts `lo` positions before the signal. Inside, a position is the signal's own; outside, a table gives the
position that stands for it, or -1 for a constant. Where constants of several axes meet, the last axis' stands, as in numpy.pad.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from faltung.kernels import native

# What a kernel knows of one axis: where the signal starts and ends in the extension, where its table starts, the signal's step.
LO, INNER, OUTER, TABLE, STEP, AXIS = range(6)


@dataclass(frozen=True, eq=False)
class Extension:
    """The extension of a signal of size n: it starts at −lo and has size `whole`, axis by axis.

    `sources(axis, first, stop)` gives the index in the signal that stands at each of these positions beside it, -1 for the constant
    in `fills`.
    """

    n: tuple[int, ...]
    lo: tuple[int, ...]
    whole: tuple[int, ...]
    sources: Callable[[int, int, int], np.ndarray]
    fills: tuple[complex, ...]

    @cached_property
    def spans(self) -> list[tuple[int, int, int]]:
        """Of each axis: where the signal begins, where it ends, the size."""
        return [
            (min(max(lo, 0), whole), min(max(lo + n, 0), whole), whole)
            for n, lo, whole in zip(self.n, self.lo, self.whole, strict=True)
        ]

    @cached_property
    def tables(self) -> np.ndarray:
        """Sources of all margins, axis after axis."""
        parts = [np.zeros(0, np.int64)]
        for d, (inner, outer, whole) in enumerate(self.spans):
            lo = self.lo[d]
            parts += [self.sources(d, -lo, inner - lo), self.sources(d, outer - lo, whole - lo)]
        return np.concatenate(parts)

    def axes(self, steps: Sequence[int]) -> np.ndarray:
        """The kernels' array, for a signal with these steps in values."""
        out, table = np.zeros((len(self.n), AXIS), np.int64), 0
        for d, (inner, outer, whole) in enumerate(self.spans):
            out[d] = self.lo[d], inner, outer, table, steps[d]
            table += whole - outer + inner
        return out

    def of(self, x: np.ndarray) -> np.ndarray:
        """The extended signal as an array, in NumPy: what kernels read without making it."""
        for d, (inner, outer, whole) in enumerate(self.spans):
            lo, axis = self.lo[d], x.ndim - len(self.n) + d
            at = np.concatenate(
                (
                    self.sources(d, -lo, inner - lo),
                    np.arange(inner, outer) - lo,
                    self.sources(d, outer - lo, whole - lo),
                )
            )
            x = np.take(x, np.maximum(at, 0), axis=axis)
            np.moveaxis(x, axis, 0)[at < 0] = self.fills[d]
        return x

    @property
    def table_bytes(self) -> int:
        return 8 * sum(whole - outer + inner for inner, outer, whole in self.spans)


def readers() -> tuple[Callable, Callable]:
    """Compiled `locate(p, axis, e, tables)` and `copy_row(...)` for kernel builders."""
    jit = native.inner

    @jit
    def locate(p, axis, e, tables):
        """The signal's index at position p of an axis of the extension, -1 for the constant."""
        h = AXIS * axis
        a, b = e[h + INNER], e[h + OUTER]
        if a <= p < b:
            return p - e[h + LO]
        return tables[e[h + TABLE] + (p if p < a else p - b + a)]

    @jit
    def copy_row(x, at, y, to, first, length, axis, e, tables, edge, constant, inner):
        """Positions [first, first + length) of the last axis into y[to] and on; all `inner` where `constant` says so."""
        h = AXIS * axis
        a, b, step = e[h + INNER], e[h + OUTER], e[h + STEP]
        lo, hi = min(max(a - first, 0), length), min(max(b - first, 0), length)
        for start, stop in ((0, lo), (hi, length)):
            for j in range(start, stop):
                p = first + j
                source = tables[e[h + TABLE] + (p if p < a else p - b + a)]
                y[to + j] = edge if source < 0 else inner if constant else x[at + source * step]
        if constant:
            for j in range(lo, hi):
                y[to + j] = inner
        else:
            p = at + (first - e[h + LO]) * step
            if step == 1:
                for j in range(lo, hi):
                    y[to + j] = x[p + j]
            else:
                for j in range(lo, hi):
                    y[to + j] = x[p + j * step]

    return locate, copy_row
