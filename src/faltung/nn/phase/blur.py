"""Sampling with a stride after a small blur: `BlurPool`, `MaxBlurPool` and `BlurUnpool`."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Layer, Symmetry, rolled, shown
from faltung.nn.functional.definition import conv_by_taps
from faltung.nn.functional.polyphase import wrapped

_SOURCE = "Zhang, Making convolutional networks shift-invariant again (2019)"
FILTERS = ("binomial", "kaiser", "lanczos")
_POOLS = {1: nn.functional.max_pool1d, 2: nn.functional.max_pool2d, 3: nn.functional.max_pool3d}


def taps_of(filter: Any, size: int, stride: int) -> tuple[float, ...]:
    """The taps of a blur along one axis, with sum 1.

    Args:
        filter: `binomial`, Pascal's triangle; `kaiser` and `lanczos`, the ideal low-pass for that stride under a window; or taps.
    """
    if not isinstance(filter, str):
        taps = [float(t) for t in filter]
    elif filter == "binomial":
        taps = [float(math.comb(size - 1, k)) for k in range(size)]
    else:
        places = (np.arange(size) - (size - 1) / 2) / max(stride, 1)
        window = np.kaiser(size, 8.6) if filter == "kaiser" else np.sinc(2 * places * stride / (size + 1))
        taps = list(np.sinc(places) * window)
    total = sum(taps)
    return tuple(t / total for t in taps)


class BlurPool(Layer):
    """Sample with a stride after a small fixed blur, so that little of what the new grid cannot hold is folded into it.

    Formula: along each axis `y[i] = Σ over t < f of a[t] x[i·stride + t − ⌊(f − 1)/2⌋]`, a the taps with sum 1, for binomial ones
    a row of Pascal's triangle. One tap is plain sampling, two of a stride of 2 the mean of pairs. An even number of taps keeps the
    grid centred on signals of even size, an odd one moves it by half a sample.

    The blur belongs after the nonlinearity: directly after a convolution it is the same as before it, and only loses information.
    For the ideal filter see `IdealResample`.

    Shapes: input (batch, channels, *n), returns (batch, channels, *⌈n / stride⌉).

    Args:
        ndim: number of spatial axes.   stride: one number or one for each axis. Default 2.
        kernel_size: f, taps along each axis, at least 1. Default 4.
        filter: `binomial`, `kaiser`, `lanczos`, or a list of taps, which are divided by their sum. Default binomial.
        padding_mode: `reflect`, `circular`, `replicate`, `symmetric` or `zeros`; the first four keep constants. Default reflect.

    Raises:
        ArgumentError: settings that name no layer, taps of sum 0.   DtypeError: no tensor of floating numbers.

    Cost: separable, only at the samples that are kept: f / s + f / s² products an input value for two axes.
    Source: as below.

    Example:
        >>> BlurPool(1, kernel_size=3, padding_mode="circular")(torch.tensor([[[0.0, 1, 1, 1, 0, 1, 1, 1]]]))
        tensor([[[0.5000, 1.0000, 0.5000, 1.0000]]])
    """

    name = "blur-pool"
    summary = "sampling with a stride after a small blur"
    source = _SOURCE
    dims = (1, 2, 3, 4)
    neutral = torch.empty(0, dtype=torch.float64)
    cost = "about ndim · kernel_size"
    portrait = shown("photo", (1, 1, 96, 96), ndim=2, kernel_size=5)

    def __init__(
        self, ndim: int, stride: Any = 2, kernel_size: int = 4, filter: Any = "binomial", padding_mode: str = "reflect"
    ) -> None:
        super().__init__()
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        self.stride = functional.numbers("stride", stride, self.ndim, 1)
        if isinstance(filter, str) and filter not in FILTERS:
            raise ArgumentError.of(
                "BlurPool", f"a filter among {', '.join(FILTERS)} or a list of taps", repr(filter),
                "use IdealResample for the ideal one",
            )  # fmt: skip
        if not isinstance(filter, (str, list, tuple)) or not len(filter):
            raise ArgumentError.of("BlurPool", "the name of a filter or a list of taps", repr(filter), "use 'binomial'")
        (self.kernel_size,) = functional.numbers(
            "kernel_size", kernel_size if isinstance(filter, str) else len(filter), 1, 1
        )
        if not isinstance(filter, str) and not abs(sum(filter)) > 1e-12:
            raise ArgumentError.of("BlurPool", "taps whose sum is not 0", repr(filter), "a blur keeps constants")
        if padding_mode not in functional.BOUNDARY:
            words = ", ".join(functional.BOUNDARY)
            raise ArgumentError.of("padding_mode", f"one of {words}", repr(padding_mode), "choose one of these")
        self.filter, self.padding_mode = filter, padding_mode
        self.taps = tuple(taps_of(filter, self.kernel_size, s) for s in self.stride)

    @property
    def pads(self) -> tuple[int, int]:
        """The margin before and after along each axis."""
        return (self.kernel_size - 1) // 2, self.kernel_size // 2

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, self.ndim)
        y = input.reshape(-1, 1, *input.shape[2:])  # every channel is a signal of its own
        for axis, (taps, stride) in enumerate(zip(self.taps, self.stride, strict=True)):
            if self.kernel_size == 1:
                y = y[(slice(None),) * (2 + axis) + (slice(None, None, stride),)]
                continue
            shape, steps, margins = [1] * self.ndim, [1] * self.ndim, [(0, 0)] * self.ndim
            shape[axis], steps[axis], margins[axis] = self.kernel_size, stride, self.pads
            y = functional.conv(
                y, y.new_tensor(taps).reshape(1, 1, *shape), None, tuple(steps), tuple(margins), 1, 1, self.padding_mode
            )
        return y.reshape(*input.shape[:2], *y.shape[2:])

    def definition(self, *inputs: Any) -> Tensor:
        """One product of all axes' taps."""
        (x,) = inputs
        kernel = torch.ones((), dtype=torch.float64)
        for taps in self.taps:
            kernel = kernel[..., None] * torch.tensor(taps, dtype=torch.float64)
        flat = x.reshape(-1, 1, *x.shape[2:])
        settings = (self.stride, (self.pads,) * self.ndim, (1,) * self.ndim, 1, self.padding_mode)
        y = conv_by_taps(flat, kernel[None, None].to(x), None, *settings)
        return y.reshape(*x.shape[:2], *y.shape[2:])

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (*inputs[0][:2], *(-(-n // s) for n, s in zip(inputs[0][2:], self.stride, strict=True)))

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    def symmetries(self) -> Iterable[Symmetry]:
        if self.padding_mode == "circular" and len(set(self.stride)) == 1:
            yield rolled(self.stride[0], self.ndim, self.stride[0])

    def parameter_count(self) -> int:
        return 0

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "kernel_size": 3, "padding_mode": "circular"}, ((2, 2, 8),))
        yield Example({"ndim": 2}, ((2, 3, 6, 5),))
        yield Example({"ndim": 2, "stride": 3, "kernel_size": 1, "padding_mode": "circular"}, ((2, 2, 6, 9),))
        yield Example({"ndim": 2, "kernel_size": 6, "filter": "lanczos", "padding_mode": "replicate"}, ((1, 2, 7, 6),))
        yield Example(
            {"ndim": 3, "stride": (1, 2, 3), "filter": [1.0, 2.0, 1.0], "padding_mode": "zeros"}, ((1, 2, 3, 4, 5),)
        )
        yield Example({"ndim": 4, "kernel_size": 2, "filter": "kaiser"}, ((1, 1, 2, 4, 3, 2),))


class MaxBlurPool(BlurPool):
    """The largest value of a window at every place, and then a blur with a stride: max pooling that moves with the image.

    Formula: `BlurPool(max over the window at i)`, the window of `window` samples beginning `padding` before i.

    Shapes: input (batch, channels, *n), returns (batch, channels, *⌊(n + 2·padding − window) / stride⌋ + 1), as max pooling does.

    Args:
        window: of the maximum, one number for all axes. Default 2.   padding: of it, at most half the window. Default 0.
        ndim, stride, kernel_size, filter, padding_mode: see `BlurPool`; with `circular` the maximum, too, goes round and the
            result has n / stride samples, margins `padding` before and the rest behind.

    Raises:
        ArgumentError: settings that name no layer.

    Source: as below.

    Example:
        >>> layer = MaxBlurPool(1, kernel_size=3, padding_mode="circular")
        >>> layer(torch.tensor([[[0.0, 0, 1, 1, 0, 0, 1, 1]]]))
        tensor([[[0.5000, 1.0000, 0.5000, 1.0000]]])
    """

    name = "max-blur-pool"
    summary = "max pooling as a dense maximum and a blur with a stride"
    cost = "about ndim · kernel_size and Π window comparisons"
    portrait = shown("photo", (1, 1, 96, 96), ndim=2, window=3, padding=1)

    def __init__(
        self,
        ndim: int,
        window: int = 2,
        stride: Any = 2,
        padding: int = 0,
        kernel_size: int = 4,
        filter: Any = "binomial",
        padding_mode: str = "reflect",
    ) -> None:
        super().__init__(ndim, stride, kernel_size, filter, padding_mode)
        (self.window,), (self.padding,) = (
            functional.numbers("window", window, 1, 1),
            functional.numbers("padding", padding, 1, 0),
        )
        if 2 * self.padding > self.window:
            raise ArgumentError.of(
                "MaxBlurPool",
                "a padding of at most half the window",
                f"{padding} for {window}",
                "pad the signal itself",
            )

    def dense(self, input: Tensor) -> Tensor:
        """The maximum at every place."""
        margin = (self.padding,) * 2
        if self.padding_mode == "circular":
            input = wrapped(input, ((self.padding, self.window - 1 - self.padding),) * self.ndim)
            margin = (0, 0)
        if any(n + sum(margin) < self.window for n in input.shape[2:]):
            raise ArgumentError.of(
                "MaxBlurPool", f"a signal of at least one window of {self.window}", f"shape {tuple(input.shape)}",
                "use a smaller window",
            )  # fmt: skip
        if self.ndim in _POOLS:
            return _POOLS[self.ndim](input, self.window, 1, margin[0])
        found = nn.functional.pad(input, margin * self.ndim, value=-math.inf)
        for axis in range(2, 2 + self.ndim):
            found = found.unfold(axis, self.window, 1).amax(-1)
        return found

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, self.ndim)
        return super().forward(self.dense(input))

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        if self.padding_mode == "circular":
            last = self.window - 1 - self.padding
            for axis in range(2, 2 + self.ndim):
                moved = [x.roll(-t, axis) for t in range(-self.padding, last + 1)]
                x = torch.stack(moved).amax(0)
            return super().definition(x)
        x = nn.functional.pad(x, (self.padding,) * 2 * self.ndim, value=-math.inf)
        for axis in range(2, 2 + self.ndim):
            count = x.shape[axis] - self.window + 1
            x = torch.stack([x.narrow(axis, t, count) for t in range(self.window)]).amax(0)
        return super().definition(x)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        less = 0 if self.padding_mode == "circular" else self.window - 1 - 2 * self.padding
        return super().shapes((*inputs[0][:2], *(n - less for n in inputs[0][2:])))

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({PER_SAMPLE})

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "kernel_size": 3, "padding_mode": "circular"}, ((2, 2, 8),))
        yield Example({"ndim": 2, "window": 3, "padding": 1}, ((2, 3, 6, 5),))
        yield Example({"ndim": 3, "window": 2, "filter": [1.0, 1.0], "padding_mode": "replicate"}, ((1, 2, 3, 4, 5),))
        yield Example({"ndim": 4, "window": 2, "padding": 1, "kernel_size": 2}, ((1, 1, 2, 4, 3, 2),))


