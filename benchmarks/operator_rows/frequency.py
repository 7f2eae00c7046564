"""Layers among frequencies, and long filters, against what is usually composed in torch and SciPy."""

from collections.abc import Iterator

import scipy.fft
import torch
from torch import nn

from faltung import nn as ours
from operator_rows import Row
from operator_rows.attention import both


def filtered(layer: ours.GlobalFilter, x: torch.Tensor) -> torch.Tensor:
    """A global filter as it is usually written."""
    spectrum = torch.fft.rfft2(x, norm="ortho") * torch.view_as_complex(layer.weight)
    return torch.fft.irfft2(spectrum, s=x.shape[2:], norm="ortho")


def spectral(layer: ours.SpectralConv, x: torch.Tensor) -> torch.Tensor:
    """A Fourier layer as it is usually written: the product of each corner of the spectrum into an array of zeros."""
    (m, n), bins = layer.modes, torch.fft.rfft2(x)
    weight = torch.view_as_complex(layer.weight)
    out = bins.new_zeros(x.shape[0], layer.out_channels, *bins.shape[2:])
    out[:, :, :m, :n] = torch.einsum("bixy,oixy->boxy", bins[:, :, :m, :n], weight[:, :, m - 1 :])
    out[:, :, 1 - m :, :n] = torch.einsum("bixy,oixy->boxy", bins[:, :, 1 - m :, :n], weight[:, :, : m - 1])
    return torch.fft.irfft2(out, s=x.shape[2:])


def long(layer: ours.SequenceConv, x: torch.Tensor) -> torch.Tensor:
    """A causal convolution by spectra of twice the length."""
    n = x.shape[-1]
    filters = layer.constructor.filters(n)[:, 0]
    y = torch.fft.irfft(torch.fft.rfft(x, 2 * n) * torch.fft.rfft(filters, 2 * n), 2 * n)[..., :n]
    return y + layer.skip[:, None] * x


class Pieces(nn.Module):
    """Filters of stretched pieces as they are usually written: torch's interpolation of each, one after the other."""

    def __init__(self, made: ours.MultiScale) -> None:
        super().__init__()
        self.made = made

    def forward(self) -> torch.Tensor:
        made, parts = self.made, []
        for i, (_, factor) in enumerate(made.spans):
            piece = made.weight[:, :, i]
            parts.append(nn.functional.interpolate(piece, scale_factor=factor, mode="linear") * made.weights()[:, :, i])
        return torch.cat(parts, -1) / made.norm[..., None]


def rows() -> Iterator[Row]:
    """Inference and training."""
    x = torch.randn(64, 1024)
    yield Row(
        "dct, 64 of 1024",
        lambda: ours.functional.dct(x),
        {"SciPy": lambda: torch.from_numpy(scipy.fft.dct(x.numpy(), norm="ortho"))},
    )
    for channels, size, batch in ((64, 14, 16), (32, 56, 8)):
        layer, signal = ours.GlobalFilter(2, channels, size), torch.randn(batch, channels, size, size)
        yield from both(
            f"global-filter, {channels} on {size}², batch {batch}", layer, signal, filtered, "torch.fft", signal
        )
    layer, signal = ours.SpectralConv(2, 32, 32, 12), torch.randn(8, 32, 64, 64)
    yield from both(
        "spectral-conv, 12² modes, 32 on 64², batch 8", layer, signal, spectral, "torch.fft and corners", signal
    )
    for length in (1024, 16_384):
        layer = ours.LongConv1d(64, length, dropout=0.0)
        signal = torch.randn(2, 64, length)
        yield from both(f"long-conv, 64 of {length}, batch 2", layer, signal, long, "torch.fft", signal)
    made = ours.MultiScale(64, 16_384)
    usual = Pieces(made)

    def training(call):
        def run() -> torch.Tensor:
            made.zero_grad()
            call().square().sum().backward()
            return made.weight.grad.clone()

        return run

    yield Row(
        "filters of pieces, 64 of 16384, training",
        training(lambda: made.filters(16_384)),
        {"interpolate and cat": training(usual)},
    )
