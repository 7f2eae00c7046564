"""Scattering networks: fixed wavelets and moduli whose features move no further than the image."""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.certify.morlet import Bank, morlet
from faltung.errors import ArgumentError, DtypeError
from faltung.filters.filter import whole

CHUNK = 1 << 18  # numbers of a stage that are worked on at a time: they stay in the cache
PADDING = ("reflect", "zeros", "replicate", "circular")


@dataclass(frozen=True)
class Frame:
    """Bounds of the energy that a bank keeps, at its worst and its best frequency: at most 1 means that distances never grow."""

    lower: float
    upper: float

    @property
    def nonexpansive(self) -> bool:
        """Whether no signal gains energy, up to rounding."""
        return self.upper <= 1 + 1e-12


class Scattering2d(nn.Module):
    """The scattering transform of images: wavelets, modulus, wavelets, modulus, and a low-pass filter behind each.

    Formula: `S₀ = x ∗ φ`, `S₁[λ] = |x ∗ ψ_λ| ∗ φ`, `S₂[λ, μ] = ||x ∗ ψ_λ| ∗ ψ_μ| ∗ φ` for scales j(μ) > j(λ), each sampled at every
    2^J-th place. With `filters="tight"` every stage keeps energy (or loses some by sampling), so `‖Sx − Sy‖ ≤ ‖x − y‖` for images
    whose boundary is circular, and for padded ones in the norm of the padded image.

    Shapes: input (..., height, width), real, any size of at least 2^J; returns (..., paths, ⌊height / 2^J⌋, ⌊width / 2^J⌋) with
    1 + LJ + L²J(J − 1)/2 paths for order 2, ordered by order, then j and angle.

    Args:
        J: scales, at least 1: features are averaged over 2^J samples.   L: angles. Default 8.   order: 0, 1 or 2. Default 2.
        filters: `morlet`, the usual bank (not tight: it loses up to 88 % of the energy in the corners of the spectrum, and for
            J = 3 adds 1.9 % at some frequencies), or `tight`. Default morlet.
        padding_mode: reflect (as other implementations), zeros, replicate, or circular, which needs sizes that 2^J divides.
        sampled: whether the results are sampled; else they have the size of the padded image. Default True.

    Raises:
        ArgumentError: an unknown word, a size too small.   DtypeError: an input that is not real.

    Error: that of the Fourier transform in the input's precision; filters are made in float64.
    Cost: of the order of L·J + L²·J(J − 1)/2 Fourier transforms at falling sizes; the low-pass filter is a product of matrices.
    Source: Mallat, Group invariant scattering (2012); Bruna and Mallat (2013); Wiatowski and Bölcskei, A mathematical theory of
        deep convolutional neural networks for feature extraction (2018).

    Example:
        >>> Scattering2d(2)(torch.ones(1, 3, 32, 32)).shape
        torch.Size([1, 3, 81, 8, 8])
    """

    def __init__(
        self,
        J: int,
        L: int = 8,
        order: int = 2,
        filters: str = "morlet",
        padding_mode: str = "reflect",
        sampled: bool = True,
    ) -> None:
        super().__init__()
        who = "Scattering2d"
        self.J, self.L, self.order = whole(who, "J", J, 1), whole(who, "L", L, 1), whole(who, "order", order, 0)
        if filters not in ("morlet", "tight") or padding_mode not in PADDING or self.order > 2:
            raise ArgumentError.of(
                who, f"filters morlet or tight, order up to 2, padding_mode among {', '.join(PADDING)}",
                f"{filters!r}, {order}, {padding_mode!r}", "choose one of these",
            )  # fmt: skip
        self.filters, self.padding_mode, self.sampled = filters, padding_mode, bool(sampled)
        self._kept: dict[Any, _Tables] = {}

    def extra_repr(self) -> str:
        return f"{self.J}, L={self.L}, order={self.order}, filters={self.filters!r}, padding_mode={self.padding_mode!r}"

    @property
    def paths(self) -> int:
        """How many features there are for each place."""
        first = self.L * self.J if self.order else 0
        return 1 + first + (self.L**2 * self.J * (self.J - 1) // 2 if self.order > 1 else 0)

    def bank(self, n: tuple[int, int]) -> Bank:
        """The filters for images of that size before padding."""
        return morlet(self._padded(n)[0], self.J, self.L, self.filters == "tight")

    def frame(self, n: tuple[int, int]) -> Frame:
        """The certificate for images of that size: how much energy the first stage keeps at least and at most."""
        sums = self.bank(n).littlewood_paley()
        return Frame(float(sums.min()), float(sums.max()))

    def forward(self, input: Tensor) -> Tensor:
        if not isinstance(input, Tensor) or not input.is_floating_point() or input.ndim < 2:
            came = f"shape {tuple(input.shape)} of {input.dtype}" if isinstance(input, Tensor) else type(input).__name__
            raise DtypeError.of("Scattering2d", "a real tensor (..., height, width)", came, "convert it with .float()")
        size = (input.shape[-2], input.shape[-1])
        padded, around = self._padded(size)
        x = input.reshape(-1, 1, *size)
        if any(around):
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            x = nn.functional.pad(x, around, mode=mode)
        tables = self._tables(size, padded, around, x)
        step = max(1, CHUNK // (math.prod(padded) * self.L))
        parts = [self._transformed(part, tables) for part in x[:, 0].split(step)]
        result = torch.cat(parts)
        return result.reshape(*input.shape[:-2], *result.shape[1:])

    def _transformed(self, x: Tensor, tables: "_Tables") -> Tensor:
        """(samples, paths, m, n) of padded images (samples, height, width)."""
        step = (lambda a: 2**a) if self.sampled else (lambda a: 1)
        first = [tables.smooth(x[:, None], 0)]
        second: list[Tensor] = []
        spectrum = torch.fft.fft2(x)[:, None] if self.order else x
        for j in range(self.J if self.order else 0):
            moduli = _band(spectrum, tables.psi[j][0], step(j))
            level = j if self.sampled else 0
            first.append(tables.smooth(moduli, level))
            if self.order < 2 or j == self.J - 1:
                continue
            inner = torch.fft.fft2(moduli)[:, :, None]
            for i in range(j + 1, self.J):
                deep = _band(inner, tables.psi[i][level], step(i - j))
                second.append(tables.smooth(deep, i if self.sampled else 0))
        # paths of order 2 go by the first wavelet, then the second's scale and angle
        grouped, place = [], 0
        for j in range(self.J - 1 if second else 0):
            count = self.J - 1 - j
            grouped.append(torch.cat(second[place : place + count], 2).flatten(1, 2))
            place += count
        return torch.cat([*first, *grouped], 1)

    def _padded(self, n: tuple[int, int]) -> tuple[tuple[int, int], list[int]]:
        """The padded size, and torch's list of margins."""
        unit = 2**self.J
        if min(n) < unit or (self.padding_mode == "circular" and any(a % unit for a in n)):
            raise ArgumentError.of(
                "Scattering2d", f"sizes of at least {unit}{', multiples of it' * (self.padding_mode == 'circular')}", f"{n}",
                "choose fewer scales or another padding_mode",
            )  # fmt: skip
        if self.padding_mode == "circular":
            return n, [0, 0, 0, 0]
        size = (((n[0] + unit) // unit + 1) * unit, ((n[1] + unit) // unit + 1) * unit)
        (top, bottom), (left, right) = (((p - a) // 2, (p - a + 1) // 2) for p, a in zip(size, n, strict=True))
        if self.padding_mode == "reflect" and (bottom >= n[0] or right >= n[1]):
            raise ArgumentError.of(
                "Scattering2d", f"sizes above {max(bottom, right)} to be reflected", f"{n}",
                "choose fewer scales or another padding_mode",
            )  # fmt: skip
        return size, [left, right, top, bottom]

    def _tables(self, n: tuple[int, int], padded: tuple[int, int], around: list[int], x: Tensor) -> "_Tables":
        key = (n, x.dtype, x.device)
        if key not in self._kept:
            bank = self.bank(n)
            self._kept[key] = _Tables(bank, self.J if self.sampled else 0, any(around), x)
        return self._kept[key]


class _Tables:
    """The filters of a bank as tensors of one dtype on one device."""

    def __init__(self, bank: Bank, sampling: int, trimmed: bool, like: Tensor) -> None:
        self.sampling = sampling

        def tensor(values: np.ndarray) -> Tensor:
            return torch.as_tensor(values, dtype=like.dtype, device=like.device)

        self.psi = [[tensor(level) for level in levels] for levels in bank.psi]
        self.phi = [tensor(level[..., : level.shape[-1] // 2 + 1]) for level in bank.phi]
        self.trim = slice(1, -1) if trimmed and sampling else slice(None)
        self.lines = None
        if bank.axes is not None and sampling:
            self.lines = [[tensor(self._line(axis, sampling - r)) for axis in pair] for r, pair in enumerate(bank.axes)]

    def _line(self, spectrum: np.ndarray, level: int) -> np.ndarray:
        """The matrix that filters an axis and keeps every 2^level-th place, without the margin."""
        kernel = np.fft.ifft(spectrum).real
        places = np.arange(0, len(kernel), 2**level)[self.trim]
        return kernel[(places[:, None] - np.arange(len(kernel))) % len(kernel)]

    def smooth(self, x: Tensor, level: int) -> Tensor:
        """The low-pass filter of a resolution, sampled and without the margin."""
        if self.lines is not None:
            rows, columns = self.lines[level]
            return rows @ (x @ columns.mT)
        spectrum = torch.fft.rfft2(x) * self.phi[level]
        full = torch.fft.irfft2(spectrum, s=x.shape[-2:])
        step = 2 ** (self.sampling - level) if self.sampling else 1
        return full[..., ::step, ::step][..., self.trim, self.trim]


def _band(spectrum: Tensor, psi: Tensor, step: int) -> Tensor:
    """The modulus of every step-th sample of what the wavelets let through; spectrum (..., h, w), psi (angles, h, w)."""
    if step == 1:
        return _modulus(torch.fft.ifft2(spectrum * psi))
    rows, columns = psi.shape[-2] // step, psi.shape[-1] // step
    total: Any = None
    for i, j in itertools.product(
        range(step), repeat=2
    ):  # sampling folds the spectrum: tile by tile, so that nothing large is made
        tile = (..., slice(i * rows, (i + 1) * rows), slice(j * columns, (j + 1) * columns))
        part = spectrum[tile] * psi[tile]
        total = part if total is None else total + part if part.requires_grad else total.add_(part)
    return _modulus(torch.fft.ifft2(total / step**2 if total.requires_grad else total.div_(step**2)))


def _modulus(z: Tensor) -> Tensor:
    """|z|, with derivative 0 at 0."""
    if z.requires_grad:
        return z.abs()
    real, imaginary = z.real, z.imag
    return (real * real).addcmul_(imaginary, imaginary).sqrt_()
