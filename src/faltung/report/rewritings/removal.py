"""Outputs that say nothing new taken out: constant ones, and copies of others, with what reads them."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from faltung.readers import Network, Node
from faltung.report.rewritings.place import SMALL, free, inputs_of, named, noise_like, put, sentence
from faltung.report.rewritings.ways import Way, way_from
from faltung.report.sections.identity import calls

if TYPE_CHECKING:
    from faltung.report.report import Report


@dataclass(frozen=True)
class Said:
    """An output that is `factor` times the kept one plus `shift`; without a kept one `shift` alone."""

    output: int
    kept: int | None
    factor: float
    shift: float


def removed(model: Any, report: "Report") -> tuple[Any, str]:
    """Outputs whose filters are zero, or switched off by the norm behind, go, and with them what reads them.

    Formula: such an output is a constant c_j where it is read, so that `Σ_j W[o, j] ∗ c_j` goes into the bias of the reader. With
    a margin of zeros on the way that holds for c_j = 0 only; outputs that are small and not zero, outputs of groups, and those
    that several read stay.

    Error: filters below 1e-6 of the layer's largest count as zero.
    """
    return _cut(model, report, "F5", "layers freed of dead outputs", _constants)


def merged(model: Any, report: "Report") -> tuple[Any, str]:
    """Outputs that are copies of others but for a factor go, and what reads them reads the others.

    Formula: `W'[o, i] = W[o, i] + α W[o, j]` for `y_j = α y_i + γ`, the norm behind included, and `γ Σ W[o, j]` into the bias. A
    factor passes rectifiers and maxima if it is positive, other functions if it is 1; a shift passes only where nothing but
    sums and constant margins follow. Filters that are only much alike stay.

    Error: filters count as parallel up to 1e-6.
    """
    return _cut(model, report, "F4", "layers freed of copies", lambda layer, way, node, seen: _copies(layer, way, node))


def _cut(
    model: Any, report: "Report", rule: str, words: str, look: Callable[[Any, Way, Node, Any], list[Said]]
) -> tuple[Any, str]:
    from faltung.readers import replay

    given = inputs_of(report)
    found = replay(model, given)
    assert found is not None
    network, names = found.network, named(report, rule)
    layers, left, done, count = free(model, network), {}, 0, 0
    modules = dict(model.named_modules())
    ways = {name: way_from(network, network[name]) for name in names if name in layers and network[name].groups == 1}
    read = [way.last.inputs[0] for way in ways.values() if way is not None]
    values = found.values(noise_like(given), read)
    for name in names:
        way = ways.get(name)
        if way is None or way.last.name not in layers or not _once(network, modules, way.norm):
            left[name] = "read by several, in groups, or through what mixes channels"
            continue
        node = network[name]
        said = look(layers[name], way, node, values[way.last.inputs[0]])
        outputs = node.out_channels
        said = said[: outputs - 1]  # a layer keeps one
        if not said:
            left[name] = "outputs that are not just constants or copies"
            continue
        keep = np.setdiff1d(np.arange(outputs), [s.output for s in said])
        first, last = (
            narrowed(layers[name], keep, 1 if node.transposed else 0),
            absorbed(layers[way.last.name], way, said, keep),
        )
        for place, layer in ((name, first), (way.last.name, last)):
            put(model, place, layer)
            layers[place] = layer
        if way.norm is not None:
            put(model, way.norm.name, thinned(modules[way.norm.name], keep))
        done, count = done + 1, count + len(said)
    return model, sentence(done, len(names), f"{words} ({count} outputs)", left)


def _once(network: Network, modules: dict[str, Any], norm: Node | None) -> bool:
    """Whether a norm on the way, if there is one, is a module that is called once."""
    return norm is None or (norm.name in modules and calls(network, norm) == 1)


def _constants(layer: Any, way: Way, node: Node, seen: Any) -> list[Said]:
    """The outputs whose filter is zero, with the constant that their reader sees."""
    filters = np.abs(_filters(layer, node)).max(1) * np.abs(_norm_of(way.norm, node.out_channels)[0])
    found = []
    for j in np.flatnonzero(filters <= SMALL * filters.max()).tolist():
        channel = seen.double().reshape(len(seen), node.out_channels, -1)[:, j]
        low, high = float(channel.min()), float(channel.max())
        c = 0.0 if max(abs(low), abs(high)) == 0 else (low + high) / 2
        if high - low <= SMALL * abs(c) and (c == 0 or not way.zeros):
            found.append(Said(j, None, 0.0, c))
    return found


def _copies(layer: Any, way: Way, node: Node) -> list[Said]:
    """The outputs that are affine in an earlier one that stays."""
    filters = _filters(layer, node)
    scale, mean, beta = _norm_of(way.norm, node.out_channels)
    bias = np.zeros(node.out_channels) if layer.bias is None else layer.bias.detach().double().cpu().numpy()
    lengths = np.linalg.norm(filters, axis=1)
    kept: list[int] = []
    found: list[Said] = []
    for j in range(node.out_channels):
        said = None
        for i in kept if lengths[j] else ():
            a = filters[j] @ filters[i] / lengths[i] ** 2
            if np.linalg.norm(filters[j] - a * filters[i]) > SMALL * lengths[j]:
                continue
            # y_j = s_j (a (u_i − b_i) + b_j − m_j) + β_j with u_i = (y_i − β_i) / s_i + m_i
            factor = a * scale[j] / scale[i]
            parts = np.array([-factor * beta[i], scale[j] * a * mean[i], -scale[j] * a * bias[i], scale[j] * bias[j],
                              -scale[j] * mean[j], beta[j]])  # fmt: skip
            shift = 0.0 if abs(parts.sum()) <= SMALL * np.abs(parts).sum() else float(parts.sum())
            passes = {"linear": True, "positive": factor > 0, "any": abs(factor - 1) <= SMALL}[way.kind]
            if passes and (shift == 0 or (way.kind == "linear" and not way.zeros)):
                said = Said(j, i, float(factor), shift)
                break
        if said is not None:
            found.append(said)
        elif lengths[j] and scale[j]:
            kept.append(j)
    return found


def _filters(layer: Any, node: Node) -> np.ndarray:
    """The filters of a layer without groups, (out, taps of all inputs)."""
    weight = layer.weight.detach().double().cpu().numpy()
    return (weight.swapaxes(0, 1) if node.transposed else weight).reshape(node.out_channels, -1)


def _norm_of(norm: Node | None, channels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(factor, mean, beta) of a frozen norm; of none (1, 0, 0)."""
    if norm is None:
        return np.ones(channels), np.zeros(channels), np.zeros(channels)
    values = {key: np.asarray(value, np.float64) for key, value in norm.values.items()}
    scale = values.get("gamma", 1.0) / np.sqrt(values["var"] + norm.settings["eps"])
    return scale, values["mean"], values.get("beta", np.zeros(channels))


