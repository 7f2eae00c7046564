"""One layer in the place of one convolution: built from its settings, given its weights, compared with it."""

import difflib
import inspect
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from faltung import nn as ours
from faltung.errors import ArgumentError, DtypeError
from faltung.nn import Conv, ConvTranspose
from faltung.nn.exchange import (
    SETTINGS,
    arguments_of,
    has_closed_form,
    has_from_conv,
    in_place_of,
    is_convolution,
    laid,
)
from faltung.tools.convolutions import PLAIN, TRANSPOSED, Place
from faltung.tools.transfer import difference, fit


@dataclass(frozen=True)
class Replacement:
    """An old layer with its names, the new one, how the weights came over, and what differs."""

    names: tuple[str, ...]
    old: nn.Module
    layer: nn.Module
    transfer: str
    kernel_difference: float | None
    output_difference: float | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """What makes the new layers: a class (with ndim where its short name says it) or a function, and settings."""

    kind: Any
    ndim: int | None
    settings: dict[str, Any]
    transfer: bool
    text: str

    @classmethod
    def of(cls, target: Any, settings: dict[str, Any], transfer: bool) -> Self:
        """The target that was named."""
        text = target if isinstance(target, str) else getattr(target, "__name__", repr(target))
        if isinstance(target, str):
            target = _by_name(target)
        ndim = None
        if isinstance(target, partial) and isinstance(target.func, type):
            ndim, settings, target = target.args[0], target.keywords | settings, target.func
        if target in (*PLAIN, *TRANSPOSED):
            ndim = (PLAIN if target in PLAIN else TRANSPOSED).index(target) + 1
        if not callable(target) or (isinstance(target, type) and not issubclass(target, nn.Module)):
            raise DtypeError.of(
                "swap", "a layer's name, its class or a function", text, 'write swap(model, "Conv2d") or the like'
            )
        made = cls(target, ndim, settings, transfer, text)
        made._refuse_unknown()
        return made

    @property
    def transposed(self) -> bool:
        """Whether it takes the place of transposed convolutions."""
        return self.kind in TRANSPOSED or self.kind is ConvTranspose

    def replace(self, place: Place, met: Tensor | None) -> Replacement:
        """The new layer for a convolution, compared on the input that it met, or on a random one."""
        old, name = place.module, place.names[0]
        conv = _plain(old)
        try:
            layer, how = self._made(conv)
            layer.eval()
        except (TypeError, ValueError, RuntimeError) as error:
            raise ArgumentError.of(
                "swap", f"settings with which {self.text} can take the place of {name!r}", f"{type(error).__name__}: {error}",
                "leave that layer out or give other settings",
            ) from error  # fmt: skip
        kernel_off = _kernel_difference(layer, conv) if how != "none" else None
        output_off, shapes = _compared(conv, layer, met)
        if shapes is not None and not {"stride", "padding", "dilation", "kernel_size", "out_channels"} & set(
            self.settings
        ):
            raise ArgumentError.of(
                "swap", f"results of shape {shapes[0]} in the place of {name!r}", f"{shapes[1]} from {self.text}",
                "leave that layer out or give settings that keep the shape",
            )  # fmt: skip
        small = torch.finfo(conv.weight.dtype).eps ** 0.75
        notes: tuple[str, ...] = ()
        if how != "none":
            same = _bias_kept(conv, layer, small) if kernel_off is not None else True
            off = output_off if kernel_off is None else kernel_off
            if off is not None and off <= small and same:
                how = "exact"
            if not same:
                notes = ("its bias did not carry over",)
        layer.train(old.training)
        if not any(p.requires_grad for p in old.parameters()):
            layer.requires_grad_(False)
        return Replacement(place.names, old, layer, how, kernel_off, output_off, notes)

    def _made(self, conv: Any) -> tuple[nn.Module, str]:
        """The new layer, and "own", "closed form", "least squares" or "none": how its weights were made."""
        move = self.transfer and not conv.weight.is_meta
        if self.kind in (Conv, ConvTranspose) and move and not self.settings:
            return conv, "own"
        if self.kind in (*PLAIN, *TRANSPOSED) and move and not self.settings:
            return conv.to_torch(), "own"
        if move and has_from_conv(self.kind):
            return self.kind.from_conv(conv, **self.settings), "own"
        layer = self._built(conv)
        if move and self.transposed and layer.weight.shape == conv.weight.shape:
            layer.load_state_dict(conv.state_dict(), strict=False)
            return layer, "own"
        if not move or not is_convolution(layer):
            return layer, "none"
        if has_closed_form(type(layer)):
            return layer.take(laid(conv, layer), conv.bias), "closed form"
        fit(layer, laid(conv, layer), conv.bias)
        return layer, "least squares"

    def _built(self, conv: Any) -> Any:
        """The new layer with its own first values; where its kernel reaches further, the padding follows."""
        if not isinstance(self.kind, type):
            layer = self.kind(conv, **self.settings)
            if not isinstance(layer, nn.Module):
                raise TypeError(f"the function returned {type(layer).__name__}, not a module")
            return layer
        if self.kind in (*PLAIN, *TRANSPOSED):
            kind: Any = ConvTranspose if self.kind in TRANSPOSED else Conv
            return Target(kind, None, self.settings, self.transfer, self.text)._built(conv).to_torch()
        return in_place_of(self.kind, conv, self.settings)

    def _refuse_unknown(self) -> None:
        """ArgumentError for settings that the class does not have."""
        known = arguments_of(self.kind)
        if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values()):
            return
        unknown = [name for name in self.settings if name not in known]
        if unknown:
            raise ArgumentError.of(
                "swap",
                f"settings of {self.text}",
                ", ".join(unknown),
                f"it has {', '.join(known)}",
            )


