"""Kernels of several sizes side by side, computed as the one kernel that they are."""

from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import ConvLayer, Example, shown
from faltung.nn.branches.merging import centred, embed_kernel
from faltung.nn.exchange import grouped
from faltung.nn.functional.definition import conv_by_taps
from faltung.planner import Policy


class MultiKernelConv(ConvLayer):
    """The mean or sum of convolutions of several sizes (the Inception block of TimesNet), at the price of the largest.

    Formula: `y = r · Σ_j (W_j ∗ x + b_j)`, r one over the number of kernels or 1, margins that keep the size. Computed, in training
    too, as one convolution with the kernel r · Σ_j W_j, each W_j in the middle of a frame of zeros.

    Shapes: input (batch, in, *n) or (in, *n), returns (batch, out, *m) or (out, *m) with m = ⌈n / stride⌉.

    Args:
        ndim: number of spatial axes, 1 to 4.   in_channels, out_channels: at least 1, multiples of groups.
        sizes: odd taps of each kernel, a number for all axes or a tuple with one for each. Default 1, 3, 5, 7, 9, 11.
        reduce: mean or sum. Default mean.
        stride, dilation, groups, padding_mode, device, dtype, policy: see `faltung.nn.Conv`.
        bias: whether each kernel has one. Default True.

    Raises:
        ArgumentError: even taps, no sizes, or settings that name no convolution.

    Cost: in / groups · Π max size; with the default sizes 121 instead of 286.
    Source: Wu et al., TimesNet (2023), after Szegedy et al., Going deeper with convolutions (2015).

    Example:
        >>> MultiKernelConv(2, 4, 8, [1, 3, 5]).merge()
        Conv2d(4, 8, kernel_size=(5, 5), stride=(1, 1), padding=(2, 2))
        >>> MultiKernelConv.bands(2, 4, 8, count=1)
        MultiKernelConv(2, 4, 8, sizes=((1, 3), (3, 1), (1, 1)))
    """

    name = "multi-kernel"
    summary = "the mean or sum of convolutions of several sizes, computed as one"
    source = "Wu et al., TimesNet: temporal 2D-variation modeling for general time series analysis (2023)"
    cost = "in / groups · Π max size"
    portrait = shown("kernels photo", (1, 1, 96, 96), ndim=2, in_channels=1, out_channels=2, sizes=(1, 3, 5, 7, 9, 11))

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        sizes: Any = (1, 3, 5, 7, 9, 11),
        reduce: str = "mean",
        stride: Any = 1,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        if reduce not in ("mean", "sum"):
            raise ArgumentError.of("reduce", "'mean' or 'sum'", repr(reduce), "choose one of these")
        if not isinstance(sizes, (tuple, list)) or not sizes:
            raise ArgumentError.of("sizes", "a list of sizes, one for each kernel", repr(sizes), "write [1, 3, 5], say")
        (axes,) = functional.numbers("ndim", ndim, 1, 1)
        self.sizes = [functional.numbers("sizes", size, axes, 1) for size in sizes]
        largest = tuple(map(max, zip(*self.sizes, strict=True)))
        rates = functional.numbers("dilation", dilation, axes, 1)
        for size in self.sizes:
            centred("sizes", size)
        self.settle(
            ndim, in_channels, out_channels, largest, stride, centred("sizes", largest, rates), rates, groups, padding_mode, policy
        )  # fmt: skip
        self.reduce, factory = reduce, {"device": device, "dtype": dtype}
        self.weights = nn.ParameterList(torch.empty((*self.weight_shape[:2], *size), **factory) for size in self.sizes)
        self.biases = nn.ParameterList(torch.empty(out_channels, **factory) for _ in self.sizes if bias)
        self.reset_parameters()

    @classmethod
    def bands(cls, ndim: int, in_channels: int, out_channels: int, count: int, **settings: Any) -> Self:
        """The second version: bands of 3, 5, ..., 2·count + 1 taps, each along every axis (the last first), and a single tap."""
        (number,), (axes,) = functional.numbers("count", count, 1, 1), functional.numbers("ndim", ndim, 1, 1)
        found = [
            tuple(taps if a == axis else 1 for a in range(axes))
            for taps in range(3, 2 * number + 2, 2)
            for axis in reversed(range(axes))
        ]
        return cls(ndim, in_channels, out_channels, sizes=(*found, (1,) * axes), **settings)

    def reset_parameters(self) -> None:
        """Draw each kernel from He's normal law by fan-out; biases are zero."""
        for weight in self.weights:
            nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
        for bias in self.biases:
            nn.init.zeros_(bias)

    @property
    def _share(self) -> float:
        return 1 / len(self.sizes) if self.reduce == "mean" else 1.0

    @property
    def bias(self) -> Tensor | None:
        """The bias of the one convolution."""
        return torch.stack(list(self.biases)).sum(0) * self._share if self.biases else None

    def kernel(self) -> Tensor:
        total: Any = 0
        for weight in self.weights:
            total = total + embed_kernel(weight, self.kernel_size)
        return total * self._share

    def definition(self, *inputs: Any) -> Tensor:
        """Kernel by kernel."""
        results = []
        for n, weight in enumerate(self.weights):
            pads = tuple((d * (t // 2),) * 2 for t, d in zip(weight.shape[2:], self.dilation, strict=True))
            bias = self.biases[n] if self.biases else None
            results.append(
                conv_by_taps(inputs[0], weight, bias, self.stride, pads, self.dilation, self.groups, self.padding_mode)
            )
        stacked = torch.stack(results)
        return stacked.mean(0) if self.reduce == "mean" else stacked.sum(0)

    @torch.no_grad()
    def take(self, kernel: Tensor, bias: Tensor | None = None) -> Self:
        """The nearest kernel, each tap shared out evenly among the kernels that have it; exact where one has them all."""
        kernel = grouped(kernel, self)
        ones = [embed_kernel(torch.ones_like(weight[:1, :1]), self.kernel_size) for weight in self.weights]
        share = kernel / (torch.stack(ones).sum(0).clamp(min=1) * self._share)
        for weight in self.weights:
            inner = [slice((n - t) // 2, (n + t) // 2) for n, t in zip(self.kernel_size, weight.shape[2:], strict=True)]
            weight.copy_(share[(..., *inner)])
        for own in self.biases:
            own.copy_(torch.zeros_like(own) if bias is None else bias / (len(self.biases) * self._share))
        return self

    def merge(self) -> nn.Module:
        """The one plain convolution: torch's layer where there is one."""
        return self.freeze().eval()

    def parameter_count(self) -> int:
        taps = sum(weight[0, 0].numel() for weight in self.weights)
        return self.weight_shape[0] * self.weight_shape[1] * taps + self.out_channels * len(self.biases)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "in_channels": 2, "out_channels": 3, "sizes": (1, 3, 5), "stride": 2}, ((2, 2, 7),))
        yield Example(
            {"ndim": 2, "in_channels": 2, "out_channels": 2, "sizes": ((1, 3), (3, 1), 1), "reduce": "sum", "bias": False},
            ((2, 2, 4, 5),),
        )  # fmt: skip
        yield Example(
            {"ndim": 2, "in_channels": 2, "out_channels": 4, "sizes": (1, 3), "dilation": 2, "groups": 2,
             "padding_mode": "circular"},
            ((1, 2, 5, 4),),
        )  # fmt: skip
        yield Example({"ndim": 3, "in_channels": 1, "out_channels": 2, "sizes": (3, (1, 1, 5))}, ((1, 1, 3, 2, 4),))
        yield Example({"ndim": 4, "in_channels": 1, "out_channels": 1, "sizes": (1, 3)}, ((1, 1, 2, 3, 2, 2),))
