"""Products of functions on the sphere: tensor products of spherical features that are pointwise products on a grid."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.door import convolve
from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, Symmetry
from faltung.nn.symmetry.motions import STILL, drawn_turn, spheres_turned
from faltung.nn.symmetry.so3 import bracket_table, gaunt_table, quadrature, spherical_harmonics
from faltung.nn.symmetry.sphere_grid import AROUND, PLAIN, UPWARDS, Analysis, Synthesis, keep, products, torus_maps

METHODS = ("auto", "grid", "separable", "dense", "fourier")
COUPLINGS = {"even": (PLAIN,), "odd": (AROUND, UPWARDS), "all": (PLAIN, AROUND, UPWARDS)}


class Mixing(nn.Module):
    """What is learnt around a product: a number for each degree and channel, or a matrix of channels for each degree.

    Args:
        highest: degree of the features.   channels: at least 1.   kind: True or "degrees" for numbers, 1 at first; "channels" for
            matrices, normal with variance 1 / channels at first; False for nothing.
    """

    def __init__(self, highest: int, channels: int, kind: Any, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        if not isinstance(kind, bool) and kind not in ("degrees", "channels"):
            raise ArgumentError.of(
                "weights", "True, False, 'degrees' or 'channels'", repr(kind), "use True for numbers"
            )
        self.highest, self.channels, self.kind = highest, channels, "degrees" if kind is True else kind
        factory = {"device": device, "dtype": dtype}
        if self.kind == "channels":
            self.weight = nn.Parameter(torch.randn(highest + 1, channels, channels, **factory) / channels**0.5)
        elif self.kind:
            self.weight = nn.Parameter(torch.ones(highest + 1, channels, **factory))
        of = torch.repeat_interleave(torch.arange(highest + 1), 2 * torch.arange(highest + 1) + 1)
        self.register_buffer("degree", of.to(device=device), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.kind:
            return x
        if self.kind == "degrees":
            return x * self.weight[self.degree]
        return torch.matmul(x.transpose(0, 1), self.weight[self.degree]).transpose(0, 1)

    def definition(self, x: Tensor) -> Tensor:
        """Degree by degree."""
        if not self.kind:
            return x
        rows = []
        for l, w in enumerate(self.weight):
            own = x[:, l * l : (l + 1) ** 2]
            rows.append(own * w if self.kind == "degrees" else torch.einsum("nac,cd->nad", own, w))
        return torch.cat(rows, 1)

    def parameter_count(self) -> int:
        """How many numbers there are."""
        return 0 if not self.kind else (self.highest + 1) * self.channels ** (2 if self.kind == "channels" else 1)


class GauntProduct(Layer):
    """The product of two functions on the sphere given by spherical harmonics: all couplings of even parity at once.

    Formula: `y_c = Σ_ab x₁_a x₂_b ∫ Y_a Y_b Y_c`, the harmonics up to degree l3 of `(Σ x₁_a Y_a)·(Σ x₂_b Y_b)`. On a grid of
    (⌊(l1 + l2 + l3)/2⌋ + 1) × (l1 + l2 + l3 + 1) points the integral is exact, so that it is synthesis, product, analysis.
    Couplings of odd parity are those of the bracket `p·(∇f × ∇g)`, taken from both derivatives on the same grid; for degree 1 it
    is √(3/4π) times the cross product of vectors. With `weights`, inputs and result are multiplied by a number for each degree and
    channel, or channels are mixed by a matrix for each degree.

    Shapes: x1 (n, (l1 + 1)², channels), x2 (n, (l2 + 1)², channels), returns (n, (l3 + 1)², channels); conventions of
    `faltung.nn.symmetry.so3`, which are e3nn's.

    Args:
        channels: at least 1.   l1, l2: degrees of the inputs, at least 0.   l3: of the result. Default: l1 + l2, nothing is lost.
        weights: True (default) or "degrees" for a number for each degree and channel, "channels" for matrices, False for none.
        method: "grid" (products of matrices), "separable" (along latitudes, then longitudes: fewer products), "dense" (the
            table of couplings), "fourier" (as published: both functions continued to a torus, a convolution of their Fourier
            coefficients in two dimensions; even couplings only, never the fastest), or "auto" (default), the one with the fewest
            products, separable ones counted two and a half times for what they move.
        couplings: "even" (default), "odd", or "all" for the sum of both, each with weights of its own.

    Raises:
        ArgumentError: settings that name no layer.

    Error: exact quadrature, rounding only. Odd couplings change sign in a mirror: with "all" only rotations are kept.
    Cost: O(L³) separable, O(L⁴) on the grid, O(L⁵) non-zero couplings; the full tensor product of all paths costs O(L⁶).
    Source: Luo, Chen and Krishnapriyan, Enabling efficient equivariant operations in the Fourier basis via Gaunt tensor products
    (2024); Xin, Zhou and Jiang, Fast spherical harmonic tensor products (2021), the same on a grid; Xie et al., The price of
    freedom (2024), for the odd couplings by vector fields.

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
        weights: Any = True,
        method: str = "auto",
        device: Any = None,
        dtype: Any = None,
        couplings: str = "even",
    ) -> None:
        super().__init__()
        (self.channels,) = functional.numbers("channels", channels, 1, 1)
        self.degrees = functional.numbers("l1, l2, l3", (l1, l2, l1 + l2 if l3 is None else l3), 3, 0)
        if method not in METHODS or couplings not in COUPLINGS or (method == "fourier" and couplings != "even"):
            raise ArgumentError.of(
                "GauntProduct",
                f"method among {', '.join(METHODS)} and couplings among {', '.join(COUPLINGS)}, 'fourier' for even ones",
                f"{method!r} and {couplings!r}", "use 'auto' and 'even'",
            )  # fmt: skip
        self.method, self.couplings = cheapest(*self.degrees) if method == "auto" else method, couplings
        parts, factory = COUPLINGS[couplings], {"device": device, "dtype": dtype}
        results = [self.degrees[2]] * (2 if couplings == "all" else 1)
        self.mixing = nn.ModuleList(Mixing(l, self.channels, weights, **factory) for l in (*self.degrees[:2], *results))
        if self.method in ("grid", "separable"):
            grid = (sum(self.degrees), self.method == "separable")
            self.first, self.second = (
                nn.ModuleList(Synthesis(l, *grid, part, **factory) for part in parts) for l in self.degrees[:2]
            )
            self.back = Analysis(self.degrees[2], *grid, **factory)
        elif self.method == "dense":
            made = {"even": gaunt_table, "odd": bracket_table}
            keep(self, [table(*self.degrees) for name, table in made.items() if couplings in (name, "all")], **factory)
        else:
            keep(self, torus_maps(*self.degrees), **factory)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        for x, l in ((x1, self.degrees[0]), (x2, self.degrees[1])):
            self.expect(x, (l + 1) ** 2, 1)
            if x.shape[2] != self.channels or x.shape[0] != x1.shape[0]:
                raise ArgumentError.of(
                    "GauntProduct", f"inputs (n, harmonics, {self.channels})", f"{tuple(x1.shape)}, {tuple(x2.shape)}", "match them"
                )  # fmt: skip
        own = {"dense": self._dense, "fourier": self._fourier}.get(self.method, self._on_grid)
        found = own(self.mixing[0](x1), self.mixing[1](x2))
        mixed = [mix(y) for mix, y in zip(self.mixing[2:], found, strict=True)]
        return mixed[0] if len(mixed) == 1 else mixed[0] + mixed[1]

    def _dense(self, a: Tensor, b: Tensor) -> list[Tensor]:
        tables = [getattr(self, f"table_{n}") for n in range(len(self.mixing) - 2)]
        return [torch.einsum("nkbc,nbk->nck", torch.einsum("nak,abc->nkbc", a, table), b) for table in tables]

    def _on_grid(self, a: Tensor, b: Tensor) -> list[Tensor]:
        first, second = [part(a) for part in self.first], [part(b) for part in self.second]
        found = [] if self.couplings == "odd" else [first[0] * second[0]]
        if self.couplings != "even":
            found.append(first[-2] * second[-1] - first[-1] * second[-2])
        return list(self.back(torch.cat(found, 2) if len(found) > 1 else found[0]).split(self.channels, 2))

    def _fourier(self, a: Tensor, b: Tensor) -> list[Tensor]:
        first, second, back = (torch.complex(*getattr(self, f"table_{n}").unbind(0)) for n in range(3))
        waves = [torch.einsum("nak,auv->nkuv", x.to(t.dtype), t) for x, t in ((a, first), (b, second))]
        product = convolve(waves[0], waves[1], "b c *s, b c *s -> b c *s")
        return [torch.einsum("nkuv,uvh->nhk", product, back).real]

    def definition(self, *inputs: Any) -> Tensor:
        """By values, and gradients in space, at the points of a grid finer than is needed."""
        fields, slopes, last = [], [], torch.empty(0)
        points, weights = (torch.from_numpy(a).to(inputs[0]) for a in quadrature(sum(self.degrees) + 3))
        for x, l, mix in zip((*inputs, None), self.degrees, self.mixing, strict=False):
            values = spherical_harmonics(l, points)
            last = values * weights[:, None]
            if x is not None:
                slope = torch.func.vmap(torch.func.jacfwd(lambda p, l=l: spherical_harmonics(l, p)))(points)
                fields.append(torch.einsum("pa,nak->npk", values, mix.definition(x)))
                slopes.append(torch.einsum("pai,nak->npki", slope, mix.definition(x)))
        even = fields[0] * fields[1]
        odd = (torch.linalg.cross(*slopes) * points[:, None]).sum(-1)
        wanted = {"even": [even], "odd": [odd], "all": [even, odd]}[self.couplings]
        found = [torch.einsum("pc,npk->nck", last, values) for values in wanted]
        return sum((mix.definition(y) for mix, y in zip(self.mixing[2:], found, strict=True)), torch.zeros(()).to(even))

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], (self.degrees[2] + 1) ** 2, self.channels)

    def parameter_count(self) -> int:
        return sum(mix.parameter_count() for mix in self.mixing)

    def symmetries(self) -> Iterable[Symmetry]:
        yield from self._turned(STILL)
        yield from self._turned(-STILL)

    def random_symmetries(self, random: np.random.Generator) -> Iterable[Symmetry]:
        yield from self._turned(drawn_turn(random, mirrored=bool(random.integers(2))))

    def _turned(self, turn: np.ndarray) -> Iterable[Symmetry]:
        """Both factors turned: a mirror negates odd couplings, and with both kinds only rotations are left."""
        if np.linalg.det(turn) > 0 or self.couplings != "all":
            yield spheres_turned(turn, float(np.sign(np.linalg.det(turn))) if self.couplings == "odd" else 1.0)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 2, "l1": 2, "l2": 1, "method": "separable"}, ((3, 9, 2), (3, 4, 2)))
        yield Example(
            {"channels": 2, "l1": 1, "l2": 2, "l3": 2, "weights": False, "method": "grid"}, ((2, 4, 2), (2, 9, 2))
        )
        yield Example(
            {"channels": 2, "l1": 1, "l2": 1, "weights": "channels", "method": "separable", "couplings": "all"},
            ((2, 4, 2), (2, 4, 2)),
        )
        yield Example({"channels": 1, "l1": 1, "l2": 1, "l3": 1, "couplings": "odd"}, ((2, 4, 1), (2, 4, 1)))
        yield Example({"channels": 2, "l1": 1, "l2": 1, "method": "fourier"}, ((2, 4, 2), (2, 4, 2)))


