"""Convolution and its transpose as functions, in any number of dimensions, with torch's names and argument order.

Two differences from torch are deliberate: margins may be wider than the signal (reflect and circular go on periodically), and
wrong calls raise `ArgumentError` and `DtypeError`, which are a ValueError and a TypeError, not RuntimeErrors.
"""

import operator
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from faltung import torch_gate
from faltung.door import problem_of
from faltung.errors import ArgumentError, DtypeError
from faltung.nn.functional import open_sizes
from faltung.nn.functional.straight import straight
from faltung.planner import Policy
from faltung.problem import Problem, Spec

BOUNDARY = {
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
    "symmetric": "symmetric",
}
_DENSE = "b c *s, o c *s -> b o *s"
_GROUPED = "b g c *s, g o c *s -> b g o *s"

Facts = tuple[tuple[int, ...], str, str]
_texts: dict[Any, tuple[str, str]] = {}
_ways: dict[Any, Callable[..., Tensor]] = {}

# Layers are called over and over: a kernel that must be compiled first pays.
MANY_CALLS = Policy(calls=10_000)


def conv(
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
    """A convolution layer: torch's conv1d, conv2d and conv3d, and the same in more dimensions.

    Formula: `y[b, o, p] = bias[o] + Σ over c, t of x̃[b, c, p·stride + t·dilation] · weight[o, c, t]`, x̃ the padded input.

    Shapes: input (batch, in, *n) or (in, *n), weight (out, in / groups, *t), bias (out); returns (batch, out, *m) or (out, *m)
    with `m = ⌊(n + 2·padding − dilation·(t − 1) − 1) / stride⌋ + 1`. The weight says how many spatial axes there are.

    Args:
        stride, dilation: whole numbers of at least 1, one for all spatial axes or one for each. Default 1.
        padding: whole numbers of at least 0, `valid` (0) or `same` (the size of the input; stride 1 only). Default 0. A tuple of
            pairs (lo, hi), one for each spatial axis, pads both ends differently; negative numbers crop.
        groups: into how many parts the channels fall that do not see each other; as many as channels is depthwise. Default 1.
        padding_mode: what stands in the margin: zeros, reflect, replicate, circular or symmetric. Default zeros.
        policy: limits on error, memory and methods, see `faltung.Policy`.

    Returns:
        A tensor of the input's dtype, differentiable any number of times, forwards and backwards.

    Raises:
        ArgumentError (a ValueError), DtypeError (a TypeError): tensors or arguments that do not fit, with both values.
        RefusedError, MemoryBudgetError: nothing fits the policy.

    Error: that of the plan, see `faltung.plan`; half precision is summed in float32.
    Source: the definition; without a flip and without a conjugate, as torch.

    Example:
        >>> x, weight = torch.ones(1, 2, 5), torch.ones(3, 2, 3)
        >>> conv(x, weight, padding="same", padding_mode="circular")[0, 0]
        tensor([6., 6., 6., 6., 6.])
    """
    return _layer(False, input, weight, bias, (stride, padding, dilation, groups, padding_mode), policy)


def conv_transpose(
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
    """The transpose of `conv`: torch's conv_transpose1d, 2d and 3d, in more dimensions and for every padding mode.

    Formula: the linear map x = Kᵀ y of the convolution y = K x of the same weight, stride, padding and padding mode (its gradient
    with respect to the input), plus the bias. With reflect, replicate, circular or symmetric padding the margins are folded back.

    Shapes: input (batch, in, *m) or (in, *m), weight (in, out / groups, *t), bias (out); returns (batch, out, *n) or (out, *n)
    with `n = (m − 1)·stride − 2·padding + dilation·(t − 1) + output_padding + 1`.

    Args:
        stride, padding, dilation, groups, padding_mode, policy: those of the convolution that is transposed, see `conv`.
        output_padding: how much longer the result is than the shortest possible one, below stride or dilation. Default 0.
        output_size: the result's spatial sizes, in place of output_padding.

    Returns, Raises, Error: as `conv`.

    Source: the transpose of the definition.

    Example:
        >>> conv_transpose(torch.ones(1, 1, 3), torch.ones(1, 1, 2), stride=2)
        tensor([[[1., 1., 1., 1., 1., 1.]]])
    """
    if isinstance(output_size, (tuple, list)):
        output_size = tuple([operator.index(n) for n in output_size])  # sizes of a dynamic graph become numbers
    options = (stride, padding, dilation, groups, padding_mode, output_padding, output_size)
    return _layer(True, input, weight, bias, options, policy)


def _layer(
    transposed: bool, input: Tensor, weight: Tensor, bias: Tensor | None, options: tuple, policy: Policy | None
) -> Tensor:
    key = None
    if torch_gate.unobserved(input, weight, bias):
        trained = torch.is_grad_enabled() and torch._C._any_requires_grad(input, weight, bias)
        with suppress(TypeError, RuntimeError):  # a list among the options, a tensor without steps in memory
            key = (
                transposed, trained, input.shape, input.dtype, input.stride(), weight.shape, weight.dtype, weight.stride(),
                None if bias is None else (bias.shape, bias.dtype), options, policy,
            )  # fmt: skip
            if (way := _ways.get(key)) is not None:
                return way(input, weight, bias)
    who = "conv_transpose" if transposed else "conv"
    for name, tensor in (("input", input), ("weight", weight), ("bias", bias)):
        if not isinstance(tensor, Tensor) and not (name == "bias" and tensor is None):
            raise DtypeError.of(
                who, f"{name} as a torch tensor", type(tensor).__name__, "convert it with torch.as_tensor"
            )
    if open_sizes.are_open(input):
        return open_sizes.layer(transposed, input, weight, bias, options, policy)
    mixed = mixes(input, weight, bias)
    known = tuple([None if a is None else torch_gate.facts(a) for a in (input, weight, bias)])
    problem, limits = texts(transposed, known, options, mixed, policy)
    way = _Way(problem, limits, transposed, options[3], input.ndim < weight.ndim)
    if key is None:
        return way(input, weight, bias, torch_gate.solve)
    # The first call goes the way of all others, so that all give the same bits.
    sizes = (input.shape, input.stride()), (weight.shape, weight.stride())
    chosen = (None if way.single else straight(problem, limits, *sizes, trained)) or way
    if len(_ways) >= 4096:
        _ways.clear()
    _ways[key] = chosen
    return chosen(input, weight, bias)


@dataclass(frozen=True, slots=True)
class _Way:
    """From the tensors of a layer to those of its problem and back."""

    problem: str
    limits: str
    transposed: bool
    groups: int
    single: bool

    def __call__(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        solve: Callable[..., Tensor] = torch_gate.solve_fitting,
    ) -> Tensor:
        groups, x, k = self.groups, input.unsqueeze(0) if self.single else input, weight
        if groups > 1:
            x = x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
            k = k.reshape(groups, k.shape[0] // groups, *k.shape[1:])
        given = (None, k, x) if self.transposed else (x, k, None)
        y = solve(self.problem, self.limits, *given)
        if bias is not None:
            column = bias.to(y.dtype).reshape(*((groups,) if groups > 1 else ()), -1, *[1] * (weight.ndim - 2))
            # No derivative is made of the result, and new memory would cost more than the sum.
            y = y.add_(column) if torch_gate.unobserved(y, bias) else y + column
        if groups > 1:
            y = y.flatten(1, 2)
        return y.squeeze(0) if self.single else y


def mixes(input: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether the dtypes differ and may, because autocast brings them together."""
    if weight.dtype == input.dtype and (bias is None or bias.dtype == input.dtype):
        return False
    device = input.device.type
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def texts(transposed: bool, known: tuple, options: tuple, mixed: bool, policy: Policy | None) -> tuple[str, str]:
    """Problem and policy as text, from plain facts of the tensors; torch.compile takes the answer as a constant of the graph."""
    key = transposed, known, options, mixed, policy
    with suppress(KeyError, TypeError):
        return _texts[key]
    if policy is not None and not isinstance(policy, Policy):
        raise ArgumentError.of("policy", "a faltung.Policy", repr(policy), "write Policy(only='fft') or the like")
    answer = stated(transposed, known, options, mixed).text, (MANY_CALLS if policy is None else policy).text
    with suppress(TypeError):  # a list among the options: stated anew each time
        if len(_texts) >= 4096:
            _texts.clear()
        _texts[key] = answer
    return answer


# What torch.compiler.assume_constant_result sets.
texts._dynamo_marked_constant = True  # type: ignore[attr-defined]


def stated(transposed: bool, known: tuple, options: tuple, mixed: bool) -> Problem:
    """The problem behind a call, from plain facts of input, weight and bias; ArgumentError or DtypeError where there is none."""
    make = _transposed_problem if transposed else _problem
    return make(*_checked(transposed, known, options[3], mixed), *options)


def _checked(transposed: bool, known: tuple, groups: int, mixed: bool) -> tuple[Facts, Facts]:
    """Input and weight, the input with its batch axis, after a look at everything that torch checks."""
    who = "conv_transpose" if transposed else "conv"
    (shape, dtype, device), (weight, weight_dtype, _), bias = known
    if len(weight) < 3:
        raise ArgumentError.of(
            who, "a weight with two channel axes and at least one spatial axis", f"shape {weight}",
            "use weight.unsqueeze to add the missing axes",
        )  # fmt: skip
    if len(shape) not in (len(weight) - 1, len(weight)):
        raise ArgumentError.of(
            who, f"an input with {len(weight)} axes, or {len(weight) - 1} without a batch, for a weight of shape {weight}",
            f"{len(shape)} axes, shape {shape}", "add or remove axes of the input",
        )  # fmt: skip
    if not isinstance(groups, int) or isinstance(groups, bool) or groups < 1:
        raise ArgumentError.of("groups", "a whole number of at least 1", repr(groups), "use 1 for a dense layer")
    shape = shape if len(shape) == len(weight) else (1, *shape)
    if weight[0] % groups:
        raise ArgumentError.of(
            who, f"a first weight axis that {groups} groups divide", f"weight of shape {weight}",
            "choose groups that divide in and out channels",
        )  # fmt: skip
    channels = weight[0] if transposed else weight[1] * groups
    if shape[1] != channels:
        raise ArgumentError.of(
            who, f"{channels} input channels for a weight of shape {weight} in {groups} groups",
            f"{shape[1]} channels, input of shape {known[0][0]}", "match the channels or the groups",
        )  # fmt: skip
    outputs = weight[1] * groups if transposed else weight[0]
    if bias is not None and bias[0] != (outputs,):
        raise ArgumentError.of(
            who, f"a bias of shape ({outputs},)", f"shape {bias[0]}", "give one value for each output"
        )
    for name, (_, other, place) in (("weight", known[1]), *((("bias", bias),) if bias is not None else ())):
        if other != dtype and not mixed:
            raise DtypeError.of(
                who, f"input and {name} of one dtype", f"{dtype} and {other}", f"cast one with .to(torch.{dtype})"
            )
        if place != device:
            raise ArgumentError.of(
                who, f"input and {name} on one device", f"{device} and {place}", f"move one with .to({device!r})"
            )
    return (shape, dtype, device), (weight, weight_dtype, device)


def _problem(
    x: Facts, k: Facts, stride: Any, padding: Any, dilation: Any, groups: int, padding_mode: str, pads: Any = None
) -> Problem:
    """The convolution of a layer, the channel axes split where there are groups."""
    (x_shape, x_dtype, device), (k_shape, k_dtype, _) = x, k
    ndim = len(k_shape) - 2
    if padding_mode not in BOUNDARY:
        raise ArgumentError.of(
            "padding_mode", f"one of {', '.join(BOUNDARY)}", repr(padding_mode), "choose one of these"
        )
    if groups > 1:
        x_shape = (x_shape[0], groups, x_shape[1] // groups, *x_shape[2:])
        k_shape = (groups, k_shape[0] // groups, *k_shape[1:])
    return problem_of(
        False, Spec(x_shape, x_dtype), Spec(k_shape, k_dtype), _DENSE if groups == 1 else _GROUPED,
        margins(padding, stride, dilation, k_shape[-ndim:]) if pads is None else pads, BOUNDARY[padding_mode],
        numbers("stride", stride, ndim, 1), numbers("dilation", dilation, ndim, 1), host="torch", device=device,
    )  # fmt: skip


def _transposed_problem(
    y: Facts, k: Facts, stride: Any, padding: Any, dilation: Any, groups: int, padding_mode: str, more: Any, sizes: Any
) -> Problem:
    """The convolution whose result has the input's shape, with its signal unknown."""
    (y_shape, dtype, device), (k_shape, _, _) = y, k
    ndim = len(k_shape) - 2
    steps, spread = numbers("stride", stride, ndim, 1), numbers("dilation", dilation, ndim, 1)
    pads = margins(padding, stride, dilation, k_shape[2:])
    shortest = [
        (m - 1) * s - lo - hi + d * (t - 1) + 1
        for m, s, (lo, hi), d, t in zip(y_shape[2:], steps, pads, spread, k_shape[2:], strict=True)
    ]
    most = [max(s, d) - 1 for s, d in zip(steps, spread, strict=True)]
    if sizes is not None:
        wanted = tuple(sizes)[-ndim:] if isinstance(sizes, (tuple, list)) else (sizes,) * ndim
        extra = [w - n for w, n in zip(numbers("output_size", wanted, ndim, 1), shortest, strict=True)]
    else:
        extra = list(numbers("output_padding", more, ndim, 0))
    if any(not 0 <= e <= top for e, top in zip(extra, most, strict=True)):
        what, came = ("output_padding", tuple(extra)) if sizes is None else ("output_size", sizes)
        low = tuple(0 if sizes is None else n for n in shortest)
        high = tuple(top + n for top, n in zip(most, low, strict=True))
        raise ArgumentError.of(
            what, f"sizes from {low} to {high}", str(came), "stay below the larger of stride and dilation"
        )
    size = tuple(n + e for n, e in zip(shortest, extra, strict=True))
    if any(n < 1 for n in size):
        raise ArgumentError.of(
            "conv_transpose", "a result with at least one sample along every axis", f"sizes {size}", "use less padding"
        )
    # Output padding of a whole stride or more lengthens the result where the convolution would have further outputs, which the
    # input does not have: the margin behind is cropped by as much.
    late = tuple((lo, hi - e // s * s) for (lo, hi), e, s in zip(pads, extra, steps, strict=True))
    x = (y_shape[0], k_shape[1] * groups, *size), dtype, device
    stated = _problem(x, k, stride, padding, dilation, groups, padding_mode, late)
    return replace(stated, out_dtype=dtype).gradient("x")


def margins(padding: Any, stride: Any, dilation: Any, taps: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """The (lo, hi) pads of every spatial axis behind torch's `padding`; ArgumentError where it is none."""
    ndim = len(taps)
    if padding == "valid":
        return ((0, 0),) * ndim
    if padding == "same":
        if any(s != 1 for s in numbers("stride", stride, ndim, 1)):
            raise ArgumentError.of("padding='same'", "a stride of 1", f"stride {stride}", "give the padding as numbers")
        around = [d * (t - 1) for d, t in zip(numbers("dilation", dilation, ndim, 1), taps, strict=True)]
        return tuple((a // 2, a - a // 2) for a in around)
    if isinstance(padding, str):
        raise ArgumentError.of("padding", "'valid', 'same' or whole numbers", repr(padding), "choose one of these")
    if isinstance(padding, tuple) and padding and all(isinstance(p, tuple) and len(p) == 2 for p in padding):
        pairs = tuple(tuple(operator.index(p) for p in pair) for pair in padding)
        if len(pairs) == ndim:
            return pairs  # type: ignore[return-value]
        raise ArgumentError.of("padding", f"{ndim} pairs (lo, hi)", repr(padding), "give a pair for each spatial axis")
    return tuple((p, p) for p in numbers("padding", padding, ndim, 0))


def numbers(name: str, given: Any, ndim: int, least: int) -> tuple[int, ...]:
    """One whole number for each spatial axis."""
    many = isinstance(given, (tuple, list))
    values = tuple(given) if many else (given,)
    with suppress(TypeError):
        numbers = tuple(operator.index(v) for v in values)
        numbers = numbers * ndim if len(numbers) == 1 else numbers
        if len(numbers) == ndim and all(n >= least for n in numbers) and not any(isinstance(v, bool) for v in values):
            return numbers
    raise ArgumentError.of(
        name, f"whole numbers of at least {least}, one or {ndim}", repr(given), "give one number for all spatial axes"
    )
