"""Arrays larger than memory, along their first axis: slabs of the result, each from the rows of the signal that it needs."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from faltung import arrays
from faltung.door import convolve, correlate
from faltung.errors import ArgumentError
from faltung.pattern import PLAIN, Pattern
from faltung.planner.machine import this_machine
from faltung.planner.policy import DEFAULT, Policy
from faltung.problem import ITEMSIZE, Spec
from faltung.request import problem_of

SHARE = 16  # of the machine's memory, or of the policy's: what a slab, its rows and copies of both may take


def convolve_slabs(
    x: Any,
    k: Any,
    pattern: str | None = None,
    *,
    mode: Any = "full",
    boundary: Any = "constant",
    stride: Any = 1,
    over: Any = None,
    policy: Policy | None = None,
    flip: bool = True,
    rows: int | None = None,
) -> "Slabs":
    """A convolution whose signal is read, and whose result is handed out, a slab along the first axis at a time.

    Formula, Shapes, Args: as `faltung.convolve`; the first axis of signal and result is convolved.

    Args:
        x: anything with `shape`, `dtype` and `x[a:b]`: a memory-mapped file, an array of h5py or zarr, `faltung.media.npy.Rows`.
        flip: False for a correlation. Default True.
        rows: rows of the result in a slab, at least 1. Default: as many as fit a sixteenth of the memory (the policy's or the
            machine's).

    Returns:
        A `Slabs`: iterate over it for the result's slabs in order, each once; `shape` and `dtype` are the whole result's.

    Raises:
        ArgumentError: as `convolve`, and for a pattern whose first axis is not the convolved one.

    Error: as `convolve`.   Cost: that of the slabs; neighbours both read the rows of a filter's reach.
    Source: overlap-save.

    Example:
        >>> x = np.arange(12.0).reshape(6, 2)
        >>> slabs = convolve_slabs(x, np.ones((3, 1)), mode="same", rows=4)
        >>> slabs.shape, [slab.shape for slab in slabs]
        ((6, 2), [(4, 2), (2, 2)])
    """
    return Slabs(x, k, pattern, mode, boundary, stride, over, policy, flip, rows)


class Slabs:
    """The slabs of one result; made by `convolve_slabs`.

    Fields:
        shape, dtype: of the whole result.   rows: rows of the result in a slab, the last one may have fewer.
    """

    def __init__(
        self, x: Any, k: Any, pattern: Any, mode: Any, boundary: Any, stride: Any, over: Any, policy: Any, flip: Any,
        rows: int | None,
    ) -> None:  # fmt: skip
        self._x, self._k, self._over, self._policy, self._flip = (
            x,
            arrays.as_array(k, "convolve_slabs"),
            over,
            policy,
            flip,
        )
        self._pattern = PLAIN if pattern is None else pattern
        layout = Pattern.parse(self._pattern)
        if layout.x[0] != layout.star or layout.y[0] != layout.star:
            raise ArgumentError.of(
                "convolve_slabs", "a pattern whose signal and result begin with the convolved axes", repr(layout.text),
                "write for example '*s c, *s -> *s c'",
            )  # fmt: skip
        facts = Spec(tuple(x.shape), arrays.dtype_name(x))
        self._problem = problem_of(flip, facts, self._k, self._pattern, mode, boundary, stride, 1, None, over)
        self.shape, self.dtype = self._problem.out_shape, self._problem.out_dtype
        if rows is not None and (not isinstance(rows, int) or rows < 1):
            raise ArgumentError.of("convolve_slabs", "rows as a whole number of at least 1", repr(rows), "leave it out")
        self.rows = min(rows or self._fitting(), max(1, self.shape[0]))

    def _fitting(self) -> int:
        """Rows that fit: each is read, perhaps copied and cast, and computed."""
        p, budget = self._problem, (self._policy or DEFAULT).memory or this_machine().memory
        wide = ITEMSIZE[p.compute_dtype]
        row = sum(int(np.prod(shape[1:])) * 4 * wide for shape in (p.x_shape, p.out_shape))
        return max(1, (budget // SHARE - p.grid.reach[0] * row) // max(1, row * p.grid.stride[0]))

    def __len__(self) -> int:
        return -(-self.shape[0] // self.rows)

    def __iter__(self) -> Iterator[np.ndarray]:
        grid, run = self._problem.grid, convolve if self._flip else correlate
        how: dict[str, Any] = {
            "mode": ((0, 0), *grid.pads[1:]), "boundary": ("constant", *grid.boundary[1:]),
            "stride": grid.stride, "over": self._over, "policy": self._policy,
        }  # fmt: skip
        fill = grid.fills(self._problem.over.zero(np.dtype(self._problem.compute_dtype)))[0]
        for first in range(0, self.shape[0], self.rows):
            last = min(first + self.rows, self.shape[0])
            low = first * grid.stride[0] - grid.pads[0][0]
            high = (last - 1) * grid.stride[0] + grid.reach[0] - grid.pads[0][0]
            y = run(self._read(low, high, fill), self._k, self._pattern, **how)
            yield y.astype(self.dtype, copy=False)

    def _read(self, low: int, high: int, fill: Any) -> np.ndarray:
        """Rows low to high of the signal as the boundary extends it."""
        grid, x = self._problem.grid, self._x
        table = grid.boundary[0].sources(grid.n[0], -low, high - grid.n[0])
        if len(table) and table[0] >= 0 and table[-1] - table[0] == len(table) - 1 and (np.diff(table) == 1).all():
            return np.asarray(x[int(table[0]) : int(table[-1]) + 1])
        held = np.array(fill).astype(x.dtype)
        dtype = x.dtype if held == fill or (held != held and fill != fill) else self._problem.compute_dtype
        slab = np.empty((len(table), *x.shape[1:]), dtype)
        ends = np.flatnonzero(np.diff(table) != (table[:-1] >= 0)) + 1  # runs of neighbours, and of rows that are none
        for start, stop in zip([0, *ends], [*ends, len(table)], strict=True):
            at = int(table[start])
            slab[start:stop] = fill if at < 0 else x[at : at + int(stop - start)]
        return slab
