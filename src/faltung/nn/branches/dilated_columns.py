"""Columns of dilated convolutions at several rates, joined and aggregated by another column."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, Symmetry, rolled, shown
from faltung.nn.branches.merging import centred
from faltung.nn.conv import Conv
from faltung.nn.functional.definition import conv_by_taps
from faltung.planner import Policy

COLUMNS = ((3, (1, 1, 2, 4)), (3, (2, 2, 4, 8)), (3, (4, 4, 8, 16)), (5, (2, 2, 4, 8)), (5, (4, 4, 8, 16)))
"""The published columns: (taps, dilation of each layer)."""


class MultiColumnDilated(Layer):
    """Parallel stacks of dilated convolutions at several rates, joined and aggregated by another stack: a map of density.

    Formula: each column is relu(W ∗ ...) over and over, with its taps and dilations; `y = relu(P · stack(cat of all columns))`,
    the aggregating stack of 3 taps, P of one tap. All margins keep the size.

    In the published code the last layer of the third column reads the second one, and the rest of the third is dead; here each
    layer reads its own column.

    Shapes: input (batch, in, *n), returns (batch, out, *n), no number below zero.

    Args:
        ndim: number of spatial axes, 1 to 4.   in_channels: at least 1.   mid: channels of every inner layer. Default 32.
        columns: pairs (odd taps, dilations), one layer for each dilation. Default: `COLUMNS`, the published five.
        aggregate: dilations of the aggregating stack; an empty list for none. Default 2, 4, 8, 16.
        out: channels of the result. Default 1.
        padding_mode: what stands in the margins. Default zeros.   device, dtype, policy: see `faltung.nn.Conv`.

    Raises:
        ArgumentError: no columns, even taps, or columns without a layer.

    Cost: mid² · (taps^ndim of all layers but each column's first) + mid · (in · taps^ndim of these first ones + out).
    Source: Deb and Ventura, An aggregated multicolumn dilated convolution network for perspective-free counting (2018).

    Example:
        >>> MultiColumnDilated(2, 3).receptive_field()
        (189, 189)
    """

    name = "multicolumn-dilated"
    summary = "parallel stacks of dilated convolutions, joined and aggregated by another one"
    source = (
        "Deb and Ventura, An aggregated multicolumn dilated convolution network for perspective-free counting (2018)"
    )
    cost = "mid² · taps of all layers but the first, mid · in · taps of the first, mid · out"
    portrait = shown("field photo", (1, 1, 96, 96), ndim=2, in_channels=1, mid=8)
    dims = (1, 2, 3, 4)

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        mid: int = 32,
        columns: Any = COLUMNS,
        aggregate: Any = (2, 4, 8, 16),
        out: int = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        (self.ndim,), (self.in_channels,) = (
            functional.numbers("ndim", ndim, 1, 1),
            functional.numbers("in_channels", in_channels, 1, 1),
        )
        self.mid, self.out = functional.numbers("mid, out", (mid, out), 2, 1)
        if not columns or any(len(column) != 2 or not column[1] for column in columns):
            raise ArgumentError.of(
                "columns",
                "pairs (taps, dilations), at least one dilation each",
                repr(columns),
                "write [(3, [1, 2])], say",
            )
        self.padding_mode = padding_mode
        self.settings = {"padding_mode": padding_mode, "device": device, "dtype": dtype, "policy": policy}
        self.columns = nn.ModuleList(self._stack(self.in_channels, taps, rates) for taps, rates in columns)
        joined = self.mid * len(self.columns)
        self.aggregate = self._stack(joined, 3, aggregate)
        self.last = Conv(self.ndim, self.mid if len(self.aggregate) else joined, self.out, 1, **self.settings)
        self.reset_parameters()

    def _stack(self, channels: int, taps: int, rates: Any) -> nn.ModuleList:
        layers = []
        for n, rate in enumerate(rates):
            (pad,) = centred(
                "columns", functional.numbers("taps", taps, 1, 1), functional.numbers("dilation", rate, 1, 1)
            )
            inner = channels if n == 0 else self.mid
            layers.append(Conv(self.ndim, inner, self.mid, taps, padding=pad, dilation=rate, **self.settings))
        return nn.ModuleList(layers)

    def reset_parameters(self) -> None:
        """Draw the weights from He's normal law; biases are zero."""
        for layer in self.modules():
            if isinstance(layer, Conv):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim)
        ends = []
        for column in self.columns:
            y = input
            for layer in column:
                y = layer(y).relu_()
            ends.append(y)
        y = torch.cat(ends, 1)
        for layer in self.aggregate:
            y = layer(y).relu_()
        return self.last(y).relu_()

    def receptive_field(self) -> tuple[int, ...]:
        """Samples along each axis that one result depends on: 1 + Σ dilation·(taps − 1) of the widest column and aggregator."""

        def reach(stack: Any, axis: int) -> int:
            return sum(layer.dilation[axis] * (layer.kernel_size[axis] - 1) for layer in stack)

        return tuple(
            1 + max(reach(column, axis) for column in self.columns) + reach(self.aggregate, axis)
            for axis in range(self.ndim)
        )

    def symmetries(self) -> Iterable[Symmetry]:
        if self.padding_mode == "circular":
            yield rolled(1, self.ndim)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], self.out, *inputs[0][2:])

    def definition(self, *inputs: Any) -> Tensor:
        def layer(y: Tensor, conv: Any) -> Tensor:
            pads = tuple((d * (t - 1) // 2,) * 2 for d, t in zip(conv.dilation, conv.kernel_size, strict=True))
            z = conv_by_taps(y, conv.weight, conv.bias, (1,) * self.ndim, pads, conv.dilation, 1, self.padding_mode)
            return z.clamp(min=0)

        ends = []
        for column in self.columns:
            y = inputs[0]
            for conv in column:
                y = layer(y, conv)
            ends.append(y)
        y = torch.cat(ends, 1)
        for conv in (*self.aggregate, self.last):
            y = layer(y, conv)
        return y

    def parameter_count(self) -> int:
        mid, total = self.mid, 0
        for column in self.columns:
            taps = math.prod(column[0].kernel_size)
            total += mid * taps * (self.in_channels + mid * (len(column) - 1)) + mid * len(column)
        joined, depth = mid * len(self.columns), len(self.aggregate)
        if depth:
            total += mid * 3**self.ndim * (joined + mid * (depth - 1)) + mid * depth
        return total + (mid if depth else joined) * self.out + self.out

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example(
            {"ndim": 1, "in_channels": 2, "mid": 3, "columns": ((3, (1, 2)), (5, (2,))), "aggregate": (2,), "out": 2},
            ((2, 2, 9),),
        )
        yield Example(
            {"ndim": 2, "in_channels": 1, "mid": 2, "columns": ((3, (1,)), (3, (2, 1))), "aggregate": (),
             "padding_mode": "circular"},
            ((1, 1, 5, 4),),
        )  # fmt: skip
        yield Example(
            {"ndim": 3, "in_channels": 1, "mid": 1, "columns": ((3, (1,)),), "aggregate": (1,)}, ((1, 1, 3, 2, 3),)
        )
        yield Example(
            {"ndim": 4, "in_channels": 1, "mid": 1, "columns": ((3, (1,)),), "aggregate": ()}, ((1, 1, 2, 2, 2, 2),)
        )
