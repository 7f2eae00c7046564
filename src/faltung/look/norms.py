"""Normalisations by a signal's own mean and variance, as the affine maps that they are while these are held."""

from typing import Any

import torch
from torch import Tensor, fx

NORMS = frozenset({"layer_norm", "group_norm", "instance_norm", "batch_norm", "rms_norm"})


def affine_of(node: fx.Node, args: Any, kwargs: Any) -> tuple[Tensor, Tensor] | None:
    """(scale, shift) with norm(z) = scale · z + shift, mean and variance held as the first argument z has them.

    None for a norm that uses stored statistics: it is such a map by itself. Of a root mean square there is no shift.

    Shapes: both broadcast to z's.   Error: that of the arithmetic; the sum is not the norm's own bit by bit.
    """
    schema: Any = getattr(node.target, "_schema", None)
    names = [a.name for a in schema.arguments]
    given = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    given |= dict(zip(names, args, strict=False)) | kwargs
    kind, z = schema.name.rpartition("::")[2].rstrip("_"), given["input"]
    if not given.get("training", True) or not given.get("use_input_stats", True):
        return None
    weight, bias, eps = given.get("weight"), given.get("bias"), given.get("eps")
    if kind in ("layer_norm", "rms_norm"):
        axes = tuple(range(z.ndim - len(given["normalized_shape"]), z.ndim))
        own, shape = z, None
    else:
        many = given.get("num_groups", z.shape[1])
        own = z.reshape(len(z), many, -1) if kind != "batch_norm" else z.flatten(2) if z.ndim > 2 else z[..., None]
        axes, shape = ((0, 2) if kind == "batch_norm" else (2,)), (1, -1, *(1,) * (z.ndim - 2))
    if kind == "rms_norm":
        mean = torch.zeros((), dtype=z.dtype, device=z.device)
        spread = own.square().mean(axes, keepdim=True)
        eps = torch.finfo(z.dtype).eps if eps is None else eps
    else:
        mean, spread = own.mean(axes, keepdim=True), own.var(axes, correction=0, keepdim=True)
    scale = (spread + eps).rsqrt()
    shift = -mean * scale
    if shape is not None:  # from groups of channels to places
        scale, shift = (part.expand(own.shape).reshape(z.shape) for part in (scale, shift))
        weight, bias = (None if part is None else part.reshape(shape) for part in (weight, bias))
    if weight is not None:
        scale, shift = scale * weight, shift * weight
    return scale, shift if bias is None else shift + bias
