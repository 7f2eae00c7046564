"""PolynomialConv: products of convolutions of one input, a polynomial of stated degree that shifts leave alone."""

import itertools
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Layer, Symmetry, shown
from faltung.nn.conv import Conv
from faltung.nn.functional.definition import conv_by_taps
from faltung.planner import Policy

_HALF = (torch.float16, torch.bfloat16)


class PolynomialConv(Layer):
    """Products of `degree` convolutions of the input: a Volterra filter of low rank, in the coupled CP form of Π-nets.

    Formula: `x₁ = a₁ ∗ z`, `x_k = (a_k ∗ z) · x_(k−1) + x_(k−1)`, `y = C x_N + bias`: a polynomial of degree N in z. Written out,
    `x_N = Σ over S ⊆ {2, ..., N} of (a₁ ∗ z) · Π over k in S of (a_k ∗ z)`; see `volterra` for the kernels of each order.

    Shapes: input (batch, in, *n), returns (batch, out, *m) as a convolution; branches.weight (groups · degree · rank / groups,
    in / groups, *kernel_size), mix.weight (out, rank / groups, 1, ..., 1), mix.bias (out).

    Args:
        ndim: number of spatial axes, at least 1.   in_channels, out_channels: at least 1, multiples of groups.
        kernel_size, stride, padding, dilation, groups, padding_mode, policy: as for `faltung.nn.Conv`.
        degree: of the polynomial, at least 1; 1 is a convolution. Default 2.
        rank: how many products are mixed into the outputs, a multiple of groups. Default None: as many as outputs.
        bias: whether a learnt constant is added to each output channel. Default True.
        device, dtype: of the parameters. Default: torch's.

    Raises:
        ArgumentError: settings that name no layer.

    Error: the values grow as the degree-th power of the input, normalise it. Factors k ≥ 2 are drawn smaller by √(degree − 1), so
    that for normal inputs the variance grows by at most e^(1/3) with the degree. Halves are multiplied as float32.
    Cost: one convolution with degree · rank outputs, degree − 1 products, one 1×1 convolution.

    Example:
        >>> PolynomialConv(2, 3, 8, 3, padding=1, degree=3)(torch.zeros(1, 3, 9, 9)).shape
        torch.Size([1, 8, 9, 9])
    """

    name = "polynomial-conv"
    summary = "products of convolutions: a polynomial of the input, a Volterra filter of low rank"
    source = "Chrysos et al., Π-nets: deep polynomial neural networks (2020); Volterra, Theory of functionals (1930)"
    dims = (1, 2, 3, 4)
    cost = "degree · rank / out · in / groups · Π kernel_size + rank / groups + (degree − 1) · rank / out"
    portrait = shown(
        "smooth impulses photo", (1, 1, 96, 96), ndim=2, in_channels=1, out_channels=3, kernel_size=9, padding=4, degree=2
    )  # fmt: skip

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        degree: int = 2,
        rank: int | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        (self.degree,) = functional.numbers("degree", degree, 1, 1)
        (self.rank,) = functional.numbers("rank", out_channels if rank is None else rank, 1, 1)
        (self.groups,) = functional.numbers("groups", groups, 1, 1)
        if self.rank % self.groups:
            raise ArgumentError.of(
                "PolynomialConv", f"a rank that {groups} groups divide", repr(self.rank), "choose a multiple of groups"
            )
        factory = {"device": device, "dtype": dtype, "policy": policy, "groups": groups}
        self.branches = Conv(
            ndim, in_channels, self.degree * self.rank, kernel_size, stride, padding, dilation, bias=False,
            padding_mode=padding_mode, **factory,
        )  # fmt: skip
        self.mix = Conv(ndim, self.rank, out_channels, 1, bias=bias, **factory)
        with torch.no_grad():
            self.factors[:, 1:] *= max(1, self.degree - 1) ** -0.5

    @property
    def factors(self) -> Tensor:
        """The kernels a_k as a view (groups, degree, rank / groups, in / groups, *kernel_size) of the parameter."""
        return self.branches.weight.unflatten(0, (self.groups, self.degree, self.rank // self.groups))

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.branches.in_channels, self.branches.ndim)
        found = self.branches(input).unflatten(1, (self.groups, self.degree, self.rank // self.groups))
        wide = found.float() if found.dtype in _HALF else found
        product = wide[:, :, 0]
        for k in range(1, self.degree):
            product = torch.addcmul(product, wide[:, :, k], product)
        return self.mix(product.flatten(1, 2).to(found.dtype))

    def definition(self, *inputs: Any) -> Tensor:
        """The sum over all sets of factors, each factor a convolution of its own."""
        (z,) = inputs
        many = self.rank // self.groups
        settings = (self.branches.stride, self.branches.pads, self.branches.dilation, self.groups)
        weight = self.branches.weight.unflatten(0, (self.groups, self.degree, many))
        factors = [
            conv_by_taps(z, weight[:, k].flatten(0, 1), None, *settings, self.branches.padding_mode)
            for k in range(self.degree)
        ]
        total = torch.zeros_like(factors[0])
        for size in range(self.degree):
            for chosen in itertools.combinations(factors[1:], size):
                total = total + math.prod(chosen, start=factors[0])
        total = total.unflatten(1, (self.groups, many))
        matrix = self.mix.weight.flatten(1).unflatten(0, (self.groups, -1))
        y = torch.einsum("ngr...,gor->ngo...", total, matrix).flatten(1, 2)
        return y if self.mix.bias is None else y + self.mix.bias.reshape(-1, *[1] * self.mix.ndim)

    def volterra(self, order: int) -> Tensor:
        """The Volterra kernel of an order: what multiplies products of `order` input samples.

        Formula: `y[o, p] = bias[o] + Σ over orders d, channels c and taps t of h_d[o, c₁, t₁, ..., c_d, t_d] · Π z̃[c_i, p·stride +
        t_i·dilation]`, `h_d = Σ over r of C[o, r] Σ over S ⊆ {2, ..., N} with d − 1 factors of a₁[r] ⊗ (⊗ over k in S of a_k[r])`.

        Shapes: (out, (in / groups, *kernel_size) order times).   Args: order: 1 to degree.
        Raises: ArgumentError: another order.   Cost: memory out · (in / groups · Π kernel_size)^order, for small layers.
        """
        (order,) = functional.numbers("order", order, 1, 1)
        if order > self.degree:
            raise ArgumentError.of(
                "volterra", f"an order up to the degree {self.degree}", str(order), "higher kernels are zero"
            )
        factors = self.factors.flatten(3)
        window = tuple(self.factors.shape[3:])
        total: Any = 0.0
        for chosen in itertools.combinations(range(1, self.degree), order - 1):
            outer = factors[:, 0]
            for k in chosen:
                outer = torch.einsum("gra,grb->grab", outer, factors[:, k]).flatten(2)
            total = total + outer
        matrix = self.mix.weight.flatten(1).unflatten(0, (self.groups, -1))
        return torch.einsum("gor,gra->goa", matrix, total).reshape(-1, *window * order)

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({PER_SAMPLE, LINEAR} if self.degree == 1 else {PER_SAMPLE})

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return self.mix.shapes(self.branches.shapes(inputs[0]))

    def parameter_count(self) -> int:
        return self.branches.parameter_count() + self.mix.parameter_count()

    def symmetries(self) -> Iterable[Symmetry]:
        return self.branches.symmetries()

    @classmethod
    def examples(cls) -> Iterable[Example]:
        common = {"in_channels": 2, "out_channels": 2, "kernel_size": 3}
        yield Example({"ndim": 1, **common, "degree": 1, "rank": 1, "stride": 2}, ((2, 2, 7),))
        yield Example({"ndim": 1, **common, "padding": 1, "padding_mode": "circular", "degree": 4}, ((2, 2, 5),))
        yield Example({"ndim": 2, **common, "padding": 1, "rank": 4, "groups": 2, "bias": False}, ((2, 2, 4, 3),))
        yield Example({"ndim": 3, **common, "kernel_size": 2, "degree": 3, "dilation": 2}, ((1, 2, 3, 3, 4),))
        yield Example({"ndim": 4, **common, "kernel_size": 2, "rank": 1}, ((1, 2, 2, 3, 2, 3),))
