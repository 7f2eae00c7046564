"""Convolutions in exported graphs whose sizes are left open: one operator more, which plans when it is called.

The problem that a planned convolution solves has its sizes in it. Where torch.export is asked to keep a dimension open there are
no sizes yet; then the graph holds this operator with the settings of the layer, and every call of the exported program states and
plans the problem of the sizes it meets, as a layer does.
"""

import ast
import operator
from typing import Any

import torch
from torch import Tensor

from faltung.planner import Policy

_library = torch.library.Library("faltung", "FRAGMENT")
_library.define(
    "layer(Tensor input, Tensor weight, Tensor? bias, bool transposed, str options, str policy) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_OP = torch.ops.faltung.layer.default


def are_open(tensor: Tensor) -> bool:
    """Whether a graph is exported that leaves sizes of this tensor open; autocast, which changes dtypes, needs them fixed."""
    return torch.compiler.is_exporting() and _symbolic(tensor) and not torch._C._is_any_autocast_enabled()


def layer(
    transposed: bool, input: Tensor, weight: Tensor, bias: Tensor | None, options: tuple, policy: Policy | None
) -> Tensor:
    """The operator's node in the graph.

    Shapes: as `conv` and `conv_transpose`.

    Args:
        options: as they pass through `faltung.nn.functional.conv`: numbers, words and tuples of these.   policy: None for none.
    """
    return _OP(input, weight, bias, transposed, repr(_plain(options)), "" if policy is None else policy.text)


def _plain(options: Any) -> Any:
    """Whole numbers of every kind as Python's, lists as tuples: what can be written down and read again."""
    if isinstance(options, (tuple, list)):
        return tuple(_plain(value) for value in options)
    return options if options is None or isinstance(options, str) else operator.index(options)


def _symbolic(tensor: Tensor) -> bool:
    return any(type(n) is not int for n in tensor.shape)


def _computed(
    input: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool, options: str, policy: str
) -> Tensor:
    """The layer for the sizes that came."""
    from faltung.nn.functional import convolution  # which exports by this operator

    make: Any = convolution.conv_transpose if transposed else convolution.conv
    stride, padding, dilation, groups, padding_mode, *more = ast.literal_eval(options)
    names = {"output_padding": more[0], "output_size": more[1]} if transposed else {}
    return make(
        input, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=padding_mode,
        policy=Policy.parse(policy) if policy else None, **names,
    )  # fmt: skip


def _shaped(input: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool, options: str, policy: str) -> Tensor:
    """The result without values, its open sizes as formulas of the input's."""
    from faltung.nn.functional.convolution import margins, numbers

    stride, padding, dilation, groups, _, *more = ast.literal_eval(options)
    ndim, taps = weight.ndim - 2, tuple(weight.shape[2:])
    steps, spread = numbers("stride", stride, ndim, 1), numbers("dilation", dilation, ndim, 1)
    pads = margins(padding, stride, dilation, taps)
    reach = [d * (t - 1) + 1 for d, t in zip(spread, taps, strict=True)]
    sizes: list[Any] = list(input.shape[-ndim:])
    if not transposed:
        channels = weight.shape[0]
        sizes = [(n + lo + hi - r) // s + 1 for n, (lo, hi), r, s in zip(sizes, pads, reach, steps, strict=True)]
    else:
        channels = weight.shape[1] * groups
        if more[1] is None:
            extra = numbers("output_padding", more[0], ndim, 0)
            sizes = [
                (m - 1) * s - lo - hi + r + e for m, s, (lo, hi), r, e in zip(sizes, steps, pads, reach, extra, strict=True)
            ]  # fmt: skip
        else:
            sizes = list(numbers("output_size", more[1][-ndim:] if isinstance(more[1], tuple) else more[1], ndim, 1))
    return input.new_empty((*input.shape[: input.ndim - ndim - 1], channels, *sizes))


def _differentiable(keyset: Any, input: Tensor, weight: Tensor, bias: Tensor | None, *settings: Any) -> Tensor:
    """Into the graph while sizes are open; else the layer itself, whose derivatives are those of the planned convolutions."""
    if not _symbolic(input):
        return _computed(input, weight, bias, *settings)
    with torch._C._AutoDispatchBelowAutograd():
        return _OP.redispatch(keyset & torch._C._after_autograd_keyset, input, weight, bias, *settings)


_library.impl("layer", _computed, "CompositeExplicitAutograd")
_library.impl("layer", _differentiable, "Autograd", with_keyset=True)
torch.library.register_fake("faltung::layer", _shaped, lib=_library)