def narrowed(layer: Any, keep: np.ndarray, axis: int) -> Any:
    """A copy of a layer with some outputs only."""
    import torch
    from torch import nn

    made, chosen = copy.deepcopy(layer), torch.as_tensor(keep, device=layer.weight.device)
    made.weight = nn.Parameter(layer.weight.detach().index_select(axis, chosen))
    if layer.bias is not None:
        made.bias = nn.Parameter(layer.bias.detach()[chosen])
    _sized(made, "out_channels" if hasattr(made, "out_channels") else "out_features", len(keep))
    return made


def absorbed(layer: Any, way: Way, said: list[Said], keep: np.ndarray) -> Any:
    """A copy of the reader without what it read of some inputs, which the others and its bias take over."""
    import torch
    from torch import nn

    made, axis = copy.deepcopy(layer), 0 if way.last.transposed else 1
    # (out, in channels, what each channel has of columns or taps)
    wide = layer.weight.detach().double().clone().movedim(axis, 1)
    flat = wide.reshape(wide.shape[0], -1, way.columns, *wide.shape[2:])
    bias = torch.zeros(wide.shape[0], dtype=torch.float64) if layer.bias is None else layer.bias.detach().double()
    bias = bias.to(layer.weight.device)
    for one in said:
        bias = bias + one.shift * flat[:, one.output].flatten(1).sum(1)
        if one.kept is not None:
            flat[:, one.kept] += one.factor * flat[:, one.output]
    flat = flat[:, torch.as_tensor(keep, device=flat.device)]
    taps = flat.reshape(wide.shape[0], -1, *wide.shape[2:]).movedim(1, axis)
    made.weight = nn.Parameter(taps.to(layer.weight.dtype).contiguous())
    if layer.bias is not None or any(one.shift for one in said):
        made.bias = nn.Parameter(bias.to(layer.weight.dtype))
    _sized(made, "in_channels" if hasattr(made, "in_channels") else "in_features", taps.shape[axis])
    return made


def thinned(norm: Any, keep: np.ndarray) -> Any:
    """A copy of a batch norm with some channels only."""
    import torch
    from torch import nn

    made, chosen = copy.deepcopy(norm), torch.as_tensor(keep, device=norm.running_var.device)
    for name in ("running_mean", "running_var"):
        setattr(made, name, getattr(norm, name)[chosen])
    for name in ("weight", "bias"):
        if getattr(norm, name) is not None:
            setattr(made, name, nn.Parameter(getattr(norm, name).detach()[chosen]))
    _sized(made, "num_features", len(keep))
    return made


def _sized(layer: Any, name: str, size: int) -> None:
    """The number that a layer prints; what its weight has is what counts."""
    if hasattr(layer, name):
        setattr(layer, name, size)
