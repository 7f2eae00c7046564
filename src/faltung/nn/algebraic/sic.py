"""Three ways to cut a layer's cost: one filter for each channel, channels that meet on a torus only, a mix at low resolution."""

import itertools
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Layer, Symmetry, rolled, shown, uniform_bias
from faltung.nn.conv import Conv, ConvTranspose
from faltung.nn.functional.definition import conv_by_taps

SOURCE = "Wang, Liu and Foroosh, Factorized convolutional neural networks (2016)"
WORTH = 4  # channels for each one in the window from which on the lists are faster than a dense product


class SICBlock(Layer):
    """Single intra-channel convolution: a filter for each channel, a mix of channels, normalisation, rectifier, past a shortcut.

    Formula: `x ← x + relu(batchnorm(P·(D ∗ x)))`, `depth` times with parameters of its own.

    Shapes: input (batch, channels, *n), returns the same.

    Args:
        ndim: number of spatial axes, 1 to 4.   channels: at least 1.
        k: taps along every axis, an odd number. Default 3.   depth: how many stand in for one dense layer. Default 1.
        padding_mode: zeros, reflect, replicate, circular or symmetric. Default zeros.   device, dtype: of the parameters.

    Raises:
        ArgumentError: settings that name no layer.

    Example:
        >>> SICBlock(2, 8)(torch.zeros(1, 8, 6, 6)).shape
        torch.Size([1, 8, 6, 6])
    """

    name = "sic-block"
    summary = "one filter in space for each channel, a mix of channels, normalisation and rectifier past a shortcut"
    source = SOURCE
    cost = "depth · (kᵈ + channels)"
    portrait = shown("field photo", (1, 8, 96, 96), ndim=2, channels=8, depth=4)
    dims = (1, 2, 3, 4)

    def __init__(
        self,
        ndim: int,
        channels: int,
        k: int = 3,
        depth: int = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        (self.ndim,), (self.channels,) = (
            functional.numbers("ndim", ndim, 1, 1),
            functional.numbers("channels", channels, 1, 1),
        )
        (self.k,), (self.depth,) = functional.numbers("k", k, 1, 1), functional.numbers("depth", depth, 1, 1)
        if self.k % 2 == 0:
            raise ArgumentError.of("SICBlock", "an odd number of taps, so that the shortcut fits", str(k), "use k ± 1")
        factory = {"bias": False, "device": device, "dtype": dtype}
        self.spatial = nn.ModuleList(
            Conv(ndim, channels, channels, k, padding="same", groups=channels, padding_mode=padding_mode, **factory)
            for _ in range(self.depth)
        )
        self.mixes = nn.ModuleList(Conv(ndim, channels, channels, 1, **factory) for _ in range(self.depth))
        # Normalisation knows no positions, so one class serves all dimensions.
        self.norms = nn.ModuleList(nn.BatchNorm1d(channels, device=device, dtype=dtype) for _ in range(self.depth))

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, self.ndim)
        x = input
        for spatial, mix, norm in zip(self.spatial, self.mixes, self.norms, strict=True):
            x = x + norm(mix(spatial(x)).flatten(2)).relu().reshape(x.shape)
        return x

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        column = (-1, *[1] * self.ndim)
        for spatial, mix, norm in zip(self.spatial, self.mixes, self.norms, strict=True):
            y = mix.definition(spatial.definition(x))
            y = (y - norm.running_mean.reshape(column)) / (norm.running_var.reshape(column) + norm.eps).sqrt()
            y = y * norm.weight.reshape(column) + norm.bias.reshape(column)
            x = x + y.clamp(min=0)
        return x

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return inputs[0]

    def parameter_count(self) -> int:
        return self.depth * self.channels * (self.k**self.ndim + self.channels + 2)

    def symmetries(self) -> Iterable[Symmetry]:
        if self.spatial[0].padding_mode == "circular":
            yield rolled(1, self.ndim)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "channels": 3, "depth": 2}, ((2, 3, 5),))
        yield Example({"ndim": 2, "channels": 2, "padding_mode": "circular"}, ((2, 2, 4, 3),))
        yield Example({"ndim": 3, "channels": 2, "padding_mode": "reflect"}, ((1, 2, 3, 2, 3),))
        yield Example({"ndim": 4, "channels": 1, "k": 1}, ((1, 1, 2, 2, 1, 2),))


