"""ECA: a gate for each channel from a few taps across the pooled channels."""

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, Symmetry, shown
from faltung.nn.functional.definition import padded


class ECA(Layer):
    """Efficient channel attention: each channel is scaled by a gate that sees its neighbours' means.

    Formula: `y[b, c, p] = x[b, c, p] · sigmoid(Σ over t of w[t] · m̃[b, c + t − ⌊k/2⌋])`, m the means over all p, m̃ padded along the
    channels.

    Shapes: input (batch, channels, *n) with any number of spatial axes, returns the same; weight (1, 1, k).

    Args:
        channels: at least 1.
        kernel_size: taps along the channels, odd; or "auto": t = ⌊|log₂(channels) + beta| / gamma⌋, and t + 1 where t is even.
            The published weights use neither one formula nor one number: see `PUBLISHED`. Default "auto".
        gamma, beta: of that formula, gamma above 0. Default 2 and 1.
        padding_mode: what lies beyond the first and last channel: zeros or circular. Default zeros.
        device, dtype: of the parameters. Default: torch's.

    Raises:
        ArgumentError: an even kernel, or settings that name no layer.

    Cost: one reading pass for the means, one pass that reads and writes for the gate, k multiplications a channel.

    Example:
        >>> ECA(64).kernel_size, ECA.size(512), ECA.PUBLISHED["resnet-50"]
        (5, 5, (3, 5, 5, 7))
    """

    name = "eca"
    summary = "a gate for each channel from a 1-D convolution across the pooled channels"
    source = "Wang et al., ECA-Net: efficient channel attention for deep convolutional neural networks (2020)"
    cost = "1, and kernel_size / Π n for the gate"
    portrait = shown("gate", (1, 64, 48, 48), channels=64)

    PUBLISHED: ClassVar[dict[str, tuple[int, ...]]] = {"resnet-50": (3, 5, 5, 7), "default of the code": (3, 3, 3, 3)}
    """Kernel sizes in the four stages: those of the published weights, and what the published code falls back to."""

    def __init__(
        self,
        channels: int,
        kernel_size: int | str = "auto",
        gamma: float = 2,
        beta: float = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        (self.channels,) = functional.numbers("channels", channels, 1, 1)
        if padding_mode not in ("zeros", "circular"):
            raise ArgumentError.of("ECA", "padding_mode zeros or circular", repr(padding_mode), "choose one of these")
        taps = self.size(self.channels, gamma, beta) if kernel_size == "auto" else kernel_size
        (self.kernel_size,) = functional.numbers("kernel_size", taps, 1, 1)
        if self.kernel_size % 2 == 0:
            raise ArgumentError.of("ECA", "an odd kernel_size", repr(kernel_size), "take the next odd number")
        self.padding_mode = padding_mode
        self.weight = nn.Parameter(torch.empty(1, 1, self.kernel_size, device=device, dtype=dtype))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    @staticmethod
    def size(channels: int, gamma: float = 2, beta: float = 1) -> int:
        """The odd number of taps that the paper's formula gives for so many channels."""
        if isinstance(gamma, bool) or not isinstance(gamma, (int, float)) or not 0 < gamma < math.inf:
            raise ArgumentError.of("ECA", "gamma above 0", repr(gamma), "leave it out for 2")
        if isinstance(beta, bool) or not isinstance(beta, (int, float)) or not math.isfinite(beta):
            raise ArgumentError.of("ECA", "a number for beta", repr(beta), "leave it out for 1")
        taps = int(abs((math.log2(channels) + beta) / gamma))
        return taps if taps % 2 else taps + 1

    def gate(self, input: Tensor) -> Tensor:
        """The gates (batch, channels), each between 0 and 1."""
        self.expect(input, self.channels, None)
        if input.ndim < 3:
            raise ArgumentError.of(
                "ECA", "an input (batch, channels, *n) with spatial axes", f"shape {tuple(input.shape)}", "add an axis"
            )
        means = input.flatten(2).mean(2).unsqueeze(1)
        across = functional.conv(means, self.weight, padding=self.kernel_size // 2, padding_mode=self.padding_mode)
        return across.squeeze(1).sigmoid()

    def forward(self, input: Tensor) -> Tensor:
        gate = self.gate(input)
        return input * gate.reshape(*gate.shape, *[1] * (input.ndim - 2))

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        around = self.kernel_size // 2
        means = padded(x.sum(tuple(range(2, x.ndim))) / math.prod(x.shape[2:]), ((around, around),), self.padding_mode)
        across = sum(w * means[:, t : t + self.channels] for t, w in enumerate(self.weight.flatten()))
        return x / (1 + torch.exp(-across)).reshape(*x.shape[:2], *[1] * (x.ndim - 2))

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        return self.kernel_size

    def symmetries(self) -> Iterable[Symmetry]:
        yield Symmetry("permuted places", lambda x: x.flip(-1).roll(1, -1), lambda y: y.flip(-1).roll(1, -1))
        if self.padding_mode == "circular":
            yield Symmetry("rolled channels", lambda x: x.roll(1, 1), lambda y: y.roll(1, 1))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 16}, ((2, 16, 3),))
        yield Example({"channels": 5, "kernel_size": 3, "padding_mode": "circular"}, ((2, 5, 3, 2),))
        yield Example({"channels": 4, "gamma": 1, "beta": 3}, ((2, 4, 2, 1, 3),))
