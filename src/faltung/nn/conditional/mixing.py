"""What tunable modules share: numbers that a user sets become the weights of kernels, and fixed ones a plain module."""

from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError
from faltung.nn import functional

MIXINGS = ("affine", "linear")


class Tunable(nn.Module):
    """The base of modules that are called as `module(input, omega)` and become plain ones when omega is fixed.

    Modules of your own that hand omega on derive from it and write `folded`; `TunableSequential` then hands omega to them.
    """

    def folded(self, omega: Tensor) -> nn.Module:
        """The plain module that this one is for one omega (num_params), called without omega.

        Raises:
            ArgumentError: the class does not say how.
        """
        raise ArgumentError.of(
            type(self).__name__, "a method folded(omega)", "none", "build the plain module from its folded parts there"
        )


class Mixing(nn.Module):
    """Weights of `num_params · expand` kernels from the numbers omega: `π = ω`, or `π = Aω + c` with A and c learnt.

    The affine map starts as the linear one, every number weighing its `expand` kernels by `scale` each, so that a fresh layer is as
    large as a plain one. There is no non-linearity in either, whence what is mixed stays affine in omega.
    """

    def __init__(self, who: str, num_params: int, expand: int, mixing: str, scale: float, factory: dict) -> None:
        super().__init__()
        self.who, self.scale = who, scale
        (self.num_params,) = functional.numbers("num_params", num_params, 1, 1)
        (self.expand,) = functional.numbers("expand", expand, 1, 1)
        if mixing not in MIXINGS:
            raise ArgumentError.of(who, f"mixing among {', '.join(MIXINGS)}", repr(mixing), "choose one of these")
        if mixing == "linear" and self.expand > 1:
            raise ArgumentError.of(
                who,
                "expand 1 with linear mixing, where each number has one kernel",
                str(expand),
                "choose affine mixing",
            )
        self.weight: Any = None
        self.bias: Any = None
        if mixing == "affine":
            self.weight = nn.Parameter(torch.empty(self.count, self.num_params, **factory))
            self.bias = nn.Parameter(torch.empty(self.count, **factory))
            self.reset_parameters()

    @property
    def count(self) -> int:
        """Kernels that are mixed."""
        return self.num_params * self.expand

    def reset_parameters(self) -> None:
        """Every number weighs its own kernels alike."""
        if self.weight is not None:
            with torch.no_grad():
                eye = torch.eye(self.num_params, dtype=self.weight.dtype, device=self.weight.device)
                self.weight.copy_(eye.repeat(self.expand, 1) * self.scale)
                self.bias.zero_()

    def parameter_count(self) -> int:
        return 0 if self.weight is None else self.count * (self.num_params + 1)

    def forward(self, omega: Any, batch: int | None = None) -> Tensor:
        """Weights (count), or (batch, count), from omega (num_params), or (batch, num_params)."""
        if not isinstance(omega, Tensor) or not omega.is_floating_point():
            came = f"a tensor of {omega.dtype}" if isinstance(omega, Tensor) else type(omega).__name__
            raise DtypeError.of(self.who, "omega as a tensor of real numbers", came, "write torch.tensor([0.5, 0.5])")
        fits = omega.ndim in (1, 2) and omega.shape[-1] == self.num_params
        if not fits or (omega.ndim == 2 and batch is not None and omega.shape[0] != batch):
            many = "batch" if batch is None else batch
            raise ArgumentError.of(
                self.who, f"omega ({self.num_params},) or ({many}, {self.num_params})", f"shape {tuple(omega.shape)}",
                "give one number for each parameter, for all samples or for each",
            )  # fmt: skip
        return omega if self.weight is None else nn.functional.linear(omega, self.weight, self.bias)

    def definition(self, omega: Tensor) -> Tensor:
        """The same, number by number."""
        if self.weight is None:
            return omega
        parts = [omega[..., i, None] * self.weight[:, i] for i in range(self.num_params)]
        return sum(parts, self.bias)


def one_omega(omega: Any, like: Tensor) -> Tensor:
    """Numbers (num_params) as a tensor beside a parameter."""
    return torch.as_tensor(omega, dtype=like.dtype, device=like.device)
