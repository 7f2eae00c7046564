"""Scattering of volumes by solid harmonic wavelets: features that turning and shifting a volume leaves."""

from typing import Any

import torch
from torch import Tensor, nn

from faltung.certify.scattering import Frame
from faltung.certify.solid import Solid, solid_harmonics
from faltung.errors import ArgumentError, DtypeError
from faltung.filters.filter import whole


class Scattering3d(nn.Module):
    """The solid harmonic scattering transform of volumes: wavelets of a degree, root of the sum of squares, the same once more.

    Formula: `U₁[l, j] = (Σ_m |x ∗ ψ_lmj|²)^½`, `U₂[l, j, j'] = (Σ_m |U₁[l, j] ∗ ψ_lmj'|²)^½` for j' > j, whose integrals
    `Σ_places U^p` no shift changes, and no turn of a volume that its grid resolves; or averages `U ∗ φ`, sampled at every
    2^J-th place.

    Shapes: input (..., depth, height, width), real, on a torus; returns (..., paths, L + 1, powers) with (J + 1) + J(J + 1)/2
        paths, those of order 1 by j, then those of order 2 by j and j'; for `powers=None` (..., 1 + paths·(L + 1), *sizes / 2^J),
        x ∗ φ first.

    Args:
        J: octaves: scales are 2^j·sigma for j = 0, …, J; at least 1.   L: the largest degree. Default 3.
        order: 1 or 2. Default 2.
        powers: of the integrals. Default (0.5, 1, 2). None for local averages, which need sizes that 2^J divides.
        sigma: width of the smallest wavelets in samples, above 0. Default 1.
        filters: `harmonic`, or `tight`: all wavelets and φ divided by the root of their energy; then local averages never lie
            further apart than volumes. Default harmonic.

    Raises:
        ArgumentError: an unknown word, a size too small.   DtypeError: an input that is not real.

    Error: that of the Fourier transform in the input's precision; filters are made in float64. Derivatives of a power below 1
        count as 0 where the modulus is 0.
    Cost: (L + 1)² (J + 1)(J + 2)/2 real Fourier transforms of the whole volume.
    Source: Eickenberg, Exarchakis, Hirn and Mallat, Solid harmonic wavelet scattering (2017).

    Example:
        >>> Scattering3d(2)(torch.ones(1, 16, 16, 16)).shape
        torch.Size([1, 6, 4, 3])
    """

    def __init__(
        self,
        J: int,
        L: int = 3,
        order: int = 2,
        powers: tuple[float, ...] | None = (0.5, 1.0, 2.0),
        sigma: float = 1.0,
        filters: str = "harmonic",
    ) -> None:
        super().__init__()
        who = "Scattering3d"
        self.J, self.L, self.order = whole(who, "J", J, 1), whole(who, "L", L, 0), whole(who, "order", order, 1)
        if filters not in ("harmonic", "tight") or self.order > 2 or not sigma > 0:
            raise ArgumentError.of(
                who, "filters harmonic or tight, order 1 or 2, sigma above 0", f"{filters!r}, {order}, {sigma}",
                "choose one of these",
            )  # fmt: skip
        if powers is not None and not all(p > 0 for p in powers):
            raise ArgumentError.of(who, "powers above 0", repr(powers), "use (0.5, 1, 2)")
        self.powers = None if powers is None else tuple(float(p) for p in powers)
        self.sigma, self.filters = float(sigma), filters
        self._kept: dict[Any, tuple[list[Tensor], Tensor]] = {}

    def extra_repr(self) -> str:
        return f"{self.J}, L={self.L}, order={self.order}, powers={self.powers}, sigma={self.sigma}, filters={self.filters!r}"

    def bank(self, n: tuple[int, int, int]) -> Solid:
        """The filters for volumes of that size."""
        return solid_harmonics((n[0], n[1], n[2]), self.J, self.L, self.sigma, self.filters == "tight")

    def frame(self, n: tuple[int, int, int]) -> Frame:
        """The certificate for volumes of that size: how much energy a stage keeps at least and at most."""
        sums = self.bank(n).littlewood_paley()
        return Frame(float(sums.min()), float(sums.max()))

    def forward(self, input: Tensor) -> Tensor:
        if not isinstance(input, Tensor) or not input.is_floating_point() or input.ndim < 3:
            came = f"shape {tuple(input.shape)} of {input.dtype}" if isinstance(input, Tensor) else type(input).__name__
            raise DtypeError.of(
                "Scattering3d", "a real tensor (..., depth, height, width)", came, "convert it with .float()"
            )
        n = (input.shape[-3], input.shape[-2], input.shape[-1])
        if min(n) < 2 or (self.powers is None and any(a % 2**self.J for a in n)):
            raise ArgumentError.of(
                "Scattering3d", f"sizes of at least 2{f', multiples of {2**self.J}' * (self.powers is None)}", f"{n}",
                "pad the volume, or choose fewer scales",
            )  # fmt: skip
        waves, phi = self._tables(n, input)
        made = torch.stack([self._features(x, waves, phi) for x in input.reshape(-1, *n)])
        return made.reshape(*input.shape[:-3], *made.shape[1:])

    def _features(self, x: Tensor, waves: list[Tensor], phi: Tensor) -> Tensor:
        """The features of one volume."""
        spectrum = torch.fft.rfftn(x)
        degrees = []
        for l in range(self.L + 1):
            ones, twos = [], []
            for j in range(self.J + 1):
                modulus = _modulus(spectrum, waves[l][j], l, x.shape)
                ones.append(self._averaged(modulus, phi))
                inner = torch.fft.rfftn(modulus) if self.order > 1 and j < self.J else spectrum
                wider = range(j + 1, self.J + 1 if self.order > 1 else 0)
                twos += [self._averaged(_modulus(inner, waves[l][i], l, x.shape), phi) for i in wider]
            degrees.append(torch.stack([*ones, *twos]))
        paths = torch.stack(degrees, 1)
        if self.powers is not None:
            return paths
        return torch.cat([self._averaged(x, phi)[None], paths.flatten(0, 1)])

    def _averaged(self, u: Tensor, phi: Tensor) -> Tensor:
        """The integrals, or the samples of the local averages."""
        if self.powers is not None:
            return torch.stack([_power(u, p).sum() for p in self.powers])
        step = 2**self.J
        return torch.fft.irfftn(torch.fft.rfftn(u) * phi, s=u.shape)[::step, ::step, ::step]

    def _tables(self, n: tuple[int, int, int], x: Tensor) -> tuple[list[Tensor], Tensor]:
        key = (n, x.dtype, x.device)
        if key not in self._kept:
            bank, half = self.bank(n), n[2] // 2 + 1
            waves = [torch.as_tensor(w[..., :half], dtype=x.dtype, device=x.device).contiguous() for w in bank.waves]
            self._kept[key] = waves, torch.as_tensor(bank.phi[..., :half], dtype=x.dtype, device=x.device)
        return self._kept[key]


def _modulus(spectrum: Tensor, waves: Tensor, degree: int, n: torch.Size) -> Tensor:
    """The root of the sum of squares over m of a volume filtered by the wavelets (2l + 1, *n) of one degree and scale."""
    turned = spectrum if degree % 2 == 0 else torch.complex(spectrum.imag, -spectrum.real)
    total: Any = None
    for wave in waves:  # one at a time, so that what is made stays small
        part = torch.fft.irfftn(turned * wave, s=n)
        square = part.square() if part.requires_grad else part.square_()
        total = square if total is None else total + square if part.requires_grad else total.add_(square)
    return _power(total, 0.5)


def _power(u: Tensor, p: float) -> Tensor:
    """u^p of what is not negative, with derivative 0 at 0."""
    if p == 1:
        return u
    if p > 1 or not u.requires_grad:
        return u.square() if p == 2 else u.pow(p) if p != 0.5 else u.sqrt()
    some = u > 0
    return torch.where(some, torch.where(some, u, 1.0) ** p, 0.0)
