"""Learning rates for parameters that are no weights: positions of taps, and the numbers that describe dynamics."""

from collections import defaultdict
from typing import Any

from torch import nn

from faltung.errors import ArgumentError
from faltung.nn.positions import DCLSConv, Delay1d
from faltung.nn.sequence.sequence import FilterConstructor
from faltung.nn.sequence.spatial import SpatialLong


class _Group(dict):
    """A parameter group whose learning rate is a multiple of the optimizer's own, whatever that is."""

    def __init__(self, times: float, **items: Any) -> None:
        super().__init__(**items)
        self.times = times

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Optimizers fill in what a group leaves open by this call."""
        return super().setdefault(name, default * self.times if name == "lr" and name not in self else default)


def param_groups(model: nn.Module, position_lr: float = 5.0, at_most: float | None = None) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer: learnt positions move fast, dynamics of long filters learn slowly, and neither shrinks.

    Positions are those of `DCLSConv` and `Delay1d`, shared ones once. Steps, decays and frequencies of filters are what their
    constructors name in `learning_rates`, each with a rate of its own.

    Args:
        model: any module; every parameter is in exactly one group.
        position_lr: by how much the learning rate of positions exceeds the one that the optimizer is made with. Default 5, as
            for DCLS; delays are trained with 100.
        at_most: no constructor's rate is larger than this. Default: as they are.

    Returns:
        The group of all other parameters, which learn as the optimizer is told, that of the positions, and one for each
        constructors' rate, the largest first; none of them empty. All but the first without weight decay.

    Raises:
        ArgumentError: a position_lr or at_most that is not above 0.

    Source: Khalfaoui-Hassani, Pellegrini and Masquelier, Dilated convolution with learnable spacings (2023); Gu, Goel and Ré,
    Efficiently modeling long sequences with structured state spaces (2022).

    Example:
        >>> from faltung.nn.sequence import StateSpaceConv1d
        >>> model = nn.Sequential(DCLSConv(1, 4, 4, 3, 9), StateSpaceConv1d(4))
        >>> optimizer = torch.optim.AdamW(param_groups(model), lr=0.01, weight_decay=0.05)
        >>> [(len(group["params"]), group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
        [(5, 0.01, 0.05), (1, 0.05, 0.0), (3, 0.001, 0.0)]
    """
    _above_zero("position_lr", position_lr, "leave it out for 5")
    if at_most is not None:
        _above_zero("at_most", at_most, "leave it out")
    positions: set[int] = set()
    rates: dict[int, float] = {}
    for part in model.modules():
        if isinstance(part, (DCLSConv, Delay1d)):
            positions.add(id(part.positions))
        elif isinstance(part, (FilterConstructor, SpatialLong)):
            own = dict(part.named_parameters(recurse=False))
            rates |= {id(own[name]): rate for name, rate in part.learning_rates.items() if name in own}
    weights, apart, slow = [], [], defaultdict(list)
    for p in model.parameters():
        if id(p) in positions:
            apart.append(p)
        elif id(p) in rates:
            slow[rates[id(p)] if at_most is None else min(rates[id(p)], at_most)].append(p)
        else:
            weights.append(p)
    groups: list[dict[str, Any]] = [{"params": weights}] if weights else []
    groups += [_Group(position_lr, params=apart, weight_decay=0.0)] if apart else []
    return groups + [{"params": slow[rate], "lr": rate, "weight_decay": 0.0} for rate in sorted(slow, reverse=True)]


def _above_zero(name: str, given: Any, remedy: str) -> None:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not given > 0:
        raise ArgumentError.of(name, "a number above 0", repr(given), remedy)
