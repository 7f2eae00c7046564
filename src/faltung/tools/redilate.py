"""Running a trained model with other dilations, for as long as a context lasts."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Self

from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError
from faltung.nn import functional
from faltung.nn.functional.redilate import factors, is_convolution
from faltung.tools.names import named

Schedule = Callable[[Any, int], Any]


def redilate(model: nn.Module, chosen: Any, schedule: Any = None) -> "Redilation":
    """Spread the taps of chosen convolutions by a factor while a `with` block lasts; nothing is copied or trained.

    Inside the block the chosen layers compute `faltung.nn.functional.redilate(layer, x, factor)`; afterwards they are what they
    were, whatever happened in between. What is returned may also be called like the model, which then runs inside such a block.

    Args:
        model: any torch module.
        chosen: {name: factor} with names of convolutions or glob patterns ("down.*.conv"), of which later ones win; or a function
            of (name, layer) that returns a factor, or None for a layer that stays as it is.
        schedule: None for the same factors always; a number of steps for `progressive`; or a function of (factor, step) that
            returns the factor for that step, or None. The step is set by `.at(step)`, and 0 at first.

    Raises:
        ArgumentError: a name that no convolution has, or a factor that is not above 0.   DtypeError: not a torch module.

    Source: He, Yang et al., ScaleCrafter: tuning-free higher-resolution visual generation with diffusion models (2024).

    Example:
        >>> model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU())
        >>> with redilate(model, {"0": 2}):
        ...     y = model(torch.zeros(1, 1, 8, 8))
    """
    return Redilation(model, chosen, schedule)


def progressive(steps: int) -> Schedule:
    """Factors that shrink to 2 over so many steps, and none from then on: max(⌈factor · (steps − step) / steps⌉, 2).

    Factors up to 1 are left alone until then.

    Example:
        >>> [progressive(4)(4, step) for step in range(5)]
        [4, 3, 2, 2, None]
    """
    (steps,) = functional.numbers("schedule", steps, 1, 1)

    def at(factor: Any, step: int) -> Any:
        if step >= steps:
            return None
        if isinstance(factor, tuple):
            return tuple(at(f, step) for f in factor)
        return factor if factor <= 1 else max(math.ceil(factor * (steps - step) / steps), 2)

    return at


class Redilation:
    """Convolutions of a model with their factors, as `redilate` returns it: a context, and a stand-in for the model."""

    def __init__(self, model: nn.Module, chosen: Any, schedule: Any = None) -> None:
        if not isinstance(model, nn.Module):
            raise DtypeError.of("redilate", "a torch module", type(model).__name__, "pass the model itself")
        if schedule is not None and not callable(schedule):
            schedule = progressive(schedule)
        self.model = model
        self.schedule: Schedule | None = schedule
        self.step = 0
        self.factors = _chosen(model, chosen)
        self._kept: list[list[tuple[nn.Module, Any]]] = []

    def at(self, step: int) -> Self:
        """Set the step that the schedule is asked for, and return this."""
        (self.step,) = functional.numbers("step", step, 1, 0)
        return self

    def __enter__(self) -> Self:
        layers = {name: self.model.get_submodule(name) for name in self.factors}
        kept = [(layer, layer.__dict__.get("forward")) for layer in layers.values()]
        self._kept.append(kept)
        for name, layer in layers.items():
            # An attribute of the instance stands in front of the class' method, and goes without a trace.
            layer.__dict__["forward"] = partial(self._run, layer, layer.forward, self.factors[name])
        return self

    def __exit__(self, *_: Any) -> None:
        for layer, before in self._kept.pop():
            if before is None:
                layer.__dict__.pop("forward", None)
            else:
                layer.__dict__["forward"] = before

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """The model's result inside such a block."""
        with self:
            return self.model(*inputs, **options)

    def _run(self, layer: nn.Module, plain: Callable[..., Tensor], factor: Any, input: Tensor) -> Tensor:
        now = factor if self.schedule is None else self.schedule(factor, self.step)
        return plain(input) if now is None else functional.redilate(layer, input, now)


def _chosen(model: nn.Module, chosen: Any) -> dict[str, Any]:
    """The factors by name, each layer once however often it is part of the model, checked."""
    every = dict(model.named_modules(remove_duplicate=False))
    layers: dict[str, Any] = {name: module for name, module in every.items() if is_convolution(module)}
    if callable(chosen):
        found = {name: chosen(name, layer) for name, layer in layers.items()}
    elif isinstance(chosen, Mapping):
        others = [name for name in every if name not in layers]
        found = {name: f for pattern, f in chosen.items() for name in named("redilate", pattern, layers, others)}
    else:
        raise ArgumentError.of(
            "redilate", "{name: factor} or a function", type(chosen).__name__, "write {'down.0': 2} or the like"
        )
    once: dict[nn.Module, tuple[str, Any]] = {}
    for name, f in found.items():
        if f is not None:
            factors(f, len(layers[name].kernel_size))
            once[layers[name]] = name, tuple(f) if isinstance(f, list) else f
    return dict(once.values())
