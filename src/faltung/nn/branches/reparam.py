"""A large convolution trained beside small dilated ones, which merge into it."""

import math
from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import ConvLayer, Example, shown
from faltung.nn.branches.merging import AnyBatchNorm, centred, embed_kernel, norm_scale
from faltung.nn.exchange import grouped
from faltung.nn.functional.definition import conv_by_taps
from faltung.planner import Policy

BRANCHES: dict[int, tuple[tuple[int, int], ...]] = {
    1: (), 3: (), 5: ((3, 1), (3, 2)), 7: ((5, 1), (3, 2), (3, 3)), 9: ((5, 1), (5, 2), (3, 3), (3, 4)),
    11: ((5, 1), (5, 2), (3, 3), (3, 4), (3, 5)), 13: ((5, 1), (7, 2), (3, 3), (3, 4), (3, 5)),
    15: ((5, 1), (7, 2), (3, 3), (3, 5), (3, 7)), 17: ((5, 1), (9, 2), (3, 4), (3, 5), (3, 7)),
}  # fmt: skip
"""The published branches (taps, dilation) for each number of taps."""


def usual_branches(taps: int) -> tuple[tuple[int, int], ...]:
    """Branches (taps, dilation) for a kernel of that odd number of taps: the published ones up to 17, then continued.

    Formula: beyond 17, (5, 1), the longest with dilation 2, and three taps dilated by 1/2, 3/4 and all of (taps − 1) / 2.

    Example:
        >>> usual_branches(31)
        ((5, 1), (15, 2), (3, 7), (3, 11), (3, 15))
    """
    if taps in BRANCHES:
        return BRANCHES[taps]
    half = taps // 2
    return ((5, 1), (half - (half + 1) % 2, 2), (3, half // 2), (3, 3 * half // 4), (3, half))


class DilatedReparam(ConvLayer):
    """A large depthwise convolution trained together with several small dilated ones, each with its own batch norm.

    Formula: `y = BN₀(W₀ ∗ x) + Σ_j BN_j(W_j ∗ x with dilation r_j)`, all with margins that keep the size. In evaluation mode the
    norms are constants and all kernels one: the layer computes a single convolution then, in training mode one for each branch.

    Shapes: input (batch, channels, *n) or, in evaluation mode, (channels, *n); returns as many samples, `⌈n / stride⌉`.

    Args:
        ndim: number of spatial axes, 1 to 4.   channels: at least 1, in and out.
        kernel_size: odd taps, one number for all axes or one for each.
        branches: pairs (taps, dilation) that fit into kernel_size, odd taps; or `auto`: those of `usual_branches`. Default auto.
        stride: default 1.   groups: default channels, depthwise; any number that divides the channels.
        norm: whether each branch has a batch norm. Without, training mode is one convolution, too. Default True.
        bias: whether each branch has a bias. Default False.
        padding_mode: what stands in the margin. Default zeros.   device, dtype, policy: see `faltung.nn.Conv`.

    Raises:
        ArgumentError: branches that do not fit; `kernel`, `deploy` or `freeze` in training mode with norms.

    Cost: merged Π kernel_size multiplications for each channel and result; in training `cost_ratio()` times as many.
    Source: Ding et al., UniRepLKNet (2024); continued for any odd size, for strides, groups and one to four dimensions.

    Example:
        >>> layer = DilatedReparam(2, 8, 13).eval()
        >>> layer.deploy()
        Conv2d(8, 8, kernel_size=(13, 13), stride=(1, 1), padding=(6, 6), groups=8)
    """

    name = "dilated-reparam"
    summary = "a large convolution trained beside small dilated ones that merge into it"
    source = "Ding et al., UniRepLKNet: a universal perception large-kernel ConvNet (2024); Zhang et al., Scaling up your kernels"
    cost = "channels / groups · Π kernel_size, merged"
    portrait = shown("kernels photo", (1, 2, 96, 96), ndim=2, channels=2, kernel_size=17)

    def __init__(
        self,
        ndim: int,
        channels: int,
        kernel_size: Any,
        branches: Any = "auto",
        stride: Any = 1,
        groups: int | None = None,
        norm: bool = True,
        bias: bool = False,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        (axes,) = functional.numbers("ndim", ndim, 1, 1)
        sizes = functional.numbers("kernel_size", kernel_size, axes, 1)
        self.settle(
            ndim, channels, channels, sizes, stride, centred("kernel_size", sizes), 1, channels if groups is None else groups,
            padding_mode, policy,
        )  # fmt: skip
        self.branches = ((sizes, (1,) * ndim), *self._settled(branches))
        factory = {"device": device, "dtype": dtype}
        shape = self.weight_shape[:2]
        self.weights = nn.ParameterList(torch.empty((*shape, *taps), **factory) for taps, _ in self.branches)
        self.biases = nn.ParameterList(torch.empty(channels, **factory) for _ in self.branches if bias)
        self.norms = nn.ModuleList(AnyBatchNorm(channels, **factory) for _ in self.branches if norm)
        self.reset_parameters()

    def _settled(self, branches: Any) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        if isinstance(branches, str) and branches == "auto":
            if len(set(self.kernel_size)) > 1:
                raise ArgumentError.of(
                    "branches", "pairs (taps, dilation) for a kernel that is no cube", f"'auto' for {self.kernel_size}",
                    "write them down, ((3, 1), (3, 2)) say",
                )  # fmt: skip
            branches = usual_branches(self.kernel_size[0])
        made = []
        for pair in branches:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise ArgumentError.of("branches", "'auto' or pairs (taps, dilation)", repr(branches), "write pairs")
            taps = functional.numbers("taps of a branch", pair[0], self.ndim, 1)
            rates = functional.numbers("dilation of a branch", pair[1], self.ndim, 1)
            reach = [2 * p + 1 for p in centred("branches", taps, rates)]
            if any(r > k for r, k in zip(reach, self.kernel_size, strict=True)):
                raise ArgumentError.of(
                    "branches", f"branches that reach over at most {self.kernel_size} samples", f"{pair} with {reach}",
                    "use fewer taps or less dilation",
                )  # fmt: skip
            made.append((taps, rates))
        return made

    def reset_parameters(self) -> None:
        """Draw each branch as torch draws a convolution; norms start as the identity."""
        for n, weight in enumerate(self.weights):
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
            if self.biases:
                bound = 1 / math.sqrt(weight[0].numel())
                nn.init.uniform_(self.biases[n], -bound, bound)
        for norm in self.norms:
            norm.reset_parameters()

    @property
    def bias(self) -> Tensor | None:
        """The bias of the one convolution that the branches are."""
        biases = list(self.biases)
        for n, norm in enumerate(self.norms):
            factor, offset = norm_scale(norm)
            if self.biases:
                biases[n] = offset + biases[n] * factor
            else:
                biases.append(offset)
        return torch.stack(biases).sum(0) if biases else None

    def _bias(self, n: int) -> Tensor | None:
        return self.biases[n] if self.biases else None

    def kernel(self) -> Tensor:
        total: Any = 0
        for n, (weight, (_, rates)) in enumerate(zip(self.weights, self.branches, strict=True)):
            if self.norms:
                weight = weight * norm_scale(self.norms[n])[0].reshape(-1, *[1] * (self.ndim + 1))
            total = total + (weight if n == 0 else embed_kernel(weight, self.kernel_size, rates))
        return total

    @torch.no_grad()
    def take(self, kernel: Tensor, bias: Tensor | None = None) -> Self:
        """The kernel itself: the small branches stay as they are, and the large one makes up for them. So do its constants.

        Raises:
            ArgumentError: training mode with norms.
        """
        missing = grouped(kernel, self) - self.kernel()
        wanted = torch.zeros_like(missing[(slice(None), *[0] * (missing.ndim - 1))]) if bias is None else bias
        factor, short = torch.ones_like(wanted), wanted - (0 if self.bias is None else self.bias)
        if self.norms:
            factor, _ = norm_scale(self.norms[0])
            self.norms[0].bias.add_(short)
        elif self.biases:
            self.biases[0].add_(short)
        self.weights[0].add_(missing / factor.reshape(-1, *[1] * (self.ndim + 1)))
        return self

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim, batch=self.training and len(self.norms) > 0)
        if not (self.training and self.norms):
            return super().forward(input)
        total: Any = 0
        for n, (weight, norm, (taps, rates)) in enumerate(zip(self.weights, self.norms, self.branches, strict=True)):
            y = functional.conv(
                input, weight, self._bias(n), self.stride, centred("branches", taps, rates), rates, self.groups,
                self.padding_mode, self.policy,
            )  # fmt: skip
            total = total + norm(y)
        return total

    def definition(self, *inputs: Any) -> Tensor:
        """Branch by branch, each with its norm, as it is trained."""
        total: Any = 0
        for n, (weight, (taps, rates)) in enumerate(zip(self.weights, self.branches, strict=True)):
            pads = tuple((d * (t - 1) // 2,) * 2 for t, d in zip(taps, rates, strict=True))
            y = conv_by_taps(inputs[0], weight, self._bias(n), self.stride, pads, rates, self.groups, self.padding_mode)
            if self.norms:
                norm = self.norms[n]
                mean, var, scale, offset = (
                    v.reshape(-1, *[1] * self.ndim)
                    for v in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
                )
                y = (y - mean) / torch.sqrt(var + norm.eps) * scale + offset
            total = total + y
        return total

    def deploy(self) -> nn.Module:
        """The one plain convolution that the branches are: torch's layer where there is one. This layer stays as it is.

        Raises:
            ArgumentError: training mode with norms, whose statistics are not final.
        """
        return self.freeze().eval()

    def cost_ratio(self) -> float:
        """Multiplications of all branches over those of the merged convolution."""
        return sum(math.prod(taps) for taps, _ in self.branches) / math.prod(self.kernel_size)

    def parameter_count(self) -> int:
        taps = sum(math.prod(taps) for taps, _ in self.branches)
        more = (2 if self.norms else 0) + (1 if self.biases else 0)
        return math.prod(self.weight_shape[:2]) * taps + more * self.out_channels * len(self.branches)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "channels": 3, "kernel_size": 7}, ((2, 3, 9),))
        yield Example(
            {"ndim": 2, "channels": 2, "kernel_size": 5, "stride": 2, "padding_mode": "reflect"}, ((2, 2, 6, 5),)
        )
        yield Example(
            {"ndim": 2, "channels": 4, "kernel_size": (3, 5), "branches": ((3, 1), ((1, 3), (1, 2))), "groups": 2, "bias": True},
            ((2, 4, 4, 5),),
        )  # fmt: skip
        yield Example(
            {"ndim": 3, "channels": 2, "kernel_size": 3, "branches": ((3, 1),), "norm": False, "padding_mode": "circular"},
            ((1, 2, 3, 3, 4),),
        )  # fmt: skip
        yield Example(
            {"ndim": 4, "channels": 1, "kernel_size": 3, "branches": ((1, 1),), "norm": False, "bias": True},
            ((1, 1, 2, 2, 3, 2),),
        )  # fmt: skip
