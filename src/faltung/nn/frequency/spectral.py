"""SpectralConv: low frequencies are mixed over channels by a matrix each, in the Fourier or the cosine basis."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Layer, Symmetry, rolled, shown

BASES = ("dct", "fourier")
INITS = ("vp", "naive")


def low_cosines(x: Tensor, modes: tuple[int, ...]) -> Tensor:
    """The lowest `modes` orthonormal cosine coefficients along the last axes, each axis cut before the next is transformed."""
    for axis, m in zip(range(-1, -len(modes) - 1, -1), reversed(modes), strict=True):
        x = functional.dct(x, axis).narrow(axis, 0, m)
    return x


def from_cosines(kept: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """The signal (..., *sizes) that has these coefficients, and zeros above them: the transpose of `low_cosines`."""
    for axis, n in zip(range(-len(sizes), 0), sizes, strict=True):
        kept = functional.idct(widened(kept, axis, n), axis)
    return kept


def low_bins(x: Tensor, modes: tuple[int, ...]) -> Tensor:
    """The lowest orthonormal Fourier bins along the last axes: −(m − 1) to m − 1 in this order, 0 to m − 1 along the last one."""
    bins = functional.real_spectrum(x, 1).narrow(-1, 0, modes[-1])
    for axis, m in zip(range(-2, -len(modes) - 1, -1), reversed(modes[:-1]), strict=True):
        bins = torch.fft.fft(bins, dim=axis, norm="ortho") if bins.numel() else bins
        n = bins.shape[axis]
        bins = torch.cat([bins.narrow(axis, n - m + 1, m - 1), bins.narrow(axis, 0, m)], axis)
    return bins


def from_bins(kept: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """The real signal (..., *sizes) that has these bins, and zeros beside them."""
    for axis, n in zip(range(-len(sizes), -1), sizes, strict=False):
        m = kept.shape[axis] // 2 + 1
        shape = list(kept.shape)
        shape[axis] = n - 2 * m + 1
        kept = torch.cat([kept.narrow(axis, m - 1, m), kept.new_zeros(shape), kept.narrow(axis, 0, m - 1)], axis)
        kept = torch.fft.ifft(kept, dim=axis, norm="ortho") if kept.numel() else kept
    return functional.from_spectrum(widened(kept, -1, sizes[-1] // 2 + 1), sizes[-1:])


def widened(kept: Tensor, axis: int, n: int) -> Tensor:
    """Zeros behind these numbers along an axis, n in all."""
    shape = list(kept.shape)
    shape[axis] = n - kept.shape[axis]
    return torch.cat([kept, kept.new_zeros(shape)], axis) if shape[axis] else kept


class SpectralConv(Layer):
    """Every kept frequency has a matrix over the channels; all higher ones are dropped. One transform there, one back.

    Formula: `y = T⁻¹ (W_k · (T x)_k for k kept, 0 else)`, T the orthonormal transform over all spatial axes. For `fourier` it is
    the circular convolution with the kernel T⁻¹W, frequencies from −(m − 1) to m − 1 along each axis (half of them are stored). For
    `dct` it is sampled at the middles of n cells and continues evenly beyond its ends: a diagonal W that is the spectrum
    `h_0 + 2 Σ_j h_j cos(πkj / n)` of an even kernel h is the convolution with h with the boundary `symmetric`.

    Shapes: input (batch, in, *n), returns (batch, out, *n); weight (out, in, *modes) for dct, (out, in, *(2·modes[:-1] − 1),
    modes[-1], 2) for fourier, real and imaginary part. n at least modes for dct; for fourier at least 2·modes − 1, or 2·modes − 2
    along the last axis.

    Args:
        ndim: number of spatial axes, at least 1.   in_channels, out_channels: at least 1.
        modes: frequencies kept, 0 to modes − 1; one number or one for each axis.
        basis: dct or fourier. Default fourier.
        init: vp (variance of the result as of the input) or naive (uniform in [0, 1) times 1 / (in · out), as first published, with
            which results shrink with every layer). Default vp.
        size: for vp, the size of white noise that is to keep its variance. Default: of signals that have only kept frequencies.
        device, dtype: of the parameters. Default: torch's.

    Raises:
        ArgumentError: settings that name no layer, signals with fewer frequencies than are kept.

    Cost: in · out products for each kept frequency, and two transforms. The weights belong to periods per signal: the same signal
    sampled more finely gives the same result, sampled more finely.

    Source: Li et al., Fourier neural operator for parametric partial differential equations (2021); Poli et al., Transform once:
    efficient operator learning in frequency domain (2022), for cosines and the variance.

    Example:
        >>> SpectralConv(2, 3, 8, modes=(12, 12), basis="dct")(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 8, 64, 64])
    """

    name = "spectral-conv"
    summary = "a matrix over channels for every low frequency, Fourier or cosine"
    source = (
        "Li et al., Fourier neural operator for parametric partial differential equations (2021); "
        "Poli et al., Transform once: efficient operator learning in frequency domain (2022)"
    )
    dims = (1, 2, 3, 4)
    cost = "in_channels · Π modes / Π n, and two transforms"
    portrait = shown("impulses", (1, 1, 32, 32), ndim=2, in_channels=1, out_channels=1, modes=8, basis="dct")

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        modes: Any,
        basis: str = "fourier",
        init: str = "vp",
        size: Any = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        self.in_channels, self.out_channels = functional.numbers(
            "in_channels, out_channels", (in_channels, out_channels), 2, 1
        )
        self.modes = functional.numbers("modes", modes, self.ndim, 1)
        for word, given, known in (("basis", basis, BASES), ("init", init, INITS)):
            if given not in known:
                raise ArgumentError.of(word, f"one of {', '.join(known)}", repr(given), "choose one of these")
        self.basis, self.init = basis, init
        self.size = None if size is None else functional.numbers("size", size, self.ndim, 1)
        if self.size is not None:
            self._fits(self.size)
        self.weight = nn.Parameter(torch.empty(self.weight_shape, device=device, dtype=dtype))
        self.reset_parameters()

    @property
    def bins(self) -> tuple[int, ...]:
        """How many coefficients are stored along the axes."""
        return self.modes if self.basis == "dct" else (*(2 * m - 1 for m in self.modes[:-1]), self.modes[-1])

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return (self.out_channels, self.in_channels, *self.bins, *((2,) if self.basis == "fourier" else ()))

    def reset_parameters(self) -> None:
        """Draw the matrices, see the argument `init`."""
        if self.init == "naive":
            nn.init.uniform_(self.weight, 0, 1 / (self.in_channels * self.out_channels))
            return
        # A signal of n samples of variance 1 has the square n, one for each coefficient; if `kept` real ones pass, they carry n.
        kept = math.prod(self.bins)
        if (
            self.basis == "fourier"
        ):  # each stands for itself and its mirror image, but those without frequency along the last axis
            kept = 2 * kept - kept // self.modes[-1]
        gain = math.sqrt((kept if self.size is None else math.prod(self.size)) / (self.in_channels * kept))
        nn.init.normal_(self.weight, std=gain * (math.sqrt(0.5) if self.basis == "fourier" else 1))

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim)
        sizes = tuple(input.shape[2:])
        self._fits(sizes)
        if self.basis == "dct":
            x = low_cosines(functional.wide(input), self.modes)
            y = from_cosines(torch.einsum("bi...,oi...->bo...", x, self.weight), sizes)
        else:
            weight = torch.view_as_complex(functional.wide(self.weight))
            y = from_bins(torch.einsum("bi...,oi...->bo...", low_bins(input, self.modes), weight), sizes)
        return y.to(input.dtype)

    def definition(self, *inputs: Any) -> Tensor:
        """One matrix of waves an axis there, the same back; mirror images counted by hand."""
        x = inputs[0]
        sizes, letters, bins = x.shape[2:], "pqrs"[: self.ndim], "jklm"[: self.ndim]
        waves, times = [], torch.ones((), dtype=x.dtype)
        for axis, (n, m) in enumerate(zip(sizes, self.modes, strict=True)):
            at, last = torch.arange(n, dtype=x.dtype), axis == self.ndim - 1
            if self.basis == "dct":
                k = torch.arange(m, dtype=x.dtype)
                size = torch.where(k == 0, 1 / n, torch.full_like(k, 2 / n)).sqrt()
                waves.append(size[:, None] * torch.cos(math.pi * k[:, None] * (at + 0.5) / n))
            else:
                k = torch.arange(0 if last else 1 - m, m, dtype=x.dtype)
                waves.append(torch.exp(-2j * math.pi * k[:, None] * at / n) / math.sqrt(n))
                times = torch.where((k == 0) | (2 * k == n), 1, 2).to(x.dtype) if last else times
        pairs = ",".join(f"{k}{p}" for k, p in zip(bins, letters, strict=True))
        weight = self.weight if self.basis == "dct" else torch.complex(self.weight[..., 0], self.weight[..., 1])
        found = torch.einsum(f"bi{letters},{pairs}->bi{bins}", x.to(waves[0].dtype), *waves)
        mixed = torch.einsum(f"bi{bins},oi{bins}->bo{bins}", found, weight) * times
        back = [w.conj() for w in waves]
        y = torch.einsum(f"bo{bins},{pairs}->bo{letters}", mixed, *back)
        return y.real if y.is_complex() else y

    def _fits(self, sizes: tuple[int, ...]) -> None:
        first, last = self.modes[:-1], self.modes[-1]
        least = self.modes if self.basis == "dct" else (*(2 * m - 1 for m in first), max(2 * last - 2, 1))
        if any(n < some for n, some in zip(sizes, least, strict=True)):
            raise ArgumentError.of(
                "SpectralConv", f"signals of at least {least} samples for {self.modes} modes in the {self.basis} basis",
                f"{tuple(sizes)}", "keep fewer modes",
            )  # fmt: skip

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], self.out_channels, *inputs[0][2:])

    def parameter_count(self) -> int:
        return math.prod(self.weight_shape)

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    def symmetries(self) -> Iterable[Symmetry]:
        if self.basis == "fourier":
            yield rolled(1, self.ndim)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        channels = {"in_channels": 2, "out_channels": 3}
        yield Example({"ndim": 1, **channels, "modes": 4, "size": 6}, ((2, 2, 6),))
        yield Example({"ndim": 1, **channels, "modes": 4, "basis": "dct", "init": "naive"}, ((2, 2, 5),))
        yield Example({"ndim": 2, **channels, "modes": (2, 3), "basis": "dct", "size": (4, 5)}, ((2, 2, 4, 5),))
        yield Example({"ndim": 2, **channels, "modes": (2, 3)}, ((2, 2, 4, 5),))
        yield Example({"ndim": 3, "in_channels": 1, "out_channels": 2, "modes": (2, 1, 2)}, ((1, 1, 3, 2, 3),))
