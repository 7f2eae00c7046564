"""A tunable model with its numbers fixed: plain layers, as fast as if they had never been tunable."""

import copy
import inspect
from typing import Any

from torch import nn

from faltung.errors import ArgumentError
from faltung.nn.conditional.mixing import Tunable


def fold_tunable(model: nn.Module, omega: Any) -> nn.Module:
    """The plain model that a tunable one is for one omega: `fold_tunable(model, omega)(x) == model(x, omega)`.

    Tunable layers become torch's own with the blended kernel (`faltung.nn.Conv` where torch has none), `TunableSequential` becomes
    `torch.nn.Sequential`. Nothing is shared with the given model, which stays as it is.

    Args:
        model: a tunable module, or any module whose tunable parts do not reach into its own forward.
        omega: the numbers (num_params), a tensor or a list.

    Returns:
        A module in the same mode (training or evaluation) that is called without omega.

    Raises:
        ArgumentError: a module takes omega and does not say what it is without: derive it from `faltung.nn.Tunable` and write
            `folded`; an omega of another shape.

    Source: Maggioni et al., Tunable convolutions with parametric multi-loss optimization (2023).

    Example:
        >>> from faltung.nn import TunableConv2d, TunableSequential
        >>> fold_tunable(TunableSequential(TunableConv2d(3, 8, 3), nn.ReLU()), [0.5, 0.5])
        Sequential(
          (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
          (1): ReLU()
        )
    """
    return _folded(copy.deepcopy(model), omega, {})


def _folded(module: nn.Module, omega: Any, done: dict[nn.Module, nn.Module]) -> nn.Module:
    """The module itself with its parts folded, or what takes its place; a part that is used twice is folded once."""
    if module in done:
        return done[module]
    if isinstance(module, Tunable):
        done[module] = module.folded(omega)
        return done[module]
    if "omega" in inspect.signature(type(module).forward).parameters:
        raise ArgumentError.of(
            "fold_tunable", "modules that need no omega once their parts are folded", f"{type(module).__name__}.forward(omega)",
            "derive it from faltung.nn.Tunable and write folded(omega)",
        )  # fmt: skip
    done[module] = module
    for name, part in module.named_children():
        setattr(module, name, _folded(part, omega, done))
    return module
