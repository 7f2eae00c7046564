"""Operators whose three maps y(x, w), x(w, y) and w(x, y) are the partial derivatives of one trilinear form.

One torch operator stands for all three: it is asked for the operand that is missing. The derivative of each map is another one, so
an operator has reverse derivatives of every order without further formulas.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faltung.errors import DtypeError

SINGLE = {torch.float16: torch.float32, torch.bfloat16: torch.float32}
"""In what half types are computed."""
KNOWN = (*SINGLE, torch.float32, torch.float64)

_library = torch.library.Library("faltung", "FRAGMENT")


def register(
    name: str, rest: str, compute: Callable[..., Tensor], shapes: Callable[..., tuple]
) -> Callable[..., Tensor]:
    """The operator `faltung::name(Tensor? x, Tensor? w, Tensor? y, rest) -> Tensor`, for tracing, derivatives and autocast.

    Args:
        rest: the schema of what follows the three operands.   compute: the missing operand from all arguments, no derivatives.
        shapes: its shape from the same arguments.
    """
    _library.define(f"{name}(Tensor? x, Tensor? w, Tensor? y, {rest}) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,))
    run = getattr(torch.ops.faltung, name).default

    def fake(*inputs: Any) -> Tensor:
        given = next(a for a in inputs[:3] if a is not None)
        return given.new_empty(shapes(*inputs))

    def keep(ctx: Any, inputs: tuple, output: Tensor) -> None:
        tensors = [a for a in inputs[3:] if isinstance(a, Tensor)]
        ctx.save_for_backward(*inputs[:3], *tensors)
        ctx.rest = [None if isinstance(a, Tensor) else a for a in inputs[3:]]

    def backward(ctx: Any, cotangent: Tensor) -> tuple:
        known, tensors = list(ctx.saved_tensors[:3]), iter(ctx.saved_tensors[3:])
        after = [next(tensors) if a is None else a for a in ctx.rest]
        slot = next(i for i, a in enumerate(known) if a is None)
        known[slot] = cotangent
        found = [
            run(*known[:i], None, *known[i + 1 :], *after) if i != slot and ctx.needs_input_grad[i] else None
            for i in range(3)
        ]
        return *found, *[None] * len(after)

    _library.impl(name, compute, "CompositeExplicitAutograd")
    torch.library.register_fake(f"faltung::{name}", fake, lib=_library)
    torch.library.register_autograd(f"faltung::{name}", backward, setup_context=keep, lib=_library)
    for device, key in (("cpu", "AutocastCPU"), ("cuda", "AutocastCUDA")):
        _library.impl(name, _autocast(run, device, getattr(torch._C.DispatchKey, key)), key, with_keyset=True)
    return run


def _autocast(run: Callable[..., Tensor], device: str, key: Any) -> Callable[..., Tensor]:
    """Operands no wider than float32 go in autocast's dtype, as those of torch's own convolutions."""

    def narrowed(_: Any, x: Any, w: Any, y: Any, *rest: Any) -> Tensor:
        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(key)):
            if torch.float64 not in {a.dtype for a in (x, w, y) if a is not None}:
                dtype = torch.get_autocast_dtype(device)
                x, w, y = (a if a is None else a.to(dtype) for a in (x, w, y))
            return run(x, w, y, *rest)

    return narrowed


def agree(who: str, *operands: Tensor | None) -> None:
    """DtypeError unless the operands are of one real floating dtype, or autocast makes them so."""
    given = [a for a in operands if a is not None]
    device = given[0].device.type
    cast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    kinds = {a.dtype for a in given}
    if (len(kinds) > 1 and not cast) or not kinds <= set(KNOWN):
        words = ", ".join(sorted(str(k) for k in kinds))
        raise DtypeError.of(who, "operands of one real floating dtype", words, "cast them with .to(dtype)")


def empty(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Memory for a result, on the processor NumPy's, which asks the system for large pages."""
    if device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device)
    return torch.from_numpy(np.empty(tuple(map(int, shape)), str(dtype).removeprefix("torch.")))
