"""Depthwise-separable convolution: one spatial filter, or a few, for each channel, and a mix of channels at every position."""

import math
from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import ConvLayer, Example, shown, uniform_bias
from faltung.nn.exchange import double, grouped, low_rank
from faltung.planner import Policy

ORDERS = ("spatial-first", "channel-first")


class SeparableConv(ConvLayer):
    """A convolution whose kernel is a product of filters in space and a mix of channels, with nothing between the two.

    Formula, spatial first: `u[i·m + j] = D[i, j] ∗ x[i]`, `y[o] = Σ over i, j of P[o, i·m + j]·u[i·m + j] + b[o]`: the plain
    layer of kernel `W[o, i] = Σ over j of P[o, i·m + j]·D[i, j]` (rank m for each input channel). Channel first:
    `u = P x`, `y[c·m + j] = D[c, j] ∗ u[c] + b`, of kernel `W[c·m + j, i] = D[c, j]·P[c, i]`.

    Shapes: input (batch, in, *n) or (in, *n), returns (batch, out, *m) or (out, *m). Spatial first: depthwise
    (in·m, 1, *kernel_size), pointwise (out, in·m / groups, 1, ...); channel first: pointwise (mid, in / groups, 1, ...), depthwise
    (mid·m, 1, *kernel_size) with mid·m = out. Bias (out).

    Args:
        ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, bias, padding_mode, device, dtype, policy: see
            `faltung.nn.Conv`.
        multiplier: m, spatial filters for each channel. Default 1.
        order: `spatial-first` (MobileNets, Xception as built) or `channel-first` (an Inception module at its limit).
        mid: channels between the two. Default, and the only choice, in·m for spatial first and out / m for channel first.
        groups: into how many parts the mix of channels falls. Default 1.

    Raises:
        ArgumentError: settings that name no layer.

    Source: Sifre (2014) and Chollet, as below. Rectifiers between the two halves do harm, Chollet found: there are none here.

    Example:
        >>> SeparableConv(2, 128, 256, 3, bias=False).parameter_count()
        33920
    """

    name = "separable-conv"
    summary = "filters in space for each channel, then a mix of channels at every position, or the other way round"
    cost = "in · m · Π kernel_size / out + in · m / groups"
    portrait = shown("smooth bank", (1, 4, 96, 96), ndim=2, in_channels=4, out_channels=4, kernel_size=11, padding=5)
    source = "Chollet, Xception: deep learning with depthwise separable convolutions (2017)"

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        multiplier: int = 1,
        order: str = "spatial-first",
        mid: int | None = None,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.settle(
            ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode, policy
        )
        (self.multiplier,) = functional.numbers("multiplier", multiplier, 1, 1)
        if order not in ORDERS:
            raise ArgumentError.of("SeparableConv", f"order as one of {', '.join(ORDERS)}", repr(order), "choose one")
        self.order, factory = order, {"device": device, "dtype": dtype}
        if self.spatial_first:
            self.mid = self.in_channels * self.multiplier
        elif self.out_channels % self.multiplier or self.out_channels // self.multiplier % self.groups:
            raise ArgumentError.of(
                "SeparableConv", f"out channels that multiplier {self.multiplier} times groups {self.groups} divides",
                str(out_channels), "choose another multiplier",
            )  # fmt: skip
        else:
            self.mid = self.out_channels // self.multiplier
        if mid is not None and mid != self.mid:
            raise ArgumentError.of(
                "SeparableConv", f"mid = {self.mid}, as channels and multiplier say", repr(mid), "leave mid out"
            )
        ones = (1,) * self.ndim
        wide = self.mid if self.spatial_first else self.out_channels
        mix = (self.out_channels, self.mid) if self.spatial_first else (self.mid, self.in_channels)
        self.depthwise = nn.Parameter(torch.empty(wide, 1, *self.kernel_size, **factory))
        self.pointwise = nn.Parameter(torch.empty(mix[0], mix[1] // self.groups, *ones, **factory))
        for weight in (self.depthwise, self.pointwise):  # each as torch draws a layer of its own
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
        fan_in = self.pointwise.shape[1] if self.spatial_first else math.prod(self.kernel_size)
        self.register_parameter("bias", uniform_bias(self.out_channels, fan_in, factory) if bias else None)

    @property
    def spatial_first(self) -> bool:
        """Whether the filters in space come before the mix of channels."""
        return self.order == "spatial-first"

    def forward(self, input: Tensor) -> Tensor:
        spatial = (self.stride, self.padding, self.dilation)
        if self.spatial_first:
            return functional.separable_conv(
                input, self.depthwise, self.pointwise, self.bias, *spatial, self.groups, self.padding_mode, self.policy
            )  # fmt: skip
        u = functional.conv(input, self.pointwise, groups=self.groups, policy=self.policy)
        return functional.conv(u, self.depthwise, self.bias, *spatial, self.mid, self.padding_mode, self.policy)

    def kernel(self) -> Tensor:
        many, g, taps = self.multiplier, self.groups, self.kernel_size
        mix = self.pointwise.flatten(1)
        if self.spatial_first:
            mix = mix.reshape(g, self.out_channels // g, self.in_channels // g, many)
            filters = self.depthwise.reshape(g, self.in_channels // g, many, *taps)
            return torch.einsum("goij,gij...->goi...", mix, filters).flatten(0, 1)
        filters = self.depthwise.reshape(self.mid, many, *taps)
        return torch.einsum("cj...,ci->cji...", filters, mix).flatten(0, 1)

    def definition_kernel(self) -> Tensor:
        """Output by output and input by input."""
        outs, ins, many = self.out_channels // self.groups, self.in_channels // self.groups, self.multiplier
        one = (0,) * self.ndim
        rows = []
        for o in range(self.out_channels):
            first = o // outs * ins  # of the group's channels
            row = []
            for i in range(ins):
                if self.spatial_first:
                    terms = [
                        self.pointwise[(o, i * many + j, *one)] * self.depthwise[(first + i) * many + j, 0]
                        for j in range(many)
                    ]
                    row.append(torch.stack(terms).sum(0))
                else:
                    row.append(self.pointwise[(o // many, i, *one)] * self.depthwise[o, 0])
            rows.append(torch.stack(row))
        return torch.stack(rows)

    @torch.no_grad()
    def take(self, kernel: Tensor, bias: Tensor | None = None) -> Self:
        """The nearest kernel in the Frobenius norm, by singular values; exact from m = min(out / groups, Π kernel_size) on.

        Spatial first: for each input channel the matrix (outputs, taps) of rank m, off by the singular values left out. Channel
        first: for each channel between the two the matrix (its m filters, inputs) of rank one.
        """
        g, many, taps = self.groups, self.multiplier, self.kernel_size
        kernel = grouped(double(kernel), self)
        outs, ins = self.out_channels // g, self.in_channels // g
        if self.spatial_first:
            mix, filters = low_rank(
                kernel.reshape(g, outs, ins, -1).transpose(1, 2), many
            )  # (g, ins, outs, m), (g, ins, m, taps)
            mix = mix.transpose(1, 2)
        else:
            matrices = kernel.reshape(self.mid, many, ins, -1).transpose(2, 3).flatten(1, 2)
            filters, mix = low_rank(matrices, 1)
        self.depthwise.copy_(filters.reshape(-1, 1, *taps))
        self.pointwise.copy_(mix.reshape(self.pointwise.shape))
        self.take_bias(bias)
        return self

    def parameter_count(self) -> int:
        wide = self.mid if self.spatial_first else self.out_channels
        mix = self.mid * (self.out_channels if self.spatial_first else self.in_channels) // self.groups
        return wide * math.prod(self.kernel_size) + mix + (0 if self.bias is None else self.out_channels)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        common = {"in_channels": 4, "out_channels": 6, "kernel_size": 3}
        yield Example({"ndim": 1, **common, "stride": 2, "padding": 1}, ((2, 4, 7),))
        settings = {"multiplier": 2, "groups": 2, "dilation": 2, "padding": "same", "padding_mode": "reflect"}
        yield Example({"ndim": 2, **common, **settings}, ((2, 4, 5, 4),))
        settings = {"multiplier": 3, "groups": 2, "order": "channel-first", "stride": 2, "padding": 1, "bias": False}
        yield Example({"ndim": 2, **common, **settings}, ((2, 4, 5, 4),))
        yield Example({"ndim": 3, **common, "kernel_size": (1, 2, 3), "padding_mode": "circular"}, ((1, 4, 3, 3, 4),))
        settings = {"kernel_size": 2, "order": "channel-first", "padding": 1, "padding_mode": "symmetric"}
        yield Example({"ndim": 4, **common, **settings}, ((1, 4, 2, 3, 2, 2),))
