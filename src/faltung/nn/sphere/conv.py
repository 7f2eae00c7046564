"""Convolution of functions on the sphere, filters of any shape included: `SphericalConv`."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Symmetry
from faltung.nn.sphere.base import SCALED, SphereLayer, analysed_by_sum, synthesised_by_sum, turns
from faltung.nn.sphere.grid import two_grids
from faltung.nn.sphere.transform import Transform, checked_spins, wide

BUCKET = 16  # degrees that share one batch of products, so that orders above all of them are left out


class SphericalConv(SphereLayer):
    """A convolution of functions on the sphere: turn the input, and the result is turned. Exactly, by any rotation.

    Formula: `b_lm,s' = Σ over s and channels of K_l,ss' a_lm,s` for the coefficients a of the input and b of the result. K does not
    know m. From spin 0 to 0 it is the convolution with a filter that is round about its axis; through other spins filters of
    any shape act. Spins are what directional responses are made of: a result of spin 1 is a tangent vector at each place.

    For spins 0 alone numbers are real by default: then K is real, and as the filter is even that is no loss. Complex numbers
    on orders m ≥ 0 of a real function, continued by conjugation, would not be one K for all m: rotations mix m and −m.

    Shapes: input (batch, in_channels · in spins, rows, columns), spins next to each other, returns likewise; weight
    (out, out spins, in, in spins, parameters of a filter).

    Args:
        in_channels, out_channels: fields of each spin, at least 1.   in_spins, out_spins: different whole numbers.
        resolution: n for n × n, or (rows, columns).   num_filter_params: K is given at so many degrees, equally spaced, and linear
            between: smooth in the degree, hence local on the sphere. Default: at every degree.
        out_resolution: of the result; degrees that it does not carry are dropped, those it could carry more are 0. Default:
            the same.
        grid: "equiangular" (default), "gauss", "midpoint", "driscoll-healy".   out_grid: the result's. Default: the same.
        bias: a number added to results of spin 0, where there are. Default True.
        dtype: real or complex. Default: torch's; complex of that precision wherever a spin is not 0.

    Raises:
        ArgumentError: settings that name no layer, samples on another grid.   DtypeError: tensors of whole numbers.

    Error: exact quadrature, rounding only: equivariance to 1e-14 in float64 and 1e-6 in float32.
    Cost: transforms columns·degree·rows + rows·degree² a function, products Σ(2l + 1)·(in·spins)·(out·spins).
    Source: as below; Esteves, Makadia and Daniilidis, Spin-weighted spherical CNNs (2020); Driscoll and Healy (1994) for spin 0.

    Example:
        >>> layer = SphericalConv(1, 4, (0,), (0, 1), 16, num_filter_params=4)
        >>> layer(torch.randn(2, 1, 16, 16)).shape
        torch.Size([2, 8, 16, 16])
    """

    name = "spherical-conv"
    summary = "convolution on the sphere, by degrees of harmonics, between fields of any spin"
    source = SCALED
    cost = "columns / 2 + degree² / columns + in · spins"

    between: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        in_spins: Sequence[int],
        out_spins: Sequence[int],
        resolution: Any,
        num_filter_params: int | None = None,
        out_resolution: Any = None,
        grid: str = "equiangular",
        out_grid: str | None = None,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = functional.numbers(
            "in_channels, out_channels", (in_channels, out_channels), 2, 1
        )
        self.in_spins, self.out_spins = (checked_spins("SphericalConv", s) for s in (in_spins, out_spins))
        self.grid, self.out_grid = two_grids(resolution, out_resolution, grid, out_grid)
        self.degree = min(self.grid.degree, self.out_grid.degree)
        dtype = dtype or torch.get_default_dtype()
        self.real = self.in_spins == self.out_spins == (0,) and not dtype.is_complex
        dtype = dtype if self.real else dtype.to_complex()
        knots = self.degree + 1 if num_filter_params is None else num_filter_params
        (knots,) = functional.numbers("num_filter_params", knots, 1, 1)
        if knots > self.degree + 1:
            raise ArgumentError.of(
                "SphericalConv",
                f"at most {self.degree + 1} parameters for degrees 0 ... {self.degree}",
                str(knots),
                "leave it out for all",
            )
        factory = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(
            torch.empty(self.out_channels, len(self.out_spins), self.in_channels, len(self.in_spins), knots, **factory)
        )
        has = bias and 0 in self.out_spins
        self.bias = nn.Parameter(torch.zeros(self.out_channels, **factory)) if has else None
        self.interpolated = knots <= self.degree
        if self.interpolated:
            self.keep("between", between_knots(knots, self.degree), device, dtype.to_real())
        self.analysis = Transform(self.grid, self.in_spins, self.degree, self.real, "analysis", **factory)
        self.synthesis = Transform(self.out_grid, self.out_spins, self.degree, self.real, "synthesis", **factory)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal numbers whose squares sum to 1 over all inputs of a result, complex ones in both parts; no bias."""
        nn.init.normal_(self.weight, std=1 / math.sqrt(self.in_channels * len(self.in_spins)))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def by_degree(self) -> Tensor:
        """K for every degree, (out, out spins, in, in spins, degree + 1)."""
        return torch.matmul(self.weight, self.between.to(self.weight.dtype)) if self.interpolated else self.weight

    def forward(self, input: Tensor) -> Tensor:
        x = self.samples(input, self.in_channels, self.in_spins, self.grid, self.real)
        with wide(x):
            planes = self.analysis.analyse(x)
            y = self.synthesis.synthesise(mixed(planes, self.by_degree(), self.real))
            if self.bias is not None:
                y = y + self._placed_bias(y)
        return y.flatten(1, 2)

    def _placed_bias(self, y: Tensor) -> Tensor:
        here = torch.tensor([s == 0 for s in self.out_spins], device=y.device, dtype=y.real.dtype)
        return (self.bias[:, None] * here)[:, :, None, None]

    @torch.no_grad()
    def profile(self, angle: Any) -> Tensor:
        """The filters from spin 0 to spin 0 as functions of the angle (radians) to their centre, (out, in, *angle).

        Formula: `κ(t) = Σ K_l (2l + 1)/4π P_l(cos t)`, so that the layer is `y(p) = ∫ κ(angle of p and q) x(q) dq`.

        Raises:
            ArgumentError: no spin 0 on one of the sides.
        """
        if 0 not in self.in_spins or 0 not in self.out_spins:
            raise ArgumentError.of(
                "SphericalConv.profile",
                "spin 0 on both sides",
                f"{self.in_spins} to {self.out_spins}",
                "look at by_degree()",
            )
        own = self.by_degree()[:, self.out_spins.index(0), :, self.in_spins.index(0)]
        angle = np.asarray(angle, float)
        scale = (2 * np.arange(self.degree + 1) + 1) / (4 * np.pi)
        values = np.polynomial.legendre.legvander(np.cos(angle), self.degree) * scale
        return torch.einsum("oil,...l->oi...", own, torch.tensor(values).to(own))

    def definition(self, *inputs: Any) -> Tensor:
        """By harmonics from sums over factorials, integral and sum written out."""
        (x,) = inputs
        x = x.reshape(x.shape[0], self.in_channels, len(self.in_spins), *x.shape[2:])
        a = analysed_by_sum(x, self.grid, self.in_spins, self.degree)
        b = a.new_zeros(a.shape[0], self.out_channels, len(self.out_spins), a.shape[3])
        knots = self.weight.shape[-1]
        for l in range(self.degree + 1):
            at = l * (knots - 1) / self.degree if self.degree else 0.0
            low = min(int(at), max(knots - 2, 0))
            high = min(low + 1, knots - 1)
            kernel = self.weight[..., low] * (1 - (at - low)) + self.weight[..., high] * (at - low)
            here = slice(l * l, (l + 1) ** 2)
            b[..., here] = torch.einsum("osit,bitm->bosm", kernel.to(a.dtype), a[..., here])
        y = synthesised_by_sum(b, self.out_grid, self.out_spins, self.degree)
        if self.bias is not None:
            zero = self.out_spins.index(0)
            y = torch.cat(
                [y[:, :, :zero], y[:, :, zero : zero + 1] + self.bias[:, None, None, None], y[:, :, zero + 1 :]], 2
            )
        y = y.flatten(1, 2)
        return y.real if self.real else y

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], self.out_channels * len(self.out_spins), self.out_grid.rows, self.out_grid.columns)

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    def parameter_count(self) -> int:
        knots = self.weight.shape[-1]
        count = self.out_channels * self.in_channels * len(self.in_spins) * len(self.out_spins) * knots
        return count + (0 if self.bias is None else self.out_channels)

    def symmetries(self) -> Iterable[Symmetry]:
        return turns(self.grid, self.in_spins, self.out_grid, self.out_spins)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example(
            {"in_channels": 2, "out_channels": 3, "in_spins": (0,), "out_spins": (0,), "resolution": 6}, ((2, 2, 6, 6),)
        )
        both = {"in_spins": (0, 1), "out_spins": (1, 0, -2), "num_filter_params": 2}
        yield Example(
            {"in_channels": 1, "out_channels": 2, **both, "resolution": (8, 7)}, ((2, 2, 8, 7),), complex=True
        )
        finer = {"resolution": 8, "out_resolution": (4, 5), "grid": "midpoint", "out_grid": "gauss", "bias": False}
        yield Example(
            {"in_channels": 1, "out_channels": 2, "in_spins": (0,), "out_spins": (0,), **finer}, ((2, 1, 8, 8),)
        )


