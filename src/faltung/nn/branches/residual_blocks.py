"""Residual blocks that can run as one kernel: a grouped convolution first, or an inverted bottleneck with a depthwise one."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, shown
from faltung.nn.branches.merging import AnyBatchNorm
from faltung.nn.branches.scaled_residual import ScaledResidual
from faltung.nn.conv import Conv
from faltung.nn.functional.definition import conv_by_taps
from faltung.planner import Policy

ACTIVATIONS = {
    "gelu": nn.functional.gelu, "relu": nn.functional.relu, "relu6": nn.functional.relu6, "silu": nn.functional.silu,
}  # fmt: skip


class _Block(Layer):
    """What both blocks share: convolutions with a norm each, an activation, a shortcut."""

    dims = (1, 2, 3, 4)

    def settle(self, ndim: Any, channels: Any, expansion: Any, kernel_size: Any, activation: str, norm: bool) -> None:
        """Check what both blocks have and keep it."""
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        self.channels, self.expansion = functional.numbers("channels, expansion", (channels, expansion), 2, 1)
        self.wide = self.channels * self.expansion
        self.kernel_size = functional.numbers("kernel_size", kernel_size, self.ndim, 1)
        if any(not t % 2 for t in self.kernel_size):
            raise ArgumentError.of("kernel_size", "odd numbers", repr(kernel_size), "add one, so that a middle exists")
        if activation not in ACTIVATIONS:
            raise ArgumentError.of(
                "activation", f"one of {', '.join(ACTIVATIONS)}", repr(activation), "choose one of these"
            )
        if not isinstance(norm, bool):
            raise ArgumentError.of("norm", "True or False", repr(norm), "leave it out for True")
        self.activation, self.normed = activation, norm

    def act(self, x: Tensor) -> Tensor:
        return ACTIVATIONS[self.activation](x)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def _plain(self, x: Tensor, conv: Conv, norm: Any) -> Tensor:
        """A convolution and its norm, tap by tap and by the running statistics."""
        margins = tuple((t // 2, t // 2) for t in conv.kernel_size)
        ones = (1,) * self.ndim
        y = conv_by_taps(x, conv.weight, conv.bias, ones, margins, ones, conv.groups)
        if norm is None:
            return y
        mean, var, scale, offset = (
            v.reshape(-1, *ones) for v in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        return (y - mean) / (var + norm.eps).sqrt() * scale + offset

    def _bent(self, x: Tensor) -> Tensor:
        """The activation, as its formula."""
        formulas = {
            "gelu": lambda v: v * (1 + torch.erf(v / math.sqrt(2))) / 2,
            "relu": lambda v: torch.where(v > 0, v, 0),
            "relu6": lambda v: torch.where(v > 0, torch.where(v < 6, v, 6), 0),
            "silu": lambda v: v / (1 + torch.exp(-v)),
        }
        return formulas[self.activation](x)


class ConvFirstBlock(_Block):
    """A grouped convolution, then a pointwise network, beside a shortcut: spatial mixing before the channels widen.

    Formula: `y = x + s ⊙ (B act(A BN(conv(x)) + a) + b)`, conv of groups of `group_width` channels.

    Shapes: input (batch, channels, *n), returns the same.

    Args:
        ndim: number of spatial axes, 1 to 4.   channels: a multiple of group_width.
        kernel_size: odd taps, one number or one for each axis. Default 3.   group_width: channels of a group. Default 8.
        expansion: how much wider the pointwise network is. Default 4.   activation: gelu, relu, relu6 or silu. Default gelu.
        layer_scale: first value of s, None for none. Default None.   norm: whether there is a batch norm. Default True; without,
            the convolution has a bias.
        device, dtype, policy: see `faltung.nn.Conv`.

    Raises:
        ArgumentError: settings that name no block.

    Cost: group_width · Π kernel_size + 2 · expansion · channels for each channel and place. A depthwise convolution (width 1)
    reads and writes a number for every Π kernel_size products; at width 8 it is eight times as many.
    Source: Lavin, On the efficiency of convolutional neural networks (2024).

    Example:
        >>> ConvFirstBlock(2, 32)(torch.zeros(1, 32, 8, 8)).shape
        torch.Size([1, 32, 8, 8])
    """

    name = "conv-first-block"
    summary = "a grouped convolution, then a pointwise network, beside a shortcut"
    source = "Lavin, On the efficiency of convolutional neural networks (2024)"
    cost = "group_width · Π kernel_size + 2 · expansion · channels"
    portrait = shown("stirred field photo", (1, 16, 96, 96), ndim=2, channels=16)

    def __init__(
        self,
        ndim: int,
        channels: int,
        kernel_size: Any = 3,
        group_width: int = 8,
        expansion: int = 4,
        activation: str = "gelu",
        layer_scale: float | None = None,
        norm: bool = True,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.settle(ndim, channels, expansion, kernel_size, activation, norm)
        (self.group_width,) = functional.numbers("group_width", group_width, 1, 1)
        if self.channels % self.group_width:
            raise ArgumentError.of(
                "ConvFirstBlock", f"channels that groups of {group_width} divide", str(channels), "choose a width that divides them"
            )  # fmt: skip
        factory = {"device": device, "dtype": dtype}
        groups = self.channels // self.group_width
        self.mix = Conv(
            ndim,
            channels,
            channels,
            kernel_size,
            padding="same",
            groups=groups,
            bias=not norm,
            policy=policy,
            **factory,
        )
        self.norm = AnyBatchNorm(self.channels, **factory) if norm else None
        self.widen = Conv(ndim, channels, self.wide, 1, policy=policy, **factory)
        self.narrow = Conv(ndim, self.wide, channels, 1, policy=policy, **factory)
        self.residual = ScaledResidual(self.channels, layer_scale, 0.0, factory)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, self.ndim)
        y = self.mix(input)
        y = self.widen(y if self.norm is None else self.norm(y))
        return self.residual(input, self.narrow(self.act(y)))

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        y = self._plain(x, self.mix, self.norm)
        y = self._plain(self._bent(self._plain(y, self.widen, None)), self.narrow, None)
        scale = self.residual.scale
        return x + (y if scale is None else y * scale.reshape(-1, *[1] * self.ndim))

    def parameter_count(self) -> int:
        C, W = self.channels, self.wide
        first = C * self.group_width * math.prod(self.kernel_size) + (2 * C if self.normed else C)
        return first + 2 * C * W + W + C + (0 if self.residual.scale is None else C)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "channels": 4, "group_width": 2, "expansion": 2, "layer_scale": 0.1}, ((2, 4, 6),))
        few = {"channels": 2, "group_width": 1, "expansion": 1}
        yield Example({"ndim": 2, **few, "kernel_size": (3, 1), "activation": "silu", "norm": False}, ((2, 2, 3, 4),))


class MBConvBlock(_Block):
    """An inverted bottleneck: channels widen, a depthwise convolution mixes space, channels narrow, beside a shortcut.

    Formula: `y = x + BN(B act(BN(conv(act(BN(A x))))))`, conv depthwise.

    Shapes: input (batch, channels, *n), returns the same.

    Args:
        ndim: number of spatial axes, 1 to 4.   channels: at least 1.
        kernel_size: odd taps, one number or one for each axis. Default 3.   expansion: how much wider it is within. Default 4.
        activation: gelu, relu, relu6 or silu. Default silu.
        norm: whether batch norms follow the convolutions. Default True; without, these have biases.
        device, dtype, policy: see `faltung.nn.Conv`.

    Raises:
        ArgumentError: settings that name no block.

    Cost: expansion · (2 · channels + Π kernel_size) for each channel and place.
    Source: Sandler et al., MobileNetV2: inverted residuals and linear bottlenecks (2018).

    Example:
        >>> MBConvBlock(2, 32)(torch.zeros(1, 32, 8, 8)).shape
        torch.Size([1, 32, 8, 8])
    """

    name = "mbconv-block"
    summary = "an inverted bottleneck: widen, mix depthwise, narrow, beside a shortcut"
    source = "Sandler et al., MobileNetV2: inverted residuals and linear bottlenecks (2018)"
    cost = "expansion · (2 · channels + Π kernel_size)"
    portrait = shown("stirred field photo", (1, 16, 96, 96), ndim=2, channels=16)

    def __init__(
        self,
        ndim: int,
        channels: int,
        kernel_size: Any = 3,
        expansion: int = 4,
        activation: str = "silu",
        norm: bool = True,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.settle(ndim, channels, expansion, kernel_size, activation, norm)
        factory = {"device": device, "dtype": dtype}
        usual = {"bias": not norm, "policy": policy, **factory}
        self.widen = Conv(ndim, channels, self.wide, 1, **usual)
        self.mix = Conv(ndim, self.wide, self.wide, kernel_size, padding="same", groups=self.wide, **usual)
        self.narrow = Conv(ndim, self.wide, channels, 1, **usual)
        sizes = (self.wide, self.wide, self.channels) if norm else ()
        self.norms = nn.ModuleList(AnyBatchNorm(size, **factory) for size in sizes)

    @property
    def _parts(self) -> list[tuple[Conv, Any]]:
        convs = (self.widen, self.mix, self.narrow)
        return list(zip(convs, self.norms if self.normed else (None,) * 3, strict=True))

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, self.ndim)
        y = input
        for conv, norm in self._parts:
            y = conv(y) if norm is None else norm(conv(y))
            y = y if conv is self.narrow else self.act(y)
        return input + y

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        (first, one), (second, two), (third, three) = self._parts
        y = self._bent(self._plain(self._bent(self._plain(x, first, one)), second, two))
        return x + self._plain(y, third, three)

    def parameter_count(self) -> int:
        C, W = self.channels, self.wide
        return 2 * C * W + W * math.prod(self.kernel_size) + (2 * W + C) * (2 if self.normed else 1)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "channels": 2, "expansion": 2, "kernel_size": 5}, ((2, 2, 6),))
        few = {"channels": 2, "expansion": 1, "norm": False}
        yield Example({"ndim": 2, **few, "kernel_size": (3, 1), "activation": "gelu"}, ((2, 2, 3, 4),))
