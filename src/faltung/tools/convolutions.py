"""The convolutions of a model: which there are, and which of them are meant."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin

from faltung.errors import ArgumentError
from faltung.nn import Conv, ConvLayer, ConvTranspose, Layer
from faltung.nn.base import SHIFT_INVARIANT
from faltung.tools.names import named

PLAIN = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class Place:
    """A module with all the names under which a model holds it."""

    names: tuple[str, ...]
    module: nn.Module


def is_plain(module: nn.Module, transposed: bool) -> bool:
    """Whether it computes a convolution (or its transpose) with its own weight and nothing else: torch's forward, or ours."""
    if transposed:
        return isinstance(module, (*TRANSPOSED, ConvTranspose)) and _untouched(module)
    if isinstance(module, PLAIN):
        return _untouched(module)
    return isinstance(module, ConvLayer) and SHIFT_INVARIANT in module.claims


def _untouched(module: nn.Module) -> bool:
    """Whether torch's own class says what is computed."""
    kinds = [kind for kind in (*PLAIN, *TRANSPOSED) if isinstance(module, kind)]
    return all(type(module).forward is kind.forward for kind in kinds) and all(
        getattr(type(module), "_conv_forward", None) is getattr(kind, "_conv_forward", None) for kind in kinds
    )


def spatial(module: Any) -> int:
    """How many spatial axes a convolution has."""
    return len(module.kernel_size)


def found(model: nn.Module, where: Any, aim: Any) -> list[Place]:
    """The convolutions of the model that are meant, each once, with all their names.

    Args:
        where: None, or names, classes and functions as for `swap`.   aim: has `transposed`, `ndim` (or None), `kind` and `text`.

    Raises:
        ArgumentError: none is meant, a pattern fits none, or one of them cannot be replaced.
    """
    places: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        places.setdefault(module, []).append(name)
    fit: dict[str, nn.Module] = {}
    for module, names in places.items():
        if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():
            raise ArgumentError.of(
                "swap", "a model whose layers know their sizes", repr(names[0]), "call the model once before"
            )
        if is_plain(module, aim.transposed) and aim.ndim in (None, spatial(module)):
            fit |= dict.fromkeys(names, module)
    if where is None:
        own = _inside(model)
        picked = [m for m in fit.values() if isinstance(m, (*PLAIN, Conv, *TRANSPOSED, ConvTranspose)) and m not in own]
        meant = {m: None for m in picked if type(m) is not aim.kind}
    else:
        others = [name for names in places.values() for name in names if name not in fit]
        each = where if isinstance(where, (list, tuple, set)) else [where]
        meant = {m: None for one in each for m in _fitting(one, fit, others)}
    if not meant:
        known = ", ".join(repr(name) for name in list(fit)[:4])
        raise ArgumentError.of(
            "swap", f"convolutions that {aim.text} can replace", "none among those chosen",
            f"there are {known}" if known else "the model has none",
        )  # fmt: skip
    inner = {m for one in meant for m in one.modules() if m is not one}
    chosen = [Place(tuple(places[m]), m) for m in meant if m not in inner]
    for place in chosen:
        _refuse_hooks(place)
    return chosen


def _fitting(one: Any, fit: dict[str, nn.Module], others: Iterable[str]) -> list[nn.Module]:
    """The modules that one condition names."""
    if isinstance(one, str):
        return [fit[name] for name in named("swap", one, fit, others)]
    if isinstance(one, partial) and isinstance(one.func, type):  # a short name such as faltung.nn.Conv2d
        return [m for m in fit.values() if isinstance(m, one.func) and spatial(m) == one.args[0]]
    if isinstance(one, type):
        return [module for module in fit.values() if isinstance(module, one)]
    if callable(one):
        test: Callable[[str, nn.Module], Any] = one
        return [module for name, module in fit.items() if test(name, module)]
    raise ArgumentError.of(
        "swap", "where as a name, a class or a function", repr(one), 'write where="stage1.*" or the like'
    )


def _inside(model: nn.Module) -> set[nn.Module]:
    """All modules that are part of one of our layers."""
    return {m for one in model.modules() if isinstance(one, Layer) for m in one.modules() if m is not one}


def _refuse_hooks(place: Place) -> None:
    """Hooks would be lost, and with them what weight norm or a pruning mask does."""
    hooks = ("_forward_pre_hooks", "_forward_hooks", "_backward_hooks", "_backward_pre_hooks")
    if any(getattr(place.module, kind) for kind in hooks):
        raise ArgumentError.of(
            "swap", "layers without hooks", f"hooks on {place.names[0]!r}",
            "remove them before (weight norm by torch.nn.utils.remove_weight_norm, masks by torch.nn.utils.prune.remove)",
        )  # fmt: skip
