"""Scattering networks: fixed wavelets and moduli whose features move no further than the signal."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from faltung.certify.bank import Bank
from faltung.certify.cascade import Cascade
from faltung.certify.morlet import morlet
from faltung.certify.morlet_lines import margin, morlet_lines
from faltung.errors import ArgumentError, DtypeError
from faltung.filters.filter import whole

PADDING = ("reflect", "zeros", "replicate", "circular")
Filters = str | Callable[[tuple[int, ...]], Bank]
Around = tuple[tuple[int, ...], tuple[tuple[int, int], ...]]
"""The padded size, and the margins (before, behind) of each axis."""


@dataclass(frozen=True)
class Frame:
    """Bounds of the energy that a bank keeps, at its worst and its best frequency: at most 1 means that distances never grow."""

    lower: float
    upper: float

    @property
    def nonexpansive(self) -> bool:
        """Whether no signal gains energy, up to rounding."""
        return self.upper <= 1 + 1e-12


class Scattering(nn.Module, ABC):
    """What scattering of signals in time and of images have in common: padding, the cascade, the certificate."""

    ndim: int

    def __init__(self, J: int, order: int, filters: Filters, padding_mode: str, sampled: bool) -> None:
        super().__init__()
        who = type(self).__name__
        self.J, self.order = whole(who, "J", J, 1), whole(who, "order", order, 0)
        if not (callable(filters) or filters in ("morlet", "tight")) or padding_mode not in PADDING or self.order > 2:
            raise ArgumentError.of(
                who, f"filters morlet, tight or a function, order up to 2, padding_mode among {', '.join(PADDING)}",
                f"{filters!r}, {order}, {padding_mode!r}", "choose one of these",
            )  # fmt: skip
        self.filters, self.padding_mode, self.sampled = filters, padding_mode, bool(sampled)
        self._kept: dict[Any, Cascade] = {}

    def bank(self, n: Any) -> Bank:
        """The filters for signals of that size before padding."""
        padded = self.padded((n,) if isinstance(n, int) else tuple(n))[0]
        return self.filters(padded) if callable(self.filters) else self.usual(padded, self.filters == "tight")

    @abstractmethod
    def usual(self, padded: tuple[int, ...], tight: bool) -> Bank:
        """The Morlet wavelets of a padded size."""

    @abstractmethod
    def padded(self, n: tuple[int, ...]) -> Around:
        """The padded size and the margins of signals of that size."""

    @property
    def paths(self) -> int:
        """How many features there are for each place."""
        size = (4 * 2**self.J,) * self.ndim
        bank = self.filters(size) if callable(self.filters) else self.usual(size, False)
        first = [(band.number, len(band.filters[0])) for band in bank.first] if self.order else []
        second = [(band.number, len(band.filters[0])) for band in bank.second] if self.order > 1 else []
        return 1 + sum(a for _, a in first) + sum(a * b for j, a in first for i, b in second if i > j)

    @property
    def sampling(self) -> int:
        """Features are kept at every 2^sampling-th place."""
        return self.J

    def frame(self, n: Any) -> Frame:
        """The certificate for signals of that size: how much energy any stage keeps at least and at most."""
        bank = self.bank(n)
        sums = [bank.littlewood_paley()]
        if self.order > 1:
            levels = sorted({band.level if self.sampled else 0 for band in bank.first})
            sums += [bank.littlewood_paley(r) for r in levels if any(b.level >= r for b in bank.second)]
        return Frame(float(sums[0].min()), float(max(s.max() for s in sums)))

    def forward(self, input: Tensor) -> Tensor:
        if not isinstance(input, Tensor) or not input.is_floating_point() or input.ndim < self.ndim:
            came = f"shape {tuple(input.shape)} of {input.dtype}" if isinstance(input, Tensor) else type(input).__name__
            wanted = "a real tensor (..., height, width)" if self.ndim == 2 else "a real tensor (..., length)"
            raise DtypeError.of(type(self).__name__, wanted, came, "convert it with .float()")
        size = tuple(input.shape[-self.ndim :])
        padded, around = self.padded(size)
        x = input.reshape(-1, 1, *size)
        if any(map(any, around)):
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            x = nn.functional.pad(x, [p for pair in reversed(around) for p in pair], mode=mode)
        result = self._cascade(size, padded, around, x).features(x[:, 0])
        return result.reshape(*input.shape[: -self.ndim], *result.shape[1:])

    def _cascade(self, n: tuple[int, ...], padded: tuple[int, ...], around: Any, x: Tensor) -> Cascade:
        key = (n, x.dtype, x.device)
        if key not in self._kept:
            step = 2**self.sampling
            kept = [slice(-(-lo // step), -(-(lo + a) // step)) for a, (lo, _) in zip(n, around, strict=True)]
            if self.ndim == 2:  # the outer two of all features are of the margin
                kept = [slice(1, -1) if any(pair) else slice(None) for pair in around]
            if not self.sampled:
                kept = [slice(None)] * self.ndim
            sampling = self.sampling if self.sampled else None
            self._kept[key] = Cascade(self.bank(n), padded, sampling, tuple(kept), self.order, x)
        return self._kept[key]

    def _refuse(self, n: tuple[int, ...], least: int, unit: int) -> None:
        """ArgumentError for sizes below `least` or, on a circle, no multiples of `unit`."""
        circular = self.padding_mode == "circular"
        if min(n) < least or (circular and any(a % unit for a in n)):
            raise ArgumentError.of(
                type(self).__name__, f"sizes of at least {least}{f', multiples of {unit}' * circular}", f"{n}",
                "choose fewer scales or another padding_mode",
            )  # fmt: skip


class Scattering1d(Scattering):
    """The scattering transform of signals in time: wavelets, modulus, wavelets, modulus, and a low-pass filter behind each.

    Formula: `S₀ = x ∗ φ`, `S₁[λ] = |x ∗ ψ_λ| ∗ φ`, `S₂[λ, μ] = ||x ∗ ψ_λ| ∗ ψ'_μ| ∗ φ` for wavelets μ that bear more
    halvings of the rate than λ, each sampled at every 2^⌊log₂ T⌋-th place. The certificate is that of `Scattering2d`.

    Shapes: input (..., length), real, any length; returns (..., paths, about length / 2^⌊log₂ T⌋), paths ordered by order, then by
        falling frequency of the first wavelet and of the second.

    Args:
        J: octaves, at least 1: the longest wavelets are about 2^J samples long.
        Q: wavelets an octave, of the first order, or of both. Default (8, 1).
        order: 0, 1 or 2. Default 2.
        T: how many samples features are averaged over, from 1 up to 2^J. Default 2^J.
        filters: `morlet`, `tight`, by which no stage gains energy, or a function from the padded size (n,) to a `Bank` of one's
            own. Default morlet.
        padding_mode: reflect, zeros, replicate; to a power of two, with room for the low-pass filter, at most thrice the length.
            circular for lengths that 2^⌊log₂ T⌋ divides. Default reflect.
        sampled: whether the results are sampled; else they have the length of the padded signal. Default True.

    Raises:
        ArgumentError: an unknown word, a length too small.   DtypeError: an input that is not real.

    Error: that of the Fourier transform in the input's precision; filters are made in float64.
    Cost: of the order of J·Q first and J²·Q·Q' / 2 second Fourier transforms at falling lengths.
    Source: Mallat, Group invariant scattering (2012); Andén and Mallat, Deep scattering spectrum (2014).

    Example:
        >>> import torch
        >>> Scattering1d(6)(torch.ones(2, 1024)).shape
        torch.Size([2, 126, 16])
    """

    ndim = 1

    def __init__(
        self,
        J: int,
        Q: int | tuple[int, int] = (8, 1),
        order: int = 2,
        T: int | None = None,
        filters: Filters = "morlet",
        padding_mode: str = "reflect",
        sampled: bool = True,
    ) -> None:
        super().__init__(J, order, filters, padding_mode, sampled)
        both = tuple(Q) if isinstance(Q, (tuple, list)) else (Q, 1)
        if len(both) != 2:
            raise ArgumentError.of("Scattering1d", "one or two numbers of wavelets an octave", repr(Q), "pass (8, 1)")
        self.Q = (whole("Scattering1d", "Q", both[0], 1), whole("Scattering1d", "Q", both[1], 1))
        self.T = 2**self.J if T is None else whole("Scattering1d", "T", T, 1)
        if self.T > 2**self.J:
            raise ArgumentError.of("Scattering1d", f"T up to 2^J = {2**self.J}", str(T), "choose more octaves")

    def extra_repr(self) -> str:
        return f"{self.J}, Q={self.Q}, order={self.order}, T={self.T}, filters={self.filters!r}, {self.padding_mode!r}"

    @property
    def sampling(self) -> int:
        return self.T.bit_length() - 1

    def usual(self, padded: tuple[int, ...], tight: bool) -> Bank:
        return morlet_lines(padded[0], self.J, self.Q, self.T, tight)

    def padded(self, n: tuple[int, ...]) -> Around:
        (length,) = n
        self._refuse(n, max(2**self.sampling, 2), 2**self.sampling)
        if self.padding_mode == "circular":
            return n, ((0, 0),)
        most = (3 * length - 2).bit_length() - 1  # so that reflection goes over each end once
        size = 2 ** min((length + 2 * margin(length, self.T) - 1).bit_length(), most)
        return (size,), (((size - length) // 2, (size - length + 1) // 2),)


class Scattering2d(Scattering):
    """The scattering transform of images: wavelets, modulus, wavelets, modulus, and a low-pass filter behind each.

    Formula: `S₀ = x ∗ φ`, `S₁[λ] = |x ∗ ψ_λ| ∗ φ`, `S₂[λ, μ] = ||x ∗ ψ_λ| ∗ ψ_μ| ∗ φ` for scales j(μ) > j(λ), each sampled at every
    2^J-th place. With `filters="tight"` every stage keeps energy (or loses some by sampling), so `‖Sx − Sy‖ ≤ ‖x − y‖` for images
    whose boundary is circular, and for padded ones in the norm of the padded image.

    Shapes: input (..., height, width), real, any size of at least 2^J; returns (..., paths, ⌊height / 2^J⌋, ⌊width / 2^J⌋) with
    1 + LJ + L²J(J − 1)/2 paths for order 2, ordered by order, then j and angle.

    Args:
        J: scales, at least 1: features are averaged over 2^J samples.   L: angles. Default 8.   order: 0, 1 or 2. Default 2.
        filters: `morlet`, the usual bank (not tight: it loses up to 88 % of the energy in the corners of the spectrum, and for
            J = 3 adds 1.9 % at some frequencies), `tight`, or a function from the padded size to a `Bank` of one's own.
            Default morlet.
        padding_mode: reflect (as other implementations), zeros, replicate, or circular, which needs sizes that 2^J divides.
        sampled: whether the results are sampled; else they have the size of the padded image. Default True.

    Raises:
        ArgumentError: an unknown word, a size too small.   DtypeError: an input that is not real.

    Error: that of the Fourier transform in the input's precision; filters are made in float64.
    Cost: of the order of L·J + L²·J(J − 1)/2 Fourier transforms at falling sizes; the low-pass filter is a product of matrices.
        Without a gradient, on a CPU, all stages go through one compiled kernel that stays in the cache.
    Source: Mallat, Group invariant scattering (2012); Bruna and Mallat (2013); Wiatowski and Bölcskei, A mathematical theory of
        deep convolutional neural networks for feature extraction (2018).

    Example:
        >>> import torch
        >>> Scattering2d(2)(torch.ones(1, 3, 32, 32)).shape
        torch.Size([1, 3, 81, 8, 8])
    """

    ndim = 2

    def __init__(
        self,
        J: int,
        L: int = 8,
        order: int = 2,
        filters: Filters = "morlet",
        padding_mode: str = "reflect",
        sampled: bool = True,
    ) -> None:
        super().__init__(J, order, filters, padding_mode, sampled)
        self.L = whole("Scattering2d", "L", L, 1)

    def extra_repr(self) -> str:
        return f"{self.J}, L={self.L}, order={self.order}, filters={self.filters!r}, padding_mode={self.padding_mode!r}"

    def usual(self, padded: tuple[int, ...], tight: bool) -> Bank:
        return morlet((padded[0], padded[1]), self.J, self.L, tight)

    def padded(self, n: tuple[int, ...]) -> Around:
        unit = 2**self.J
        self._refuse(n, unit, unit)
        if self.padding_mode == "circular":
            return n, ((0, 0), (0, 0))
        size = tuple(((a + unit) // unit + 1) * unit for a in n)
        around = tuple(((p - a) // 2, (p - a + 1) // 2) for p, a in zip(size, n, strict=True))
        if self.padding_mode == "reflect" and any(hi >= a for (_, hi), a in zip(around, n, strict=True)):
            most = max(hi for _, hi in around)
            raise ArgumentError.of(
                "Scattering2d", f"sizes above {most} to be reflected", f"{n}", "choose fewer scales or another padding_mode",
            )  # fmt: skip
        return size, around