class TopologicalLinear(Layer):
    """A mix of channels (a 1 × 1 convolution) in which channels lie on a torus and meet their neighbours only.

    Formula: with the channels in row-major order on a grid d1 × ... × ds, `y[u] = Σ over window offsets o of w[u, o]·x[(u + o −
    ⌊(c − 1) / 2⌋) mod d] + b[u]`: a circular, locally connected layer over the channel axis.

    Shapes: input (batch, channels, *n), returns the same; weight (channels, Π window), bias (channels).

    Args:
        channels: Π grid.   grid: sizes of the torus.   window: sizes of the neighbourhood, at most the grid's; with the grid itself
            the layer is dense.   bias, device, dtype: as in torch.

    Raises:
        ArgumentError: settings that name no layer.

    Error: that of a sum of Π window products.
    Cost: Π window products in place of channels, by lists of channels from channels ≥ 4·Π window on, else as a dense product.

    Example:
        >>> layer = TopologicalLinear(256, grid=(16, 16), window=(4, 4), bias=False)
        >>> layer.parameter_count(), layer.matrix().shape
        (4096, torch.Size([256, 256]))
    """

    name = "topological-linear"
    summary = "a mix of channels that lie on a torus and meet their neighbours only"
    source = SOURCE
    cost = "Π window"
    portrait = shown("matrix", (1, 64, 1), channels=64, grid=(8, 8), window=(3, 3))

    index: Tensor
    back: Tensor

    def __init__(
        self,
        channels: int,
        grid: Any = (16, 16),
        window: Any = (4, 4),
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        axes = len(grid) if isinstance(grid, (tuple, list)) else 1
        self.grid, self.window = (
            functional.numbers("grid", grid, axes, 1),
            functional.numbers("window", window, axes, 1),
        )
        if math.prod(self.grid) != channels:
            raise ArgumentError.of(
                "TopologicalLinear",
                f"a grid of {channels} channels",
                f"{self.grid}",
                "choose sizes whose product that is",
            )
        if any(c > d for c, d in zip(self.window, self.grid, strict=True)):
            raise ArgumentError.of(
                "TopologicalLinear", f"a window within the grid {self.grid}", f"{self.window}", "make it smaller"
            )
        self.channels, fan_in, factory = channels, math.prod(self.window), {"device": device, "dtype": dtype}
        bound = 1 / math.sqrt(fan_in)
        self.weight = nn.Parameter(nn.init.uniform_(torch.empty(channels, fan_in, **factory), -bound, bound))
        self.register_parameter("bias", uniform_bias(channels, fan_in, factory) if bias else None)
        index = self._neighbours()
        self.register_buffer("index", index.to(self.weight.device), persistent=False)
        self.register_buffer("back", functional.named(index, channels).to(self.weight.device), persistent=False)

    def _neighbours(self) -> Tensor:
        """The channels (channels, Π window) in every channel's window."""
        at = torch.arange(self.channels, device="cpu").reshape(self.grid)
        offsets = itertools.product(*map(range, self.window))
        rolled = [
            at.roll([(c - 1) // 2 - o for o, c in zip(offset, self.window, strict=True)], tuple(range(at.ndim)))
            for offset in offsets
        ]
        return torch.stack([each.flatten() for each in rolled], 1).contiguous()

    def matrix(self) -> Tensor:
        """The dense matrix (channels, channels) that the layer is, differentiable."""
        return torch.zeros_like(self.weight[:, :1]).expand(-1, self.channels).scatter(1, self.index, self.weight)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, None)
        flat = input.flatten(2) if input.ndim > 2 else input.unsqueeze(2)
        real = input.dtype in (torch.float32, torch.float64) and input.dtype == self.weight.dtype
        sparse = self.channels >= WORTH * self.weight.shape[1] and real and input.device.type in ("cpu", "meta")
        if sparse and not torch.is_autocast_enabled("cpu"):
            y = functional.channel_mix(flat, self.weight, self.index, self.back)
            y = y if self.bias is None else y + self.bias[:, None]
        else:
            y = functional.conv(flat, self.matrix().unsqueeze(2), self.bias)
        return y.reshape(input.shape)

    def definition(self, *inputs: Any) -> Tensor:
        """Channel by channel on the torus."""
        (x,) = inputs
        where = list(itertools.product(*map(range, self.grid)))
        number = {u: n for n, u in enumerate(where)}
        rows = []
        for n, u in enumerate(where):
            total = torch.zeros_like(x[:, 0]) if self.bias is None else torch.zeros_like(x[:, 0]) + self.bias[n]
            for j, offset in enumerate(itertools.product(*map(range, self.window))):
                seen = tuple(
                    (a + o - (c - 1) // 2) % d for a, o, c, d in zip(u, offset, self.window, self.grid, strict=True)
                )
                total = total + self.weight[n, j] * x[:, number[seen]]
            rows.append(total)
        return torch.stack(rows, 1)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return inputs[0]

    def parameter_count(self) -> int:
        return self.channels * (math.prod(self.window) + (self.bias is not None))

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 12, "grid": (3, 4), "window": (1, 3)}, ((2, 12, 3),))
        yield Example({"channels": 6, "grid": (2, 3), "window": (2, 2), "bias": False}, ((2, 6, 2, 2),))
        yield Example({"channels": 8, "grid": (2, 2, 2), "window": (1, 2, 1)}, ((2, 8),))
        yield Example({"channels": 9, "grid": 9, "window": 2}, ((1, 9, 2, 1, 3),))


class SpatialBottleneck(Layer):
    """A mix of channels at a lower resolution: a strided filter for each channel, the mix, and a strided transposed filter.

    Formula: `y = Uᵀ(P·(D ∗ x)↓ + b)`, D and U depthwise with `stride`, U transposed to the input's very size, whatever the stride
    leaves over.

    Shapes: input (batch, channels, *n), returns the same; at low resolution `⌈n / stride⌉` for odd k, `⌊n / stride⌋ + 1` for even.

    Args:
        ndim: number of spatial axes, 1 to 4.   channels: at least 1.   k: taps along every axis. Default 3.
        stride: by which the resolution is lowered along every axis. Default 2.   bias, device, dtype: as in torch.

    Raises:
        ArgumentError: settings that name no layer.

    Example:
        >>> SpatialBottleneck(2, 4)(torch.zeros(1, 4, 9, 8)).shape
        torch.Size([1, 4, 9, 8])
    """

    name = "spatial-bottleneck"
    summary = "a mix of channels at a lower resolution, between a strided filter for each channel and its transpose"
    source = SOURCE
    cost = "(2 · kᵈ + channels) / strideᵈ"
    portrait = shown("impulses", (1, 1, 24, 24), ndim=2, channels=1)
    dims = (1, 2, 3, 4)

    def __init__(
        self,
        ndim: int,
        channels: int,
        k: int = 3,
        stride: int = 2,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        (self.ndim,), (self.channels,) = (
            functional.numbers("ndim", ndim, 1, 1),
            functional.numbers("channels", channels, 1, 1),
        )
        (self.k,), (self.stride,) = functional.numbers("k", k, 1, 1), functional.numbers("stride", stride, 1, 1)
        settings: dict[str, Any] = {"stride": stride, "padding": self.k // 2, "groups": channels, "bias": False}
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.down = Conv(ndim, channels, channels, k, **settings, **factory)
        self.mix = Conv(ndim, channels, channels, 1, bias=bias, **factory)
        self.up = ConvTranspose(ndim, channels, channels, k, **settings, **factory)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, self.ndim)
        return self.up(self.mix(self.down(input)), output_size=input.shape[2:])

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        low = self.mix.definition(self.down.definition(x))
        many = [self.stride] * self.ndim, [(self.k // 2,) * 2] * self.ndim, [1] * self.ndim

        def along(z: Tensor) -> Tensor:
            return conv_by_taps(z, self.up.weight, None, *many, self.channels)

        (y,) = torch.func.vjp(along, torch.zeros_like(x))[1](low)
        return y

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return inputs[0]

    def parameter_count(self) -> int:
        return self.channels * (2 * self.k**self.ndim + self.channels + (self.mix.bias is not None))

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "channels": 2}, ((2, 2, 7),))
        yield Example({"ndim": 2, "channels": 2, "k": 2, "stride": 3, "bias": False}, ((1, 2, 6, 5),))
        yield Example({"ndim": 2, "channels": 3, "k": 5}, ((1, 3, 6, 8),))
        yield Example({"ndim": 3, "channels": 1, "stride": 1}, ((1, 1, 3, 2, 3),))
        yield Example({"ndim": 4, "channels": 1}, ((1, 1, 3, 2, 2, 3),))