def between_knots(knots: int, degree: int) -> np.ndarray:
    """Linear interpolation from values at equally spaced degrees to all, (knots, degree + 1)."""
    at = np.linspace(0, knots - 1, degree + 1)
    return np.maximum(0, 1 - abs(at - np.arange(knots)[:, None]))


def mixed(planes: Tensor, kernel: Tensor, real: bool) -> Tensor:
    """Planes of coefficients times K, degree by degree: (orders, 2, batch, out, out spins, degree + 1).

    Degrees go in buckets; orders above the highest degree of a bucket are 0 and take no part. A complex K is a real one of
    twice the size on real and imaginary parts.
    """
    orders, _, batch, channels, spins, count = planes.shape
    out, out_spins = kernel.shape[:2]
    half = orders == count
    if real:
        table = kernel.permute(4, 2, 3, 0, 1).reshape(count, channels * spins, out * out_spins)
    else:
        parts = (
            torch.view_as_real(kernel.resolve_conj())
            .permute(4, 5, 2, 3, 0, 1)
            .reshape(count, 2, channels * spins, out * out_spins)
        )
        rows = (torch.cat([parts[:, 0], parts[:, 1]], 2), torch.cat([-parts[:, 1], parts[:, 0]], 2))
        table = torch.cat(rows, 1)
    found = []
    for low in range(0, count, BUCKET):
        high = min(low + BUCKET, count)
        beyond = 0 if high == count else count - high
        part = planes[beyond * (not half) : orders - beyond, ..., low:high]
        some = part.shape[0]
        if real:
            flat = part.movedim(-1, 0).reshape(high - low, some * 2 * batch, channels * spins)
            result = torch.bmm(flat, table[low:high]).reshape(high - low, some, 2, batch, out, out_spins).movedim(0, -1)
        else:
            flat = part.permute(5, 0, 2, 1, 3, 4).reshape(high - low, some * batch, 2 * channels * spins)
            result = (
                torch.bmm(flat, table[low:high])
                .reshape(high - low, some, batch, 2, out, out_spins)
                .permute(1, 3, 2, 4, 5, 0)
            )
        found.append(nn.functional.pad(result, (0, 0) * 5 + (beyond * (not half), beyond)) if beyond else result)
    return found[0] if len(found) == 1 else torch.cat(found, -1)
