"""Products of functions on the sphere: the tensor product of spherical features that is a pointwise product on a grid."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer
from faltung.nn.symmetry.so3 import gaunt_table, quadrature, spherical_harmonics

METHODS = ("auto", "grid", "separable", "dense")


class GauntProduct(Layer):
    """The product of two functions on the sphere given by spherical harmonics: all couplings of even parity at once.

    Formula: `y_c = Σ_ab x₁_a x₂_b ∫ Y_a Y_b Y_c`, the harmonics up to degree l3 of `(Σ x₁_a Y_a)·(Σ x₂_b Y_b)`. On a grid of
    (⌊(l1 + l2 + l3)/2⌋ + 1) × (l1 + l2 + l3 + 1) points the integral is exact, so that it is synthesis, product, analysis. With
    `weights`, inputs and result are multiplied by a number for each degree and channel.

    Shapes: x1 (n, (l1 + 1)², channels), x2 (n, (l2 + 1)², channels), returns (n, (l3 + 1)², channels); conventions of
    `faltung.nn.symmetry.so3`, which are e3nn's.

    Args:
        channels: at least 1.   l1, l2: degrees of the inputs, at least 0.   l3: of the result. Default: l1 + l2, nothing is lost.
        weights: whether numbers for degrees are learnt. Default True.
        method: "grid" (three products of matrices), "separable" (along latitudes, then longitudes: fewer products), "dense" (the
            table of couplings), or "auto" (default), the one with the fewest products, separable ones counted two and a half times
            for what they move.

    Raises:
        ArgumentError: settings that name no layer.

    Error: exact quadrature, rounding only.   Couplings of odd parity (l1 + l2 + l3 odd, the cross product) are absent.
    Cost: O(L³) separable, O(L⁴) on the grid, O(L⁵) non-zero couplings; the full tensor product of all paths costs O(L⁶).
    Source: Luo, Chen and Krishnapriyan, Enabling efficient equivariant operations in the Fourier basis via Gaunt tensor products
    (2024); Xin, Zhou and Jiang, Fast spherical harmonic tensor products (2021), the same on a grid.

    Example:
        >>> layer = GauntProduct(1, 1, 1, 0, weights=False)
        >>> round(layer(torch.tensor([[[0.0], [1], [2], [2]]]), torch.tensor([[[0.0], [1], [2], [2]]])).item(), 4)  # 9 / √4π
        2.5389
    """

    name = "gaunt-product"
    summary = "the tensor product of spherical features as a product of functions on the sphere"
    source = "Luo, Chen and Krishnapriyan, Gaunt tensor products (2024)"
    cost = "O(l³) for (l + 1)² results"
    dims = ()

    def __init__(
        self,
        channels: int,
        l1: int,
        l2: int,
        l3: int | None = None,
        weights: bool = True,
        method: str = "auto",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        (self.channels,) = functional.numbers("channels", channels, 1, 1)
        self.degrees = functional.numbers("l1, l2, l3", (l1, l2, l1 + l2 if l3 is None else l3), 3, 0)
        if method not in METHODS:
            raise ArgumentError.of("GauntProduct", f"method among {', '.join(METHODS)}", repr(method), "use 'auto'")
        self.method = cheapest(*self.degrees) if method == "auto" else method
        factory = {"device": device, "dtype": dtype}
        for n, l in enumerate(self.degrees):
            made = nn.Parameter(torch.ones(l + 1, self.channels, **factory)) if weights else None
            self.register_parameter(f"weight_{n + 1}", made)
            of = torch.repeat_interleave(torch.arange(l + 1), 2 * torch.arange(l + 1) + 1)
            self.register_buffer(f"degree_{n + 1}", of.to(device=device), persistent=False)
        tables: tuple[np.ndarray, ...] = (gaunt_table(*self.degrees),) if self.method == "dense" else ()
        tables = {"grid": grid_maps, "separable": separable_maps}.get(self.method, lambda *_: tables)(*self.degrees)
        for n, table in enumerate(tables):
            kept = torch.tensor(table).to(device=device)
            kept = kept.to(dtype or torch.get_default_dtype()) if kept.is_floating_point() else kept
            self.register_buffer(f"table_{n}", kept, persistent=False)

    def _weighted(self, x: Tensor, n: int) -> Tensor:
        weight = getattr(self, f"weight_{n}")
        return x if weight is None else x * weight[getattr(self, f"degree_{n}")]

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        for x, l in ((x1, self.degrees[0]), (x2, self.degrees[1])):
            self.expect(x, (l + 1) ** 2, 1)
            if x.shape[2] != self.channels or x.shape[0] != x1.shape[0]:
                raise ArgumentError.of(
                    "GauntProduct", f"inputs (n, harmonics, {self.channels})", f"{tuple(x1.shape)}, {tuple(x2.shape)}", "match them"
                )  # fmt: skip
        a, b = self._weighted(x1, 1), self._weighted(x2, 2)
        return self._weighted(getattr(self, f"_{self.method}")(a, b), 3)

    def _dense(self, a: Tensor, b: Tensor) -> Tensor:
        half = torch.einsum("nak,abc->nkbc", a, self.table_0)
        return torch.einsum("nkbc,nbk->nck", half, b)

    def _grid(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.matmul(self.table_2, torch.matmul(self.table_0, a) * torch.matmul(self.table_1, b))

    def _separable(self, a: Tensor, b: Tensor) -> Tensor:
        """Along latitudes for each order m (a batch of small products), then along longitudes."""
        values = [self._synthesised(x, n) for n, x in enumerate((a, b))]
        n, _, c = a.shape
        around = torch.matmul(
            self.table_8, (values[0] * values[1]).reshape(n, self.table_8.shape[1], self.table_7.shape[2] * c)
        )
        rows = around.reshape(n, self.table_8.shape[0], self.table_7.shape[2], c)  # (n, m, latitude, c)
        return torch.matmul(self.table_7, rows).flatten(1, 2)[:, self.table_6]

    def _synthesised(self, x: Tensor, n: int) -> Tensor:
        index, legendre, waves = (getattr(self, f"table_{3 * n + k}") for k in range(3))
        padded = nn.functional.pad(x, (0, 0, 0, 1))[:, index]  # (n, m, l, c), zeros where |m| > l
        along = torch.matmul(legendre, padded).flatten(2)
        return torch.matmul(waves, along)

    def definition(self, *inputs: Any) -> Tensor:
        """By the values at the points of a grid finer than is needed."""
        x1, x2 = inputs
        points, weights = quadrature(sum(self.degrees) + 3)
        values = spherical_harmonics(max(self.degrees), torch.from_numpy(points)).to(x1)
        fields = []
        for x, n in ((x1, 1), (x2, 2)):
            scale = getattr(self, f"weight_{n}")
            l = self.degrees[n - 1]
            rows = [x[:, k * k : (k + 1) ** 2] * (1 if scale is None else scale[k]) for k in range(l + 1)]
            fields.append(torch.einsum("pa,nak->npk", values[:, : (l + 1) ** 2], torch.cat(rows, 1)))
        last = values[:, : (self.degrees[2] + 1) ** 2] * torch.from_numpy(weights).to(x1)[:, None]
        y = torch.einsum("pc,npk->nck", last, fields[0] * fields[1])
        if self.weight_3 is None:
            return y
        return torch.cat([y[:, k * k : (k + 1) ** 2] * self.weight_3[k] for k in range(self.degrees[2] + 1)], 1)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], (self.degrees[2] + 1) ** 2, self.channels)

    def parameter_count(self) -> int:
        return 0 if self.weight_1 is None else sum(l + 1 for l in self.degrees) * self.channels

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 2, "l1": 2, "l2": 1, "method": "separable"}, ((3, 9, 2), (3, 4, 2)))
        yield Example(
            {"channels": 2, "l1": 1, "l2": 2, "l3": 2, "weights": False, "method": "grid"}, ((2, 4, 2), (2, 9, 2))
        )


def cheapest(l1: int, l2: int, l3: int) -> str:
    """The method with the fewest products for a channel; a separable one moves much and is counted two and a half times."""
    degree = l1 + l2 + l3
    latitudes, longitudes = degree // 2 + 1, degree + 1
    sizes = [(l + 1) ** 2 for l in (l1, l2, l3)]
    grid = latitudes * longitudes * sum(sizes)
    apart = sum(latitudes * (2 * l + 1) * (l + 1 + longitudes) for l in (l1, l2, l3))
    dense = sizes[0] * sizes[1] * sizes[2]
    return min((grid, "grid"), (2.5 * apart, "separable"), (dense, "dense"))[1]


@lru_cache(maxsize=32)
def grid_maps(l1: int, l2: int, l3: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Synthesis of both inputs (points, harmonics), and analysis of the result (harmonics, points)."""
    points, weights = quadrature(l1 + l2 + l3)
    values = spherical_harmonics(max(l1, l2, l3), torch.from_numpy(points)).numpy()
    first, second, third = (np.ascontiguousarray(values[:, : (l + 1) ** 2]) for l in (l1, l2, l3))
    return first, second, np.ascontiguousarray((third * weights[:, None]).T)


