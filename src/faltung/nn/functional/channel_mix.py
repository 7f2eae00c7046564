"""Sums over a few named channels at every position, as one torch operator with derivatives of every order."""

from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError, DtypeError
from faltung.kernels.mix import on_numba as kernel
from faltung.kernels.threads import available


def channel_mix(input: Tensor, weight: Tensor, index: Tensor, back: Tensor) -> Tensor:
    """A 1 × 1 convolution that is sparse: each output sums over the channels that it names.

    Formula: `y[b, o, p] = Σ over j of weight[o, j]·input[b, index[o, j], p]`.

    Shapes: input (batch, channels, *n), weight and index (out, j), back (channels, i), returns (batch, out, *n).

    Args:
        input, weight: float32 or float64 on the CPU, of one dtype.   index: int64, the channels of each output.
        back: int64, where in the flattened index each channel is named, as `named(index, channels)` says.

    Raises:
        ArgumentError, DtypeError: tensors that do not fit.

    Cost: j products for each sample of the result; the weight's gradient is that of the dense layer.
    Source: the definition.

    Example:
        >>> index = torch.tensor([[0, 1], [1, 2], [2, 0]])
        >>> channel_mix(torch.tensor([[[1.0], [2.0], [4.0]]]), torch.ones(3, 2), index, named(index, 3)).flatten()
        tensor([3., 6., 5.])
    """
    if input.dtype not in (torch.float32, torch.float64) or weight.dtype != input.dtype or index.dtype != torch.int64:
        raise DtypeError.of(
            "channel_mix", "float32 or float64 and an index of int64", f"{input.dtype}, {weight.dtype}, {index.dtype}", "cast them"
        )  # fmt: skip
    if input.ndim < 3 or weight.shape != index.shape or weight.ndim != 2 or back.shape[0] != input.shape[1]:
        raise ArgumentError.of(
            "channel_mix", "input (b, c, *n), weight and index (o, j), back (c, i)",
            ", ".join(str(tuple(a.shape)) for a in (input, weight, index, back)), "match the channels",
        )  # fmt: skip
    y = _mix(input.flatten(2), weight, index, back)
    return y.reshape(*y.shape[:2], *input.shape[2:])


def named(index: Tensor, channels: int) -> Tensor:
    """For each channel the places of the flattened index that name it, (channels, i).

    Raises:
        ArgumentError: some channels are named more often than others, or not at all.
    """
    flat = index.flatten()
    counts = torch.bincount(flat, minlength=channels)
    if counts.numel() != channels or bool((counts != counts[0]).any()) or not counts[0]:
        raise ArgumentError.of(
            "channel_mix", "every channel named equally often", f"{counts.tolist()} times", "even it out"
        )
    return torch.argsort(flat, stable=True).reshape(channels, -1)


@torch.library.custom_op("faltung::channel_mix", mutates_args=(), device_types="cpu")
def _mix(x: Tensor, weight: Tensor, index: Tensor, back: Tensor) -> Tensor:
    signal, rows, lists = (a.detach().contiguous().numpy() for a in (x, weight, index))
    if not x.numel():
        return x.new_empty(x.shape[0], weight.shape[0], x.shape[2])
    return torch.from_numpy(kernel.mix(signal, rows, lists, min(available(), torch.get_num_threads())))


@_mix.register_fake
def _(x: Tensor, weight: Tensor, index: Tensor, back: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0], x.shape[2])


def _keep(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, cotangent: Tensor) -> tuple:
    x, weight, index, back = ctx.saved_tensors
    gx = gw = None
    if ctx.needs_input_grad[0]:
        # Channels and outputs change places: what a channel was multiplied by, and the output that it went to.
        rows = weight.flatten()[back.flatten()].reshape(back.shape)
        gx = _mix(cotangent, rows, back // index.shape[1], _transposed(index, back))
    if ctx.needs_input_grad[1]:
        gw = torch.einsum("nop,ncp->oc", cotangent, x).gather(1, index)
    return gx, gw, None, None


def _transposed(index: Tensor, back: Tensor) -> Tensor:
    """`named` of the transposed lists: the entry (o, j) of the index is the place of `back` that holds it."""
    place = torch.empty_like(back.flatten())
    place[back.flatten()] = torch.arange(back.numel(), device=back.device)
    return place.reshape(index.shape)


_mix.register_autograd(_backward, setup_context=_keep)
