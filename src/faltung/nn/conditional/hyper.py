"""HyperConv: a depthwise convolution with a kernel made of coordinates, which the input may modulate."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, SHIFT_INVARIANT, ConvLayer, Example, shown, uniform_bias
from faltung.nn.conditional.implicit import SOURCE, ImplicitKernel, SineMFN, coordinates
from faltung.nn.functional.definition import conv_by_taps
from faltung.planner import Policy

CONTEXTS = ("none", "sample", "batch")


class HyperConv(ConvLayer):
    """A depthwise convolution whose kernel a small network makes of coordinates, as large as the signal if wanted.

    Formula: `y[c] = b[c] + x[c] ∗ W[c]` with `W[c, q] = slow_net(q)[c] / √taps` and q on [−1, 1] along each axis. With context, the
    kernel is multiplied, place by place, by what the input shows there: `W[c, q]·(1 + Σ_d V[c, d]·p[d, q])`, p the input averaged
    over as many cells as the kernel has taps; V starts at zero.

    Shapes: input (batch, channels, *n), returns the same.

    Args:
        ndim: number of spatial axes.   channels: at least 1.
        kernel: taps along every axis, an odd number or one for each axis; or `full`, 2n − 1 for a signal of n samples, with which
            every sample sees every other. Default full.
        slow_net: a module from coordinates (1, ndim, *k) to (1, channels, *k). Default `SineMFN(ndim, channels, hidden)`.
        hidden: width of the default slow net. Default 16.
        context: `none`; `sample`: each sample modulates its own kernel; `batch`: the mean over the batch modulates one for all, as
            published, so that results depend on a sample's companions. Default none.
        bias: whether a learnt constant is added to each channel. Default True.
        padding_mode: what stands in the margin. Default zeros.   policy: see `faltung.Policy`.
        device, dtype: of the parameters.

    Raises:
        ArgumentError: settings that name no layer.

    Cost: ∏ k · hidden² for the kernel, once a call; large kernels are convolved in the Fourier domain where that is cheaper.

    The published global operator multiplies planes as matrices and needs square ones; this is the convolution that it stands for.

    Source: Zhang, HyperZZW operator connects slow-fast networks for full context interaction (2024).

    Example:
        >>> HyperConv(2, 4)(torch.zeros(1, 4, 9, 6)).shape
        torch.Size([1, 4, 9, 6])
    """

    name = "hyper-conv"
    summary = (
        "a depthwise convolution whose kernel a small network makes of coordinates, modulated by the input if wanted"
    )
    source = SOURCE
    cost = "Π kernel, and hidden² for each tap of the kernel"
    portrait = shown("kernels photo", (1, 3, 96, 96), ndim=2, channels=3, kernel=31)

    def __init__(
        self,
        ndim: int,
        channels: int,
        kernel: Any = "full",
        slow_net: nn.Module | None = None,
        hidden: int = 16,
        context: str = "none",
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.full = isinstance(kernel, str)
        if self.full and kernel != "full":
            raise ArgumentError.of("kernel", "'full' or odd numbers of taps", repr(kernel), "choose one of these")
        taps = 1 if self.full else kernel
        self.settle(ndim, channels, channels, taps, 1, "same", 1, channels, padding_mode, policy)
        if any(k % 2 == 0 for k in self.kernel_size):
            raise ArgumentError.of("HyperConv", "odd numbers of taps, for there is a middle", repr(kernel), "add one")
        if context not in CONTEXTS:
            raise ArgumentError.of("context", f"one of {', '.join(CONTEXTS)}", repr(context), "choose one of these")
        self.channels, self.context = self.in_channels, context
        factory = {"device": device, "dtype": dtype}
        net = SineMFN(self.ndim, self.channels, hidden, **factory) if slow_net is None else slow_net
        self.implicit = ImplicitKernel(self.ndim, (self.channels, 1), net)
        made = torch.zeros(self.channels, self.channels, **factory) if context != "none" else None
        self.register_parameter("modulation", None if made is None else nn.Parameter(made))
        fan_in = 1 if self.full else math.prod(self.kernel_size)
        self.register_parameter("bias", uniform_bias(self.channels, fan_in, factory) if bias else None)

    def taps(self, sizes: Any) -> tuple[int, ...]:
        """Taps along each axis for a signal of these sizes."""
        return tuple(2 * n - 1 for n in sizes) if self.full else self.kernel_size

    def kernel(self, sizes: Any = None) -> Tensor:
        """The kernel (channels, 1, *k) before any context, for a signal of these sizes; of a fixed size without them.

        Raises:
            ArgumentError: no sizes, and the kernel is as large as the signal.
        """
        if sizes is None and self.full:
            raise ArgumentError.of(
                "HyperConv.kernel", "the signal's sizes, for the kernel is full", "none", "call layer.kernel((64, 64))"
            )
        return self.implicit(self.taps(() if sizes is None else sizes))

    def effective_kernel(self, sizes: Any = None) -> Tensor:
        """The kernel of the plain convolution that this layer is without context, for a signal of these sizes.

        Raises:
            ArgumentError: there is context: the kernel is another for every input.   All others: as `kernel`.
        """
        if self.context != "none":
            raise ArgumentError.of(
                "HyperConv.effective_kernel", "context='none'", repr(self.context), "the kernel depends on the input"
            )
        return self.kernel(sizes)

    def modulated(self, input: Tensor, kernel: Tensor) -> Tensor:
        """The kernels (batch, channels, 1, *k) of all samples; with the context of a batch, the one of all (channels, 1, *k)."""
        seen = input
        for axis, k in enumerate(kernel.shape[2:], 2):
            seen = (seen.movedim(axis, -1) @ _cells(k, input.shape[axis], input).T).movedim(-1, axis)
        seen = seen.mean(0, keepdim=True) if self.context == "batch" else seen
        gate = 1 + (self.modulation @ seen.flatten(2)).reshape(seen.shape).unsqueeze(2)
        return (kernel * gate)[0] if self.context == "batch" else kernel * gate

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, self.ndim)
        kernel = self.kernel(input.shape[2:])
        kernel = kernel if self.context == "none" else self.modulated(input, kernel)
        own = self.context == "sample"
        return (functional.conv_per_sample if own else functional.conv)(
            input, kernel, self.bias, 1, "same", 1, self.channels, self.padding_mode, self.policy
        )

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def definition_kernel(self, sizes: Any = None) -> Tensor:
        taps = self.taps(() if sizes is None else sizes)
        like = next(self.implicit.parameters())
        net = self.implicit.slow_net
        places = coordinates(taps, like)
        made = net.definition(places) if isinstance(net, SineMFN) else net(places)
        return made[0][:, None] / math.prod(taps) ** 0.5

    def definition(self, *inputs: Any) -> Tensor:
        x = inputs[0]
        kernel, sizes = self.definition_kernel(x.shape[2:]), x.shape[2:]
        pads = tuple(((k - 1) // 2, (k - 1) // 2) for k in kernel.shape[2:])
        if self.context != "none":
            gates = []
            for sample in x:
                gate = torch.ones_like(kernel[:, 0])
                for q in torch.cartesian_prod(*map(torch.arange, kernel.shape[2:])).reshape(-1, self.ndim).tolist():
                    cell = sample
                    for axis, (i, k, n) in enumerate(zip(q, kernel.shape[2:], sizes, strict=True), 1):
                        cell = cell.narrow(axis, i * n // k, -(-(i + 1) * n // k) - i * n // k)
                    gate[(slice(None), *q)] += self.modulation @ cell.flatten(1).mean(1)
                gates.append(gate.unsqueeze(1))
            stacked = torch.stack(gates)
            kernel = kernel * (stacked.mean(0) if self.context == "batch" else stacked)
        ones = (1,) * self.ndim
        return conv_by_taps(x, kernel, self.bias, ones, pads, ones, self.channels, self.padding_mode)

    def parameter_count(self) -> int:
        net = self.implicit.slow_net
        made = net.parameter_count() if isinstance(net, SineMFN) else sum(p.numel() for p in net.parameters())
        gates = 0 if self.modulation is None else self.channels**2
        return made + gates + (0 if self.bias is None else self.channels)

    @property
    def claims(self) -> frozenset[str]:
        if self.context != "none":
            return frozenset({PER_SAMPLE} if self.context == "sample" else ())
        return frozenset({LINEAR, PER_SAMPLE} | (set() if self.full else {SHIFT_INVARIANT}))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "channels": 2, "hidden": 3}, ((2, 2, 6),))
        yield Example({"ndim": 2, "channels": 2, "kernel": 3, "hidden": 3, "padding_mode": "circular"}, ((2, 2, 4, 5),))
        common = {"channels": 2, "hidden": 3, "bias": False}
        yield Example({"ndim": 2, **common, "context": "sample"}, ((2, 2, 3, 2),))
        yield Example({"ndim": 3, **common, "kernel": (1, 3, 1), "context": "batch"}, ((2, 2, 2, 4, 2),))


def _cells(cells: int, size: int, like: Tensor) -> Tensor:
    """The matrix (cells, size) of means over cells ⌊i·n/k⌋ to ⌈(i + 1)·n/k⌉, which overlap where they do not fit."""
    at = torch.arange(cells, device=like.device)
    first, last = at * size // cells, -(-(at + 1) * size // cells)
    place = torch.arange(size, device=like.device)
    inside = ((place >= first[:, None]) & (place < last[:, None])).to(like.dtype)
    return inside / inside.sum(1, keepdim=True)
