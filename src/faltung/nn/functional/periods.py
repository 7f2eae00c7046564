"""The strongest periods of a series, and series folded by a period."""

from typing import NamedTuple

import torch
from torch import Tensor

from faltung.errors import ArgumentError, DtypeError
from faltung.nn.functional.convolution import numbers


class Periods(NamedTuple):
    """What `dominant_periods` finds, strongest first: frequency indices, periods in samples, amplitudes."""

    indices: Tensor
    periods: Tensor
    amplitudes: Tensor


def dominant_periods(x: Tensor, k: int, batchwise: bool = False) -> Periods:
    """The k strongest frequencies of a series and the periods that belong to them.

    Formula: `A[f] = mean over channels of |Σ_t x[t] exp(−2πi f t / T)|` for f = 1, ..., ⌊T/2⌋; the k largest, the lower
    frequency first where two are equal; period ⌊T / f⌋.

    An index is no frequency in hertz: index f means f cycles in the T samples that were given, so f / T cycles a sample. The
    period is rounded down to whole samples; it is exact where f divides T.

    Shapes: x (batch, channels, T) or (T); each result (batch, k) or (k). With batchwise, indices and periods are (k), chosen by
    the mean of A over the batch, and amplitudes (batch, k) are each sample's own.

    Args:
        k: from 1 to ⌊T / 2⌋.
        batchwise: one choice for all samples, as published; a sample's result then depends on its company. Default False.

    Returns:
        `Periods`. Amplitudes are differentiable; indices and periods are whole numbers.

    Raises:
        DtypeError: no tensor of real numbers.   ArgumentError: other axes, or a series too short for k frequencies.

    Source: Wu et al., TimesNet (2023).

    Example:
        >>> t = torch.arange(96) * 2 * torch.pi
        >>> dominant_periods(torch.sin(t / 24) + 0.5 * torch.sin(t / 8), 2).periods
        tensor([24,  8])
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        came = str(x.dtype) if isinstance(x, Tensor) else type(x).__name__
        raise DtypeError.of("dominant_periods", "a tensor of real numbers", came, "convert it with .float()")
    if x.ndim not in (1, 3):
        raise ArgumentError.of(
            "dominant_periods",
            "a series (T) or series (batch, channels, T)",
            f"shape {tuple(x.shape)}",
            "add or remove axes",
        )
    (count,) = numbers("k", k, 1, 1)
    length = x.shape[-1]
    if length // 2 < count:
        raise ArgumentError.of(
            "dominant_periods", f"at least {2 * count} samples for {count} frequencies", f"{length}",
            "give a longer series or a smaller k"
        )  # fmt: skip
    series = x.reshape(1, 1, length) if x.ndim == 1 else x
    wide = series if series.dtype in (torch.float32, torch.float64) else series.float()
    # The library's transforms refuse to do nothing.
    amplitudes = torch.fft.rfft(wide)[..., 1:].abs().mean(1) if len(series) else wide.new_zeros(0, length // 2)
    judged = amplitudes.detach()
    judged = judged.mean(0, keepdim=True) if batchwise else judged
    # A stable order: equal amplitudes would else be chosen by the library's sorting.
    indices = judged.sort(dim=-1, descending=True, stable=True).indices[:, :count]
    found = amplitudes.gather(1, indices.expand(len(series), count))
    indices = indices + 1
    if batchwise or x.ndim == 1:
        indices = indices[0]
    return Periods(indices, length // indices, found[0] if x.ndim == 1 else found)


def fold_period(x: Tensor, period: int) -> Tensor:
    """Series as images whose rows are the cycles: (batch, channels, T) becomes (batch, channels, ⌈T / period⌉, period).

    What is missing of the last cycle is zero. `unfold_period` is the way back.

    Raises:
        ArgumentError: a period below one sample.

    Example:
        >>> fold_period(torch.arange(5.0).reshape(1, 1, 5), 2)[0, 0].tolist()
        [[0.0, 1.0], [2.0, 3.0], [4.0, 0.0]]
    """
    (width,) = numbers("period", period, 1, 1)
    cycles = -(-x.shape[-1] // width)
    filled = torch.nn.functional.pad(x, (0, cycles * width - x.shape[-1]))
    return filled.reshape(*x.shape[:-1], cycles, width)


def unfold_period(images: Tensor, length: int) -> Tensor:
    """The series (batch, channels, length) that `fold_period` made images of.

    Raises:
        ArgumentError: more samples than the images hold.

    Example:
        >>> unfold_period(torch.tensor([[[[0.0, 1.0], [2.0, 0.0]]]]), 3).tolist()
        [[[0.0, 1.0, 2.0]]]
    """
    if images.ndim < 2 or images.shape[-1] * images.shape[-2] < length:
        raise ArgumentError.of(
            "unfold_period", f"images of at least {length} samples", f"{tuple(images.shape)}", "fold first"
        )
    return images.flatten(-2)[..., :length]
