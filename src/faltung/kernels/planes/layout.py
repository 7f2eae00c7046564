"""Where the rows of an extended plane come from, and where each tap reads in it: whole numbers only."""

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np


@dataclass(frozen=True, eq=False)
class Planes:
    """Planes of n samples, filtered by t taps along each axis to results of the same size.

    `sources` gives for each axis which sample stands at each of its n + t − 1 extended places, -1 for zero.
    """

    n: tuple[int, ...]
    t: tuple[int, ...]
    sources: tuple[np.ndarray, ...]

    @property
    def whole(self) -> tuple[int, ...]:
        """The sizes of the extended plane."""
        return tuple(len(s) for s in self.sources)

    @cached_property
    def starts(self) -> np.ndarray:
        """For each row of the extended plane, where its samples start in the plane; -1 for a row of zeros."""
        at, lost = np.zeros((), np.int64), np.zeros((), bool)
        step = prod(self.n)
        for n, source in zip(self.n[:-1], self.sources[:-1], strict=True):
            step //= n
            at, lost = at[..., None] + np.maximum(source, 0) * step, lost[..., None] | (source < 0)
        return np.where(lost, -1, at).reshape(-1)

    @cached_property
    def columns(self) -> np.ndarray:
        """The sources along a row."""
        return np.ascontiguousarray(self.sources[-1], np.int64)

    @cached_property
    def inner(self) -> tuple[int, int]:
        """Where in an extended row the plane's own samples stand, one after the other: from, to."""
        lo = int(np.flatnonzero(self.columns == 0)[0]) if (self.columns == 0).any() else 0
        run = self.columns[lo:] - np.arange(len(self.columns) - lo)
        return lo, lo + int(np.argmax(np.append(run, 1) != 0))

    def _places(self, sizes: tuple[int, ...]) -> np.ndarray:
        """Where in the extended plane the places of a box of these sizes lie, from its first corner on."""
        at, step = np.zeros((), np.int64), prod(self.whole)
        for size, whole in zip(sizes, self.whole, strict=True):
            step //= whole
            at = at[..., None] + np.arange(size) * step
        return at.reshape(-1)

    @cached_property
    def bases(self) -> np.ndarray:
        """Where the first tap of each row of results reads."""
        return self._places((*self.n[:-1], 1))

    @cached_property
    def offsets(self) -> np.ndarray:
        """How much further each tap reads than the first."""
        return self._places(self.t)

    @cached_property
    def sizes(self) -> np.ndarray:
        """What the kernel is told: rows and columns of the extended plane, inner columns, rows and columns of results, taps."""
        lo, hi = self.inner
        rows = len(self.starts), len(self.columns), lo, hi, len(self.bases), self.n[-1], len(self.offsets)
        return np.array(rows, np.int64)
