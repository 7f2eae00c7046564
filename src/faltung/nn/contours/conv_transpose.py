"""The transpose of circular convolution of closed curves, which makes them longer: `ContourConvTranspose`."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from faltung.nn import functional
from faltung.nn.base import Example, Symmetry, shown
from faltung.nn.contours.conv import CircularLayer, moved


class ContourConvTranspose(CircularLayer):
    """The transpose of `ContourConv`: from a curve of m samples to one of m·stride, on the circle, for decoders.

    Formula: `x[q] = Σ over inputs, p and t with q = p·stride + (t − ⌊(k − 1)/2⌋)·dilation of w[t] (y − mean y)[p]`, q modulo
    n = m·stride. No bias: a constant would not turn. `layer(e^(iθ)·roll(y, t) + c) = e^(iθ)·roll(layer(y), t·stride)` for all
    θ, t and c. The mean comes off before, as in `ContourConv`; with a stride a constant would become a pattern of that period,
    which shows where the curve lies. With it off, results have the mean 0.

    With the same weight W, and W̄ its conjugate, the two layers are adjoint: `⟨conv(x; W), y⟩ = ⟨x, transpose(y; W̄)⟩` for
    all x of n samples and all y that are centred, without `center` for all y. So the weight stands here unconjugated, as
    in torch's transposed layers.

    Shapes: input (batch, in, m), complex, returns (batch, out, m·stride); weight (in, out / groups, k), that of a
    `ContourConv` from out to in channels.

    Args:
        in_channels, out_channels, groups: as for `faltung.nn.ConvTranspose`.   kernel_size, stride, dilation: at least 1.
        center: whether the mean is taken off, without which the layer sees where the curve lies. Default True.
        dtype: complex. Default complex64.

    Raises:
        ArgumentError: settings that name no layer.   DtypeError: real tensors, a real dtype.

    Error: that of the plan, see `faltung.nn.functional.conv_transpose`.
    Source: as below.

    Example:
        >>> z = torch.polar(torch.ones(8), torch.arange(8) * torch.pi / 4)[None, None]
        >>> ContourConvTranspose(1, 4, 5, stride=2)(z).shape
        torch.Size([1, 4, 16])
    """

    name = "contour-conv-transpose"
    summary = "the transpose of a circular convolution of closed curves, to longer curves"
    cost = "in / groups · kernel_size for each sample of the input"
    portrait = shown("cloud", (1, 1, 200), complex=True, in_channels=1, out_channels=1, kernel_size=9, stride=2)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """The shape of the weight: (in, out / groups, kernel_size)."""
        return (self.in_channels, self.out_channels // self.groups, self.kernel_size)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, 1)
        return functional.conv_transpose(
            self.about_mean(input), self.weight, None, self.stride, self.pads, self.stride - 1, self.groups, self.dilation,
            "circular",
        )  # fmt: skip

    def definition(self, *inputs: Any) -> Tensor:
        """Every sample of the input put where its taps lead, one tap after the other."""
        (y,) = inputs
        if self.center:
            y = y - y.sum(-1, keepdim=True) / y.shape[-1]
        many = y.shape[-1] * self.stride
        parts, weight = (t.unflatten(axis, (self.groups, -1)) for t, axis in ((y, 1), (self.weight, 0)))
        x = y.new_zeros(y.shape[0], self.out_channels, many)
        for tap in range(self.kernel_size):
            late = (tap - (self.kernel_size - 1) // 2) * self.dilation
            at = (torch.arange(y.shape[-1], device=y.device) * self.stride + late) % many
            value = torch.einsum("bgim,gio->bgom", parts, weight[..., tap]).flatten(1, 2)
            x = x.index_add(-1, at, value)
        return x

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], self.out_channels, inputs[0][2] * self.stride)

    def symmetries(self) -> Iterable[Symmetry]:
        yield moved(1, 1, 3 - 2j if self.center else 0, up=self.stride)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        common = {"in_channels": 4, "out_channels": 2}
        yield Example({**common, "kernel_size": 3}, ((2, 4, 8),), complex=True)
        yield Example({**common, "kernel_size": 5, "stride": 2}, ((2, 4, 6),), complex=True)
        settings = {"stride": 3, "dilation": 2, "groups": 2, "center": False}
        yield Example({**common, "kernel_size": 4, **settings}, ((1, 4, 5),), complex=True)
