"""Convolution with a weighted sum of kernels, the same weights for all samples or others for each, and its transpose."""

import math
from typing import Any

from torch import Tensor

from faltung.nn.functional.convolution import conv, conv_transpose
from faltung.nn.functional.per_sample import conv_per_sample, conv_transpose_per_sample
from faltung.planner import Policy

# Multiplications for each weight of a kernel in the time that it takes to mix, write and read it once more.
MIXING = 64


def conv_mixed(
    input: Tensor,
    kernels: Tensor,
    weights: Tensor,
    biases: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    policy: Policy | None = None,
) -> Tensor:
    """A convolution with the kernel `Σ_i weights[i]·kernels[i]`, or another such sum for each sample.

    Formula: `y[b] = conv(x[b], Σ_i r[b, i]·W[i], Σ_i r[b, i]·c[i])`, which is `Σ_i r[b, i]·conv(x[b], W[i], c[i])`.

    Shapes: input (batch, in, *n), kernels (count, out, in / groups, *t), weights (batch, count), or (count) for all samples, biases
    (count, out); returns (batch, out, *m).

    Args:
        stride, padding, dilation, groups, padding_mode, policy: see `conv`.

    Returns, Raises: as `conv_per_sample`.

    Cost: one kernel a sample and one convolution of each sample with its own; or, where a kernel meets so few samples of the result
        that making it takes longer, `count` convolutions of the whole batch. The shapes decide.

    Source: Yang et al., CondConv: conditionally parameterized convolutions for efficient inference (2019).

    Example:
        >>> kernels = torch.tensor([1.0, 10.0]).reshape(2, 1, 1, 1)
        >>> conv_mixed(torch.ones(2, 1, 2), kernels, torch.tensor([[1.0, 0.0], [0.5, 0.5]]))[:, 0]
        tensor([[1.0000, 1.0000],
                [5.5000, 5.5000]])
    """
    return _mixed(False, input, kernels, weights, biases, groups, policy, stride, padding, dilation, padding_mode)


def conv_transpose_mixed(
    input: Tensor,
    kernels: Tensor,
    weights: Tensor,
    biases: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    padding_mode: str = "zeros",
    policy: Policy | None = None,
) -> Tensor:
    """The transpose of `conv_mixed`: `conv_transpose` with a weighted sum of kernels, or another such sum for each sample.

    Formula: `Σ_i r[b, i]·conv_transpose(y[b], W[i], c[i])`.

    Shapes: input (batch, in, *m), kernels (count, in, out / groups, *t), weights (batch, count) or (count), biases (count, out);
    returns (batch, out, *n).

    Args, Returns, Raises: see `conv_transpose` and `conv_mixed`.

    Source: the transpose of the definition.

    Example:
        >>> kernels = torch.eye(2).reshape(2, 1, 1, 2)
        >>> conv_transpose_mixed(torch.ones(1, 1, 2), kernels, torch.tensor([[3.0, 4.0]]), stride=2)
        tensor([[[3., 4., 3., 4.]]])
    """
    return _mixed(
        True, input, kernels, weights, biases, groups, policy, stride, padding, dilation, padding_mode, output_padding
    )


def mixture(kernels: Tensor, weights: Tensor) -> Tensor:
    """`Σ_i weights[..., i]·kernels[i]`: one sum, or one for each row of weights."""
    return (weights @ kernels.flatten(1)).unflatten(-1, kernels.shape[1:])


def _mixed(
    transposed: bool,
    input: Tensor,
    kernels: Tensor,
    weights: Tensor,
    biases: Tensor | None,
    groups: int,
    policy: Policy | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    padding_mode: str,
    output_padding: Any = 0,
) -> Tensor:
    settings = {
        "stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "padding_mode": padding_mode,
        "policy": policy, **({"output_padding": output_padding} if transposed else {}),
    }  # fmt: skip
    if weights.ndim == 2 and _by_kernels(input, kernels):
        return _each(transposed, input, kernels, weights, biases, settings)
    plain, own = (conv_transpose, conv_transpose_per_sample) if transposed else (conv, conv_per_sample)
    bias = None if biases is None else weights @ biases
    return (own if weights.ndim == 2 else plain)(input, mixture(kernels, weights), bias, **settings)


def _by_kernels(input: Tensor, kernels: Tensor) -> bool:
    """Whether convolving with every kernel takes less than making one for each sample."""
    return len(kernels) > 1 and (len(kernels) - 1) * math.prod(input.shape[2:]) < MIXING


def _each(
    transposed: bool, input: Tensor, kernels: Tensor, weights: Tensor, biases: Tensor | None, settings: dict[str, Any]
) -> Tensor:
    """The weighted sum of the results of all kernels, which are one convolution with count times as many outputs."""
    count, groups = len(kernels), settings["groups"]
    axis = 2 if transposed else 1  # of the outputs, of which each group has its own
    if transposed:
        stacked = kernels.movedim(0, 1).flatten(1, 2)  # (in, count · out / groups, *t)
    else:
        stacked = (
            kernels.unflatten(axis, (groups, -1)).transpose(0, 1).flatten(0, 2)
        )  # (groups · count · out / groups, ...)
    y = (conv_transpose if transposed else conv)(input, stacked, None, **settings)
    y = y.unflatten(1, (groups, count, -1))
    r = weights.to(y.dtype).reshape(len(weights), 1, count, *[1] * (y.ndim - 3))
    y = (y * r).sum(2).flatten(1, 2)
    if biases is None:
        return y
    return y + (weights @ biases).to(y.dtype).reshape(*y.shape[:2], *[1] * (y.ndim - 2))
