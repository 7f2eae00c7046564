"""Enlarging by interleaving: `SubPixelConv`, `PixelShuffleNd`, `PixelUnshuffleNd`."""

import math
from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from faltung import init
from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, ConvLayer, Example, Layer, Symmetry, shown
from faltung.nn.conv import Conv, ConvTranspose
from faltung.nn.functional.shuffle import adjoint_layout, checked, pixel_shuffle, pixel_unshuffle
from faltung.nn.moves import finer_shift
from faltung.planner import Policy

_SOURCE = "Shi et al., Real-time single image and video super-resolution using an efficient sub-pixel convolutional network (2016)"


class PixelShuffleNd(Layer):
    """Interleave channels as finer positions, in any number of dimensions.

    Formula, Shapes, Raises: see `faltung.nn.functional.pixel_shuffle`.

    Args:
        scale: whole numbers of at least 1, one for all spatial axes or one for each.   order: `torch` or `tf`. Default torch.

    Returns: a tensor (batch, channels / Π scale, *scale·n).

    Source: as below.

    Example:
        >>> PixelShuffleNd((1, 2, 2))(torch.zeros(1, 8, 3, 4, 5)).shape
        torch.Size([1, 2, 3, 8, 10])
    """

    name = "pixel-shuffle"
    summary = "channels interleaved as finer positions"
    source = _SOURCE
    cost = "none"
    portrait = shown("photo", (1, 4, 48, 48), scale=(2, 2))

    inverted = False

    def __init__(self, scale: Any, order: str = "torch") -> None:
        super().__init__()
        many = len(scale) if isinstance(scale, (tuple, list)) else 1
        self.steps = functional.numbers("scale", scale, many, 1)
        self.order, self.ndim = checked(order), many if isinstance(scale, (tuple, list)) else None

    @property
    def scale(self) -> Any:
        """What the functions take: one number for all axes or one for each."""
        return self.steps[0] if self.ndim is None else self.steps

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, self.ndim)
        return (pixel_unshuffle if self.inverted else pixel_shuffle)(input, self.scale, self.order)

    def inverse(self, output: Tensor) -> Tensor:
        """The input of a result."""
        return (pixel_shuffle if self.inverted else pixel_unshuffle)(output, self.scale, self.order)

    def definition(self, *inputs: Any) -> Tensor:
        """One phase after the other."""
        (x,) = inputs
        y = x.new_empty(self.shapes(x.shape))
        fine = x if self.inverted else y
        steps = functional.numbers("scale", self.scale, x.ndim - 2, 1)
        many, channels = math.prod(steps), fine.shape[1]
        for phase in range(many):
            rest = phase
            start: list[int] = []
            for s in reversed(steps):
                start.insert(0, rest % s)
                rest //= s
            at = (..., *(slice(a, None, s) for a, s in zip(start, steps, strict=True)))
            own = slice(phase, None, many) if self.order == "torch" else slice(phase * channels, (phase + 1) * channels)
            if self.inverted:
                y[:, own] = x[at]
            else:
                y[at] = x[:, own]
        return y

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        batch, channels, *sizes = inputs[0]
        steps = functional.numbers("scale", self.scale, len(sizes), 1)
        if self.inverted:
            return (batch, channels * math.prod(steps), *(n // s for n, s in zip(sizes, steps, strict=True)))
        return (batch, channels // math.prod(steps), *(n * s for n, s in zip(sizes, steps, strict=True)))

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE, "norm-preserving", "invertible"})

    def gain(self) -> float:
        return 1.0

    def parameter_count(self) -> int:
        return 0

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"scale": 3}, ((2, 6, 4),))
        yield Example({"scale": 2, "order": "tf"}, ((2, 8, 3, 2),))
        yield Example({"scale": (1, 2, 3)}, ((1, 12, 2, 3, 2),))
        yield Example({"scale": 2}, ((1, 16, 1, 2, 2, 1),))


