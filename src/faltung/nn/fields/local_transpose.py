"""The transpose of the locally connected layer."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from faltung.nn import functional
from faltung.nn.base import Example, Symmetry, shown
from faltung.nn.fields.local import Local, at_places, by_taps, periods, repeated
from faltung.nn.functional.local import transposed_sizes
from faltung.planner import Policy


class LocallyConnectedTranspose(Local):
    """The transpose of `LocallyConnected`: every place of the input has weights of its own.

    Formula: see `faltung.nn.functional.conv_local_transpose`.

    Shapes: input (batch, in, *input_size), returns (batch, out, *n) with
    `n = (input_size − 1)·stride − 2·padding + dilation·(kernel_size − 1) + output_padding + 1`; weight
    (in, out / groups, *kernel_size, *period), bias (out, *n), or (out, *stride·period) where weights are tied.

    Args:
        output_padding: how much longer the result is, below stride or dilation. Default 0.
        All others: as for `LocallyConnected`, places being those of the input.

    Raises:
        ArgumentError: settings that name no layer.

    Example:
        >>> LocallyConnectedTranspose(1, 4, 2, 3, 5, stride=2)(torch.zeros(1, 4, 5)).shape
        torch.Size([1, 2, 11])
    """

    name = "locally-connected-transpose"
    summary = "the transpose of a convolution whose weights are not shared"
    source = "LeCun, Generalization and network design strategies (1989)"
    cost = "in / groups · Π kernel_size for each sample of the input"
    portrait = shown(
        "impulses", (1, 1, 24, 24), ndim=2, in_channels=1, out_channels=1, kernel_size=6, input_size=24, stride=2, padding=2
    )  # fmt: skip

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        input_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool | str = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        tie: Any = "none",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.settle(
            ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode, policy
        )
        self.input_size = functional.numbers("input_size", input_size, self.ndim, 1)
        self.output_padding = functional.numbers("output_padding", output_padding, self.ndim, 0)
        n = self.shapes((1, self.in_channels, *self.input_size))[2:]
        if tie == "conv":
            biased: tuple[int, ...] = (1,) * self.ndim
        else:
            apart = self.input_size if tie == "none" else periods(tie, self.ndim)
            biased = tuple(
                size if p == m else min(size, p * s)
                for size, p, m, s in zip(n, apart, self.input_size, self.stride, strict=True)
            )
        self._build(tie, bias, self.input_size, biased, {"device": device, "dtype": dtype})

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return (self.in_channels, self.out_channels // self.groups, *self.kernel_size, *self.period)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        sizes = inputs[0][-self.ndim :], self.kernel_size, self.stride, self.pads, self.dilation, self.output_padding
        return (*inputs[0][: -self.ndim - 1], self.out_channels, *transposed_sizes(*sizes))

    def forward(self, input: Tensor) -> Tensor:
        self._fits(input)
        y = functional.conv_local_transpose(
            input, self.everywhere(), None, self.stride, self.padding, self.output_padding, self.groups, self.dilation,
            self.padding_mode,
        )  # fmt: skip
        return y if self.bias is None else y + repeated(self.bias, y.shape[2:]).to(y.dtype)

    def definition(self, *inputs: Any) -> Tensor:
        """The transpose of the locally connected layer's matrix, by automatic differentiation of its definition."""
        (y,) = inputs
        n = self.shapes(y.shape)[2:]

        def forward(x: Tensor) -> Tensor:
            return by_taps(
                x, self.weight, self.places, self.stride, self.pads, self.dilation, self.groups, self.padding_mode
            )

        (x,) = torch.func.vjp(forward, y.new_zeros((y.shape[0], self.out_channels, *n)))[1](y)
        return x if self.bias is None else x + at_places(self.bias, n)

    def symmetries(self) -> Iterable[Symmetry]:
        return ()

    @classmethod
    def examples(cls) -> Iterable[Example]:
        common = {"in_channels": 4, "out_channels": 2, "kernel_size": 3}
        yield Example(
            {"ndim": 1, **common, "input_size": 4, "stride": 3, "padding": 1, "output_padding": 1}, ((2, 4, 4),)
        )
        yield Example({"ndim": 2, **common, "input_size": (3, 2), "stride": 2, "groups": 2, "tie": 2}, ((2, 4, 3, 2),))
        around = {**common, "kernel_size": 2, "padding": 1, "padding_mode": "circular"}
        yield Example({"ndim": 3, **around, "input_size": (2, 3, 3), "bias": "shared"}, ((1, 4, 2, 3, 3),))
        point = {**common, "input_size": 1, "dilation": 2, "output_padding": 1}
        yield Example({"ndim": 4, **point, "tie": "conv"}, ((1, 4, 1, 1, 1, 1),))
