"""The alias-free ConvNeXt, in which every step commutes with shifts by fractions of a sample, and the layers only it has."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, Symmetry, rolled, shown
from faltung.nn.conv import Conv
from faltung.nn.functional.waves import kept, low_pass, resample_ideal, shift_ideal
from faltung.nn.phase.alias_free import GELU, AliasFreeMLP, ShiftLayer
from faltung.nn.phase.ideal import IdealResample, waves

_SOURCE = "Michaeli, Michaeli and Soudry, Alias-free convnets (2023)"


def _column(values: Tensor, like: Tensor) -> Tensor:
    """One number for each channel, for maps with any number of axes."""
    return values.reshape(-1, *[1] * (like.ndim - 2))


class GlobalLayerNorm(Layer):
    """Subtract each place's mean over channels, divide the sample by one number: a norm that commutes with shifts of any length.

    Formula: `y = w · c / √(mean of c² over channels and places + ε) + b`, `c = x − mean of x over channels`. Layer norm divides
    every place by a number of its own, which is a product of signals and makes waves that the grid cannot hold.

    Shapes: input (batch, channels, *n), returns the same; weight and bias (channels).

    Args:
        channels: at least 1.   eps: ε, above 0. Default 1e-6.

    Raises:
        ArgumentError: settings that name no layer.

    Source: as below.

    Example:
        >>> GlobalLayerNorm(2)(torch.tensor([[[3.0, 5.0], [1.0, 3.0]]])).detach().round()
        tensor([[[ 1.,  1.],
                 [-1., -1.]]])
    """

    name = "global-layer-norm"
    summary = "a layer norm with one divisor for a sample"
    source = _SOURCE
    cost = "2"
    portrait = shown("photo", (1, 3, 96, 96), channels=3)

    def __init__(self, channels: int, eps: float = 1e-6, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        (self.channels,) = functional.numbers("channels", channels, 1, 1)
        if not eps > 0:
            raise ArgumentError.of("GlobalLayerNorm", "an eps above 0", repr(eps), "use 1e-6")
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(self.channels, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(self.channels, device=device, dtype=dtype))

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, None)
        centred = input - input.mean(1, keepdim=True)
        size = centred.square().mean(tuple(range(1, input.ndim)), keepdim=True) + self.eps
        return _column(self.weight, input) * (centred * size.rsqrt()) + _column(self.bias, input)

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        c = x - x.sum(1, keepdim=True) / self.channels
        flat = c.reshape(x.shape[0], -1)
        size = ((flat**2).sum(1) / max(flat.shape[1], 1) + self.eps) ** 0.5
        moved = (c / size.reshape(-1, *[1] * (x.ndim - 1))).movedim(1, -1)
        return (moved * self.weight + self.bias).movedim(-1, 1)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        return 2 * self.channels

    def symmetries(self) -> Iterable[Symmetry]:
        yield rolled(1, 1)
        yield Symmetry("channels negated", lambda x: -x, lambda y: 2 * _column(self.bias, y) - y)

    def random_symmetries(self, random: np.random.Generator) -> Iterable[Symmetry]:
        yield from super().random_symmetries(random)
        part = float(random.uniform(-3, 3))

        def moved(x: Tensor) -> Tensor:
            return shift_ideal(x, (part,) * (x.ndim - 2))

        # The wave of frequency n/2, where there is one, has no phase that samples could tell.
        yield Symmetry(f"shift by {part:.2f}", moved, moved, fits=lambda x: all(n % 2 for n in x.shape[2:]))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 3}, ((2, 3, 5),))
        yield Example({"channels": 2, "eps": 1e-3}, ((1, 2, 3, 4),))


class AliasFreeStem(Layer):
    """The first activation at full resolution, and the sampling by 4 that makes enlarging before it needless.

    Formula: `D(x + γ·(c₀ + c₁ x + c₂ x·LPF_¾(x)))`, D keeps the lowest quarter of the band and every fourth sample. A product of
    waves up to n/2 and up to 3n/8 reaches 7n/8, which folds over to n/8 at the lowest: the kept quarter ends below that.

    Shapes: input (batch, channels, *n), n multiples of `stride`, returns (batch, channels, *n / stride).

    Args:
        ndim: number of spatial axes.   channels: at least 1.   stride: 4 or more. Default 4.

    Raises:
        ArgumentError: settings that name no layer, sizes that the stride does not divide.

    Source: as below.

    Example:
        >>> AliasFreeStem(2, 3)(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 3, 2, 2])
    """

    name = "alias-free-stem"
    summary = "a quadratic activation at full resolution whose alias stays outside the kept quarter of the band"
    source = _SOURCE
    dims = (1, 2, 3, 4)
    cost = "four Fourier transforms: about 10 · log2 Π n"
    portrait = shown("photo", (1, 1, 96, 96), ndim=2, channels=1)

    def __init__(self, ndim: int, channels: int, stride: int = 4, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.ndim, self.channels = functional.numbers("ndim, channels", (ndim, channels), 2, 1)
        (self.stride,) = functional.numbers("stride", stride, 1, 4)
        factory = {"device": device, "dtype": dtype}
        self.coefficients = nn.Parameter(torch.empty(self.channels, 3, **factory))
        self.gamma = nn.Parameter(torch.zeros(self.channels, **factory))
        with torch.no_grad():
            self.coefficients.copy_(torch.tensor(GELU, dtype=torch.float64).expand_as(self.coefficients))

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, self.ndim)
        if any(n % self.stride for n in input.shape[2:]):
            raise ArgumentError.of(
                "AliasFreeStem",
                f"sizes that {self.stride} divides",
                f"{tuple(input.shape[2:])}",
                "crop or pad the image",
            )
        column = (-1, *[1] * self.ndim)
        c0, c1, c2, gamma = (v.reshape(column) for v in (*self.coefficients.unbind(1), self.gamma))
        x = input + gamma * (c0 + c1 * input + c2 * input * low_pass(input, 0.75, self.ndim))
        return resample_ideal(x, self.shapes(input.shape)[2:])

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        slow = x
        for axis in range(2, x.ndim):
            slow = waves(slow, axis, x.shape[axis], kept(x.shape[axis], 0.75), 1.0)
        terms = torch.stack([torch.ones_like(x), x, x * slow], -1)
        mixed = torch.einsum("bc...k,ck->bc...", terms, self.coefficients * self.gamma[:, None]) + x
        for axis, n in enumerate(mixed.shape[2:], 2):
            mixed = waves(mixed, axis, n // self.stride, (n // self.stride - 1) // 2, 1.0)
        return mixed

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (*inputs[0][:2], *(n // self.stride for n in inputs[0][2:]))

    def parameter_count(self) -> int:
        return 4 * self.channels

    def symmetries(self) -> Iterable[Symmetry]:
        yield rolled(self.stride, self.ndim, self.stride)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "channels": 2}, ((2, 2, 12),))
        yield Example({"ndim": 2, "channels": 2}, ((1, 2, 4, 8),))
        yield Example({"ndim": 3, "channels": 1, "stride": 5}, ((1, 1, 5, 5, 5),))
        yield Example({"ndim": 4, "channels": 1}, ((1, 1, 4, 4, 4, 4),), tiny=False)


class AliasFreeBlock(ShiftLayer):
    """A residual block of the alias-free ConvNeXt: circular depthwise convolution, global layer norm, alias-free mixes, a scale.

    Formula: `x + s · mlp(norm(depthwise(x)))`, s for each channel.

    Shapes: input (batch, channels, *n), returns the same.

    Args:
        ndim: number of spatial axes.   channels: at least 1.   kernel_size: odd. Default 7.   layer_scale: first s. Default 1e-6.
        expansion, degree, scale: see `AliasFreeMLP`.

    Raises:
        ArgumentError: settings that name no layer.

    Source: as below.

    Example:
        >>> AliasFreeBlock(2, 3)(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 3, 8, 8])
    """

    name = "alias-free-block"
    summary = "a residual block of the alias-free ConvNeXt"
    source = _SOURCE
    cost = "kernel_size^ndim + 2 · up^ndim · expansion · channels"
    portrait = shown("photo", (1, 2, 96, 96), ndim=2, channels=2, layer_scale=1.0)

    def __init__(
        self,
        ndim: int,
        channels: int,
        kernel_size: int = 7,
        expansion: int = 4,
        degree: int = 2,
        scale: tuple[float, float] = (1.0, 1.0),
        layer_scale: float = 1e-6,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.ndim, self.channels, size = functional.numbers(
            "ndim, channels, kernel_size", (ndim, channels, kernel_size), 3, 1
        )
        if size % 2 == 0:
            raise ArgumentError.of("AliasFreeBlock", "an odd kernel_size", repr(kernel_size), "use 7")
        self.depthwise = Conv(
            ndim, channels, channels, size, padding="same", groups=channels, padding_mode="circular", device=device, dtype=dtype
        )  # fmt: skip
        self.norm = GlobalLayerNorm(channels, device=device, dtype=dtype)
        self.mlp = AliasFreeMLP(ndim, channels, expansion, degree, "gelu", scale, None, device, dtype)
        self.layer_scale = nn.Parameter(torch.full((self.channels,), float(layer_scale), device=device, dtype=dtype))

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, self.ndim)
        branch = self.mlp(self.norm(self.depthwise(input)))
        return input + self.layer_scale.reshape(-1, *[1] * self.ndim) * branch

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        branch = self.mlp.definition(self.norm.definition(self.depthwise.definition(x)))
        return x + torch.einsum("bc...,c->bc...", branch, self.layer_scale)

    def parameter_count(self) -> int:
        parts = (self.depthwise, self.norm, self.mlp)
        return self.channels + sum(part.parameter_count() for part in parts)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "channels": 2, "kernel_size": 3, "expansion": 2}, ((2, 2, 6),))
        yield Example({"ndim": 2, "channels": 2, "kernel_size": 3, "expansion": 1, "layer_scale": 1.0}, ((1, 2, 3, 4),))
        yield Example({"ndim": 3, "channels": 1, "kernel_size": 1, "degree": 3}, ((1, 1, 2, 3, 2),))
        yield Example({"ndim": 4, "channels": 1, "kernel_size": 1, "expansion": 1}, ((1, 1, 2, 3, 1, 2),))


def alias_free_convnext(
    classes: int,
    in_channels: int = 3,
    widths: Sequence[int] = (96, 192, 384, 768),
    depths: Sequence[int] = (3, 3, 9, 3),
    ndim: int = 2,
    layer_scale: float = 1e-6,
    scale: tuple[float, float] = (7.0, 7.0),
) -> nn.Sequential:
    """The alias-free ConvNeXt: its features move, and its scores stay, under circular shifts of any length.

    Formula: stem (dense convolution of 4^ndim taps, `AliasFreeStem`), stages of `AliasFreeBlock` with (norm, dense convolution of
    2^ndim taps, ideal sampling by 2) between them, norm, mean, linear.

    Shapes: the model takes (batch, in_channels, *n), n multiples of 4 · 2^(stages − 1), and returns (batch, classes).

    Args:
        widths, depths: channels and blocks of each stage. Default: Tiny.   scale: first (in, out) of the polynomials.

    Raises:
        ArgumentError: widths and depths of different numbers.

    Source: Michaeli, Michaeli and Soudry, Alias-free convnets (2023).

    Example:
        >>> alias_free_convnext(10, 1, widths=(4, 8), depths=(1, 1))(torch.zeros(2, 1, 16, 16)).shape
        torch.Size([2, 10])
    """
    if len(widths) != len(depths) or not widths:
        raise ArgumentError.of(
            "alias_free_convnext", "a depth for every width", f"{widths} and {depths}", "give as many of both"
        )
    layers: list[nn.Module] = []
    before = in_channels
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        if stage == 0:
            layers.append(Conv(ndim, before, width, 4, padding="same", padding_mode="circular"))
            layers += [AliasFreeStem(ndim, width), GlobalLayerNorm(width)]
        else:
            layers += [GlobalLayerNorm(before), Conv(ndim, before, width, 2, padding="same", padding_mode="circular")]
            layers.append(IdealResample(ndim, down=2))
        layers += [AliasFreeBlock(ndim, width, layer_scale=layer_scale, scale=scale) for _ in range(depth)]
        before = width
    return nn.Sequential(*layers, GlobalLayerNorm(before), nn.Flatten(2), Mean(), nn.Linear(before, classes))


class Mean(nn.Module):
    """The mean over the last axis."""

    def forward(self, input: Tensor) -> Tensor:
        return input.mean(-1)
