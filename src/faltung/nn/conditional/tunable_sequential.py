"""Tunable modules one after the other, and the loss with which they are trained: the same numbers weigh modules and objectives."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn.conditional.mixing import Tunable


class TunableSequential(Tunable):
    """Modules one after the other; those that are tunable get omega, too.

    Args:
        modules: tunable ones, called as `module(x, omega)`, and plain ones, called as `module(x)`.

    Example:
        >>> from faltung.nn import TunableConv2d
        >>> model = TunableSequential(TunableConv2d(1, 8, 3), nn.ReLU(), TunableConv2d(8, 1, 3))
        >>> model(torch.zeros(2, 1, 9, 9), torch.tensor([0.5, 0.5])).shape
        torch.Size([2, 1, 5, 5])
    """

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        for n, module in enumerate(modules):
            self.add_module(str(n), module)

    def forward(self, input: Tensor, omega: Tensor) -> Tensor:
        for module in self:
            input = module(input, omega) if isinstance(module, Tunable) else module(input)
        return input

    def folded(self, omega: Any) -> nn.Module:
        """torch's `Sequential` of the plain modules for one omega (num_params); those that were plain are shared, not copied."""
        return nn.Sequential(*(m.folded(omega) if isinstance(m, Tunable) else m for m in self)).train(self.training)

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(self._modules.values())

    def __len__(self) -> int:
        return len(self._modules)

    def __getitem__(self, n: int) -> nn.Module:
        return list(self)[n]


class MultiObjective(nn.Module):
    """The loss that gives each number of omega its meaning: omega weighs objectives as it weighs kernels.

    Formula: `L(ω) = Σ_i ω_i · λ_i · L_i(prediction, target)`, for samples with an omega of their own the mean over these.

    Shapes: prediction and target (batch, ...), omega (p) or (batch, p); returns a scalar.

    Args:
        losses: one for each number of omega, called as `loss(prediction, target)`. For an omega of each sample they must tell the
            samples apart: results (batch, ...), as of losses with reduction="none", whose mean over all other axes is taken.
        scales: λ, which bring the objectives to one size. Default 1 each.

    Raises:
        ArgumentError: another number of scales or of numbers; a loss of one number for all samples where each has its omega.

    Source: Maggioni et al., Tunable convolutions with parametric multi-loss optimization (2023).

    Example:
        >>> loss = MultiObjective([nn.MSELoss(), nn.L1Loss()])
        >>> loss(torch.full((1, 2), 2.0), torch.zeros(1, 2), torch.tensor([0.5, 0.5]))
        tensor(3.)
    """

    scales: Tensor

    def __init__(self, losses: Iterable[Callable], scales: Iterable[float] | None = None) -> None:
        super().__init__()
        self.losses = list(losses)
        given = [1.0] * len(self.losses) if scales is None else [float(s) for s in scales]
        if not self.losses or len(given) != len(self.losses):
            raise ArgumentError.of(
                "MultiObjective", "losses, and one scale for each", f"{len(self.losses)} and {len(given)}", "match them"
            )
        for n, loss in enumerate(self.losses):
            if isinstance(loss, nn.Module):
                self.add_module(f"loss{n}", loss)
        self.register_buffer("scales", torch.tensor(given))

    def forward(self, prediction: Tensor, target: Tensor, omega: Tensor) -> Tensor:
        count, batch = len(self.losses), prediction.shape[0]
        if omega.shape not in ((count,), (batch, count)):
            raise ArgumentError.of(
                "MultiObjective", f"omega ({count},) or ({batch}, {count})", f"shape {tuple(omega.shape)}",
                "give one number for each loss",
            )  # fmt: skip
        values = []
        for loss in self.losses:
            value = loss(prediction, target)
            if omega.ndim == 1:
                values.append(value.mean())
            elif value.ndim and value.shape[0] == batch:
                values.append(value.reshape(batch, -1).mean(1))
            else:
                raise ArgumentError.of(
                    "MultiObjective", f"losses (batch = {batch}, ...) for an omega of each sample", f"shape {tuple(value.shape)}",
                    "give the losses reduction='none'",
                )  # fmt: skip
        return (torch.stack(values, -1) * omega * self.scales.to(omega.dtype)).sum(-1).mean()

    def draw(self, batch: int | None = None, corners: float = 0.25, generator: torch.Generator | None = None) -> Tensor:
        """A random omega to train with: uniform in [0, 1], and a single objective, a corner, with probability `corners`.

        Returns:
            (p) or, with `batch`, (batch, p). One step needs one: hand the same to the model and to this loss.
        """
        count, many = len(self.losses), 1 if batch is None else batch
        drawn = torch.rand(many, count, generator=generator)
        chosen = torch.randint(count, (many,), generator=generator)
        corner = torch.rand(many, generator=generator) < corners
        drawn = torch.where(corner[:, None], nn.functional.one_hot(chosen, count).to(drawn), drawn).to(
            self.scales.device
        )
        return drawn[0] if batch is None else drawn
