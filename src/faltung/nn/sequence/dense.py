"""State spaces whose states all act on each other: the matrices of HiPPO as they are, LSSL's filters, and step by step."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.sequence.diagonal import drawn_steps, put_dynamics
from faltung.nn.sequence.discretisation import checked, discretise
from faltung.nn.sequence.hippo import NAMES, matrices
from faltung.nn.sequence.sequence import FilterConstructor

METHODS = ("dense", "krylov")


class Matrices(FilterConstructor):
    """The base of constructors with states (batch, channels, N) that a matrix of each channel moves, in double precision.

    A subclass writes `system`, the real matrices behind its parameters, and how it makes `filters`.
    """

    recurrent = True
    disc: str | float

    def system(self) -> tuple[Tensor, Tensor, Tensor]:
        """A (N, N), B (N) and C (channels, heads, N) of x' = A x + B u, y = C x, in double precision."""
        raise TypeError(f"{type(self).__name__} has no system")

    def fixed(self, rate: float) -> tuple[Tensor, ...]:
        """Ā (channels, N, N), B̄ (channels, N) and C."""
        A, B, C = self.system()
        log_dt: Any = self.log_dt
        return (*discretise(A, B, log_dt.double().exp() * rate, self.disc), C)

    def definition_filters(self, length: int, rate: float = 1.0) -> Tensor:
        step, state, C = self.fixed(rate)
        taps = []
        for _ in range(length):
            taps.append((C @ state[..., None])[..., 0])
            state = (step @ state[..., None])[..., 0]
        return torch.stack(taps, -1).to(next(self.parameters()).dtype)

    def initial_memory(self, batch: int) -> Tensor:
        C = self.system()[2]
        return C.new_zeros(batch, self.channels, C.shape[-1])

    def step(self, input: Tensor, memory: Tensor, fixed: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        step, push, C = fixed
        memory = (step @ memory[..., None])[..., 0] + push * input.to(memory.dtype)[..., None]
        return (C @ memory[..., None])[..., 0], memory

    def response(self, memory: Tensor, length: int, fixed: tuple[Tensor, ...], rate: float) -> Tensor:
        step, _, C = fixed
        return sampled(step, (step @ memory[..., None])[..., 0], C, length)

    def advance(self, memory: Tensor, input: Tensor, fixed: tuple[Tensor, ...], rate: float) -> Tensor:
        step, push, _ = fixed
        n = input.shape[-1]
        short = _short(n)
        near, far = krylov(step, push, short), torch.linalg.matrix_power(step, short)
        late = torch.nn.functional.pad(input.flip(-1).to(memory.dtype), (0, -n % short)).unflatten(-1, (-1, short))
        heard = torch.zeros_like(memory)
        for block in (late @ near.mT).flip(2).unbind(2):  # by Horner's rule, the oldest samples first
            heard = (far @ heard[..., None])[..., 0] + block
        return heard + (torch.linalg.matrix_power(step, n) @ memory[..., None])[..., 0]


class DenseStateSpace(Matrices):
    """Filters of x' = A x + B u, y = C x with a dense matrix A that all channels share: LSSL.

    Formula: `k[l] = C Ā^l B̄` with (Ā, B̄) discretised from (A, B) in steps of dt, each channel its own.

    Shapes: log_dt (channels), A (state, state), B (state), C (channels, heads, state).

    Args:
        channels, heads: at least 1.   state: at least 1. Default 64.
        init: legs, legt, lmu, lagt or fourier, see `matrices`. Default legs.
        method: dense (every power is a product of two from short lists, so that no array (channels, state, length) is made) or
            krylov (B̄, ĀB̄, Ā²B̄, ... by doubling, as published, all kept). Default dense. Both work in double precision.
        disc: see `discretise`. Default bilinear.
        dt: the steps are drawn between these two, uniform in the logarithm. Default (0.001, 0.1).
        fixed_dynamics: whether dt, A and B stay as they are drawn. Default False.
        device, dtype: of the parameters. Default: torch's.

    Raises:
        ArgumentError: settings that name no constructor.

    Cost: for each channel O(state³ log length + state² √length + state · length) and memory length + state · √length by dense;
    O(state³ log length + state² · length) and memory state · length by krylov.
    Source: Gu, Johnson, Goel, Saab, Dao, Rudra and Ré, Combining recurrent, convolutional, and continuous-time models with linear
    state-space layers (2021).

    Example:
        >>> DenseStateSpace(4, state=16).filters(100).shape
        torch.Size([4, 1, 100])
    """

    source = "Gu et al., Combining recurrent, convolutional, and continuous-time models with linear state-space layers (2021)"
    learning_rates: ClassVar[dict[str, float]] = {"log_dt": 1e-3, "A": 1e-4, "B": 1e-4}

    def __init__(
        self,
        channels: int,
        state: int = 64,
        heads: int = 1,
        init: str = "legs",
        method: str = "dense",
        disc: str | float = "bilinear",
        dt: tuple[float, float] = (0.001, 0.1),
        fixed_dynamics: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.settle(channels, heads)
        (self.state,) = functional.numbers("state", state, 1, 1)
        for word, given, known in (("init", init, NAMES), ("method", method, METHODS)):
            if given not in known:
                raise ArgumentError.of(word, f"one of {', '.join(known)}", repr(given), "choose one of these")
        checked(disc)
        self.init, self.method, self.disc, self.fixed_dynamics = init, method, disc, fixed_dynamics
        factory = {"device": device, "dtype": dtype}
        A, B = matrices(init, self.state)
        put_dynamics(self, "log_dt", drawn_steps(dt, self.channels), factory)
        put_dynamics(self, "A", A, factory)
        put_dynamics(self, "B", B, factory)
        self.C = nn.Parameter(torch.randn(self.channels, self.heads, self.state, **factory))

    def parameter_count(self) -> int:
        dynamics = 0 if self.fixed_dynamics else self.channels + self.state**2 + self.state
        return dynamics + self.channels * self.heads * self.state

    def system(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.A.double(), self.B.double(), self.C.double()

    def filters(self, length: int, rate: float = 1.0) -> Tensor:
        step, push, C = self.fixed(rate)
        made = C @ krylov(step, push, length) if self.method == "krylov" else sampled(step, push, C, length)
        return made.to(self.C.dtype)


def krylov(step: Tensor, start: Tensor, length: int) -> Tensor:
    """The vectors start, step·start, step²·start, ..., side by side, by doubling: step (*, N, N), start (*, N), (*, N, length)."""
    columns = start[..., None]
    while columns.shape[-1] < length:
        columns = torch.cat([columns, step @ columns[..., : length - columns.shape[-1]]], -1)
        step = step @ step
    return columns


def sampled(step: Tensor, start: Tensor, out: Tensor, length: int) -> Tensor:
    """out · stepˡ · start for l < length: step (c, N, N), start (*, c, N), out (c, m, N), returns (*, c, m, length)."""
    short = _short(length)
    near, far = krylov(step, start, short), torch.linalg.matrix_power(step, short)
    rows = krylov(far.mT.unsqueeze(1), out, -(-length // short))  # (c, m, N, J)
    blocks = rows.mT @ near.unsqueeze(-3)
    return blocks.flatten(-2)[..., :length]


def _short(length: int) -> int:
    """The length of the list of low powers."""
    return 1 << round(math.log2(max(1, length)) / 2)
