"""What models with learnt positions need in training: their learning rate, and the pressure that keeps elements apart."""

from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn.positions.dcls import DCLSConv
from faltung.nn.positions.delay import Delay1d


class _Group(dict):
    """A parameter group whose learning rate is a multiple of the optimizer's own, whatever that is."""

    def __init__(self, times: float, **items: Any) -> None:
        super().__init__(**items)
        self.times = times

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Optimizers fill in what a group leaves open by this call."""
        return super().setdefault(name, default * self.times if name == "lr" and name not in self else default)


def param_groups(model: nn.Module, position_lr: float = 5.0) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer: learnt positions by themselves, with a larger learning rate and without weight decay.

    Args:
        model: any module; positions are those of its `DCLSConv` and `Delay1d` layers, shared ones once.
        position_lr: by how much their learning rate exceeds the one that the optimizer is made with. Default 5, as for DCLS;
            delays are trained with 100.

    Returns:
        The group of all other parameters (if there are any) and that of the positions (if there are any).

    Raises:
        ArgumentError: a position_lr that is not above 0.

    Source: Khalfaoui-Hassani, Pellegrini and Masquelier, Dilated convolution with learnable spacings (2023).

    Example:
        >>> optimizer = torch.optim.AdamW(param_groups(DCLSConv(1, 2, 2, 3, 9)), lr=1e-3, weight_decay=0.05)
        >>> [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
        [(0.001, 0.05), (0.005, 0.0)]
    """
    if isinstance(position_lr, bool) or not isinstance(position_lr, (int, float)) or not position_lr > 0:
        raise ArgumentError.of("position_lr", "a number above 0", repr(position_lr), "leave it out for 5")
    layers = [layer for layer in model.modules() if isinstance(layer, (DCLSConv, Delay1d))]
    positions = {id(layer.positions) for layer in layers}
    apart = [p for p in model.parameters() if id(p) in positions]
    others = [p for p in model.parameters() if id(p) not in positions]
    groups: list[dict[str, Any]] = [{"params": others}] if others else []
    return groups + ([_Group(position_lr, params=apart, weight_decay=0.0)] if apart else [])


def repulsion(model: nn.Module) -> Tensor:
    """The mean of `DCLSConv.repulsion` over the layers of a model; its square is what is added to the loss. 0 without such layers.

    Source: Khalfaoui-Hassani, Pellegrini and Masquelier, Dilated convolution with learnable spacings (2023).
    """
    found = [layer.repulsion() for layer in model.modules() if isinstance(layer, DCLSConv)]
    return torch.stack(found).mean() if found else torch.zeros(())
