"""What the tiled kernels share: one correlation as plain sizes, with a boundary that is read instead of made."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from faltung.kernels.extend import Extension
from faltung.kernels.native import address


@dataclass(frozen=True, eq=False)
class Correlation(ABC):
    """Correlation of signals (B, N, C, *n) with filters (B, O, C, *t) into (B, N, O, *m).

    The extended signal starts `lo` positions before the signal (behind its start where negative); `sources` and `fills` say
    what stands there, see `Extension`.
    """

    dtype: str
    B: int
    N: int
    C: int
    O: int
    n: tuple[int, ...]
    t: tuple[int, ...]
    m: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    lo: tuple[int, ...]
    sources: Callable[[int, int, int], np.ndarray]
    fills: tuple

    @cached_property
    def real(self) -> str:
        """The dtype of real and imaginary parts."""
        return {"complex64": "float32", "complex128": "float64"}.get(self.dtype, self.dtype)

    @cached_property
    def reach(self) -> tuple[int, ...]:
        """Extent of the dilated filter."""
        return tuple((t - 1) * d + 1 for t, d in zip(self.t, self.dilation, strict=True))

    @property
    @abstractmethod
    def whole(self) -> tuple[int, ...]:
        """Size of the extended signal as far as tiles read it."""

    @cached_property
    def extension(self) -> Extension:
        return Extension(self.n, self.lo, self.whole, self.sources, self.fills)

    @abstractmethod
    def tables(self, steps: list[int]) -> list[np.ndarray]:
        """What the kernel reads besides operands and working memory, for a signal with these steps in values."""

    def readable(self, x: np.ndarray) -> np.ndarray:
        """The signal, or a copy where its values do not lie at whole steps."""
        item = np.dtype(self.real).itemsize
        return np.ascontiguousarray(x) if not x.flags.aligned or any(step % item for step in x.strides) else x

    def fixed(self, strides: tuple[int, ...]) -> tuple[tuple[int, ...], list[np.ndarray]]:
        """Addresses of the tables for such strides, remembered, and the arrays behind them, to be kept while these are used."""
        if strides not in self._known:
            if len(self._known) > 64:
                self._known.clear()
            arrays = self.tables([step // np.dtype(self.real).itemsize for step in strides])
            self._known[strides] = tuple(map(address, arrays)), arrays
        return self._known[strides]

    @cached_property
    def _known(self) -> dict:
        return {}
