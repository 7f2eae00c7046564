"""QuasilinearBlock and ChannelSphere: a residual network of products only, whose weights a continuous group moves for free."""

import math
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, Symmetry, rolled, shown
from faltung.nn.branches.merging import AnyBatchNorm
from faltung.nn.conv import Conv
from faltung.nn.functional.definition import conv_by_taps
from faltung.nn.moves import orthogonal, turned_channels
from faltung.planner import Policy

SOURCE = "Liu et al., A novel convolutional neural network architecture with a continuous symmetry (2023)"


class QuasilinearBlock(Layer):
    """A residual block without activations: two halves of a wide map are multiplied, as a quasilinear equation multiplies u by ∇u.

    Formula: `(a, b) = BN(A x)`, `y = skip(x) + BN(C BN(D ∗ (a ⊙ b)))`: A mixes channels to 2w, D is depthwise with two filters for
    each of w channels, C mixes 2w to the result; w = expand · in. Nothing acts on a single channel of x, so
    x ↦ Qx for any invertible Q is a change of A and C only: see `faltung.tools.transform_weights`.

    Shapes: input (batch, channels, *n), returns (batch, out, *⌈n / stride⌉).

    Args:
        ndim: number of spatial axes, 1 to 4.   channels: of the input, at least 1.
        expand: w / channels. Default None: 4 up to 128 channels, 2 above.
        out_channels: Default None: as the input.   stride: of D. Default 1. With a stride or other channels the skip is a strided
            convolution of one tap with a norm.
        kernel_size: odd taps of D. Default 3.
        norm: whether there are batch norms. Default True; without, convolutions have biases.
        device, dtype, policy: see `Conv`.

    Raises:
        ArgumentError: settings that name no block.

    Error: values grow as squares. Halves are multiplied and filtered as float32, where products of 300 no longer overflow.
    Untrained running statistics do not hold products in bounds: train or calibrate before evaluation.
    Cost: as an inverted bottleneck: expand · (2 · in + 2 · Π kernel_size + 2 · out) for each channel and place.
    Source: Liu et al., A novel convolutional neural network architecture with a continuous symmetry (2023).

    Example:
        >>> QuasilinearBlock(2, 16)(torch.zeros(1, 16, 8, 8)).shape
        torch.Size([1, 16, 8, 8])
    """

    name = "quasilinear-block"
    summary = "a residual block of products instead of activations, whose weights a continuous group moves"
    source = SOURCE
    dims = (1, 2, 3, 4)
    cost = "expand · (2 · channels + 2 · Π kernel_size + 2 · out_channels)"
    portrait = shown("stirred field photo", (1, 8, 96, 96), ndim=2, channels=8)

    def __init__(
        self,
        ndim: int,
        channels: int,
        expand: int | None = None,
        out_channels: int | None = None,
        stride: int = 1,
        kernel_size: Any = 3,
        norm: bool = True,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        out = channels if out_channels is None else out_channels
        self.ndim, self.channels, self.out_channels, self.stride = functional.numbers(
            "ndim, channels, out_channels, stride", (ndim, channels, out, stride), 4, 1
        )
        (self.expand,) = functional.numbers(
            "expand", (4 if self.channels <= 128 else 2) if expand is None else expand, 1, 1
        )
        self.kernel_size = functional.numbers("kernel_size", kernel_size, self.ndim, 1)
        if any(not t % 2 for t in self.kernel_size):
            raise ArgumentError.of("QuasilinearBlock", "odd numbers of taps", repr(kernel_size), "add one")
        if not isinstance(norm, bool):
            raise ArgumentError.of("norm", "True or False", repr(norm), "leave it out for True")
        self.normed, self.wide = norm, self.expand * self.channels
        factory = {"device": device, "dtype": dtype}
        usual = {"bias": not norm, "policy": policy, **factory}
        padding = tuple(t // 2 for t in self.kernel_size)
        self.first = Conv(ndim, self.channels, 2 * self.wide, 1, **usual)
        self.mix = Conv(
            ndim, self.wide, 2 * self.wide, self.kernel_size, self.stride, padding, groups=self.wide, **usual
        )
        self.last = Conv(ndim, 2 * self.wide, self.out_channels, 1, **usual)
        self.skip: Conv | None = None
        if self.stride > 1 or self.out_channels != self.channels:
            self.skip = Conv(ndim, self.channels, self.out_channels, 1, self.stride, **usual)
        names = ["first", "mix", "last", *(["skip"] if self.skip is not None else [])]
        sizes = {"first": 2 * self.wide, "mix": 2 * self.wide, "last": self.out_channels, "skip": self.out_channels}
        self.norms = nn.ModuleDict({n: AnyBatchNorm(sizes[n], **factory) for n in names} if norm else {})

    def _normed(self, name: str, x: Tensor) -> Tensor:
        return self.norms[name](x) if name in self.norms else x

    def branch(self, input: Tensor) -> Tensor:
        """What is added to the skip: without norms and biases a polynomial of degree 2 without terms of other degrees."""
        both = self._normed("first", self.first(input))
        kind = input.device.type
        half = both.dtype in (torch.float16, torch.bfloat16)
        wide = torch.autocast(kind, enabled=False) if half and torch.amp.is_autocast_available(kind) else nullcontext()
        with wide:
            a, b = (both.float() if half else both).chunk(2, 1)
            weight, bias = (None if p is None else p.to(a.dtype) for p in (self.mix.weight, self.mix.bias))
            mixed = functional.conv(
                a * b, weight, bias, self.stride, self.mix.padding, 1, self.wide, policy=self.mix.policy
            )
            mixed = self._normed("mix", mixed)
        return self._normed("last", self.last(mixed.to(self.last.weight.dtype)))

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, self.ndim)
        short = input if self.skip is None else self._normed("skip", self.skip(input))
        return short + self.branch(input)

    @torch.no_grad()
    def fold(self) -> Self:
        """A copy of the block with its norms, as they are in evaluation, in weights and biases of the convolutions."""
        made = type(self)(
            self.ndim, self.channels, self.expand, self.out_channels, self.stride, self.kernel_size, False,
            self.first.weight.device, self.first.weight.dtype, self.first.policy,
        )  # fmt: skip
        for name in ("first", "mix", "last", *(["skip"] if self.skip is not None else [])):
            old, new = getattr(self, name), getattr(made, name)
            weight, bias = old.weight, old.bias
            if name in self.norms:
                weight, bias = folded(weight, bias, self.norms[name])
            new.weight.copy_(weight)
            new.bias.copy_(bias)
        return made.train(self.training)

    def definition(self, *inputs: Any) -> Tensor:
        """Tap by tap, by running statistics."""
        (x,) = inputs
        ones = (1,) * self.ndim

        def step(name: str, z: Tensor) -> Tensor:
            conv: Any = getattr(self, name)
            margins = tuple((t // 2, t // 2) for t in conv.kernel_size)
            y = conv_by_taps(z, conv.weight, conv.bias, conv.stride, margins, ones, conv.groups)
            if not self.normed:
                return y
            norm = self.norms[name]
            mean, var, scale, offset = (
                v.reshape(-1, *ones) for v in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
            )
            return (y - mean) / (var + norm.eps).sqrt() * scale + offset

        both = step("first", x)
        product = torch.stack([both[:, k] * both[:, k + self.wide] for k in range(self.wide)], 1)
        return (x if self.skip is None else step("skip", x)) + step("last", step("mix", product))

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], self.out_channels, *(-(-n // self.stride) for n in inputs[0][2:]))

    def parameter_count(self) -> int:
        c, w, o = self.channels, self.wide, self.out_channels
        rows = 4 * w + o + (0 if self.skip is None else o)
        return 2 * w * c + 2 * w * math.prod(self.kernel_size) + 2 * w * o + (0 if self.skip is None else c * o) + (
            2 * rows if self.normed else rows
        )  # fmt: skip

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 2, "channels": 2, "expand": 2}, ((2, 2, 3, 4),))
        yield Example({"ndim": 1, "channels": 2, "out_channels": 3, "stride": 2, "norm": False}, ((1, 2, 5),))
        yield Example({"ndim": 1, "channels": 1, "stride": 2, "kernel_size": 5, "expand": 1}, ((2, 1, 6),))


class ChannelSphere(Layer):
    """Every place's channels rescaled to one length: what keeps products in bounds and lets orthogonal maps pass.

    Formula: `y(p) = radius·x(p) / ‖x(p)‖`, 0 where x(p) is 0; radius √channels where none is given.

    Shapes: input (batch, channels, *n), returns the same.

    Args:
        radius: above 0. Default None: √channels.

    Raises:
        ArgumentError: another radius.

    Error: commutes with orthogonal maps of the channels only. Its derivative at 0 is 0.
    Source: Liu et al., A novel convolutional neural network architecture with a continuous symmetry (2023), as "hardball".

    Example:
        >>> ChannelSphere()(torch.tensor([3.0, 4.0]).reshape(1, 2, 1)).flatten()
        tensor([0.8485, 1.1314])
    """

    name = "channel-sphere"
    summary = "the channels of every place rescaled to one length"
    source = SOURCE
    cost = "2"

    def __init__(self, radius: float | None = None) -> None:
        super().__init__()
        if radius is not None and not 0 < radius < math.inf:
            raise ArgumentError.of("ChannelSphere", "a radius above 0", repr(radius), "leave it out for √channels")
        self.radius = None if radius is None else float(radius)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, None)
        if input.ndim < 2:
            raise ArgumentError.of(
                "ChannelSphere", "an input (batch, channels, *n)", f"{tuple(input.shape)}", "add axes"
            )
        # By the largest first: squares of what the dtype holds may overflow, or vanish.
        largest = input.abs().amax(1, keepdim=True)
        there = largest > 0
        x = input / torch.where(there, largest, 1)
        square = (x.abs() ** 2).sum(1, keepdim=True)
        radius = math.sqrt(input.shape[1]) if self.radius is None else self.radius
        return x * (radius * torch.where(there, square, 1).rsqrt())

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        norm = sum(p.abs() ** 2 for p in x.unbind(1)) ** 0.5
        return x / norm.unsqueeze(1) * (x.shape[1] ** 0.5 if self.radius is None else self.radius)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        return 0

    def symmetries(self) -> Iterable[Symmetry]:
        yield rolled(1, 1)
        yield Symmetry("channels negated", lambda x: -x, lambda y: -y)

    def random_symmetries(self, random: np.random.Generator) -> Iterable[Symmetry]:
        yield from super().random_symmetries(random)
        seed = int(random.integers(2**31))

        def turned(x: Tensor) -> Tensor:
            return turned_channels(x, orthogonal(x.shape[1], seed))

        yield Symmetry("an orthogonal map of the channels", turned, turned)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({}, ((2, 3, 4),))
        yield Example({"radius": 2.0}, ((1, 2, 3, 2),))


def folded(weight: Tensor, bias: Tensor | None, norm: Any) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with the batch norm behind it, by its running statistics."""
    scale = torch.rsqrt(norm.running_var + norm.eps)
    scale = scale if norm.weight is None else scale * norm.weight
    shift = 0 if norm.bias is None else norm.bias
    start = -norm.running_mean if bias is None else bias - norm.running_mean
    return weight * scale.reshape(-1, *[1] * (weight.ndim - 1)), start * scale + shift


def quasilinear_network(
    in_channels: int = 3,
    classes: int = 100,
    widths: tuple[int, ...] = (64, 128, 256),
    blocks: tuple[int, ...] = (2, 2, 2),
    patch: int = 4,
    ndim: int = 2,
    expand: int | None = None,
) -> nn.Sequential:
    """A classifier of quasilinear blocks: patches, stages that end on a sphere, the mean over places, scores.

    Args:
        in_channels, classes: at least 1.   widths: channels of the stages.   blocks: of each stage, the strided first one included.
        patch: size and stride of the first convolution. Default 4.   ndim: spatial axes, 1 to 3. Default 2.
        expand: of the blocks, see `QuasilinearBlock`.

    Returns:
        A torch.nn.Sequential from (batch, in_channels, *n) to (batch, classes), whose weights `faltung.tools.transform_weights` can
        move.

    Raises:
        ArgumentError: as many blocks as stages are needed.

    Source: Liu et al., A novel convolutional neural network architecture with a continuous symmetry (2023).

    Example:
        >>> quasilinear_network(1, 10, (8, 16), (1, 2), patch=2)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """
    if len(widths) != len(blocks) or not widths or min(blocks) < 1 or not 1 <= ndim <= 3:
        raise ArgumentError.of(
            "quasilinear_network", "a number of blocks for every width, 1 to 3 axes", f"{blocks!r} for {widths!r}, {ndim!r}",
            "give lists of one length",
        )  # fmt: skip
    body: list[nn.Module] = [Conv(ndim, in_channels, widths[0], patch, patch, bias=False), AnyBatchNorm(widths[0])]
    before = widths[0]
    for stage, (width, many) in enumerate(zip(widths, blocks, strict=True)):
        for block in range(many):
            body.append(QuasilinearBlock(ndim, before, expand, width, 2 if stage and not block else 1))
            before = width
        body.append(ChannelSphere())
    pool = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[ndim - 1]
    return nn.Sequential(*body, pool(1), nn.Flatten(), nn.Linear(before, classes))
