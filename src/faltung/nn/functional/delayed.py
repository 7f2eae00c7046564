"""Sums of signals, each with a weight and a whole delay of its own."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from faltung.errors import ArgumentError, DtypeError
from faltung.kernels.delay import on_numba
from faltung.nn.functional.convolution import conv


def delayed(input: Tensor, weight: Tensor, delay: Tensor, length: int | None = None) -> Tensor:
    """Each output is the sum of all inputs, each with a weight and a delay of its own: a shift and a sum for each pair.

    Formula: `y[b, o, t] = Σ_i weight[o, i] · input[b, i, t − delay[o, i]]`, i ascending, every product and every sum rounded: the
    same sums in any other program give the same bits. The input is 0 beyond its ends.

    Shapes: input (batch, in, n), weight and delay (out, in); returns (batch, out, length).

    Args:
        delay: whole numbers of steps; below 0 an input is read ahead.   length: of the result. Default: that of the input.

    Returns:
        A tensor of the input's dtype, differentiable any number of times in input and weight.

    Raises:
        ArgumentError, DtypeError: tensors that do not fit.

    Cost: `in` products for each sample, however long the delays; derivatives take those of a convolution with all delays.
    Source: the definition.

    Example:
        >>> delayed(torch.tensor([[[1.0, 2.0, 3.0]]]), torch.ones(1, 1), torch.tensor([[1]]))
        tensor([[[0., 1., 2.]]])
    """
    for name, tensor in (("input", input), ("weight", weight)):
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            came = str(tensor.dtype) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise DtypeError.of("delayed", f"{name} as a tensor of real numbers", came, "convert it with .float()")
    if not isinstance(delay, Tensor) or delay.dtype not in (torch.int64, torch.int32):
        raise DtypeError.of(
            "delayed", "delays as a tensor of whole numbers", str(getattr(delay, "dtype", delay)), "round them"
        )
    if input.ndim != 3 or weight.ndim != 2 or weight.shape != delay.shape or input.shape[1] != weight.shape[1]:
        raise ArgumentError.of(
            "delayed", "input (batch, in, n), weight and delay (out, in)",
            f"{tuple(input.shape)}, {tuple(weight.shape)} and {tuple(delay.shape)}", "match their channels",
        )  # fmt: skip
    if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length < 0):
        raise ArgumentError.of("length", "a whole number of at least 0", repr(length), "leave it out for the input's")
    wide = torch.promote_types(torch.promote_types(input.dtype, weight.dtype), torch.float32)
    reach = [-int(delay.max()), -int(delay.min())] if delay.numel() else [0, 0]
    outputs = input.shape[-1] if length is None else length
    return sum_delayed(input.to(wide), weight.to(wide), -delay.long(), outputs, reach).to(input.dtype)


@torch.library.custom_op("faltung::sum_delayed", mutates_args=())
def sum_delayed(x: Tensor, weight: Tensor, start: Tensor, length: int, reach: Sequence[int]) -> Tensor:
    """`Σ_i weight[o, i] · x[b, i, t + start[o, i]]` as an operator; reach: numbers that no start is below and above."""
    if x.is_cpu:
        signals, weights, starts = (a.detach().contiguous().numpy() for a in (x, weight, start))
        return torch.from_numpy(on_numba.delayed(signals, weights, starts, length, torch.get_num_threads()))
    y = x.new_zeros(x.shape[0], weight.shape[0], length)
    at = torch.arange(length, device=x.device)
    for i in range(weight.shape[1]):
        found = start[:, i, None] + at
        inside = (found >= 0) & (found < x.shape[-1])
        read = x[:, i].index_select(1, found.clamp(0, max(0, x.shape[-1] - 1)).flatten()).unflatten(1, found.shape)
        y = y + torch.where(inside, weight[:, i, None] * read, 0)
    return y


@sum_delayed.register_fake
def _(x: Tensor, weight: Tensor, start: Tensor, length: int, reach: Sequence[int]) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0], length)


def _keep(ctx: Any, inputs: tuple, output: Any) -> None:
    x, weight, start, *ctx.settings = inputs
    ctx.save_for_backward(x, weight, start)


def _backward(ctx: Any, y: Tensor) -> tuple:
    x, weight, start = ctx.saved_tensors
    _, back = torch.func.vjp(lambda x, weight: by_conv(x, weight, start, *ctx.settings), x, weight)
    return (*back(y), None, None, None)


sum_delayed.register_autograd(_backward, setup_context=_keep)


def by_conv(x: Tensor, weight: Tensor, start: Tensor, length: int, reach: Sequence[int]) -> Tensor:
    """The same as a convolution whose filters have one tap each, which has derivatives of any order."""
    least, most = reach
    taps = torch.arange(most - least + 1, device=x.device)
    kernel = weight[..., None] * ((start - least)[..., None] == taps)
    return conv(pad(x, (-least, length - x.shape[-1] + most)), kernel)
