"""The grid: signals sampled on a box of integers, in any number of dimensions.

All methods see a convolution on the grid in one form, the correlation with padding made explicit, axis by axis:

    y[i] = sum over taps t of  x̃[i·stride + t·dilation] ⊗ k[t],     x̃ = x extended by (lo, hi) with its boundary

so a mode is a pair of pads, a flip is a reversed view, and this file holds what the form needs: sizes, padding, its adjoint, and
the finite definition (`terms`) that judges every method.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from faltung.domains.boundary import Boundary
from faltung.errors import ArgumentError

Value = float | complex | bool
SMALL = 1 << 15  # values below which one more pass costs less than finding margins


@dataclass(frozen=True)
class Grid:
    """The facts of one convolution on a grid: sizes n, taps t, pads, strides, dilations, boundaries; one entry an axis."""

    n: tuple[int, ...]
    t: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    boundary: tuple[Boundary, ...]

    @property
    def ndim(self) -> int:
        return len(self.n)

    @cached_property
    def reach(self) -> tuple[int, ...]:
        """Extent of the dilated filter: (t − 1)·dilation + 1."""
        return tuple((t - 1) * d + 1 for t, d in zip(self.t, self.dilation, strict=True))

    @cached_property
    def padded(self) -> tuple[int, ...]:
        """Size of the extended signal x̃."""
        return tuple(n + lo + hi for n, (lo, hi) in zip(self.n, self.pads, strict=True))

    @cached_property
    def m(self) -> tuple[int, ...]:
        """Output size ⌊(n + lo + hi − reach) / stride⌋ + 1; zero or less means that the filter does not fit."""
        return tuple((p - r) // s + 1 for p, r, s in zip(self.padded, self.reach, self.stride, strict=True))

    @property
    def taps(self) -> int:
        return math.prod(self.t)

    @property
    def zero_padded(self) -> bool:
        """Whether all that lies beyond the edge is the algebra's zero."""
        return all(
            b == Boundary("constant") or (lo <= 0 and hi <= 0)
            for b, (lo, hi) in zip(self.boundary, self.pads, strict=True)
        )

    @property
    def unpadded(self) -> bool:
        return all(lo == 0 and hi == 0 for lo, hi in self.pads)

    @cached_property
    def met(self) -> float:
        """The share of all pairs of an output and a tap that meet a sample, not what lies beyond the edge."""
        share = 1.0
        for n, m, t, s, d, (lo, _) in zip(self.n, self.m, self.t, self.stride, self.dilation, self.pads, strict=True):
            first = lo - np.arange(t) * d  # a tap meets samples in outputs i with first ≤ i·s < first + n
            outputs = np.clip(-(-(first + n) // s), 0, m) - np.clip(-(-first // s), 0, m)
            share *= float(outputs.sum()) / max(1, m * t)
        return share

    def terms(self) -> Iterator[tuple[tuple[int, ...], tuple[np.ndarray, ...]]]:
        """The definition, tap by tap: (tap, source index of every output along each axis; -1 stands for the constant)."""
        tables = [b.sources(n, lo, hi) for b, n, (lo, hi) in zip(self.boundary, self.n, self.pads, strict=True)]
        starts = [np.arange(m) * s for m, s in zip(self.m, self.stride, strict=True)]
        for tap in itertools.product(*map(range, self.t)):
            yield (
                tap,
                tuple(
                    table[start + u * d] for table, start, u, d in zip(tables, starts, tap, self.dilation, strict=True)
                ),
            )

    def fills(self, zero: Value) -> tuple[Value, ...]:
        """The constant that stands beyond the edge of each axis."""
        return tuple(zero if b.value is None else b.value for b in self.boundary)

    def pad(self, x: np.ndarray, zero: Value) -> np.ndarray:
        """x̃ as a new array: the last `ndim` axes of x extended (cropped where a pad is negative).

        Axes are extended one after the other, first to last, as `numpy.pad` does: where two constants meet in a corner the
        later axis' value stands there.
        """
        lead = x.ndim - self.ndim
        if any(lo < 0 or hi < 0 for lo, hi in self.pads):
            return self._gather(x, zero)
        if x.size < SMALL and len(self._constants) == 1:  # one fill for all margins: write it everywhere first
            (value,) = self._constants
            out = np.full(x.shape[:lead] + self.padded, zero if value is None else value, dtype=x.dtype)
            out[self._inside] = x
            return out
        out = np.empty(x.shape[:lead] + self.padded, dtype=x.dtype)
        box = [slice(None)] * lead + [slice(lo, lo + n) for n, (lo, _) in zip(self.n, self.pads, strict=True)]
        out[tuple(box)] = x
        for a, fill in enumerate(self.fills(zero)):
            signal = out[tuple(box)]
            for margin, source in self._margins[a]:
                box[lead + a] = margin
                if source is None:
                    out[tuple(box)] = fill
                elif isinstance(source, slice):
                    out[tuple(box)] = signal[(slice(None),) * (lead + a) + (source,)]
                else:
                    out[tuple(box)] = np.take(signal, source, axis=lead + a)
            box[lead + a] = slice(None)
        return out

    @cached_property
    def _inside(self) -> tuple:
        """Where the signal lies in the padded array."""
        return (..., *(slice(lo, lo + n) for n, (lo, _) in zip(self.n, self.pads, strict=True)))

    @cached_property
    def _constants(self) -> frozenset:
        """The values of the boundaries if all are constants, for telling whether there is one; empty otherwise."""
        kinds = {b.kind for b in self.boundary}
        return frozenset(b.value for b in self.boundary) if kinds == {"constant"} else frozenset()

    @cached_property
    def _margins(self) -> tuple[list[tuple[slice, slice | np.ndarray | None]], ...]:
        """Of each axis its margins in the padded array, and the signal's positions that stand there; None for the constant."""
        made = []
        for boundary, n, (lo, hi) in zip(self.boundary, self.n, self.pads, strict=True):
            margins: list[tuple[slice, slice | np.ndarray | None]] = []
            whole = max(n + lo + hi, 0)
            for start, stop in ((0, min(max(lo, 0), whole)), (max(lo + n, 0), whole)):
                if stop > start:
                    at = boundary.standing(n, np.arange(start - lo, stop - lo))
                    margins.append((slice(start, stop), None if boundary.kind == "constant" else _row(at)))
            made.append(margins)
        return tuple(made)

    def _gather(self, x: np.ndarray, zero: Value) -> np.ndarray:
        """Extend and crop one axis after the other; what is cropped may still be the source of the other margin."""
        for a, (b, n, (lo, hi), fill) in enumerate(
            zip(self.boundary, self.n, self.pads, self.fills(zero), strict=True)
        ):
            axis = x.ndim - self.ndim + a
            if lo <= 0 and hi <= 0:
                x = x[(slice(None),) * axis + (slice(-lo, n + hi),)]
                continue
            table = b.sources(n, lo, hi)
            x = np.take(x, np.maximum(table, 0), axis=axis)
            np.moveaxis(x, axis, 0)[table < 0] = fill
        return x

    def pad_bytes(self, lead: int, itemsize: int) -> int:
        """Memory that `pad` takes at most, its result included, for `lead` signals in front of the spatial axes."""
        if self.unpadded:
            return 0
        largest = math.prod(max(n, p) for n, p in zip(self.n, self.padded, strict=True))
        return (
            2 * lead * largest * itemsize + 64 * sum(max(n, p) for n, p in zip(self.n, self.padded, strict=True)) + 4096
        )

    def fold(self, padded: np.ndarray) -> np.ndarray:
        """The adjoint of `pad`: every margin is added to the signal position that it was copied from; constants drop out."""
        lead = padded.ndim - self.ndim
        y = padded
        for a in range(self.ndim - 1, -1, -1):
            n, (lo, hi), axis = self.n[a], self.pads[a], lead + a
            inner = slice(*(min(max(edge, 0), n + lo + hi) for edge in (lo, lo + n)))
            folded = np.zeros((*y.shape[:axis], n, *y.shape[axis + 1 :]), dtype=y.dtype)
            to, at = np.moveaxis(folded, axis, 0), np.moveaxis(y, axis, 0)
            to[inner.start - lo : inner.stop - lo] = at[inner]
            for margin, source in self._margins[a]:
                if isinstance(source, slice):
                    to[source] += at[margin]
                elif source is not None:
                    np.add.at(to, source, at[margin])
            y = folded
        return y


def _row(at: np.ndarray) -> slice | np.ndarray:
    """The places as a slice where they lie in a row, ahead or backwards."""
    step = int(at[1] - at[0]) if at.size > 1 else 1
    if step not in (1, -1) or np.any(np.diff(at) != step):
        return at
    stop = int(at[-1]) + step
    return slice(int(at[0]), None if stop < 0 else stop, step)


def pads_of_mode(mode: str, reach: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """The pads behind the words full, same and valid; `same` is centred as in SciPy (the longer side first)."""
    if mode == "full":
        return tuple((r - 1, r - 1) for r in reach)
    if mode == "same":
        return tuple((r // 2, r - 1 - r // 2) for r in reach)
    if mode == "valid":
        return ((0, 0),) * len(reach)
    raise ArgumentError.of(
        "mode",
        "'full', 'same', 'valid' or one (lo, hi) pair of pads for each spatial axis",
        repr(mode),
        "choose one of these",
    )
