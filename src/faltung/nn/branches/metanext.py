"""The block around an Inception depthwise convolution."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.nn import functional
from faltung.nn.base import Example, Layer, shown
from faltung.nn.branches.inception import InceptionDWConv
from faltung.nn.branches.merging import AnyBatchNorm
from faltung.nn.branches.scaled_residual import ScaledResidual
from faltung.nn.conv import Conv
from faltung.planner import Policy


class MetaNeXtBlock(Layer):
    """A block of InceptionNeXt: Inception mixing, batch norm and a pointwise network beside a shortcut.

    Formula: `y = x + s ⊙ (B GELU(A BN(mix(x)) + a) + b)`, mix an `InceptionDWConv`.

    Shapes: input (batch, channels, *n), returns the same.

    Args:
        ndim: number of spatial axes, 1 to 4.   channels, square, band, ratio: see `InceptionDWConv`.
        expansion: how much wider the pointwise network is: 4, in the last stage 3. Default 4.
        layer_scale: first value of s, None for none. Default 1e-6.   drop_path: see `ScaledResidual`. Default 0.
        device, dtype, policy: see `faltung.nn.Conv`.

    Raises:
        ArgumentError: settings that name no block.

    Cost: ratio·(square^ndim + ndim·band) + 2·expansion·channels for each channel and place.
    Source: Yu, Zhou, Yan and Wang, InceptionNeXt: when Inception meets ConvNeXt (2024).

    Example:
        >>> MetaNeXtBlock(2, 32)(torch.zeros(1, 32, 8, 8)).shape
        torch.Size([1, 32, 8, 8])
    """

    name = "metanext-block"
    summary = "Inception depthwise mixing and a pointwise network beside a shortcut"
    source = "Yu, Zhou, Yan and Wang, InceptionNeXt: when Inception meets ConvNeXt (2024)"
    cost = "ratio · (square^ndim + ndim · band) + 2 · expansion · channels"
    portrait = shown("stirred field photo", (1, 16, 96, 96), ndim=2, channels=16, layer_scale=1.0)
    dims = (1, 2, 3, 4)

    def __init__(
        self,
        ndim: int,
        channels: int,
        square: int = 3,
        band: int = 11,
        ratio: float = 0.125,
        expansion: int = 4,
        layer_scale: float | None = 1e-6,
        drop_path: float = 0.0,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        (self.ndim,), (wide,) = functional.numbers("ndim", ndim, 1, 1), functional.numbers("expansion", expansion, 1, 1)
        self.mix = InceptionDWConv(ndim, channels, square, band, ratio, policy=policy, **factory)
        self.channels, self.wide = channels, wide * channels
        self.norm = AnyBatchNorm(channels, **factory)
        self.widen = Conv(ndim, channels, self.wide, 1, policy=policy, **factory)
        self.narrow = Conv(ndim, self.wide, channels, 1, policy=policy, **factory)
        self.residual = ScaledResidual(channels, layer_scale, drop_path, factory)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights from a normal law of deviation 0.02 cut off at 2; biases are zero, norms the identity."""
        for weight in (*self.mix.weights, self.widen.weight, self.narrow.weight):
            nn.init.trunc_normal_(weight, std=0.02)
        for bias in (*self.mix.biases, self.widen.bias, self.narrow.bias):
            nn.init.zeros_(bias)
        self.norm.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, self.ndim)
        y = self.widen(self.norm(self.mix(input)))
        return self.residual(input, self.narrow(nn.functional.gelu(y)))

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return inputs[0]

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs

        def column(values: Tensor) -> Tensor:
            return values.reshape(-1, *[1] * self.ndim)

        norm: Any = self.norm
        u = (self.mix.definition(x) - column(norm.running_mean)) / column(norm.running_var + norm.eps).sqrt()
        u = u * column(norm.weight) + column(norm.bias)
        v = torch.einsum("bc...,oc->bo...", u, self.widen.weight.flatten(1)) + column(self.widen.bias)
        v = v * (1 + torch.erf(v / math.sqrt(2))) / 2
        y = torch.einsum("bc...,oc->bo...", v, self.narrow.weight.flatten(1)) + column(self.narrow.bias)
        return x + (y if self.residual.scale is None else y * column(self.residual.scale))

    def parameter_count(self) -> int:
        C, W = self.channels, self.wide
        scale = 0 if self.residual.scale is None else C
        return self.mix.parameter_count() + 2 * C + 2 * C * W + W + C + scale

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "channels": 3, "band": 5, "ratio": 0.34, "layer_scale": None}, ((2, 3, 6),))
        yield Example({"ndim": 2, "channels": 4, "band": 3, "ratio": 0.25, "expansion": 3}, ((2, 4, 3, 4),))
        yield Example({"ndim": 3, "channels": 5, "band": 3, "ratio": 0.2, "expansion": 1}, ((2, 5, 2, 1, 3),))
        yield Example({"ndim": 4, "channels": 5, "band": 3, "ratio": 0.2, "expansion": 1}, ((1, 5, 2, 1, 2, 1),))
