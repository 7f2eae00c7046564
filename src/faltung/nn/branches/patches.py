"""What stands before and between the stages of InceptionNeXt: patches and a batch norm, in either order."""

import math
from collections.abc import Iterable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from faltung.nn import functional
from faltung.nn.base import ConvLayer, Example, shown
from faltung.nn.branches.merging import AnyBatchNorm, norm_scale
from faltung.nn.exchange import grouped
from faltung.nn.functional.definition import conv_by_taps
from faltung.planner import Policy


class _Patches(ConvLayer):
    """A convolution of patches that touch each other, and a batch norm before or behind it; one convolution in evaluation."""

    norm_first: ClassVar[bool]
    source = "Yu, Zhou, Yan and Wang, InceptionNeXt: when Inception meets ConvNeXt (2024)"

    def _build(
        self,
        ndim: Any,
        in_channels: Any,
        out_channels: Any,
        patch: Any,
        bias: bool,
        device: Any,
        dtype: Any,
        policy: Any,
    ) -> None:
        self.settle(ndim, in_channels, out_channels, patch, patch, policy=policy)
        factory = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(torch.empty(self.weight_shape, **factory))
        self.constant = nn.Parameter(torch.empty(self.out_channels, **factory)) if bias else None
        self.norm = AnyBatchNorm(self.in_channels if self.norm_first else self.out_channels, **factory)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights from a normal law of deviation 0.02 cut off at 2; constants are zero, the norm the identity."""
        nn.init.trunc_normal_(self.weight, std=0.02)
        if self.constant is not None:
            nn.init.zeros_(self.constant)
        self.norm.reset_parameters()

    def kernel(self) -> Tensor:
        factor, _ = norm_scale(self.norm)
        ones = [1] * self.ndim
        return self.weight * (factor.reshape(1, -1, *ones) if self.norm_first else factor.reshape(-1, 1, *ones))

    @property
    def bias(self) -> Tensor:
        """The bias of the one convolution."""
        factor, offset = norm_scale(self.norm)
        if self.norm_first:
            moved = torch.einsum("oi...,i->o", self.weight, offset)
            return moved if self.constant is None else moved + self.constant
        return offset if self.constant is None else offset + factor * self.constant

    @torch.no_grad()
    def take(self, kernel: Tensor, bias: Tensor | None = None) -> Self:
        """The kernel itself, divided by what the norm does; constants as far as there are any."""
        factor, _ = norm_scale(self.norm)
        ones = [1] * self.ndim
        divisor = factor.reshape(1, -1, *ones) if self.norm_first else factor.reshape(-1, 1, *ones)
        self.weight.copy_(grouped(kernel, self) / divisor)
        missing = (torch.zeros_like(self.bias) if bias is None else bias) - self.bias
        if not self.norm_first:
            self.norm.bias.add_(missing)
        elif self.constant is not None:
            self.constant.add_(missing)
        return self

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim, batch=self.training)
        if not self.training:
            return super().forward(input)
        x = self.norm(input) if self.norm_first else input
        y = functional.conv(x, self.weight, self.constant, self.stride, policy=self.policy)
        return y if self.norm_first else self.norm(y)

    def definition(self, *inputs: Any) -> Tensor:
        """Norm and convolution one after the other."""
        norm: Any = self.norm
        ones = [1] * self.ndim

        def normed(x: Tensor) -> Tensor:
            values = norm.running_mean, norm.running_var, norm.weight, norm.bias
            mean, var, scale, offset = (v.reshape(-1, *ones) for v in values)
            return (x - mean) / torch.sqrt(var + norm.eps) * scale + offset

        x = normed(inputs[0]) if self.norm_first else inputs[0]
        y = conv_by_taps(x, self.weight, self.constant, self.stride, self.pads, (1,) * self.ndim)
        return y if self.norm_first else normed(y)

    def parameter_count(self) -> int:
        normed = self.in_channels if self.norm_first else self.out_channels
        return math.prod(self.weight_shape) + (0 if self.constant is None else self.out_channels) + 2 * normed


class PatchStem(_Patches):
    """The first layer of a network: patches of the picture become its places, then a batch norm.

    Formula: `y = BN(W ∗ x + b)` with a stride of `patch` samples and as many taps. In evaluation mode one convolution.

    Shapes: input (batch, in, *n) or, in evaluation mode, (in, *n); returns as many channels as asked for and ⌊n / patch⌋ places.

    Args:
        ndim: number of spatial axes, 1 to 4.   in_channels, out_channels: at least 1.
        patch: samples along each axis, one number or one for each. Default 4.   bias: whether b is learnt. Default True.
        device, dtype, policy: see `faltung.nn.Conv`.

    Raises:
        ArgumentError: settings that name no layer; `kernel` or `freeze` in training mode.

    Cost: in_channels · patch^ndim multiplications for each result.

    Example:
        >>> PatchStem(2, 3, 96)(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 96, 16, 16])
    """

    name = "patch-stem"
    summary = "patches of the picture become places, then a batch norm"
    cost = "in_channels · patch^ndim"
    norm_first = False
    portrait = shown("kernels photo", (1, 1, 96, 96), ndim=2, in_channels=1, out_channels=3)

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        patch: Any = 4,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self._build(ndim, in_channels, out_channels, patch, bias, device, dtype, policy)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "in_channels": 2, "out_channels": 3}, ((3, 2, 9),))
        yield Example({"ndim": 2, "in_channels": 2, "out_channels": 2, "patch": (3, 2), "bias": False}, ((2, 2, 6, 5),))
        yield Example({"ndim": 3, "in_channels": 1, "out_channels": 2, "patch": 2}, ((2, 1, 4, 2, 5),))
        yield Example({"ndim": 4, "in_channels": 1, "out_channels": 1, "patch": 2}, ((2, 1, 4, 2, 2, 2),))


class PatchMerge(_Patches):
    """What stands between two stages of a network: a batch norm, then patches become single places with more channels.

    Formula: `y = W ∗ BN(x) + b` with a stride of `patch` samples and as many taps. In evaluation mode one convolution.

    Shapes, Args, Raises: as for `PatchStem`; patch is 2 by default.

    Cost: in_channels · patch^ndim multiplications for each result.

    Example:
        >>> PatchMerge(2, 96, 192)(torch.zeros(2, 96, 16, 16)).shape
        torch.Size([2, 192, 8, 8])
    """

    name = "patch-merge"
    summary = "a batch norm, then patches become single places with more channels"
    cost = "in_channels · patch^ndim"
    norm_first = True
    portrait = shown("photo", (1, 2, 96, 96), ndim=2, in_channels=2, out_channels=3)

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        patch: Any = 2,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self._build(ndim, in_channels, out_channels, patch, bias, device, dtype, policy)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "in_channels": 2, "out_channels": 3, "patch": 3}, ((3, 2, 7),))
        yield Example({"ndim": 2, "in_channels": 3, "out_channels": 2, "bias": False}, ((2, 3, 4, 5),))
        yield Example({"ndim": 3, "in_channels": 1, "out_channels": 2, "patch": (1, 2, 2)}, ((2, 1, 2, 2, 4),))
        yield Example({"ndim": 4, "in_channels": 1, "out_channels": 1}, ((2, 1, 2, 2, 3, 2),))
