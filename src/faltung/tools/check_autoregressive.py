"""Whether a model's results depend on earlier positions only, by its Jacobian."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError

Place = tuple[int, ...]


@dataclass(frozen=True)
class Dependence:
    """What `check_autoregressive` found: pairs (result, input), each an index (channel, *position)."""

    forbidden: tuple[tuple[Place, Place], ...]
    """Results that depend on an input which comes later, or at the same time where that is not allowed."""
    unseen: tuple[tuple[Place, Place], ...]
    """Results that depend nowhere on an input which they might depend on: the blind spot, or what the kernel does not reach."""

    @property
    def holds(self) -> bool:
        """Whether the model is autoregressive."""
        return not self.forbidden

    def __str__(self) -> str:
        said = "autoregressive" if self.holds else "not autoregressive"
        if self.forbidden:
            result, given = self.forbidden[0]
            said += f": {len(self.forbidden)} forbidden dependences, the first of result {result} on input {given}"
        return f"{said}; {len(self.unseen)} earlier inputs are not seen"


def check_autoregressive(
    model: nn.Module,
    size: Sequence[int],
    order: Any = "raster",
    strict: bool = True,
    channel_groups: int = 1,
    probes: int = 3,
) -> Dependence:
    """Compare the support of a model's Jacobian with what an order of the positions allows.

    The model is copied, set to evaluation mode and float64, and differentiated at random inputs; zeros are meant exactly.

    Shapes: the model maps (1, channels, *n) to (1, any channels, *n).

    Args:
        size: (channels, *n), small: a backward pass for every result.
        order: `raster`, or the positions' indices (in raster order) in the order in which they are visited.
        strict: whether a result may not depend on the input at its own position and channel group (type A). Default True.
        channel_groups: in how many consecutive groups, one after the other, the channels of input and result fall. Default 1.
        probes: at how many inputs; a ReLU hides dependences at some of them. Default 3.

    Raises:
        ArgumentError: a result of other spatial sizes, an order that is no permutation, channels that do not fall into groups.

    Example:
        >>> from faltung.nn import MaskedConv2d
        >>> check_autoregressive(MaskedConv2d(1, 1, 3, mask="A"), (1, 4, 4)).holds
        True
    """
    size = tuple(size)
    twin, rank = copy.deepcopy(model).double().eval(), ranks(order, size[1:])
    depends: Any = False
    for probe in range(probes):
        drawn = torch.randn((1, *size), dtype=torch.float64, generator=torch.Generator().manual_seed(probe))
        x = drawn.requires_grad_()
        y = twin(x)
        if y.ndim != x.ndim or y.shape[2:] != x.shape[2:]:
            raise ArgumentError.of(
                "check_autoregressive", f"a result (1, channels, {', '.join(map(str, size[1:]))})", str(tuple(y.shape)),
                "pass a model that keeps the sizes",
            )  # fmt: skip
        rows = [torch.autograd.grad(one, x, retain_graph=True)[0].flatten() for one in y.flatten()]
        depends = depends | (torch.stack(rows) != 0)
    of_result, of_input = (_times(rank, channels, channel_groups) for channels in (y.shape[1], size[0]))
    allowed = of_input < of_result[:, None] if strict else of_input <= of_result[:, None]

    def pairs(which: Tensor) -> tuple[tuple[Place, Place], ...]:
        return tuple((_place(r, y.shape[1:]), _place(i, size)) for r, i in which.nonzero().tolist())

    return Dependence(pairs(depends & ~allowed), pairs(allowed & ~depends))


def ranks(order: Any, n: Sequence[int]) -> Tensor:
    """When each position is visited, positions in raster order.

    Raises:
        ArgumentError: neither `raster` nor a permutation of the positions.
    """
    count = math.prod(n)
    if isinstance(order, str) and order == "raster":
        return torch.arange(count)
    given = None if isinstance(order, str) else torch.as_tensor(order).flatten()
    if given is None or not torch.equal(given.sort().values, torch.arange(count)):
        raise ArgumentError.of(
            "order", f"'raster' or a permutation of {count} positions", repr(order), "name each index once"
        )
    return given.argsort()


def _times(rank: Tensor, channels: int, groups: int) -> Tensor:
    """When each element of (channels, *n) is known."""
    if channels % groups:
        raise ArgumentError.of(
            "check_autoregressive", f"channels that {groups} channel groups divide", str(channels), "choose other channel_groups"
        )  # fmt: skip
    return (rank * groups + (torch.arange(channels) * groups // channels)[:, None]).flatten()


def _place(index: int, size: Sequence[int]) -> Place:
    return tuple(int(i) for i in torch.unravel_index(torch.tensor(index), tuple(size)))
