"""What surrounds a long filter in a network: an activation, and a mix of channels with gates."""

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import gelu, glu

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import uniform_bias
from faltung.nn.sequence.sequence import SequenceConv, State, checked_chance


class SequenceBlock(nn.Module):
    """A long filter, a GELU, dropout, and a mix of channels half of which are gates.

    Formula: `GLU(W · dropout(GELU(conv(x))) + b)`, at every time by itself behind the convolution.

    Shapes: input (batch, conv.channels, T), returns (batch, width, T); W (2·width, conv.channels · conv.heads, 1), b (2·width).

    Args:
        conv: any `SequenceConv`.
        width: channels of the result. Default: those of the input.   dropout: of whole channels, from 0 to below 1. Default 0.

    Raises:
        ArgumentError: settings that name no block.

    Source: Gu, Goel and Ré, Efficiently modeling long sequences with structured state spaces (2022).

    Example:
        >>> import torch
        >>> from faltung.nn.sequence import StateSpaceConv1d
        >>> SequenceBlock(StateSpaceConv1d(4, heads=2))(torch.zeros(1, 4, 100)).shape
        torch.Size([1, 4, 100])
    """

    def __init__(self, conv: SequenceConv, width: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        if not isinstance(conv, SequenceConv):
            raise ArgumentError.of(
                "SequenceBlock", "a SequenceConv", type(conv).__name__, "pass a layer of faltung.nn.sequence"
            )
        (self.width,) = functional.numbers("width", conv.channels if width is None else width, 1, 1)
        self.conv, self.dropout = conv, nn.Dropout1d(checked_chance(dropout))
        one, inputs = next(conv.parameters()), conv.channels * conv.heads
        factory: dict[str, Any] = {"device": one.device, "dtype": one.dtype}
        self.weight = nn.Parameter(
            uniform_bias(2 * self.width * inputs, inputs, factory).detach().reshape(-1, inputs, 1)
        )
        self.bias = uniform_bias(2 * self.width, inputs, factory)

    def forward(self, input: Tensor, rate: float = 1.0, mask: Tensor | None = None) -> Tensor:
        """The result for a whole signal; rate and mask: see `SequenceConv.forward`."""
        return self._mixed(self.conv(input, rate, mask))

    def initial_state(self, batch: int, rate: float = 1.0) -> State:
        """That of the convolution, see `SequenceConv.initial_state`."""
        return self.conv.initial_state(batch, rate)

    def step(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """One sample (batch, channels) in, its result (batch, width) and the next state out."""
        y, state = self.conv.step(input, state)
        return self._mixed(y[..., None])[..., 0], state

    def chunk(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """The next samples of a stream (batch, channels, n): their results (batch, width, n) and the next state."""
        y, state = self.conv.chunk(input, state)
        return self._mixed(y), state

    def _mixed(self, y: Tensor) -> Tensor:
        return glu(functional.conv(self.dropout(gelu(y)), self.weight, self.bias), 1)
