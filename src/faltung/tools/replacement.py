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
from faltung.nn.base import SHIFT_INVARIANT
from faltung.tools.convolutions import PLAIN, TRANSPOSED, Place
from faltung.tools.transfer import dense, difference, fit

_SETTINGS = {
    "kernel_size": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1, "padding_mode": "zeros", "output_padding": 0,
}  # fmt: skip


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
        """The new layer, and "own", "least squares" or "none": how its weights were made."""
        move = self.transfer and not conv.weight.is_meta
        if self.kind in (Conv, ConvTranspose) and move and not self.settings:
            return conv, "own"
        if self.kind in (*PLAIN, *TRANSPOSED) and move and not self.settings:
            return conv.to_torch(), "own"
        if move and hasattr(self.kind, "from_conv"):
            return self.kind.from_conv(conv, **self.settings), "own"
        layer = self._built(conv)
        if move and self.transposed and layer.weight.shape == conv.weight.shape:
            layer.load_state_dict(conv.state_dict(), strict=False)
            return layer, "own"
        if not move or _effective(layer) is None:
            return layer, "none"
        fit(layer, _placed(conv, layer), conv.bias)
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
        known = _arguments(self.kind)
        settings = self._settings(conv, known)
        layer = self.kind(**settings).eval()  # merged kernels exist in evaluation mode only
        kernel = _effective(layer)
        if kernel is None or "padding" in self.settings or "padding" not in settings or isinstance(conv.padding, str):
            return layer
        spread = zip(layer.dilation, kernel.shape[2:], conv.dilation, conv.kernel_size, strict=True)
        more = [d * (t - 1) - u * (s - 1) for d, t, u, s in spread]
        if not any(more):
            return layer
        if any(m % 2 or p + m // 2 < 0 for m, p in zip(more, conv.padding, strict=True)):
            raise ValueError(
                f"no padding keeps the size for a kernel that reaches {more} samples further: give the padding"
            )
        settings["padding"] = tuple(p + m // 2 for p, m in zip(conv.padding, more, strict=True))
        return self.kind(**settings).eval()

    def _settings(self, conv: Any, known: Any) -> dict[str, Any]:
        """The arguments for the class: those of the convolution that it knows, with the given ones in their place."""
        every = {name: _single(getattr(conv, name)) for name in _SETTINGS}
        every |= {"in_channels": conv.in_channels, "out_channels": conv.out_channels, "ndim": conv.ndim}
        every |= {
            "bias": conv.bias is not None,
            "device": conv.weight.device,
            "dtype": conv.weight.dtype,
            "policy": conv.policy,
        }
        lost = [
            name for name, usual in _SETTINGS.items()
            if name not in known and name not in self.settings and usual is not None
            and name not in ("padding", "output_padding") and every[name] != usual
        ]  # fmt: skip
        if "channels" in known:
            if conv.in_channels != conv.out_channels:
                raise ValueError(
                    f"it has one number of channels, and there are {conv.in_channels} → {conv.out_channels}"
                )
            every["channels"] = conv.in_channels
            lost = [name for name in lost if name != "groups"]
        if lost:
            raise ValueError(
                f"it knows no {', '.join(lost)}, which is {', '.join(str(every[name]) for name in lost)} here"
            )
        return {name: value for name, value in every.items() if name in known} | self.settings

    def _refuse_unknown(self) -> None:
        """ArgumentError for settings that the class does not have."""
        known = _arguments(self.kind)
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


def _arguments(kind: Any) -> dict[str, inspect.Parameter]:
    """What a function or a class' constructor takes; not the class' own signature, which knows nothing but __new__."""
    if not isinstance(kind, type):
        return dict(inspect.signature(kind).parameters)
    constructor: Any = vars(next(k for k in kind.__mro__ if "__init__" in vars(k)))["__init__"]
    return dict(list(inspect.signature(constructor).parameters.items())[1:])


def _single(value: Any) -> Any:
    """One number in place of the same for each axis."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


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
        frozen = old.freeze()
        return frozen if isinstance(frozen, Conv) else Conv.from_torch(frozen)
    kind: Any = ConvTranspose if isinstance(old, TRANSPOSED) else Conv
    if type(old) in (*PLAIN, *TRANSPOSED):
        return kind.from_torch(old)
    names = [name for name in _SETTINGS if name != "output_padding" or kind is ConvTranspose]
    made = kind(
        old.weight.ndim - 2, old.in_channels, old.out_channels, bias=old.bias is not None, device="meta",
        **{name: getattr(old, name) for name in names},
    )  # fmt: skip
    made.weight = nn.Parameter(old.weight.detach().clone())
    made.bias = None if old.bias is None else nn.Parameter(old.bias.detach().clone())
    return made.train(old.training)


def _effective(layer: Any) -> Tensor | None:
    """The kernel of the one convolution that a layer is, if it is one: of torch's layers the weight."""
    if hasattr(layer, "effective_kernel") and SHIFT_INVARIANT in layer.claims:
        return layer.effective_kernel()
    return None


def _placed(conv: Any, layer: Any) -> Tensor:
    """The convolution's kernel on the new layer's taps, each where it meets the same sample."""
    theirs = tuple(layer.effective_kernel().shape)
    kernel = conv.weight.detach()
    if conv.groups != layer.groups:
        kernel = dense(kernel, conv.groups)
    taps = theirs[2:]
    if (conv.out_channels, conv.in_channels) != (layer.out_channels, layer.in_channels):
        raise ValueError(
            f"{layer.in_channels} → {layer.out_channels} channels, not {conv.in_channels} → {conv.out_channels}"
        )
    at = []
    for axis, many in enumerate(taps):
        low, new = conv.pads[axis][0], layer.pads[axis][0]
        meets = [t * conv.dilation[axis] - low + new for t in range(conv.kernel_size[axis])]
        if any(m % layer.dilation[axis] or not 0 <= m // layer.dilation[axis] < many for m in meets):
            raise ValueError(
                f"kernels that do not fit: {conv.kernel_size} taps with dilation {conv.dilation} and padding {conv.padding} "
                f"have no place among {taps} with dilation {layer.dilation} and padding {layer.padding}"
            )
        at.append(torch.tensor([m // layer.dilation[axis] for m in meets], device=kernel.device))
    whole = kernel.new_zeros(*kernel.shape[:2], *taps)
    whole[(slice(None), slice(None), *torch.meshgrid(*at, indexing="ij"))] = kernel
    return whole


def _kernel_difference(layer: Any, conv: Any) -> float | None:
    """The relative difference of the kernels, where both layers have one and they can be compared."""
    if isinstance(layer, (*PLAIN, *TRANSPOSED, Conv, ConvTranspose)) and layer.weight.shape == conv.weight.shape:
        wide = conv.weight.double()
        return ((layer.weight.double() - wide).norm() / wide.norm().clamp(min=1e-300)).item()
    if _effective(layer) is None or isinstance(conv, ConvTranspose):
        return None
    try:
        return difference(layer, _placed(conv, layer))
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
