"""Fourier transforms of real tensors along their last axes and back, in dtypes that have them, empty batches included."""

from collections.abc import Sequence

import torch
from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """The tensor itself, or as float32 where its dtype has no Fourier transform."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def real_spectrum(x: Tensor, ndim: int) -> Tensor:
    """The bins of a real tensor along its last `ndim` axes, orthonormal; half of them along the last one.

    Shapes: x (..., *n), returns (..., *n[:-1], n[-1] // 2 + 1), complex.
    """
    x, axes = wide(x), tuple(range(-ndim, 0))
    if x.numel():
        return torch.fft.rfftn(x, dim=axes, norm="ortho")
    sizes = (*x.shape[:-1], x.shape[-1] // 2 + 1)
    return torch.complex(x.new_zeros(sizes), x.new_zeros(sizes))


def from_spectrum(bins: Tensor, sizes: Sequence[int]) -> Tensor:
    """The real tensor (..., *sizes) of these bins (..., *sizes[:-1], sizes[-1] // 2 + 1), orthonormal."""
    axes = tuple(range(-len(sizes), 0))
    if bins.numel():
        return torch.fft.irfftn(bins, s=tuple(sizes), dim=axes, norm="ortho")
    return bins.real.new_zeros((*bins.shape[: -len(sizes)], *sizes))
