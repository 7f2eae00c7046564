"""Dropout of complex numbers: both parts go together."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Symmetry, shown
from faltung.nn.complex.base import ComplexLayer, turned


class Dropout(ComplexLayer):
    """In training each number is set to zero with probability p, real and imaginary part together; the mean is kept.

    Formula: `y = z·m / (1 − p)` with one m of zeros and ones, scaled once.

    Shapes: any, complex.

    Args:
        p: probability of zero, in [0, 1). Default 0.5.   channels: drop whole channels of (batch, channels, *n). Default False.

    Raises:
        ArgumentError: p outside its range.   DtypeError: real tensors.

    Example:
        >>> Dropout(0.5).eval()(torch.tensor([1 + 2j]))
        tensor([1.+2.j])
    """

    name = "complex-dropout"
    summary = "numbers, or whole channels, set to zero in training with one mask for both parts"
    cost = "1"
    portrait = shown("training plane", (1, 1, 96, 96), complex=True, p=0.25)
    source = "Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting (2014)"

    def __init__(self, p: float = 0.5, channels: bool = False) -> None:
        super().__init__()
        if not isinstance(p, (int, float)) or not 0 <= p < 1:
            raise ArgumentError.of("complex.Dropout", "a probability in [0, 1)", repr(p), "choose another p")
        self.p, self.channels = p, channels

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, None)
        if not self.training or self.p == 0:
            return input
        shape = (*input.shape[:2], *[1] * (input.ndim - 2)) if self.channels else input.shape
        ones = torch.ones(shape, dtype=input.dtype.to_real(), device=input.device)
        return input * nn.functional.dropout(ones, self.p)

    def definition(self, *inputs: Any) -> Tensor:
        return inputs[0]

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return inputs[0]

    def parameter_count(self) -> int:
        return 0

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE, "norm-preserving"})

    def symmetries(self) -> Iterable[Symmetry]:
        yield turned()

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({}, ((2, 3, 4),), complex=True)
        yield Example({"p": 0.2, "channels": True}, ((2, 3, 2, 2),), complex=True)