@lru_cache(maxsize=32)
def separable_maps(l1: int, l2: int, l3: int) -> tuple[np.ndarray, ...]:
    """For each of the three: where (m, l) stands, Legendre functions (m, latitudes, l), waves; the last with their transposes."""
    degree = l1 + l2 + l3
    points, weights = quadrature(degree)
    latitudes, longitudes = degree // 2 + 1, degree + 1
    angle = 2 * np.pi * np.arange(longitudes) / longitudes
    found: list[np.ndarray] = []
    for n, l in enumerate((l1, l2, l3)):
        values = spherical_harmonics(l, torch.from_numpy(points)).numpy().reshape(latitudes, longitudes, -1)
        index = np.full((2 * l + 1, l + 1), (l + 1) ** 2)
        legendre = np.zeros((2 * l + 1, latitudes, l + 1))
        waves = np.zeros((longitudes, 2 * l + 1))
        for m in range(-l, l + 1):
            waves[:, m + l] = np.cos(m * angle) if m >= 0 else np.sin(-m * angle)
            best = int(np.argmax(np.abs(waves[:, m + l])))
            for k in range(abs(m), l + 1):
                index[m + l, k] = k * k + k + m
                legendre[m + l, :, k] = values[:, best, k * k + k + m] / waves[best, m + l]
        if n < 2:
            found += [index, legendre, waves]
            continue
        place = np.array([(m + l) * (l + 1) + k for k in range(l + 1) for m in range(-k, k + 1)])
        weighed = legendre * weights.reshape(latitudes, longitudes)[:, :1]
        found += [place, np.ascontiguousarray(weighed.transpose(0, 2, 1)), np.ascontiguousarray(waves.T)]
    return tuple(found)
