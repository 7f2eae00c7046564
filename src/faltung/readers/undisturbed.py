"""Look at a model and leave it as it was: modes, attributes, hooks, buffers, gradients and random numbers."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError


@contextmanager
def undisturbed(model: nn.Module, train: bool | None = False) -> Iterator[nn.Module]:
    """Run the block with the model in evaluation mode; afterwards everything about the model is as before.

    What is put back: the mode and all attributes of every module (old forms of weight normalisation set some), hooks, buffers
    that were written to, requires_grad and the gradients of parameters, the random numbers of Python, NumPy and torch
    (on all devices in use).

    Args:
        train: the mode inside, or None to leave it.

    Raises:
        ArgumentError: the model writes to its own parameters when it is called, which nothing could undo without a copy.

    Cost: one copy of the buffers, none of the parameters.

    Example:
        >>> layer = nn.BatchNorm1d(2)
        >>> with undisturbed(layer, train=True) as inside:
        ...     _ = inside(torch.randn(8, 2))
        >>> layer.num_batches_tracked
        tensor(0)
    """
    modules = list(model.modules())
    attributes = [_attributes(module) for module in modules]
    modes = [module.training for module in modules]
    parameters = list(model.parameters())
    facts = [(p, p._version, p.requires_grad, p.grad) for p in parameters]
    gradients = [None if p.grad is None else p.grad._version for p in parameters]
    buffers = [(b, b._version, b.detach().clone()) for b in model.buffers()]
    devices = sorted({p.device.index or 0 for p in parameters if p.device.type == "cuda"})
    random_states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices):
        try:
            if train is not None:
                model.train(train)
            yield model
        finally:
            random.setstate(random_states[0])
            np.random.set_state(random_states[1])
            for module, kept, mode in zip(modules, attributes, modes, strict=True):
                _restore(module, kept, mode)
            for buffer, version, value in buffers:
                if buffer._version != version:
                    with torch.no_grad():
                        buffer.copy_(value)
            for parameter, _, wanted, gradient in facts:
                parameter.requires_grad_(wanted)
                parameter.grad = gradient
    changed = sum(p._version != version for p, version, _, _ in facts)
    changed += sum(p.grad is not None and p.grad._version != v for p, v in zip(parameters, gradients, strict=True))
    if changed:
        raise ArgumentError.of(
            "undisturbed", "a model that does not write to its parameters when it is called", f"{changed} that were written to",
            "pass a copy of the model, copy.deepcopy(model)",
        )  # fmt: skip


def _attributes(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """The module's attributes; of dictionaries (registers, hooks) what they hold too."""
    if isinstance(module, torch.jit.ScriptModule):
        return {}
    return {name: (value, dict(value) if isinstance(value, dict) else None) for name, value in module.__dict__.items()}


def _restore(module: nn.Module, kept: dict[str, tuple[Any, Any]], mode: bool) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        module.train(mode)
        return
    held = module.__dict__
    for name in [name for name in held if name not in kept]:
        del held[name]
    for name, (value, content) in kept.items():
        if held.get(name, held) is not value:
            held[name] = value
        if content is not None and not _same(value, content):
            value.clear()
            value.update(content)
    held["training"] = mode


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return list(a) == list(b) and all(a[name] is b[name] for name in a)


def first_tensor(result: Any) -> Tensor | None:
    """The first tensor of what a model returned, inside tuples, lists and mappings; None where there is none."""
    if isinstance(result, Tensor):
        return result
    parts = result.values() if isinstance(result, dict) else result if isinstance(result, (tuple, list)) else ()
    return next((found for found in map(first_tensor, parts) if found is not None), None)
