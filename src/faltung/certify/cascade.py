"""The cascade of a scattering network, wavelets, moduli and averages: by the compiled kernel, or by torch with a gradient."""

import itertools
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faltung import torch_gate
from faltung.certify.bank import Band, Bank
from faltung.kernels.scattering.layout import Grid, Scale, suits
from faltung.planner.machine import this_machine

CHUNK = 1 << 18  # numbers of a stage that torch works on at a time: they stay in the cache
LARGEST = 1 << 28  # bytes of working memory that the kernel may take for a thread


class Cascade:
    """A bank as tensors of one dtype on one device, for signals of one size.

    Args:
        bank: on the padded size.   size: the padded size.   sampling: features are kept at every 2^sampling-th place; None keeps
            all, of the moduli too.   kept: which of those, for each axis, are no margin.   order: 0, 1 or 2.   like: a tensor.
    """

    def __init__(
        self, bank: Bank, size: tuple[int, ...], sampling: int | None, kept: tuple[slice, ...], order: int, like: Tensor
    ) -> None:
        self.bank, self.size, self.sampling, self.kept, self.order = bank, size, sampling, kept, order
        self.dtype, self.device, self.axes = like.dtype, like.device, tuple(range(-len(size), 0))
        self.first = [self._tensor(band.filters[0]) for band in bank.first] if order else []
        self.second = [{r: self._tensor(f) for r, f in band.filters.items()} for band in bank.second]
        self.phi = [self._tensor(p[..., : p.shape[-1] // 2 + 1]) for p in (*bank.phi, bank.outer)]
        self.lines: list[list[np.ndarray]] | None = None
        if bank.axes is not None and sampling is not None:
            outer = (bank.outer,) if len(size) == 1 else bank.axes[0]
            levels = [*enumerate(bank.axes), (0, outer)]
            self.lines = [[self._line(axis, sampling - r, a) for a, axis in enumerate(axes)] for r, axes in levels]
            self._matrices = [[self._tensor(line) for line in pair] for pair in self.lines]
        self._scales = self._compiled()

    def features(self, x: Tensor) -> Tensor:
        """(samples, paths, *m) of padded signals (samples, *size)."""
        if self._scales is not None and torch_gate.plain(x):
            return self._by_kernel(x, self._scales)
        step = max(1, CHUNK // (math.prod(self.size) * max([len(f) for f in self.first], default=1)))
        return torch.cat([self._by_torch(part) for part in x.split(step)])

    def deeper(self, band: Band) -> list[int]:
        """Which scales of the second order go behind a scale of the first."""
        return [b for b, other in enumerate(self.bank.second) if other.number > band.number] if self.order > 1 else []

    def _by_torch(self, x: Tensor) -> Tensor:
        ones, twos = [self._averaged(x[:, None], -1)], []
        spectrum = torch.fft.fftn(x, dim=self.axes)[:, None]
        for band, filters in zip(self.bank.first, self.first, strict=False):
            level = self._level(band)
            moduli = _band(spectrum, filters, 2**level)
            ones.append(self._averaged(moduli, level))
            inner: Any = None
            parts = []
            for b in self.deeper(band):
                inner = torch.fft.fftn(moduli, dim=self.axes)[:, :, None] if inner is None else inner
                below = self._level(self.bank.second[b])
                parts.append(self._averaged(_band(inner, self.second[b][level], 2 ** (below - level)), below))
            if parts:
                twos.append(torch.cat(parts, 2).flatten(1, 2))
        return torch.cat([*ones, *twos], 1)

    def _averaged(self, x: Tensor, level: int) -> Tensor:
        """The low-pass filter of a resolution (−1: the one for the signal itself), sampled and without the margin."""
        if self.lines is not None:
            *rows, columns = self._matrices[level]
            x = x @ columns.mT
            return rows[0] @ x if rows else x
        spectrum = torch.fft.rfftn(x, dim=self.axes) * self.phi[level]
        full = torch.fft.irfftn(spectrum, s=x.shape[-len(self.axes) :], dim=self.axes)
        step = 1 if self.sampling is None else 2 ** (self.sampling - max(level, 0))
        full = full[(..., *[slice(None, None, step)] * len(self.axes))]
        return full[(..., *self.kept)]

    def _by_kernel(self, x: Tensor, scales: list[Scale]) -> Tensor:
        zero = self._averaged(x[:, None], -1)
        paths = 1 + sum(scale.ones.size + scale.twos.size for scale in scales)
        y = torch.empty(len(x), paths, *zero.shape[2:], dtype=x.dtype)
        y[:, :1] = zero
        spectra = torch.fft.fftn(x, dim=self.axes).reshape(len(x), *self._grid(0))
        parts = torch.view_as_real(spectra).movedim(-1, 1).contiguous().numpy()
        for scale in scales:
            scale.run(parts, y.numpy(), this_machine().threads)
        return y

    def _compiled(self) -> list[Scale] | None:
        """What the kernel reads, one for each scale of the first order; None where it does not do."""
        kinds: dict[torch.dtype, np.dtype] = {torch.float32: np.dtype("float32"), torch.float64: np.dtype("float64")}
        bands = [*self.bank.first, *self.bank.second]
        if self.lines is None or self.device.type != "cpu" or self.dtype not in kinds or not self.order:
            return None
        if 4 * 128 * math.prod(self.size) > LARGEST or not suits([self._grid(band.level) for band in bands]):
            return None
        matrices = [pair if len(pair) == 2 else [np.ones((1, 1)), *pair] for pair in self.lines]
        lines = {self._grid(r): (pair[0], pair[1]) for r, pair in enumerate(matrices[:-1])}
        found = []
        one, two = 1, 1 + sum(map(len, self.first))
        for band in self.bank.first:
            below = [self.bank.second[b] for b in self.deeper(band)]
            seconds = [(self._grid(b.level), b.filters[band.level]) for b in below]
            shape = (len(band.filters[0]), sum(len(filters) for _, filters in seconds))
            ones, twos = one + np.arange(shape[0]), two + np.arange(math.prod(shape)).reshape(shape)
            one, two = one + ones.size, two + twos.size
            filters, grid = band.filters[0], self._grid(band.level)
            found.append(Scale(kinds[self.dtype], self._grid(0), filters, grid, seconds, lines, ones, twos))
        return found

    def _grid(self, level: int) -> Grid:
        rows, columns = (1, *self.size)[-2:]
        return (rows >> level if len(self.size) == 2 else 1, columns >> level)

    def _level(self, band: Band) -> int:
        return 0 if self.sampling is None else band.level

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=self.dtype, device=self.device)

    def _line(self, spectrum: np.ndarray, level: int, axis: int) -> np.ndarray:
        """The matrix that filters an axis and keeps every 2^level-th place, without the margin."""
        kernel = np.fft.ifft(spectrum).real
        places = np.arange(0, len(kernel), 2**level)[self.kept[axis]]
        return kernel[(places[:, None] - np.arange(len(kernel))) % len(kernel)]


def _band(spectrum: Tensor, psi: Tensor, step: int) -> Tensor:
    """The modulus of every step-th sample of what the wavelets let through; spectrum (..., *n), psi (waves, *n)."""
    axes = tuple(range(1 - psi.ndim, 0))
    if step == 1:
        return _modulus(torch.fft.ifftn(spectrum * psi, dim=axes))
    size = [psi.shape[a] // step for a in axes]
    total: Any = None
    # sampling folds the spectrum: tile by tile, so that nothing large is made
    for tile in itertools.product(range(step), repeat=len(axes)):
        place = (..., *(slice(i * n, (i + 1) * n) for i, n in zip(tile, size, strict=True)))
        part = spectrum[place] * psi[place]
        total = part if total is None else total + part if part.requires_grad else total.add_(part)
    count = step ** len(axes)
    return _modulus(torch.fft.ifftn(total / count if total.requires_grad else total.div_(count), dim=axes))


def _modulus(z: Tensor) -> Tensor:
    """|z|, with derivative 0 at 0."""
    if z.requires_grad:
        return z.abs()
    real, imaginary = z.real, z.imag
    return (real * real).addcmul_(imaginary, imaginary).sqrt_()
