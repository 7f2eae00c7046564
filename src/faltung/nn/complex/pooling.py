"""Pooling of complex numbers: the largest by modulus, the mean."""

import itertools
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Symmetry, shown
from faltung.nn.complex.base import ComplexLayer, turned

_MAX = {1: nn.functional.max_pool1d, 2: nn.functional.max_pool2d, 3: nn.functional.max_pool3d}
_MEAN = {1: nn.functional.avg_pool1d, 2: nn.functional.avg_pool2d, 3: nn.functional.avg_pool3d}


class _Pool(ComplexLayer):
    """What both kinds share: windows over the last axes."""

    spatial = (1, 2, 3, 4)

    def __init__(self, ndim: int, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        self.kernel_size = functional.numbers("kernel_size", kernel_size, self.ndim, 1)
        self.stride = functional.numbers("stride", kernel_size if stride is None else stride, self.ndim, 1)
        self.padding = functional.numbers("padding", padding, self.ndim, 0)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise ArgumentError.of(
                type(self).__name__, "a padding of at most half the kernel", f"{self.padding} for {self.kernel_size}",
                "pad the signal itself",
            )  # fmt: skip

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        sizes = zip(inputs[0][2:], self.kernel_size, self.stride, self.padding, strict=True)
        return (*inputs[0][:2], *((n + 2 * p - k) // s + 1 for n, k, s, p in sizes))

    def parameter_count(self) -> int:
        return 0

    def symmetries(self) -> Iterable[Symmetry]:
        yield turned()

    def expect(self, input: Any, channels: int | None, ndim: int | None, batch: bool = True) -> None:
        """As for every complex layer; also refuse signals that are shorter than a window.

        Raises:
            DtypeError, ArgumentError: see above.
        """
        super().expect(input, channels, ndim, batch)
        if any(m < 1 for m in self.shapes(tuple(input.shape))[2:]):
            raise ArgumentError.of(
                type(self).__name__, f"a signal of at least one window {self.kernel_size}", f"shape {tuple(input.shape)}",
                "use a smaller kernel",
            )  # fmt: skip

    def _windows(self, input: Tensor, fill: float = 0.0) -> Tensor:
        """A view (batch, channels, *m, *kernel_size) of the padded signal."""
        pads = [p for p in reversed(self.padding) for _ in range(2)]
        found = nn.functional.pad(input, pads, value=fill)
        for axis, (size, step) in enumerate(zip(self.kernel_size, self.stride, strict=True), 2):
            found = found.unfold(axis, size, step)
        return found

    def _taps(self, padded: Tensor, shape: tuple[int, ...]) -> Iterable[Tensor]:
        """The padded signal at each place of the window."""
        for tap in itertools.product(*map(range, self.kernel_size)):
            at = (slice(t, t + (m - 1) * s + 1, s) for t, m, s in zip(tap, shape[2:], self.stride, strict=True))
            yield padded[(..., *at)]

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "kernel_size": 3, "stride": 2, "padding": 1}, ((2, 2, 7),), complex=True)
        yield Example({"ndim": 2, "kernel_size": (2, 3)}, ((1, 3, 4, 6),), complex=True)
        yield Example({"ndim": 3, "kernel_size": 2, "stride": 1}, ((1, 2, 3, 2, 3),), complex=True)
        yield Example({"ndim": 4, "kernel_size": 2, "padding": 1}, ((1, 1, 2, 3, 2, 2),), complex=True)


class MaxPool(_Pool):
    """The number of the largest modulus of each window, the first of several.

    Shapes: input (batch, channels, *n), returns (batch, channels, *m) with `m = ⌊(n + 2·padding − kernel_size) / stride⌋ + 1`.

    Args:
        ndim: number of spatial axes.   kernel_size: samples of a window, one number or one for each axis.
        stride: steps between windows. Default: kernel_size.   padding: margin that is never chosen, at most half the kernel.

    Raises:
        ArgumentError: settings that name no layer, a signal shorter than a window.   DtypeError: real tensors.

    Example:
        >>> MaxPool(1, 2)(torch.tensor([[[1 + 1j, -3 + 0j, 2j, 1 + 0j]]]))
        tensor([[[-3.+0.j,  0.+2.j]]])
    """

    name = "complex-max-pool"
    summary = "the number of the largest modulus of each window"
    cost = "Π kernel_size"
    portrait = shown("plane", (1, 1, 96, 96), complex=True, ndim=2, kernel_size=8)
    source = "Chatterjee et al., Complex-valued convolutional networks for MRI (2023)"

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, self.ndim)
        size = input.detach().abs()
        if self.ndim in _MAX and size.numel():
            _, at = _MAX[self.ndim](size, self.kernel_size, self.stride, self.padding, return_indices=True)
            return input.flatten(2).gather(2, at.flatten(2)).reshape(at.shape)
        windows = self._windows(input).flatten(-self.ndim)
        at = self._windows(size, -1.0).flatten(-self.ndim).max(-1, keepdim=True).indices
        return windows.gather(-1, at).squeeze(-1)

    def definition(self, *inputs: Any) -> Tensor:
        (z,) = inputs
        shape = self.shapes(tuple(z.shape))
        pads = [p for p in reversed(self.padding) for _ in range(2)]
        best, longest = z.new_zeros(shape), torch.full(shape, -1.0, dtype=z.real.dtype)
        sizes = self._taps(nn.functional.pad(z.abs(), pads, value=-1.0), shape)
        for value, size in zip(self._taps(nn.functional.pad(z, pads), shape), sizes, strict=True):
            best, longest = torch.where(size > longest, value, best), torch.maximum(size, longest)
        return best


class AvgPool(_Pool):
    """The mean of each window, zeros in the margin counted.

    Shapes, Args, Raises: see `MaxPool`.

    Example:
        >>> AvgPool(1, 2)(torch.tensor([[[1 + 1j, 3 - 1j]]]))
        tensor([[[2.+0.j]]])
    """

    name = "complex-avg-pool"
    summary = "the mean of each window"
    cost = "Π kernel_size"
    portrait = shown("plane", (1, 1, 96, 96), complex=True, ndim=2, kernel_size=8)
    source = "the definition"

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, self.ndim)
        if self.ndim in _MEAN and input.numel():
            real, imag = (
                _MEAN[self.ndim](part, self.kernel_size, self.stride, self.padding) for part in (input.real, input.imag)
            )
            return torch.complex(real, imag)
        return self._windows(input).mean(tuple(range(-self.ndim, 0)))

    def definition(self, *inputs: Any) -> Tensor:
        (z,) = inputs
        pads = [p for p in reversed(self.padding) for _ in range(2)]
        taps = list(self._taps(nn.functional.pad(z, pads), self.shapes(tuple(z.shape))))
        return torch.stack(taps).sum(0) / len(taps)

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})
