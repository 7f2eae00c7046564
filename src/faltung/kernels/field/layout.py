"""Where the values of a kernel field meet the signal: tables of rows that the compiled loops walk along.

A field has a value for every tap and every place of the result. Loops run along rows of results in vectors; an entry of a table
says for one row and one tap where in the field and in the signal its vectors start, and which columns of the row take part:
the others see beyond the edge of the signal. With a stride along the last axis the signal's rows are split by their remainder
first ("phases"), so that vectors read neighbours whatever the stride.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

Rule = Callable[[np.ndarray, np.ndarray, int, int, int], tuple[np.ndarray, int]]
ENTRY = 4  # where in the field, where in the signal, the first column, how many columns


@dataclass(frozen=True)
class Field:
    """Sizes: signal n, taps t, results m, stride, dilation, margin of zeros before the signal; one number an axis each."""

    n: tuple[int, ...]
    t: tuple[int, ...]
    m: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    lo: tuple[int, ...]

    @property
    def taps(self) -> int:
        return math.prod(self.t)

    @property
    def places(self) -> int:
        return math.prod(self.m)

    @cached_property
    def phase(self) -> int:
        """Samples of one phase of a row of the signal."""
        return -(-self.n[-1] // self.stride[-1])

    @cached_property
    def results(self) -> tuple[np.ndarray, np.ndarray]:
        """For every row of results the entries of the taps that meet the signal, and where each row's entries start."""
        table = self._table()
        return _kept(table, table[..., 3] > 0)

    @cached_property
    def taps_of(self) -> np.ndarray:
        """For every row of results the entries of all taps."""
        return np.ascontiguousarray(self._table().reshape(-1))

    @cached_property
    def signals(self) -> tuple[np.ndarray, np.ndarray]:
        """For every phase of every row of the signal the entries of the taps through which results see it."""
        shift, phase = self._columns()
        to, inside = self._outer(lambda p, tap, s, d, lo: (p + lo - tap * d, s), self.n, self.m)
        L, s = self.m[-1], self.stride[-1]
        shown = (self.n[-1] - np.arange(s) + s - 1) // s  # samples of each phase
        at = to[:, None, :, None] * L - shift
        first = np.maximum(0, shift)
        span = np.minimum(shown[:, None], L + shift) - first  # (phases, taps of the last axis)
        span = np.where(np.arange(s)[:, None] == phase, np.maximum(span, 0), 0)
        span = span[None, :, None, :] * inside[:, None, :, None]
        tap = np.arange(self.taps).reshape(1, 1, -1, len(shift))
        entries = np.broadcast_arrays(tap * self.places + at, at, first, span)
        table = np.stack(entries, axis=-1).reshape(-1, self.taps, ENTRY)
        return _kept(table, table[..., 3] > 0)

    def _columns(self) -> tuple[np.ndarray, np.ndarray]:
        """By how many columns each tap of the last axis is ahead of its result, and in which phase."""
        ahead = np.arange(self.t[-1], dtype=np.int64) * self.dilation[-1] - self.lo[-1]
        return ahead // self.stride[-1], ahead % self.stride[-1]

    def _outer(self, rule: Rule, here: tuple[int, ...], there: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Row there that meets a row here through the taps of all axes but the last, (rows, taps), and whether there is one."""
        row, inside = np.zeros((1, 1), np.int64), np.ones((1, 1), bool)
        for axis in range(len(here) - 1):
            p, tap = np.arange(here[axis])[:, None], np.arange(self.t[axis])[None]
            at, step = rule(p, tap, self.stride[axis], self.dilation[axis], self.lo[axis])
            good = (at % step == 0) & (at >= 0) & (at < there[axis] * step)
            row = (row[:, None, :, None] * there[axis] + (at // step)[None, :, None, :]).reshape(
                row.shape[0] * len(p), -1
            )
            inside = (inside[:, None, :, None] & good[None, :, None, :]).reshape(row.shape)
        return row, inside

    def _table(self) -> np.ndarray:
        """(rows of results, taps, ENTRY), entries that miss the signal with no columns."""
        shift, phase = self._columns()
        to, inside = self._outer(lambda p, tap, s, d, lo: (p * s + tap * d - lo, 1), self.m, self.n)
        L, s = self.m[-1], self.stride[-1]
        shown = (self.n[-1] - phase + s - 1) // s
        first = np.maximum(0, -shift)
        span = np.maximum(np.minimum(L, shown - shift) - first, 0) * inside[:, :, None]
        tap = np.arange(self.taps).reshape(1, -1, len(shift))
        field = tap * self.places + np.arange(to.shape[0]).reshape(-1, 1, 1) * L
        signal = (to[:, :, None] * s + phase) * self.phase + shift
        return np.stack(np.broadcast_arrays(field, signal, first, span), axis=-1).reshape(-1, self.taps, ENTRY)


@lru_cache(maxsize=256)
def kept(field: Field) -> Field:
    """The same field with the tables that were made for it before."""
    return field


@lru_cache(maxsize=1024)
def pieces(rows: int, length: int, target: int, width: int) -> np.ndarray:
    """Pieces (first row, last row, first column, last column) of about `target` values that cover all rows once."""
    return np.array(list(_pieces(rows, length, target, width)), np.int64)


def _pieces(rows: int, length: int, target: int, width: int) -> Iterator[tuple[int, int, int, int]]:
    if length > 2 * target:
        wide = -(-target // width) * width
        for row in range(rows):
            for column in range(0, length, wide):
                yield row, row + 1, column, min(length, column + wide)
        return
    tall = max(1, target // length)
    for row in range(0, rows, tall):
        yield row, min(rows, row + tall), 0, length


def _kept(table: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    starts = np.concatenate([[0], np.cumsum(good.sum(axis=1))]).astype(np.int64)
    return np.ascontiguousarray(table[good]).astype(np.int64).reshape(-1), starts
