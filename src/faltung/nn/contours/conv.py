"""Circular convolution of closed curves in the complex plane: `ContourConv`, and what layers for contours share."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError
from faltung.init import complex_
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Layer, Symmetry, shown
from faltung.nn.complex.base import ComplexLayer
from faltung.nn.functional.definition import conv_by_taps

SOURCE = "Gardaa and Blaser, RotaTouille: rotation equivariant deep learning for contours (2025)"


class ContourLayer(ComplexLayer):
    """A layer for closed curves: complex numbers (batch, channels, n), the last place before the first."""

    __repr__ = Layer.__repr__


def moved(shift: int, stride: int = 1, place: complex = 0, up: int = 1) -> Symmetry:
    """A curve turned by 0.7, begun `shift` samples later and put elsewhere: the result is turned and begins later, too.

    The result has one sample for `stride` of the curve, or `up` samples for one.
    """
    turn = complex(torch.polar(torch.tensor(1.0).double(), torch.tensor(0.7).double()))
    return Symmetry(
        f"turn, start {shift} later" + (", another place" if place else ""),
        lambda z: turn * z.roll(shift, -1) + place,
        lambda y: turn * y.roll(shift * up // stride, -1),
    )


def centred(z: Tensor) -> Tensor:
    """The curves about their means."""
    return z - z.mean(-1, keepdim=True)


class CircularLayer(ContourLayer):
    """The settings and the weight that a circular convolution of curves shares with its transpose."""

    source = SOURCE

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        center: bool = True,
        device: Any = None,
        dtype: torch.dtype = torch.complex64,
    ) -> None:
        super().__init__()
        if not isinstance(dtype, torch.dtype) or not dtype.is_complex:
            raise DtypeError.of(type(self).__name__, "a complex dtype", repr(dtype), "use torch.complex64")
        self.in_channels, self.out_channels, self.groups = functional.numbers(
            "in_channels, out_channels, groups", (in_channels, out_channels, groups), 3, 1
        )
        (self.kernel_size,), (self.stride,), (self.dilation,) = (
            functional.numbers(name, given, 1, 1)
            for name, given in (("kernel_size", kernel_size), ("stride", stride), ("dilation", dilation))
        )
        self.center = bool(center)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ArgumentError.of(
                type(self).__name__, f"in and out channels that {groups} groups divide", f"{in_channels} and {out_channels}",
                "choose groups that divide both",
            )  # fmt: skip
        self.weight = nn.Parameter(torch.empty(self.weight_shape, device=device, dtype=dtype))
        self.reset_parameters()

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """The shape of the weight: (out, in / groups, kernel_size)."""
        return (self.out_channels, self.in_channels // self.groups, self.kernel_size)

    def reset_parameters(self) -> None:
        """Draw the weight as complex numbers want it, with the variance of Glorot."""
        complex_(self.weight.detach(), "glorot")

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """The margins before and behind."""
        around = self.dilation * (self.kernel_size - 1)
        before = self.dilation * ((self.kernel_size - 1) // 2)
        return ((before, around - before),)

    def about_mean(self, z: Tensor) -> Tensor:
        """The curves about their means where the layer takes them off, else as they are."""
        return centred(z) if self.center else z

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    def parameter_count(self) -> int:
        return self.weight.numel()


class ContourConv(CircularLayer):
    """A circular convolution of closed curves with complex filters: it turns with the curve and begins where the curve begins.

    Formula: `y[p] = Σ over inputs and taps of w[t] (x − mean x)[p·stride + (t − ⌊(k − 1)/2⌋)·dilation]`, indices modulo n. No bias:
    a constant would not turn. `layer(e^(iθ)·roll(x, t) + c) = e^(iθ)·roll(layer(x), t)` for all θ, t and c.

    Shapes: input (batch, in, n), complex, returns (batch, out, ⌈n / stride⌉); weight (out, in / groups, k).

    Args:
        in_channels, out_channels, groups: as for `faltung.nn.Conv`.   kernel_size, stride, dilation: at least 1.
        center: whether the mean is taken off, without which the layer sees where the curve lies. Default True.
        dtype: complex. Default complex64.

    Raises:
        ArgumentError: settings that name no layer.   DtypeError: real tensors, a real dtype.

    Cost: 3 or 4 real products for a complex one, see `faltung.nn.functional.conv_complex`.
    Source: as below.

    Example:
        >>> z = torch.polar(torch.ones(8), torch.arange(8) * torch.pi / 4)[None, None]
        >>> ContourConv(1, 4, 3)(z).shape
        torch.Size([1, 4, 8])
    """

    name = "contour-conv"
    summary = "a circular convolution of closed curves with complex filters"
    cost = "3 or 4 · in / groups · kernel_size"
    portrait = shown("cloud", (1, 1, 400), complex=True, in_channels=1, out_channels=1, kernel_size=9)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, 1)
        return functional.conv_complex(
            self.about_mean(input), self.weight, None, self.stride, self.pads, self.dilation, self.groups, "circular"
        )

    def definition(self, *inputs: Any) -> Tensor:
        (z,) = inputs
        if self.center:
            z = z - z.sum(-1, keepdim=True) / z.shape[-1]
        return conv_by_taps(
            z, self.weight, None, (self.stride,), self.pads, (self.dilation,), self.groups, "circular"
        )  # fmt: skip

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], self.out_channels, -(-inputs[0][2] // self.stride))

    def symmetries(self) -> Iterable[Symmetry]:
        yield moved(self.stride, self.stride, 3 - 2j if self.center else 0)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"in_channels": 2, "out_channels": 3, "kernel_size": 3}, ((2, 2, 8),), complex=True)
        settings = {"stride": 2, "dilation": 2, "groups": 2, "center": False}
        yield Example({"in_channels": 2, "out_channels": 4, "kernel_size": 4, **settings}, ((1, 2, 12),), complex=True)