class PixelUnshuffleNd(PixelShuffleNd):
    """Gather finer positions into channels: the inverse of `PixelShuffleNd`.

    Formula, Shapes, Raises: see `faltung.nn.functional.pixel_unshuffle`.

    Args: as for `PixelShuffleNd`.

    Returns: a tensor (batch, channels · Π scale, *n / scale).

    Source: as below.

    Example:
        >>> PixelUnshuffleNd(2)(torch.zeros(1, 2, 6, 8)).shape
        torch.Size([1, 8, 3, 4])
    """

    name = "pixel-unshuffle"
    summary = "finer positions gathered into channels"
    portrait = shown("photo", (1, 1, 96, 96), scale=(2, 2))

    inverted = True

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"scale": 3}, ((2, 2, 6),))
        yield Example({"scale": 2, "order": "tf"}, ((2, 3, 4, 2),))
        yield Example({"scale": (1, 2, 3)}, ((1, 2, 2, 4, 3),))
        yield Example({"scale": 2}, ((1, 1, 2, 2, 4, 2),))


def draw_copies(weight: Tensor, bias: Tensor | None, copies: int, order: str = "torch") -> None:
    """Draw kernels and constants from torch's distribution, the same for so many channels that are interleaved."""
    init.icnr_(weight, copies, order)
    if bias is not None:
        bound = math.prod(weight.shape[1:]) ** -0.5
        init.icnr_(bias, copies, order, lambda b: nn.init.uniform_(b, -bound, bound))


