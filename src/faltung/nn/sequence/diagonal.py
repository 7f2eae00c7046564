"""Diagonal state spaces: filters that are sums of damped oscillations, sampled from a differential equation."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.functional.vandermonde import Planes
from faltung.nn.sequence.discretisation import checked, discrete_modes
from faltung.nn.sequence.hippo import normal_pairs
from faltung.nn.sequence.modes import Modes

DIAGONAL = ("s4d-lin", "s4d-inv", "s4d-legs", "s4d-real")


class DiagonalStateSpace(Modes):
    """Filters of x' = A x + u, y = C x with diagonal A: S4D.

    Formula: `k[l] = 2 Re Σ_n C_n B̄_n Ā_n^l` with (Ā, B̄) discretised from A_n and B = 1 in steps of dt, for instance
    `Ā = exp(dt·A)`, `B̄ = (exp(dt·A) − 1)/A`. Modes are the upper halves of state/2 conjugate pairs; s4d-real has as many real
    modes as states, and no factor 2. `A_n = −exp(log_decay_n) + i·frequency_n` stays left of the imaginary axis.

    Shapes: log_dt (channels); log_decay, frequency (channels, state/2); real and imaginary part of C, each (channels, heads,
    state/2). B would only scale C and is left out.

    Args:
        channels, heads: at least 1.   state: an even number (any for s4d-real). Default 64.
        init: A_n = −½ + iπn (s4d-lin), −½ + i·(N/π)(N/(2n+1) − 1) (s4d-inv), the eigenvalues of the normal part of HiPPO-LegS
            (s4d-legs), or −(n+1) (s4d-real). Default s4d-lin.
        disc: see `discretise`. Default zoh.
        dt: the steps are drawn between these two, uniform in the logarithm. Default (0.001, 0.1).
        fixed_dynamics: whether dt and A stay as they are drawn. Default False.
        device, dtype: of the parameters. Default: torch's.

    Raises:
        ArgumentError: settings that name no constructor.

    Cost: O(channels · state · length) in one matrix product, without the powers (channels, state, length) in memory.
    Source: Gu, Gupta, Goel and Ré, On the parameterization and initialization of diagonal state space models (2022); Gupta, Gu and
    Berant, Diagonal state spaces are as effective as structured state spaces (2022).

    Example:
        >>> DiagonalStateSpace(4, state=16).filters(1000).shape
        torch.Size([4, 1, 1000])
    """

    source = "Gu, Gupta, Goel and Ré, On the parameterization and initialization of diagonal state space models (2022)"
    learning_rates: ClassVar[dict[str, float]] = {"log_dt": 1e-3, "log_decay": 1e-3, "frequency": 1e-3}

    def __init__(
        self,
        channels: int,
        state: int = 64,
        heads: int = 1,
        init: str = "s4d-lin",
        disc: str | float = "zoh",
        dt: tuple[float, float] = (0.001, 0.1),
        fixed_dynamics: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.settle(channels, heads)
        (self.state,) = functional.numbers("state", state, 1, 1)
        if init not in DIAGONAL:
            raise ArgumentError.of("init", f"one of {', '.join(DIAGONAL)}", repr(init), "choose one of these")
        self.real = init == "s4d-real"
        if not self.real and self.state % 2:
            raise ArgumentError.of("state", "an even number of states", str(state), "add one")
        checked(disc)
        self.init, self.disc, self.fixed_dynamics = init, disc, fixed_dynamics
        factory = {"device": device, "dtype": dtype}
        A = eigenvalues(init, self.state).expand(self.channels, -1)
        put_dynamics(self, "log_dt", drawn_steps(dt, self.channels), factory)
        put_dynamics(self, "log_decay", (-A.real).log(), factory)
        shape = (self.channels, self.heads, A.shape[-1])
        self.re = nn.Parameter(torch.randn(shape, **factory) * (1 if self.real else 0.5**0.5))
        if not self.real:
            put_dynamics(self, "frequency", A.imag, factory)
            self.im = nn.Parameter(torch.randn(shape, **factory) * 0.5**0.5)

    def parameter_count(self) -> int:
        N = self.state if self.real else self.state // 2
        dynamics = 0 if self.fixed_dynamics else 1 + N * (1 if self.real else 2)
        return self.channels * (dynamics + self.heads * N * (1 if self.real else 2))

    def modes(self, rate: float) -> tuple[Planes, Planes]:
        dt = (self.log_dt.double().exp() * rate)[:, None]
        decay, re = -self.log_decay.double().exp(), self.re.double()
        if self.real:
            exponent, push = discrete_modes((dt * decay, None), self.disc)
            push = (dt * push[0]).unsqueeze(1), None if push[1] is None else (dt * push[1]).unsqueeze(1)
            return (re * push[0], None if push[1] is None else re * push[1]), exponent
        exponent, push = discrete_modes((dt * decay, dt * self.frequency.double()), self.disc)
        a, b, im = (2 * dt * push[0]).unsqueeze(1), (2 * dt * push[1]).unsqueeze(1), self.im.double()
        return (re * a - im * b, re * b + im * a), exponent

    def definition_modes(self, rate: float) -> tuple[Tensor, Tensor]:
        A = torch.complex(
            -self.log_decay.double().exp(), 0 * self.log_decay.double() if self.real else self.frequency.double()
        )
        dt, alpha = self.log_dt.double().exp()[:, None] * rate, checked(self.disc)
        if alpha is None:
            factor = torch.exp(dt * A)
            push = (factor - 1) / A
        else:
            factor, push = (1 + (1 - alpha) * dt * A) / (1 - alpha * dt * A), dt / (1 - alpha * dt * A)
        C = self.re.double() if self.real else 2 * torch.complex(self.re.double(), self.im.double())
        return C * push[:, None], factor


def eigenvalues(init: str, state: int) -> Tensor:
    """The first values of A, (state/2) complex numbers, or (state) on the real axis for s4d-real."""
    n = torch.arange(state if init == "s4d-real" else state // 2, dtype=torch.float64)
    if init == "s4d-real":
        return torch.complex(-(n + 1), torch.zeros_like(n))
    if init == "s4d-legs":
        return normal_pairs("legs", state)[0]
    turn = math.pi * n if init == "s4d-lin" else state / math.pi * (state / (2 * n + 1) - 1)
    return torch.complex(torch.full_like(n, -0.5), turn)


def drawn_steps(dt: Any, channels: int) -> Tensor:
    """Logarithms of steps between the two numbers, uniform."""
    known = isinstance(dt, (tuple, list)) and len(dt) == 2 and all(isinstance(d, (int, float)) for d in dt)
    if not known or not 0 < dt[0] <= dt[1]:
        raise ArgumentError.of(
            "dt", "the smallest and the largest step, above 0", repr(dt), "leave it out for (0.001, 0.1)"
        )
    low, high = math.log(dt[0]), math.log(dt[1])
    return low + (high - low) * torch.rand(channels, dtype=torch.float64)


def put_dynamics(made: Any, name: str, value: Tensor, factory: dict[str, Any]) -> None:
    """Numbers that describe the dynamics: a parameter, or a buffer where the dynamics are fixed."""
    usual = torch.get_default_dtype() if factory["dtype"] is None else factory["dtype"]
    value = value.to(device=factory["device"] or torch.get_default_device(), dtype=usual).contiguous()
    if made.fixed_dynamics:
        made.register_buffer(name, value)
    else:
        made.register_parameter(name, nn.Parameter(value))