class GauntPower(Layer):
    """The product of several functions on the sphere made from one, each by weights of its own: couplings of many bodies at once.

    Formula: the harmonics up to degree l3 of `Π over i ≤ bodies of (Σ_a (W_i x)_a Y_a)`. One grid is fine enough for all factors,
    so that no product in between is cut; brackets do not matter.

    Shapes: input (n, (l + 1)², channels), returns (n, (l3 + 1)², channels); conventions of `faltung.nn.symmetry.so3`.

    Args:
        channels: at least 1.   l: degree of the input, at least 0.   bodies: factors, at least 1. Default 3.
        l3: degree of the result. Default: l.   weights: as for `GauntProduct`, for each factor and the result. Default True.
        method: "grid", "separable", or "auto" (default), the one with fewer products.

    Raises:
        ArgumentError: settings that name no layer.

    Error: exact quadrature, rounding only.
    Cost: bodies + 1 transforms of O(L³) products, where sparse tables of couplings cost O(L^(3·bodies / 2)) and more.
    Source: Luo, Chen and Krishnapriyan, Gaunt tensor products (2024); Batatia et al., MACE (2022), for what it serves.

    Example:
        >>> GauntPower(4, 2, 3)(torch.randn(5, 9, 4)).shape
        torch.Size([5, 9, 4])
    """

    name = "gaunt-power"
    summary = "a product of several functions on the sphere made from one: features of many bodies"
    source = "Luo, Chen and Krishnapriyan, Gaunt tensor products (2024)"
    cost = "O(bodies · l³) for (l3 + 1)² results"
    dims = ()

    def __init__(
        self,
        channels: int,
        l: int,
        bodies: int = 3,
        l3: int | None = None,
        weights: Any = True,
        method: str = "auto",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.channels, self.bodies = functional.numbers("channels, bodies", (channels, bodies), 2, 1)
        self.l, self.l3 = functional.numbers("l, l3", (l, l if l3 is None else l3), 2, 0)
        if method not in ("auto", "grid", "separable"):
            raise ArgumentError.of("GauntPower", "method 'auto', 'grid' or 'separable'", repr(method), "use 'auto'")
        self.degree = self.bodies * self.l + self.l3
        whole, apart = (
            self.bodies * products(self.l, self.degree, way) + products(self.l3, self.degree, way)
            for way in (False, True)
        )
        self.method = ("separable" if 2.5 * apart < whole else "grid") if method == "auto" else method
        factory = {"device": device, "dtype": dtype}
        ends = (*[self.l] * self.bodies, self.l3)
        self.mixing = nn.ModuleList(Mixing(k, self.channels, weights, **factory) for k in ends)
        grid = (self.degree, self.method == "separable")
        self.there, self.back = Synthesis(self.l, *grid, **factory), Analysis(self.l3, *grid, **factory)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, (self.l + 1) ** 2, 1)
        if input.shape[2] != self.channels:
            raise ArgumentError.of(
                "GauntPower", f"an input (n, harmonics, {self.channels})", f"{tuple(input.shape)}", "match the channels"
            )
        factors = [self.there(mix(input)) for mix in self.mixing[:-1]]
        product = factors[0]
        for factor in factors[1:]:
            product = product * factor
        found: Tensor = self.mixing[-1](self.back(product))
        return found

    def definition(self, *inputs: Any) -> Tensor:
        """By the values at the points of a grid finer than is needed."""
        (x,) = inputs
        points, weights = (torch.from_numpy(a).to(x) for a in quadrature(self.degree + 3))
        values = spherical_harmonics(self.l, points)
        product = torch.ones((), dtype=x.dtype)
        for mix in self.mixing[:-1]:
            product = product * torch.einsum("pa,nak->npk", values, mix.definition(x))
        last = spherical_harmonics(self.l3, points) * weights[:, None]
        return self.mixing[-1].definition(torch.einsum("pc,npk->nck", last, product))

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], (self.l3 + 1) ** 2, self.channels)

    def parameter_count(self) -> int:
        return sum(mix.parameter_count() for mix in self.mixing)

    def symmetries(self) -> Iterable[Symmetry]:
        yield spheres_turned(STILL)
        yield spheres_turned(-STILL)

    def random_symmetries(self, random: np.random.Generator) -> Iterable[Symmetry]:
        yield spheres_turned(drawn_turn(random, mirrored=bool(random.integers(2))))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 2, "l": 1, "bodies": 3, "l3": 2}, ((3, 4, 2),))
        yield Example({"channels": 2, "l": 2, "bodies": 2, "weights": "channels", "method": "separable"}, ((2, 9, 2),))
        yield Example({"channels": 1, "l": 1, "bodies": 1, "weights": False, "method": "grid"}, ((2, 4, 1),))


def cheapest(l1: int, l2: int, l3: int) -> str:
    """The method with the fewest products for a channel; a separable one moves much and is counted two and a half times."""
    degree = l1 + l2 + l3
    grid, apart = (sum(products(l, degree, way) for l in (l1, l2, l3)) for way in (False, True))
    dense = (l1 + 1) ** 2 * (l2 + 1) ** 2 * (l3 + 1) ** 2
    return min((grid, "grid"), (2.5 * apart, "separable"), (dense, "dense"))[1]