class SubPixelConv(ConvLayer):
    """Enlarge by a convolution to `Π scale` times as many channels, which are then interleaved as finer positions.

    Formula: `y = pixel_shuffle(conv(x))`. The same as a transposed convolution with kernels of `kernel_size·scale` taps and a
    stride of `scale` (`to_transposed`), but computed on the coarse positions.

    Shapes: input (batch, in, *n), returns (batch, out, *scale·m), m the sizes of the convolution (n with padding same); weight
    (out·Π scale, in / groups, *kernel_size), bias (out·Π scale).

    Args:
        ndim: number of spatial axes, at least 1.   in_channels, out_channels: at least 1.
        kernel_size: taps on the coarse positions.   scale: whole numbers of at least 1, one for all spatial axes or one for each.
        order: of the interleaved channels, `torch` or `tf` (the paper's; without groups). Default torch.
        init: `icnr`, which starts as an enlargement by nearest neighbours, or `uniform` as torch. Default icnr.
        padding: as for `faltung.nn.functional.conv`. Default same.
        stride, dilation, groups, padding_mode, policy: see there.   bias: whether constants are learnt. Default True.
        device, dtype: of the parameters.

    Returns: the enlarged signal.

    Raises:
        ArgumentError: settings that name no layer.

    Cost: that of the convolution on coarse positions, and one pass. The transposed form took 0.75 to 20 times as long forwards,
    longest for few channels and small kernels, and gained little where it gained; so this form is always the one that runs.

    Source: as below; first values by Aitken et al. (2017).

    Example:
        >>> SubPixelConv(2, 8, 3, 3, scale=2)(torch.zeros(1, 8, 5, 6)).shape
        torch.Size([1, 3, 10, 12])
    """

    name = "sub-pixel-conv"
    summary = "a convolution on coarse positions whose channels are interleaved as finer ones"
    source = _SOURCE
    cost = "in / groups · Π kernel_size"
    portrait = shown("impulses photo", (1, 1, 24, 24), ndim=2, in_channels=1, out_channels=1, kernel_size=5, scale=2)

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        scale: Any,
        order: str = "torch",
        init: str = "icnr",
        stride: Any = 1,
        padding: Any = "same",
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.settle(
            ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode, policy
        )
        self.scale, self.order = functional.numbers("scale", scale, self.ndim, 1), checked(order)
        if init not in ("icnr", "uniform"):
            raise ArgumentError.of("init", "icnr or uniform", repr(init), "choose one of these")
        if self.groups > 1 and order == "tf":
            raise ArgumentError.of(
                type(self).__name__, "one group with the order tf", f"{groups} groups", "use the order torch"
            )  # fmt: skip
        self.init = init
        factory = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(torch.empty(self.weight_shape, **factory))
        self.bias = nn.Parameter(torch.empty(self.weight_shape[0], **factory)) if bias else None
        self.reset_parameters()

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return (self.out_channels * math.prod(self.scale), self.in_channels // self.groups, *self.kernel_size)

    def reset_parameters(self) -> None:
        """Draw parameters from torch's distribution, one kernel and constant for all interleaved channels with icnr."""
        draw_copies(self.weight, self.bias, math.prod(self.scale) if self.init == "icnr" else 1, self.order)

    def kernel(self) -> Tensor:
        return self.weight

    def definition_kernel(self) -> Tensor:
        return self.weight

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim)
        return pixel_shuffle(super().forward(input), self.scale, self.order)

    def definition(self, *inputs: Any) -> Tensor:
        return PixelShuffleNd(self.scale, self.order).definition(super().definition(*inputs))

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        batch, channels, *sizes = super().shapes(*inputs)
        return (batch, channels, *(n * s for n, s in zip(sizes, self.scale, strict=True)))

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    def symmetries(self) -> Iterable[Symmetry]:
        if self.padding_mode == "circular" and self.padding == "same":
            yield finer_shift(self.scale)

    def parameter_count(self) -> int:
        return math.prod(self.weight_shape) + (0 if self.bias is None else self.weight_shape[0])

    def freeze(self) -> nn.Module:
        """The plain convolution, torch's where there is one, and the shuffle behind it."""
        settings = (self.kernel_size, self.stride, self.padding, self.dilation, self.groups, self.bias is not None)
        plain = Conv(
            self.ndim, self.in_channels, self.weight_shape[0], *settings, self.padding_mode, "meta", policy=self.policy
        )
        plain.weight, plain.bias = self.weight, self.bias
        return nn.Sequential(plain.freeze(), PixelShuffleNd(self.scale, self.order)).train(self.training)

    # -- the transposed form -------------------------------------------------------------------------------------------

    def to_transposed(self) -> ConvTranspose:
        """The transposed convolution with the same result: stride `scale`, kernels of `scale·kernel_size` taps.

        Formula: tap `a + r·(k − 1 − t)` of its kernel is tap t of phase a, its padding `r·(k − 1 − padding)`.

        Raises:
            ArgumentError: strides, margins that are not zeros, wider than the kernel or of two widths, or constants that differ
                between interleaved channels: no transposed convolution does that.
        """
        who = f"{type(self).__name__}.to_transposed"
        spans = [d * (t - 1) + 1 for t, d in zip(self.kernel_size, self.dilation, strict=True)]
        wide = any(lo != hi or lo >= span for (lo, hi), span in zip(self.pads, spans, strict=True))
        if set(self.stride) != {1} or self.padding_mode != "zeros" or wide:
            raise ArgumentError.of(
                who, "a stride of 1 and margins of zeros, equal and narrower than the kernel",
                f"stride {self.stride}, margins {self.pads} of {self.padding_mode}", "change these settings",
            )  # fmt: skip
        bias = None
        if self.bias is not None:
            phases = self._phases(self.bias)
            bias = phases.flatten(1)[:, 0]
            if not (phases.flatten(1) == bias[:, None]).all():
                raise ArgumentError.of(
                    who,
                    "one constant for all interleaved channels",
                    "constants that differ",
                    "use bias=False, or average them",
                )
        weight = self._phases(self.weight)  # (out, *scale, in, *k)
        for a, (r, t, d, span) in enumerate(zip(self.scale, self.kernel_size, self.dilation, spans, strict=True)):
            # The axes of phase and tap become one of r · span places; after a turns, a of them are at the end.
            weight = weight.movedim((1, 2 + self.ndim - a), (-2, -1)).flatten(-2)
            place = torch.arange(r * span, device=weight.device)
            tap, phase = span - 1 - place // r, place % r
            index = torch.where(tap % d == 0, phase * t + tap // d, r * t)
            weight = nn.functional.pad(weight, (0, 1)).index_select(-1, index)
        kernel = adjoint_layout(weight, self.groups)  # (in, out / groups, *taps)
        padding = tuple(r * (span - 1 - lo) for r, span, (lo, _) in zip(self.scale, spans, self.pads, strict=True))
        made = ConvTranspose(
            self.ndim, self.in_channels, self.out_channels, tuple(kernel.shape[2:]), self.scale, padding, groups=self.groups,
            bias=bias is not None, device="meta", policy=self.policy,
        )  # fmt: skip
        made.weight = nn.Parameter(kernel.detach().clone())
        made.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        return made.train(self.training)

    def _phases(self, values: Tensor) -> Tensor:
        """The first axis of a kernel or bias split into (out, *scale)."""
        if self.order == "torch":
            return values.unflatten(0, (self.out_channels, *self.scale))
        return values.unflatten(0, (*self.scale, self.out_channels)).movedim(self.ndim, 0)

    @classmethod
    def from_transposed(cls, layer: nn.Module, order: str = "torch", policy: Policy | None = None) -> Self:
        """The sub-pixel convolution with the same result as a transposed convolution, ours or torch's.

        Raises:
            ArgumentError: margins that are not zeros, or results whose sizes the stride does not divide.
        """
        if not isinstance(layer, ConvTranspose):
            layer = ConvTranspose.from_torch(layer)
        who, ndim = f"{cls.__name__}.from_transposed", layer.ndim
        if layer.padding_mode != "zeros":
            raise ArgumentError.of(who, "margins of zeros", layer.padding_mode, "keep the transposed convolution")
        weight = adjoint_layout(layer.weight.detach(), layer.groups)  # (out, in, *taps)
        padding, taps = [], []
        settings = (layer.stride, [lo for lo, _ in layer.pads], layer.kernel_size, layer.dilation, layer.output_padding)
        for r, pad, t, d, more in zip(*settings, strict=True):
            span = d * (t - 1) + 1
            if (r + 2 * pad - span - more) % r:
                raise ArgumentError.of(
                    who, f"results of a multiple of {r} samples", f"kernel {t}, padding {pad}, output_padding {more}",
                    "change padding or output_padding",
                )  # fmt: skip
            extra, first, last = (r + 2 * pad - span - more) // r, -((span - 1 - pad) // r), (r - 1 + pad) // r
            padding.append(max(0, -first, last - extra))
            taps.append(2 * padding[-1] + 1 + extra)
            phase, tap = torch.arange(r)[:, None], torch.arange(taps[-1])
            place = phase + pad - r * (tap - padding[-1])
            index = torch.where((place >= 0) & (place < span) & (place % d == 0), place // d, t).to(weight.device)
            axis = weight.select(2, 0).new_zeros(1)  # a tap of zeros behind the others
            weight = torch.cat((weight, axis.expand(*weight.shape[:2], 1, *weight.shape[3:])), 2)
            weight = weight.index_select(2, index.flatten()).movedim(2, -1).unflatten(-1, (r, taps[-1]))
            # Phases gather behind, then taps: (out, in, *rest, phase, tap, ...) is brought into order at the end.
        order_of = [2 + 2 * a for a in range(ndim)], [3 + 2 * a for a in range(ndim)]
        phases = (0, *order_of[0]) if order == "torch" else (*order_of[0], 0)
        weight = weight.permute(*phases, 1, *order_of[1]).flatten(0, ndim)
        made = cls(
            ndim, layer.in_channels, layer.out_channels, tuple(taps), layer.stride, order, padding=tuple(padding),
            groups=layer.groups, bias=layer.bias is not None, device="meta", policy=policy or layer.policy,
        )  # fmt: skip
        made.weight = nn.Parameter(weight.contiguous())
        if layer.bias is not None:
            many = math.prod(layer.stride)
            bias = layer.bias.detach()
            made.bias = nn.Parameter(bias.repeat_interleave(many) if order == "torch" else bias.repeat(many))
        return made.train(layer.training)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "in_channels": 2, "out_channels": 2, "kernel_size": 3, "scale": 3}, ((2, 2, 5),))
        common = {"in_channels": 2, "kernel_size": 3, "padding_mode": "circular"}
        yield Example({"ndim": 2, **common, "out_channels": 3, "scale": (2, 3), "order": "tf"}, ((2, 2, 4, 3),))
        more = {"stride": 2, "padding": 1, "groups": 2, "init": "uniform"}
        yield Example({"ndim": 2, **common, "out_channels": 2, "scale": 2, **more}, ((1, 2, 5, 4),))
        small = {"in_channels": 1, "out_channels": 1, "kernel_size": 2, "scale": 2, "padding": 1, "bias": False}
        yield Example({"ndim": 3, **small, "dilation": 2}, ((1, 1, 2, 3, 2),))
        yield Example({"ndim": 4, **small}, ((1, 1, 2, 1, 2, 2),))
