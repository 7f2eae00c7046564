"""Frozen batch norms folded into the layers before them."""

import copy
from typing import TYPE_CHECKING, Any

from faltung.readers import Node
from faltung.report.rewritings.place import named, plain, put, sentence

if TYPE_CHECKING:
    from faltung.report.report import Report


def fold(model: Any, report: "Report") -> tuple[Any, str]:
    """Frozen batch norms into the convolutions and linear maps before them.

    Formula: `W'[o] = W[o] · γ[o] / √(var[o] + eps)`, `b' = β + (b − mean) · γ / √(var + eps)`; of a transposed layer o counts
    within each group. Layers and norms that are called more than once keep their places: other calls read other things.
    """
    from torch import nn

    from faltung.readers import read
    from faltung.report.sections.efficiency import norm_behind

    names, left, done = named(report, "E3"), {}, 0
    network = read(model, report.example)
    modules = dict(model.named_modules(remove_duplicate=False))
    for name in names:
        layer, norm = modules.get(name), norm_behind(network, network[name]) if name in network else None
        if layer is None or norm is None or norm.name not in modules or not plain(layer, network[name].kernel_shape):
            left[name] = "no plain layer"
            continue
        put(model, name, folded(layer, network[name], norm))
        put(model, norm.name, nn.Identity())
        done += 1
    return model, sentence(done, len(names), "norms folded", left)


def folded(layer: Any, node: Node, norm: Node) -> Any:
    """A copy of a layer, on its device, with the factors and shifts of a frozen norm in its weight and bias."""
    import torch
    from torch import nn

    weight = layer.weight.detach().double()
    values = {key: torch.tensor(v, dtype=torch.float64, device=weight.device) for key, v in norm.values.items()}
    scale = values.get("gamma", torch.ones_like(values["var"])) / (values["var"] + norm.settings["eps"]).sqrt()
    made = copy.deepcopy(layer)
    bias = torch.zeros_like(scale) if layer.bias is None else layer.bias.detach().double()
    # A transposed kernel is (in, out / groups, *k), its inputs grouped as its outputs.
    if node.transposed:
        parts = weight.reshape(node.groups, -1, *weight.shape[1:])
        taps = parts * scale.reshape(node.groups, 1, -1, *(1,) * node.ndim)
    else:
        taps = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
    shift = values.get("beta", torch.zeros_like(scale)) + (bias - values["mean"]) * scale
    made.weight = nn.Parameter(taps.reshape(weight.shape).to(layer.weight.dtype))
    made.bias = nn.Parameter(shift.to(layer.weight.dtype))
    return made