class BlurUnpool(Layer):
    """Enlarge by a stride and blur: what `BlurPool` is for encoders, for decoders and in place of transposed convolutions.

    Formula: `y = stride^ndim · blur(z)`, z[stride·i] = x[i] and 0 elsewhere; with `nearest`, `y = blur(z)`, z[i] = x[⌊i / stride⌋].
    Margins are circular: in a decoder the other boundaries are no symmetry of anything.

    Shapes: input (batch, channels, *n), returns (batch, channels, *stride·n).

    Args:
        ndim: number of spatial axes.   stride: one number or one for each axis. Default 2.
        kernel_size, filter: see `BlurPool`; the taps stand ⌊f / 2⌋ before and ⌊(f − 1)/2⌋ behind, as in its transpose.
        start: `zeros` or `nearest`. Default zeros.

    Raises:
        ArgumentError: settings that name no layer.

    Error: constants stay constants where the blur's taps of each phase have the same sum: binomial of at least `stride` taps for a
    stride of 2; `nearest` always.
    Source: as below.

    Example:
        >>> BlurUnpool(1, kernel_size=2)(torch.tensor([[[1.0, 3.0]]]))
        tensor([[[1., 1., 3., 3.]]])
    """

    name = "blur-unpool"
    summary = "enlarging by a stride, then a small blur"
    source = _SOURCE
    dims = (1, 2, 3, 4)
    neutral = torch.empty(0, dtype=torch.float64)
    cost = "about ndim · kernel_size"
    portrait = shown("impulses", (1, 1, 24, 24), ndim=2)

    def __init__(
        self, ndim: int, stride: Any = 2, kernel_size: int = 4, filter: Any = "binomial", start: str = "zeros"
    ) -> None:
        super().__init__()
        self.blur = BlurPool(ndim, 1, kernel_size, filter, "circular")
        self.ndim, self.kernel_size = self.blur.ndim, self.blur.kernel_size
        self.stride = functional.numbers("stride", stride, self.ndim, 1)
        if start not in ("zeros", "nearest"):
            raise ArgumentError.of("BlurUnpool", "a start of zeros or nearest", repr(start), "use 'zeros'")
        self.start = start
        self.taps = tuple(taps_of(filter, self.kernel_size, s) for s in self.stride)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, self.ndim)
        y = input.reshape(-1, 1, *input.shape[2:])
        for axis, (taps, stride) in enumerate(zip(self.taps, self.stride, strict=True), 2):
            if self.start == "nearest":
                y = y.repeat_interleave(stride, axis)
            else:
                rest = [torch.zeros_like(y)] * (stride - 1)
                y = torch.stack([y * stride, *rest], axis + 1).flatten(axis, axis + 1)
            shape, margins = [1] * self.ndim, [(0, 0)] * self.ndim
            shape[axis - 2], margins[axis - 2] = self.kernel_size, (self.kernel_size // 2, (self.kernel_size - 1) // 2)
            y = wrapped(y, tuple(margins))
            y = functional.conv(y, y.new_tensor(taps[::-1]).reshape(1, 1, *shape))
        return y.reshape(*input.shape[:2], *y.shape[2:])

    def definition(self, *inputs: Any) -> Tensor:
        """The sum of rolled copies of the enlarged signal."""
        (y,) = inputs
        for axis, (taps, stride) in enumerate(zip(self.taps, self.stride, strict=True), 2):
            at = torch.arange(y.shape[axis] * stride, device=y.device)
            near = y.index_select(axis, at // stride)
            column = [1] * y.ndim
            column[axis] = len(at)
            here = stride * (at % stride == 0).to(y.dtype).reshape(column)
            near = near if self.start == "nearest" else near * here
            before = self.kernel_size // 2
            y = sum(
                (a * near.roll(before - t, axis) for t, a in enumerate(reversed(taps))), start=torch.zeros_like(near)
            )
        return y

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (*inputs[0][:2], *(n * s for n, s in zip(inputs[0][2:], self.stride, strict=True)))

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    def symmetries(self) -> Iterable[Symmetry]:
        axes = tuple(range(-self.ndim, 0))
        yield Symmetry("shift by 1", lambda x: x.roll((1,) * self.ndim, axes), lambda y: y.roll(self.stride, axes))

    def parameter_count(self) -> int:
        return 0

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "stride": 3, "kernel_size": 5}, ((2, 2, 4),))
        yield Example({"ndim": 2}, ((2, 2, 3, 4),))
        yield Example({"ndim": 3, "stride": (1, 2, 2), "kernel_size": 3, "start": "nearest"}, ((1, 2, 2, 2, 3),))
        yield Example({"ndim": 4, "kernel_size": 2}, ((1, 1, 2, 1, 2, 2),))