def _by_name(name: str) -> Any:
    """What `faltung.nn` offers under a name."""
    place: Any = ours
    for part in name.split("."):
        offered = [n for n in place.__all__ if n not in ("ALL", "FAMILIES")]
        if part not in offered:
            near = difflib.get_close_matches(part, offered, 4, 0.4)
            remedy = f"near it: {', '.join(near)}" if near else "see faltung.nn.ALL"
            raise ArgumentError.of("swap", "the name of a layer in faltung.nn", repr(name), remedy)
        place = getattr(place, part)
    return place


def _plain(old: Any) -> Any:
    """The same convolution as `Conv` or `ConvTranspose`, with the very same parameters where it has them."""
    if isinstance(old, (Conv, ConvTranspose)):
        return old
    if hasattr(old, "effective_kernel"):
        if not is_convolution(old):
            raise DtypeError.of(
                "swap", "layers that are one convolution with one kernel", type(old).__name__, "leave that layer out"
            )
        frozen = old.freeze()
        return frozen if isinstance(frozen, Conv) else Conv.from_torch(frozen)
    kind: Any = ConvTranspose if isinstance(old, TRANSPOSED) else Conv
    if type(old) in (*PLAIN, *TRANSPOSED):
        return kind.from_torch(old)
    names = [name for name in SETTINGS if name != "output_padding" or kind is ConvTranspose]
    made = kind(
        old.weight.ndim - 2, old.in_channels, old.out_channels, bias=old.bias is not None, device="meta",
        **{name: getattr(old, name) for name in names},
    )  # fmt: skip
    made.weight = nn.Parameter(old.weight.detach().clone())
    made.bias = None if old.bias is None else nn.Parameter(old.bias.detach().clone())
    return made.train(old.training)


def _kernel_difference(layer: Any, conv: Any) -> float | None:
    """The relative difference of the kernels, where both layers have one and they can be compared."""
    if isinstance(layer, (*PLAIN, *TRANSPOSED, Conv, ConvTranspose)) and layer.weight.shape == conv.weight.shape:
        wide = conv.weight.double()
        return ((layer.weight.double() - wide).norm() / wide.norm().clamp(min=1e-300)).item()
    if not is_convolution(layer) or isinstance(conv, ConvTranspose):
        return None
    try:
        return difference(layer, laid(conv, layer))
    except ValueError:
        return None


def _bias_kept(conv: Any, layer: Any, small: float) -> bool:
    """Whether the new layer adds the same constants."""
    ours = layer.effective_bias() if hasattr(layer, "effective_bias") else layer.bias
    pair = [torch.zeros(()) if b is None else b.detach().cpu() for b in (ours, conv.bias)]
    return bool((pair[0] - pair[1]).abs().max() <= small * max(pair[1].abs().max().item(), 1e-30))


@torch.no_grad()
def _compared(conv: Any, layer: nn.Module, met: Tensor | None) -> tuple[float | None, tuple[Any, Any] | None]:
    """The relative difference of the results in evaluation mode, and their shapes where these differ."""
    x = met
    if x is None:
        if conv.weight.is_meta:
            return None, None
        reach = [d * (t - 1) + 1 for d, t in zip(conv.dilation, conv.kernel_size, strict=True)]
        shape = (2, conv.in_channels, *(max(2 * r, 8) + s for r, s in zip(reach, conv.stride, strict=True)))
        x = torch.randn(shape, dtype=conv.weight.dtype, generator=torch.Generator().manual_seed(0)).to(
            conv.weight.device
        )
    training = {module: module.training for one in (conv, layer) for module in one.modules()}
    try:
        before, after = conv.eval()(x), layer.eval()(x)
    finally:
        for module, mode in training.items():
            module.training = mode
    if not isinstance(after, Tensor) or after.shape != before.shape:
        return None, (tuple(before.shape), tuple(after.shape) if isinstance(after, Tensor) else type(after).__name__)
    wide = torch.promote_types(before.dtype, torch.float64)
    off = (after.to(wide) - before.to(wide)).norm() / before.to(wide).norm().clamp(min=1e-300)
    return off.item(), None
