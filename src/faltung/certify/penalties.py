"""Penalties on the weights of a model: for norms above a threshold, for filters or layers that are not orthogonal."""

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from faltung.certify.norms import spectral_norm
from faltung.certify.orthogonal import l_orth
from faltung.errors import ArgumentError
from faltung.filters import Symbol
from faltung.filters.filter import whole

KINDS = ("full", "group-inter", "group-intra", "offdiag")


def lipschitz_penalty(model: nn.Module, threshold: float = 1.0, *, rtol: float = 0.1) -> Tensor:
    """The sum of the norms' bounds of those convolutions of a model whose bound exceeds a threshold; differentiable.

    Formula: `Σ over layers L · [L > threshold]`, L the upper bound of `spectral_norm` for all input sizes.

    Args:
        threshold: above 0. Default 1.   rtol: how tight the bounds are. Default 0.1, which is fast.
    Returns:
        A number, 0 where none exceeds the threshold. Delattre et al. add 0.1 of it to the loss.
    Raises:
        ArgumentError: a model without convolutions.
    Source: Delattre et al. (2023), section on training.

    Example:
        >>> lipschitz_penalty(nn.Conv1d(1, 1, 3), threshold=100.0).item()
        0.0
    """
    bounds = [spectral_norm(layer, rtol=rtol).upper for _, layer in _convolutions(model, "lipschitz_penalty")]
    return sum((torch.as_tensor(b) for b in bounds if float(torch.as_tensor(b).detach()) > threshold), torch.zeros(()))


def orth_penalty(model: nn.Module) -> Tensor:
    """The sum of `l_orth` over the convolutions of a model, or of one layer: zero where all are orthogonal (circular boundary).

    Returns:
        A differentiable number.
    Raises:
        ArgumentError: a model without convolutions.
    Source: Wang et al. (2020); Achour, Malgouyres and Mamalet (2022).

    Example:
        >>> layer = nn.Conv1d(1, 2, 2, stride=2)
        >>> _ = nn.init.constant_(layer.weight, 0.0)
        >>> orth_penalty(layer).item()  # two filters of length 0 that should have length 1
        2.0
    """
    symbols = [Symbol.of(layer) for _, layer in _convolutions(model, "orth_penalty")]
    return sum((l_orth(s.weight, s.stride, s.dilation, s.groups) for s in symbols), torch.zeros(()))


def filter_orth_penalty(
    model: nn.Module,
    kind: str = "full",
    groups: int = 32,
    min_group: int = 4,
    include: str = ".*",
    reduction: str = "mean",
) -> Tensor:
    """How far the filters of each layer, as vectors, are from orthogonal: all of them, or in groups, which costs less.

    Formula: W (filters, numbers), cut into `n` groups of g consecutive filters. `group-inter` sums over the groups, `group-intra`
    over the g sets that take the i-th filter of every group; each adds `‖AᵀA − I‖_F²`, or `‖AAᵀ − I‖_F²` for A with fewer rows than
    columns. `full` has one group. `offdiag`: `‖WWᵀ ⊙ (1 − I)‖_F²`, which leaves lengths free.

    Args:
        model: every convolution and linear layer in it counts whose weight's name `include` matches.
        groups: how many at most. Default 32.   min_group: filters a group has at least. Default 4. The number is lowered to the
            largest one that divides the filters.
        include: a regular expression, searched in names such as `stage1.0.conv.weight`.
        reduction: `mean` over layers, so that its weight in a loss does not depend on depth, or `sum`. Default mean.
    Raises:
        ArgumentError: an unknown kind or reduction, or no layer left.
    Source: Kurtz, Bar and Giryes, Group orthogonalization regularization (2023); Brock, Donahue and Simonyan (2019) for offdiag.

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layer.weight)
        >>> filter_orth_penalty(layer).item(), filter_orth_penalty(layer, "offdiag").item()
        (0.0, 0.0)
    """
    who = "filter_orth_penalty"
    if kind not in KINDS or reduction not in ("mean", "sum"):
        raise ArgumentError.of(
            who, f"kind among {', '.join(KINDS)}, reduction mean or sum", f"{kind!r}, {reduction!r}", "choose these"
        )
    most, least = whole(who, "groups", groups, 1), whole(who, "min_group", min_group, 1)
    pattern = re.compile(include)
    weights = [
        module.weight
        for name, module in model.named_modules()
        if (_is_convolution(module) or isinstance(module, nn.Linear)) and pattern.search(f"{name}.weight".lstrip("."))
    ]
    if not weights:
        raise ArgumentError.of(who, "layers whose weight's name matches", repr(include), "widen the expression")
    total = sum((_one(w, kind, most, least) for w in weights), torch.zeros(()))
    return total / len(weights) if reduction == "mean" else total


def _one(weight: Any, kind: str, most: int, least: int) -> Tensor:
    filters = weight.reshape(weight.shape[0], -1)
    if kind == "offdiag":
        products = filters @ filters.mT
        return products.square().sum() - products.diagonal().square().sum()
    count = 1 if kind == "full" else max(1, min(most, len(filters) // least))
    while len(filters) % count:
        count -= 1
    sets = filters.reshape(count, -1, filters.shape[1])
    sets = sets.transpose(0, 1) if kind == "group-intra" else sets
    products = sets.mT @ sets if sets.shape[1] >= sets.shape[2] else sets @ sets.mT
    return (products - torch.eye(products.shape[-1], dtype=products.dtype, device=products.device)).square().sum()


def _convolutions(model: nn.Module, who: str) -> list[tuple[str, Any]]:
    found = list(_found(model))
    if not found:
        raise ArgumentError.of(who, "a model with convolutions", type(model).__name__, "check what was passed")
    return found


def _found(model: nn.Module) -> Iterator[tuple[str, Any]]:
    return ((name, module) for name, module in model.named_modules() if _is_convolution(module))


def _is_convolution(module: Any) -> bool:
    """Whether it is one convolution with a kernel of its own."""
    settings = all(hasattr(module, name) for name in ("weight", "stride", "dilation", "groups", "kernel_size"))
    return settings and isinstance(module.weight, Tensor) and module.weight.ndim >= 3
