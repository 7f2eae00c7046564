"""Numbers copied to all places that share them, with a gradient that gathers instead of scattering."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.functional import pad


def places(table: Tensor, count: int) -> Tensor:
    """(count, most): the places of the flattened table at which each number stands; its size where there are no more."""
    flat = table.flatten()
    order = torch.argsort(flat, stable=True)
    order = order[flat[order] >= 0]
    numbers = flat[order]
    first = torch.searchsorted(numbers, torch.arange(count))
    rank = torch.arange(len(numbers)) - first[numbers]
    found = torch.full((count, int(rank.max()) + 1 if len(rank) else 1), len(flat))
    found[numbers, rank] = order
    return found


def spread(values: Tensor, table: Tensor, back: Tensor) -> Tensor:
    """`values[..., table]`, 0 where the table says −1; its gradient reads each number's places, `back = places(table, n)`.

    torch's own gradient of indexing adds one element after the other; a group convolution's kernel repeats each weight as often as
    the group has elements, so that adding what stands at known places is several times faster.

    Shapes: values (..., n), table (*s) of whole numbers below n, back (n, most); returns (..., *s).
    """
    flat = table.flatten()
    watched = torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0
    if watched and not torch.compiler.is_compiling():  # transforms of functions know indexing, not our operator
        return _read(values, flat).unflatten(-1, table.shape)
    found: Tensor = _spread(values, flat, back)
    return found.unflatten(-1, table.shape)


def _read(values: Tensor, index: Tensor) -> Tensor:
    """`values[..., index]`, where −1 and the number of values stand for a zero behind the last."""
    return pad(values, (0, 1))[..., index]


@torch.library.custom_op("faltung::spread", mutates_args=())
def _spread(values: Tensor, index: Tensor, back: Tensor) -> Tensor:
    return _read(values, index)


@_spread.register_fake
def _(values: Tensor, index: Tensor, back: Tensor) -> Tensor:
    return values.new_empty(*values.shape[:-1], *index.shape)


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(*inputs[1:])


def _backward(ctx: Any, gradient: Tensor) -> Any:
    _, back = ctx.saved_tensors
    return _read(gradient, back).sum(-1), None, None


_spread.register_autograd(_backward, setup_context=_keep)
