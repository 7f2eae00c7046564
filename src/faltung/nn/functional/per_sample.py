"""Convolution with a filter of its own for each sample, and its transpose, in any number of dimensions.

The batch is an axis that signal, filter and result share, as groups are; so the planner sees one problem, not one for each sample,
and no filter is copied. Which method is fastest follows from the shapes alone.
"""

from contextlib import suppress
from dataclasses import replace
from typing import Any

from torch import Tensor

from faltung import torch_gate
from faltung.errors import ArgumentError, DtypeError
from faltung.nn.functional.convolution import MANY_CALLS, mixes, stated
from faltung.planner import Policy

_DENSE = "b c *s, b o c *s -> b o *s"
_GROUPED = "b g c *s, b g o c *s -> b g o *s"
_texts: dict[Any, tuple[str, str]] = {}


def conv_per_sample(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    policy: Policy | None = None,
) -> Tensor:
    """`conv` with a filter, and a bias if any, of its own for each sample of the batch.

    Formula: `y[b, o, p] = bias[b, o] + Σ over c, t of x̃[b, c, p·stride + t·dilation] · weight[b, o, c, t]`, x̃ the padded input.

    Shapes: input (batch, in, *n), weight (batch, out, in / groups, *t), bias (batch, out), or (out) for one that all samples share;
    returns (batch, out, *m) with m as for `conv`. The weight says how many spatial axes there are.

    Args:
        stride, padding, dilation, groups, padding_mode, policy: see `conv`.

    Returns:
        A tensor of the input's dtype, differentiable any number of times, forwards and backwards, in input, weight and bias.

    Raises:
        ArgumentError (a ValueError), DtypeError (a TypeError): tensors or arguments that do not fit, with both values.
        RefusedError, MemoryBudgetError: nothing fits the policy.

    Error: that of the plan, see `faltung.plan`.
    Cost: in / groups · Π t multiplications for each sample of the result, as `conv`. For filters that are sums of a few see
        `conv_mixed`.

    Source: Yang et al., CondConv: conditionally parameterized convolutions for efficient inference (2019).

    Example:
        >>> x, weight = torch.ones(2, 1, 4), torch.tensor([1.0, 10.0]).reshape(2, 1, 1, 1)
        >>> conv_per_sample(x, weight)[:, 0]
        tensor([[ 1.,  1.,  1.,  1.],
                [10., 10., 10., 10.]])
    """
    return _apply(False, input, weight, bias, (stride, padding, dilation, groups, padding_mode), policy)


def conv_transpose_per_sample(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    padding_mode: str = "zeros",
    policy: Policy | None = None,
    output_size: Any = None,
) -> Tensor:
    """The transpose of `conv_per_sample`: `conv_transpose` with a filter, and a bias if any, of its own for each sample.

    Formula: for each sample b the linear map x = K[b]ᵀ y of the convolution y = K[b] x of the same weight, stride, padding and
    padding mode, plus the bias.

    Shapes: input (batch, in, *m), weight (batch, in, out / groups, *t), bias (batch, out) or (out); returns (batch, out, *n) with n
    as for `conv_transpose`.

    Args, Returns, Raises: see `conv_transpose` and `conv_per_sample`.

    Source: the transpose of the definition.

    Example:
        >>> y, weight = torch.ones(2, 1, 2), torch.tensor([[1.0, 2.0], [3.0, 4.0]]).reshape(2, 1, 1, 2)
        >>> conv_transpose_per_sample(y, weight, stride=2)[:, 0]
        tensor([[1., 2., 1., 2.],
                [3., 4., 3., 4.]])
    """
    options = (stride, padding, dilation, groups, padding_mode, output_padding, output_size)
    return _apply(True, input, weight, bias, options, policy)


def _apply(
    transposed: bool, input: Tensor, weight: Tensor, bias: Tensor | None, options: tuple, policy: Policy | None
) -> Tensor:
    for name, tensor in (("input", input), ("weight", weight), ("bias", bias)):
        if not isinstance(tensor, Tensor) and not (name == "bias" and tensor is None):
            raise DtypeError.of(
                _who(transposed), f"{name} as a torch tensor", type(tensor).__name__, "convert it with torch.as_tensor"
            )
    known = tuple([None if a is None else torch_gate.facts(a) for a in (input, weight, bias)])
    problem, limits = texts(transposed, known, options, mixes(input, weight, bias), policy)
    x, k, groups = input, weight, options[3]
    if groups > 1:
        x = x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
        k = k.reshape(k.shape[0], groups, k.shape[1] // groups, *k.shape[2:])
    y = torch_gate.solve(problem, limits, k=k, **({"y": x} if transposed else {"x": x}))
    y = y.flatten(1, 2) if groups > 1 else y
    if bias is None:
        return y
    column = bias.to(y.dtype).reshape(*bias.shape, *[1] * (weight.ndim - 3))
    return y.add_(column) if torch_gate.plain(y, bias) else y + column


def texts(transposed: bool, known: tuple, options: tuple, mixed: bool, policy: Policy | None) -> tuple[str, str]:
    """Problem and policy as text, from plain facts of the tensors; torch.compile takes the answer as a constant of the graph."""
    key = transposed, known, options, mixed, policy
    with suppress(KeyError, TypeError):
        return _texts[key]
    if policy is not None and not isinstance(policy, Policy):
        raise ArgumentError.of("policy", "a faltung.Policy", repr(policy), "write Policy(only='fft') or the like")
    who, (x, (shape, *of_weight), bias) = _who(transposed), known
    if len(shape) < 4 or len(x[0]) != len(shape) - 1 or x[0][0] != shape[0]:
        raise ArgumentError.of(
            who, "an input (batch, in, *n) and a weight (batch, out, in / groups, *t) of one batch", f"{x[0]} and {shape}",
            "expand a weight that all samples share, or call faltung.nn.functional.conv",
        )  # fmt: skip
    if bias is not None and len(bias[0]) == 2:
        if bias[0][0] != shape[0]:
            raise ArgumentError.of(
                who,
                f"a bias for each of {shape[0]} samples",
                f"shape {bias[0]}",
                "give one bias to all, or one to each",
            )
        bias = (bias[0][1:], *bias[1:])
    # To one sample it is an ordinary convolution: what is checked and computed there holds here, too.
    alike = stated(transposed, (x, (shape[1:], *of_weight), bias), options, mixed)
    pattern = _DENSE if options[3] == 1 else _GROUPED
    problem = replace(alike, pattern=pattern, k_shape=(shape[0], *alike.k_shape))
    answer = problem.text, (MANY_CALLS if policy is None else policy).text
    with suppress(TypeError):  # a list among the options: stated anew each time
        if len(_texts) >= 4096:
            _texts.clear()
        _texts[key] = answer
    return answer


# What torch.compiler.assume_constant_result sets.
texts._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _who(transposed: bool) -> str:
    return "conv_transpose_per_sample" if transposed else "conv_per_sample"
