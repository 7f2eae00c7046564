"""One layer in the place of a plain convolution: its settings taken over, and the old kernel laid on the new layer's taps."""

import inspect
from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.nn.base import SHIFT_INVARIANT, ConvLayer

SETTINGS = {
    "kernel_size": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1, "padding_mode": "zeros", "output_padding": 0,
}  # fmt: skip
"""What a convolution is set to, with the usual values; None where there is none."""


def in_place_of(kind: Any, conv: Any, given: dict[str, Any]) -> Any:
    """A layer of that class, in evaluation mode, with the settings of a convolution and those given in their place.

    Where these change the extent of the kernel and say nothing of padding, the padding follows, so that results keep their size.

    Args:
        kind: a layer's class.   conv: a `faltung.nn.Conv` or `ConvTranspose`.   given: arguments for the class.

    Raises:
        ArgumentError: the convolution has settings that the class does not know, or no padding keeps its size.
    """
    known = arguments_of(kind)
    settings = _settings(kind, conv, known, given)
    layer = kind(**settings).eval()  # merged kernels exist in evaluation mode only
    if not is_convolution(layer) or "padding" in given or "padding" not in settings or isinstance(conv.padding, str):
        return layer
    spread = zip(layer.dilation, layer.effective_kernel().shape[2:], conv.dilation, conv.kernel_size, strict=True)
    more = [d * (t - 1) - u * (s - 1) for d, t, u, s in spread]
    if not any(more):
        return layer
    if any(m % 2 or p + m // 2 < 0 for m, p in zip(more, conv.padding, strict=True)):
        raise ArgumentError.of(
            kind.__name__, "a kernel whose further reach a padding makes up for", f"one that reaches {more} samples further",
            "give the padding",
        )  # fmt: skip
    settings["padding"] = tuple(p + m // 2 for p, m in zip(conv.padding, more, strict=True))
    return kind(**settings).eval()


def laid(conv: Any, layer: Any) -> Tensor:
    """The convolution's kernel on the layer's taps, each where it meets the same sample, among zeros.

    Shapes: as the layer's effective kernel, or (out, in, *t) as of one group where the convolution connects channels that the
    layer does not.

    Raises:
        ArgumentError: other channels, or taps that have no place in the layer's kernel.
    """
    who, taps = type(layer).__name__, tuple(layer.effective_kernel().shape[2:])
    kernel = conv.weight.detach()
    if conv.groups != layer.groups:
        kernel = dense(kernel, conv.groups)
    if (conv.out_channels, conv.in_channels) != (layer.out_channels, layer.in_channels):
        raise ArgumentError.of(
            who, f"{conv.in_channels} → {conv.out_channels} channels", f"{layer.in_channels} → {layer.out_channels} channels",
            "keep the convolution's channels",
        )  # fmt: skip
    at = []
    for axis, many in enumerate(taps):
        low, new = conv.pads[axis][0], layer.pads[axis][0]
        meets = [t * conv.dilation[axis] - low + new for t in range(conv.kernel_size[axis])]
        if any(m % layer.dilation[axis] or not 0 <= m // layer.dilation[axis] < many for m in meets):
            raise ArgumentError.of(
                who, f"room for {conv.kernel_size} taps with dilation {conv.dilation} and padding {conv.padding}",
                f"kernels that do not fit: {taps} taps with dilation {layer.dilation} and padding {layer.padding}",
                "choose a size, dilation and padding with which every tap meets the sample that it met before",
            )  # fmt: skip
        at.append(torch.tensor([m // layer.dilation[axis] for m in meets], device=kernel.device))
    whole = kernel.new_zeros(*kernel.shape[:2], *taps)
    whole[(slice(None), slice(None), *torch.meshgrid(*at, indexing="ij"))] = kernel
    return whole


def grouped(kernel: Tensor, layer: Any) -> Tensor:
    """The part of a kernel that connects channels of one group of the layer, (out, in / groups, *t).

    Shapes: kernel (out, in / groups, *t), returned as it is, or (out, in, *t).

    Raises:
        ArgumentError: another shape.
    """
    own, whole = tuple(layer.weight_shape), (layer.out_channels, layer.in_channels, *layer.kernel_size)
    if tuple(kernel.shape) == own:
        return kernel
    if tuple(kernel.shape) != whole:
        raise ArgumentError.of(
            f"{type(layer).__name__}.take", f"a kernel of shape {own}", f"shape {tuple(kernel.shape)}",
            "choose settings with which the kernels have one shape",
        )  # fmt: skip
    g = layer.groups
    parts = kernel.reshape(g, own[0] // g, g, own[1], *layer.kernel_size)
    each = torch.arange(g, device=kernel.device)
    return parts[each, :, each].flatten(0, 1)


def dense(kernel: Tensor, groups: int) -> Tensor:
    """The kernel (out, in, *t) of one group that does what a kernel (out, in / groups, *t) of several does."""
    parts, each = kernel.unflatten(0, (groups, -1)), torch.arange(groups, device=kernel.device)
    whole = kernel.new_zeros(groups, parts.shape[1], groups, *kernel.shape[1:])
    whole[each, :, each] = parts
    return whole.flatten(2, 3).flatten(0, 1)


def double(kernel: Tensor) -> Tensor:
    """The numbers without their history, in double precision."""
    return kernel.detach().to(torch.promote_types(kernel.dtype, torch.float64))


def is_convolution(layer: Any) -> bool:
    """Whether a layer is one convolution with an effective kernel."""
    return hasattr(layer, "effective_kernel") and SHIFT_INVARIANT in layer.claims


def has_closed_form(kind: Any) -> bool:
    """Whether layers of a class `take` a kernel without a search."""
    return issubclass(kind, ConvLayer) and kind.take is not ConvLayer.take


def has_from_conv(kind: Any) -> bool:
    """Whether a class makes its layers from convolutions in a way of its own."""
    own = getattr(kind, "from_conv", None)
    return own is not None and getattr(own, "__func__", own) is not ConvLayer.from_conv.__func__  # type: ignore[attr-defined]


def arguments_of(kind: Any) -> dict[str, inspect.Parameter]:
    """What a function or a class' constructor takes; not the class' own signature, which knows nothing but __new__."""
    if not isinstance(kind, type):
        return dict(inspect.signature(kind).parameters)
    constructor: Any = vars(next(k for k in kind.__mro__ if "__init__" in vars(k)))["__init__"]
    return dict(list(inspect.signature(constructor).parameters.items())[1:])


def _settings(kind: Any, conv: Any, known: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments for the class: those of the convolution that it knows, with the given ones in their place."""
    every = {name: _single(getattr(conv, name)) for name in SETTINGS if hasattr(conv, name)}
    every |= {
        "in_channels": conv.in_channels, "out_channels": conv.out_channels, "ndim": conv.ndim, "bias": conv.bias is not None,
        "device": conv.weight.device, "dtype": conv.weight.dtype, "policy": conv.policy,
    }  # fmt: skip
    lost = [
        name for name, usual in SETTINGS.items()
        if name in every and name not in known and name not in given and usual is not None
        and name not in ("padding", "output_padding") and every[name] != usual
    ]  # fmt: skip
    if "channels" in known:
        if conv.in_channels != conv.out_channels:
            raise ArgumentError.of(
                kind.__name__, "as many channels out as in: it has one number of channels",
                f"{conv.in_channels} → {conv.out_channels}", "leave that convolution out",
            )  # fmt: skip
        every["channels"] = conv.in_channels
        lost = [name for name in lost if name != "groups"]
    if lost:
        raise ArgumentError.of(
            kind.__name__, f"usual settings, for it knows no {', '.join(lost)}", ", ".join(str(every[n]) for n in lost),
            "leave that convolution out",
        )  # fmt: skip
    return {name: value for name, value in every.items() if name in known} | given


def _single(value: Any) -> Any:
    """One number in place of the same for each axis."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


def low_rank(matrices: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factors (..., rows, rank) and (..., rank, columns) whose products are nearest to the matrices (..., rows, columns).

    Formula: the singular vectors to the largest `rank` singular values, the roots of these shared out evenly, so that neither half
    has to make up for the other's scale; zeros beyond full rank.

    Source: Eckart and Young (1936) for their being the nearest in the Frobenius norm.
    """
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    kept = min(rank, values.shape[-1])
    root = values[..., :kept].sqrt()
    first, second = left[..., :kept] * root[..., None, :], root[..., None] * right[..., :kept, :]
    missing = rank - kept
    return torch.nn.functional.pad(first, (0, missing)), torch.nn.functional.pad(second, (0, 0, 0, missing))
