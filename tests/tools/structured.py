"""Small layers with structure for the tests of swapping: a mask, a density, a low rank."""

import torch
from torch import nn

from faltung.nn import ConvLayer, Layer


class Structured(ConvLayer):
    def __init__(
        self, ndim, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
        padding_mode="zeros", device=None, dtype=None,
    ):  # fmt: skip
        super().__init__()
        self.settle(ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode)
        self.factory = {"device": device, "dtype": dtype}
        self.make()
        self.bias = nn.Parameter(torch.randn(out_channels, **self.factory)) if bias else None

    def drawn(self, *shape):
        return nn.Parameter(torch.randn(*shape, **self.factory))


class Masked(Structured):
    """No tap behind the centre: part of what a convolution can be, linear."""

    def make(self):
        self.weight = self.drawn(*self.weight_shape)
        mask = torch.zeros(self.kernel_size, **self.factory).flatten()
        mask[: mask.numel() // 2 + 1] = 1
        self.register_buffer("mask", mask.reshape(self.kernel_size))

    def kernel(self):
        return self.weight * self.mask


class Weighted(Structured):
    """A learnt density on the taps: all kernels, and linear in either factor."""

    def make(self):
        self.weight = self.drawn(*self.weight_shape)
        self.density = nn.Parameter(torch.rand(self.kernel_size, **self.factory) + 0.5)

    def kernel(self):
        return self.weight * self.density


class Merged(Structured):
    """One kernel in evaluation mode only, as where a batch norm is folded in."""

    def make(self):
        self.weight = self.drawn(*self.weight_shape)

    def kernel(self):
        if self.training:
            raise ValueError("call .eval() first")
        return self.weight


class LowRank(Structured):
    """Outer products of channels and taps, rank 3."""

    def make(self):
        out, own, *taps = self.weight_shape
        self.left = self.drawn(out * own, 3)
        self.right = self.drawn(3, int(torch.tensor(taps).prod()))

    def kernel(self):
        return (self.left @ self.right).reshape(self.weight_shape)


class Bumps(Structured):
    """A weight on a Gaussian whose width is learnt: linear in the weight, not in the width."""

    def make(self):
        self.weight = self.drawn(self.out_channels, self.in_channels // self.groups, *[1] * self.ndim)
        self.width = nn.Parameter(torch.tensor(1.0, **self.factory))

    def kernel(self):
        bump = torch.ones((), **self.factory)
        for taps in self.kernel_size:
            line = torch.arange(taps, **self.factory) - taps // 2
            bump = bump.unsqueeze(-1) * torch.exp(-(line**2) / (2 * self.width**2))
        return self.weight * bump


class Depthwise(ConvLayer):
    """One number of channels, a group for each."""

    def __init__(self, ndim, channels, kernel_size, padding=0, dtype=None):
        super().__init__()
        self.settle(ndim, channels, channels, kernel_size, 1, padding, 1, channels)
        self.weight, self.bias = nn.Parameter(torch.randn(self.weight_shape, dtype=dtype)), None

    def kernel(self):
        return self.weight


class Gated(Layer):
    """No convolution at all."""

    def __init__(self, in_channels, out_channels, kernel_size, padding=0, stride=1, bias=True):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 2 * out_channels, kernel_size, stride, padding)

    def forward(self, x):
        a, b = self.conv(x).chunk(2, 1)
        return a * b.sigmoid()
