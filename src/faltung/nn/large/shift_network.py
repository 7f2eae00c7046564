"""What shifts are put together to: a residual block and a super-resolution network of 1×1 convolutions."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, Symmetry, rolled, shown
from faltung.nn.conv import Conv
from faltung.nn.functional.definition import conv_by_taps
from faltung.nn.functional.resample import resample_by_matrices
from faltung.nn.large.shift import SOURCE, Shift
from faltung.planner import Policy


def _pointwise(layer: Any, x: Tensor) -> Tensor:
    """A 1×1 layer by its definition."""
    ones = (1,) * (x.ndim - 2)
    return conv_by_taps(x, layer.weight, layer.bias, ones, [(0, 0)] * (x.ndim - 2), ones)


class ShiftResBlock(Layer):
    """A residual block of two 1×1 convolutions with a shift between them, in place of two 3×3 convolutions.

    Formula: `y = x + W₂(ReLU(shift(W₁ x)))` with 1×1 convolutions W₁ and W₂.

    Shapes: input (batch, channels, *n), returns the same.

    Args:
        channels: a multiple of the number of offsets.   ndim, offsets, padding_mode, step: as for `Shift`.
        bias: whether the convolutions learn constants. Default True.
        device, dtype: of the parameters.   policy: see `faltung.nn.functional.conv`.

    Returns: a tensor like the input.

    Raises:
        ArgumentError: settings that name no layer.

    Source: as below. Weights start at a tenth of torch's scale, as in the paper's network.

    Example:
        >>> ShiftResBlock(2, 64).parameter_count()
        8320
    """

    name = "shift-res-block"
    summary = "a residual block of 1×1 convolutions and a shift"
    source = SOURCE
    cost = "2 · channels"
    portrait = shown("stirred field photo", (1, 16, 96, 96), ndim=2, channels=16)
    dims = (1, 2, 3, 4)

    def __init__(
        self,
        ndim: int,
        channels: int,
        offsets: Any = "neighbours",
        padding_mode: str = "zeros",
        step: int = 1,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.shift = Shift(ndim, channels, offsets, padding_mode, step, **factory)
        self.ndim, self.channels = self.shift.ndim, channels
        self.first, self.second = (
            Conv(ndim, channels, channels, 1, bias=bias, policy=policy, **factory) for _ in range(2)
        )
        with torch.no_grad():
            for conv in (self.first, self.second):
                conv.weight.mul_(0.1)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, self.ndim)
        return input + self.second(self.shift(self.first(input)).relu())

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        moved = self.shift.definition(_pointwise(self.first, x))
        return x + _pointwise(self.second, moved.relu())

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def symmetries(self) -> Iterable[Symmetry]:
        if self.shift.padding_mode == "circular":
            yield rolled(1, self.ndim)

    def parameter_count(self) -> int:
        return self.first.parameter_count() + self.second.parameter_count()

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 2, "channels": 8}, ((2, 8, 3, 4),))
        yield Example({"ndim": 1, "channels": 2, "padding_mode": "circular", "bias": False}, ((2, 2, 5),))
        yield Example({"ndim": 3, "channels": 6, "offsets": "axes", "step": 2}, ((1, 6, 3, 2, 3),))


class ShiftSuperResolution(Layer):
    """A super-resolution network of 1×1 convolutions and shifts.

    Formula: a 1×1 convolution to `features` channels and leaky ReLU (slope 0.1); `blocks` residual shift blocks; for every factor
    2 of the scale: linear enlarging, 1×1, leaky ReLU (0.02), shift, 1×1; then 1×1, leaky ReLU (0.1), 1×1 to the input's
    channels; plus the linearly enlarged input.

    Shapes: input (batch, channels, *n), returns (batch, channels, *scale·n).

    Args:
        ndim: number of spatial axes, at least 1.   channels: of the signal. Default 3.
        features: a multiple of the number of offsets. Default 64.   blocks: at least 0. Default 16.
        scale: a power of two, at least 2. Default 2.
        offsets, padding_mode: as for `Shift`.   device, dtype: of the parameters.   policy: see `faltung.nn.functional.conv`.

    Returns: the enlarged signal.

    Raises:
        ArgumentError: settings that name no network.

    Source: as below. Trained there on patches of 256² pixels with the mean absolute error.

    Example:
        >>> ShiftSuperResolution(2, features=16, blocks=2)(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "shift-super-resolution"
    summary = "a super-resolution network of 1×1 convolutions and shifts"
    source = SOURCE
    cost = "for each input sample, about features² · (2 · blocks + 3 · scale^ndim)"
    portrait = shown("field photo", (1, 1, 48, 48), ndim=2, channels=1, features=16, blocks=4, scale=2)
    dims = (1, 2, 3, 4)

    def __init__(
        self,
        ndim: int,
        channels: int = 3,
        features: int = 64,
        blocks: int = 16,
        scale: int = 2,
        offsets: Any = "neighbours",
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        (blocks,) = functional.numbers("blocks", blocks, 1, 0)
        (scale,) = functional.numbers("scale", scale, 1, 2)
        if scale & (scale - 1):
            raise ArgumentError.of(type(self).__name__, "a scale that is a power of two", str(scale), "use 2, 4, 8, …")
        settings: dict[str, Any] = {"device": device, "dtype": dtype, "policy": policy}
        shifts = {"offsets": offsets, "padding_mode": padding_mode}

        def conv(before: int, after: int) -> Conv:
            return Conv(ndim, before, after, 1, **settings)

        self.shift = Shift(ndim, features, **shifts, device=device, dtype=dtype)
        self.ndim, self.channels, self.scale = self.shift.ndim, channels, scale
        self.head = conv(channels, features)
        self.body = nn.ModuleList(ShiftResBlock(ndim, features, **shifts, **settings) for _ in range(blocks))
        steps = range(scale.bit_length() - 1)
        self.before = nn.ModuleList(conv(features, features) for _ in steps)
        self.after = nn.ModuleList(conv(features, features) for _ in steps)
        self.gather, self.tail = conv(features, features), conv(features, channels)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, self.ndim)
        x = _leaky(self.head(input), 0.1)
        for block in self.body:
            x = block(x)
        for before, after in zip(self.before, self.after, strict=True):
            # A 1×1 convolution commutes with linear enlarging, whose weights sum to one: it is done on fewer samples.
            x = functional.resample(before(x), self._sizes(x, 2))
            x = after(self.shift(_leaky(x, 0.02)))
        y = self.tail(_leaky(self.gather(x), 0.1))
        return functional.add_resampled(y, input)

    def _sizes(self, x: Tensor, scale: int) -> tuple[int, ...]:
        return tuple(scale * n for n in x.shape[2:])

    def definition(self, *inputs: Any) -> Tensor:
        x = _leaky(_pointwise(self.head, inputs[0]), 0.1)
        for block in self.body:
            x = block.definition(x)
        for before, after in zip(self.before, self.after, strict=True):
            x = _leaky(_pointwise(before, resample_by_matrices(x, self._sizes(x, 2), "linear")), 0.02)
            x = _pointwise(after, self.shift.definition(x))
        y = _pointwise(self.tail, _leaky(_pointwise(self.gather, x), 0.1))
        return y + resample_by_matrices(inputs[0], self._sizes(inputs[0], self.scale), "linear")

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (*inputs[0][:2], *(self.scale * n for n in inputs[0][2:]))

    def parameter_count(self) -> int:
        features, blocks, steps = self.head.out_channels, len(self.body), len(self.before)
        square = features * (features + 1)
        return (2 * blocks + 2 * steps + 1) * square + features * (2 * self.channels + 1) + self.channels

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 2, "channels": 1, "features": 8, "blocks": 1}, ((1, 1, 3, 2),))
        settings = {"channels": 2, "features": 2, "blocks": 0, "scale": 4, "padding_mode": "circular"}
        yield Example({"ndim": 1, **settings}, ((2, 2, 3),))
        yield Example({"ndim": 4, "channels": 1, "features": 8, "blocks": 1, "offsets": "axes"}, ((1, 1, 1, 2, 1, 2),))


def _leaky(x: Tensor, slope: float) -> Tensor:
    return nn.functional.leaky_relu(x, slope)
