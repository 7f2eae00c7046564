"""FourierMix: tokens and channels are mixed by a Fourier transform, without parameters."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Layer, shown

NORMS = ("ortho", "backward")


class FourierMix(Layer):
    """The real part of a Fourier transform over space, and over the channels: mixing in place of attention, nothing to learn.

    Formula: `y = Re F x` with `F = exp(−2πi (k·p / n + l·c / C))` over positions p and channels c, divided by √(C Π n) for `ortho`.

    Shapes: input (batch, channels, *n), returns the same.

    Args:
        ndim: number of spatial axes, at least 1.
        channels: whether channels are mixed, too. Default True.
        norm: ortho (the result is never longer than the input) or backward (undivided, as published). Default ortho.

    Raises:
        ArgumentError: settings that name no layer, complex input.

    Cost: one real Fourier transform.

    Source: Lee-Thorp et al., FNet: mixing tokens with Fourier transforms (2022).

    Example:
        >>> FourierMix(1, norm="backward")(torch.tensor([[[1.0, 1], [1, 1]]]))
        tensor([[[4., 0.],
                 [0., 0.]]])
    """

    name = "fourier-mix"
    summary = "the real part of a Fourier transform over space and channels, in place of attention"
    source = "Lee-Thorp et al., FNet: mixing tokens with Fourier transforms (2022)"
    cost = "log2 of the number of samples and channels, about 2.5 times"
    dims = (1, 2, 3, 4)
    portrait = shown("photo", (1, 1, 64, 64), ndim=2)
    neutral = torch.empty(0, dtype=torch.float64)

    def __init__(self, ndim: int, channels: bool = True, norm: str = "ortho") -> None:
        super().__init__()
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        if norm not in NORMS:
            raise ArgumentError.of("norm", f"one of {', '.join(NORMS)}", repr(norm), "choose one of these")
        if not isinstance(channels, bool):
            raise ArgumentError.of("channels", "True or False", repr(channels), "leave it out for True")
        self.channels, self.norm = channels, norm

    @property
    def axes(self) -> int:
        """How many of the last axes are transformed."""
        return self.ndim + self.channels

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, self.ndim)
        if input.is_complex():
            raise ArgumentError.of(
                "FourierMix", "a real input", f"a tensor of {input.dtype}", "mix real and imaginary part"
            )
        n = input.shape[-1]
        half = functional.real_spectrum(input, self.axes).real
        # The other half are the conjugates at the opposite frequencies, whose real parts are the same.
        opposite = half[..., 1 : (n + 1) // 2].flip(-1)
        for axis in range(2 - self.channels, input.ndim - 1):
            opposite = opposite.flip(axis).roll(1, axis)
        y = torch.cat([half, opposite], -1)
        y = y * math.sqrt(math.prod(input.shape[-self.axes :])) if self.norm == "backward" else y
        return y.to(input.dtype)

    def definition(self, *inputs: Any) -> Tensor:
        """One matrix of complex exponentials an axis."""
        y = inputs[0].to(torch.complex128)
        for axis in range(y.ndim - self.axes, y.ndim):
            n = y.shape[axis]
            line = torch.arange(n, dtype=torch.float64)
            turns = torch.exp(-2j * math.pi * line[:, None] * line / max(n, 1))
            turns = turns / math.sqrt(n) if self.norm == "ortho" else turns
            y = torch.tensordot(y, turns, ([axis], [0])).movedim(-1, axis)
        return y.real.to(inputs[0].dtype)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        return 0

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    def gain(self) -> float | None:
        return 1.0 if self.norm == "ortho" else None

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1}, ((2, 3, 4),))
        yield Example({"ndim": 2, "channels": False, "norm": "backward"}, ((2, 2, 3, 4),))
        yield Example({"ndim": 2}, ((1, 2, 4, 3),))
