"""What models with long filters need in training: learning rates for the numbers that describe dynamics."""

from collections import defaultdict
from typing import Any

from torch import nn

from faltung.errors import ArgumentError
from faltung.nn.sequence.sequence import FilterConstructor


def param_groups(model: nn.Module, at_most: float | None = None) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer: steps, decays and frequencies of filters learn slowly and do not shrink.

    Constructors say in `learning_rates` which of their parameters these are and how fast each learns; they get no weight decay.

    Args:
        model: any module; every parameter is in exactly one group.
        at_most: no group learns faster than this. Default: the constructors' rates as they are.

    Returns:
        The group of all other parameters (if there are any), which learns as the optimizer is told, then one for each rate.

    Raises:
        ArgumentError: an at_most that is not above 0.

    Source: Gu, Goel and Ré, Efficiently modeling long sequences with structured state spaces (2022).

    Example:
        >>> from faltung.nn.sequence import StateSpaceConv1d
        >>> optimizer = torch.optim.AdamW(param_groups(StateSpaceConv1d(4)), lr=0.01, weight_decay=0.05)
        >>> [(len(group["params"]), group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
        [(3, 0.01, 0.05), (3, 0.001, 0.0)]
    """
    if at_most is not None and (isinstance(at_most, bool) or not isinstance(at_most, (int, float)) or not at_most > 0):
        raise ArgumentError.of("at_most", "a number above 0", repr(at_most), "leave it out")
    rates: dict[int, float] = {}
    for made in model.modules():
        if isinstance(made, FilterConstructor):
            own = dict(made.named_parameters(recurse=False))
            rates |= {id(own[name]): rate for name, rate in made.learning_rates.items() if name in own}
    grouped = defaultdict(list)
    for p in model.parameters():
        if id(p) in rates:
            grouped[rates[id(p)] if at_most is None else min(rates[id(p)], at_most)].append(p)
    others = [p for p in model.parameters() if id(p) not in rates]
    groups: list[dict[str, Any]] = [{"params": others}] if others else []
    return groups + [
        {"params": grouped[rate], "lr": rate, "weight_decay": 0.0} for rate in sorted(grouped, reverse=True)
    ]
