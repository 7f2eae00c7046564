"""AxisConv: a block of one-dimensional convolutions, one along each axis, side by side or one after the other."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, Symmetry, rolled, shown
from faltung.nn.conv import Conv
from faltung.nn.functional.definition import conv_by_taps
from faltung.planner import Policy


class AxisConv(Layer):
    """Convolutions along single axes, such as time and frequency of a spectrogram, each with BatchNorm and ReLU.

    Formula: with f_a = ReLU ∘ BatchNorm ∘ convolution along axis a: parallel `y = f(concatenation of all f_a(x))`, f with 1 × 1
    taps; interleaved `y = (... ∘ f_1 ∘ f_0)(x)`.

    Shapes: input (batch, in, *n), returns (batch, out, *m) with `m = ⌊(n − 1) / stride⌋ + 1`.

    Args:
        ndim: number of spatial axes, at least 1.   in_channels, out_channels: at least 1, multiples of groups.
        kernel_size: taps along each axis, odd, one number for all or one for each. Default 3.
        mode: parallel or interleaved. Default parallel.
        axes: "all", or a tuple of spatial axes in the order in which they take their turns. Default "all".
        stride, dilation, groups, padding_mode, policy: of the convolutions along axes, see `faltung.nn.functional.conv`. In turn,
            each convolution takes its own axis' stride, the last also that of axes without one.
        bias: whether convolutions have a bias in front of the norm, which takes it away again in training. Default False.
        eps: of the norms, above 0. Default 1e-5.
        device, dtype: of the parameters. Default: torch's.

    There is no padding: margins of half the taps keep the size.

    Raises:
        ArgumentError: an even kernel, or settings that name no layer.

    Example:
        >>> AxisConv(2, 1, 8, stride=2).eval()(torch.zeros(1, 1, 9, 12)).shape
        torch.Size([1, 8, 5, 6])
    """

    name = "axis-conv"
    summary = "convolutions along single axes, in parallel or in turn, with batch norm"
    source = "Abdelnour, Rouat and Salvi, NAAQA: a neural architecture for acoustic question answering (2023)"
    cost = "in / groups · Σ kernel_size + axes · out in parallel, and (in + (axes − 1) · out) / groups · kernel_size in turn"
    portrait = shown("field photo", (1, 1, 96, 96), ndim=2, in_channels=1, out_channels=2, kernel_size=9)
    dims = (1, 2, 3, 4)

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Any = 3,
        mode: str = "parallel",
        axes: Any = "all",
        stride: Any = 1,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = False,
        padding_mode: str = "zeros",
        eps: float = 1e-5,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        self.stride = functional.numbers("stride", stride, self.ndim, 1)
        taps = functional.numbers("kernel_size", kernel_size, self.ndim, 1)
        spread = functional.numbers("dilation", dilation, self.ndim, 1)
        if any(t % 2 == 0 for t in taps):
            raise ArgumentError.of("AxisConv", "an odd kernel_size", repr(kernel_size), "take the next odd number")
        if mode not in ("parallel", "interleaved"):
            raise ArgumentError.of("AxisConv", "mode parallel or interleaved", repr(mode), "choose one of these")
        given = tuple(axes) if isinstance(axes, (tuple, list)) else axes
        turns = tuple(range(self.ndim)) if given == "all" else given
        if not isinstance(turns, tuple) or not turns or not all(type(a) is int and 0 <= a < self.ndim for a in turns):
            raise ArgumentError.of(
                "AxisConv",
                f'axes "all" or a tuple of axes from 0 to {self.ndim - 1}',
                repr(axes),
                "write (0,) or the like",
            )
        if isinstance(eps, bool) or not isinstance(eps, (int, float)) or not 0 < eps < math.inf:
            raise ArgumentError.of("AxisConv", "eps above 0", repr(eps), "leave it out for 1e-5")
        self.mode, self.axes, self.in_channels, self.out_channels = mode, turns, in_channels, out_channels
        factory = {"device": device, "dtype": dtype}
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for turn, axis in enumerate(turns):
            alone = tuple(a == axis for a in range(self.ndim))
            steps = self.stride
            if mode == "interleaved":
                late = turn == len(turns) - 1
                steps = tuple(
                    s if (a == axis and axis not in turns[turn + 1 :]) or (late and a not in turns) else 1
                    for a, s in enumerate(self.stride)
                )
            self.convs.append(
                Conv(
                    self.ndim, in_channels if mode == "parallel" or turn == 0 else out_channels, out_channels,
                    tuple(t if own else 1 for t, own in zip(taps, alone, strict=True)), steps,
                    tuple(d * (t // 2) if own else 0 for t, d, own in zip(taps, spread, alone, strict=True)),
                    tuple(d if own else 1 for d, own in zip(spread, alone, strict=True)),
                    groups, bias, padding_mode, policy=policy, **factory,
                )
            )  # fmt: skip
        if mode == "parallel":
            self.convs.append(
                Conv(self.ndim, len(turns) * out_channels, out_channels, 1, bias=bias, policy=policy, **factory)
            )
        for _ in self.convs:
            self.norms.append(nn.BatchNorm1d(out_channels, eps, **factory))

    def _stage(self, n: int, x: Tensor) -> Tensor:
        """Convolution, norm and ReLU; the norm sees all positions as one axis, so it knows every dimension."""
        y = self.convs[n](x)
        return self.norms[n](y.flatten(2)).relu().reshape(y.shape)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim)
        if self.mode == "parallel":
            *along, last = range(len(self.convs))
            return self._stage(last, torch.cat([self._stage(n, input) for n in along], 1))
        for n in range(len(self.convs)):
            input = self._stage(n, input)
        return input

    def definition(self, *inputs: Any) -> Tensor:
        """In evaluation mode, with the running statistics."""

        def stage(n: int, x: Tensor) -> Tensor:
            conv, norm = self.convs[n], self.norms[n]
            settings = (conv.stride, conv.pads, conv.dilation, conv.groups, conv.padding_mode)
            y = conv_by_taps(x, conv.weight, conv.bias, *settings).movedim(1, -1)
            y = (y - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
            return (y * (y > 0)).movedim(-1, 1)

        (x,) = inputs
        if self.mode == "parallel":
            return stage(len(self.axes), torch.cat([stage(n, x) for n in range(len(self.axes))], 1))
        for n in range(len(self.axes)):
            x = stage(n, x)
        return x

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        batch, _, *sizes = inputs[0]
        return (batch, self.out_channels, *((n - 1) // s + 1 for n, s in zip(sizes, self.stride, strict=True)))

    def parameter_count(self) -> int:
        return sum(conv.parameter_count() + 2 * self.out_channels for conv in self.convs)

    def symmetries(self) -> Iterable[Symmetry]:
        if self.convs[0].padding_mode == "circular" and set(self.stride) == {1}:
            yield rolled(1, self.ndim)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        common = {"in_channels": 2, "out_channels": 4}
        yield Example({"ndim": 2, **common}, ((2, 2, 4, 3),))
        yield Example(
            {"ndim": 2, **common, "mode": "interleaved", "axes": (1, 0), "stride": (2, 3), "groups": 2}, ((2, 2, 4, 5),)
        )
        yield Example({"ndim": 1, **common, "kernel_size": 5, "dilation": 2, "bias": True}, ((2, 2, 7),))
        yield Example(
            {"ndim": 3, **common, "mode": "interleaved", "padding_mode": "circular", "kernel_size": (1, 3, 3)},
            ((1, 2, 2, 3, 3),),
        )
        yield Example(
            {"ndim": 4, **common, "axes": (0, 3), "mode": "interleaved", "stride": 2, "eps": 1e-3},
            ((2, 2, 2, 3, 2, 3),),
        )
