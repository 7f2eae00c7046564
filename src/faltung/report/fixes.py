"""Rewritings that findings offer, each with a proof: how far the new model's results are from the old one's."""

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from faltung.errors import ArgumentError, VerificationError

if TYPE_CHECKING:
    from faltung.report.report import Report

WITHIN = 1e-4  # of the largest result: round-off of single precision through some hundred layers


def fix(report: "Report", rules: Sequence[str]) -> tuple[Any, list[str]]:
    """A copy of the report's model with the findings' rewritings applied; see `Report.fix`."""
    import torch

    if report.model is None or report.example is None or not isinstance(report.model, torch.nn.Module):
        raise ArgumentError.of(
            "Report.fix", "a report of a torch module with an example", report.source, "inspect(model, example)"
        )
    offered = [f.rewrite for f in report.findings if f.rewrite]
    wanted = list(rules) or [name for name in offered if name in KEEPING]
    for name in wanted:
        if name not in REWRITINGS or name not in offered:
            raise ArgumentError.of(
                "Report.fix",
                f"findings with a rewriting: {', '.join(offered) or 'none here'}",
                repr(name),
                "leave it out",
            )
    inputs = report.example if isinstance(report.example, (tuple, list)) else (report.example,)
    model = copy.deepcopy(report.model).eval()
    proofs = []
    with torch.no_grad():
        for name in wanted:
            tried = [tuple(inputs), noise_like(inputs)]
            before = [model(*copy.deepcopy(given)) for given in tried]
            model, done = REWRITINGS[name](model, report)
            far = max(_far(old, model(*copy.deepcopy(given))) for old, given in zip(before, tried, strict=True))
            if name in KEEPING and not far <= WITHIN:
                raise VerificationError.of(
                    "Report.fix", f"results within {WITHIN:g} of the largest after {name}", f"{far:.1e}",
                    "keep the model as it is, and report this",
                )  # fmt: skip
            proofs.append(f"{name}: {done}; results of the example and of noise differ by {far:.1e} of the largest")
    return model, proofs


def noise_like(inputs: Sequence[Any]) -> tuple[Any, ...]:
    """Noise in place of an example's numbers: an example of zeros would show no fault of a kernel."""
    import torch

    drawn = torch.Generator().manual_seed(0)

    def one(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        return torch.randn(value.shape, generator=drawn).to(value)

    return tuple(map(one, inputs))


def _far(before: Any, after: Any) -> float:
    """The largest difference over the largest result, over all tensors; infinite for other shapes."""
    from torch.utils._pytree import tree_leaves

    pairs = [(a, b) for a, b in zip(tree_leaves(before), tree_leaves(after), strict=True) if hasattr(a, "abs")]
    if any(a.shape != b.shape for a, b in pairs):
        return float("inf")
    return max((float((a - b).abs().max() / a.abs().max().clamp(min=1e-30)) for a, b in pairs if a.numel()), default=0)


def fold(model: Any, report: "Report") -> tuple[Any, str]:
    """Frozen batch norms into the convolutions and linear maps before them.

    Formula: `W'[o] = W[o] · γ[o] / √(var[o] + eps)`, `b' = β + (b − mean) · γ / √(var + eps)`; of a transposed layer o counts
    within each group. Layers and norms that are called more than once keep their places: other calls read other things.
    """
    import torch
    from torch import nn

    from faltung.readers import read
    from faltung.report.sections.efficiency import norm_behind

    names = [layer for f in report.findings if f.rewrite == "E3" for layer, _ in f.where]
    network = read(report.model, report.example)
    modules, left = dict(model.named_modules(remove_duplicate=False)), []
    for name in names:
        node, norm = network[name], norm_behind(network, network[name])
        layer = modules.get(name)
        if layer is None or norm is None or norm.name not in modules or not plain(layer, node.kernel_shape):
            left.append(name)
            continue
        values = {key: torch.tensor(value, dtype=torch.float64) for key, value in norm.values.items()}
        scale = values.get("gamma", torch.ones_like(values["var"])) / (values["var"] + norm.settings["eps"]).sqrt()
        made = copy.deepcopy(layer)
        weight = layer.weight.double()
        bias = torch.zeros_like(scale) if layer.bias is None else layer.bias.double()
        # A transposed kernel is (in, out / groups, *k), its inputs grouped as its outputs.
        if node.transposed:
            parts = weight.reshape(node.groups, -1, *weight.shape[1:])
            taps = parts * scale.reshape(node.groups, 1, -1, *(1,) * node.ndim)
        else:
            taps = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
        shift = values.get("beta", torch.zeros_like(scale)) + (bias - values["mean"]) * scale
        made.weight = nn.Parameter(taps.reshape(weight.shape).to(layer.weight.dtype))
        made.bias = nn.Parameter(shift.to(layer.weight.dtype))
        put(model, name, made)
        put(model, norm.name, nn.Identity())
    kept = f", not {', '.join(left)}: no plain layer" if left else ""
    return model, f"{len(names) - len(left)} of {len(names)} norms folded{kept}"


def plain(layer: Any, shape: tuple[int, ...]) -> bool:
    """Whether a layer is its weight and bias alone, both free to be set."""
    from torch import nn

    own = dict(layer.named_parameters(recurse=False))
    return (
        isinstance(layer.__dict__.get("_parameters", {}).get("weight"), nn.Parameter)
        and tuple(layer.weight.shape) == tuple(shape)
        and set(own) <= {"weight", "bias"}
        and "bias" in layer._parameters
        and not list(layer.children())
    )


def antialiased(model: Any, report: "Report") -> tuple[Any, str]:
    """A low-pass behind the strides that were found."""
    from faltung.tools import antialias

    given = tuple(report.example) if isinstance(report.example, (tuple, list)) else (report.example,)
    found = {layer.partition(":")[0]: "blur" for f in report.findings if f.rewrite == "A1" for layer, _ in f.where}
    made = antialias(model, noise_like(given), found)
    before, after = made.before.mean, made.after.mean
    return (
        made.model,
        f"{len(made.rows)} strides behind a low-pass: error under shifts {before:.2g} before, {after:.2g} after",
    )


def put(model: Any, name: str, module: Any) -> None:
    """Another module at a name."""
    home, _, last = name.rpartition(".")
    setattr(model.get_submodule(home), last, module)


REWRITINGS: dict[str, Callable[[Any, "Report"], tuple[Any, str]]] = {"E3": fold, "A1": antialiased}
KEEPING = ("E3",)  # those that leave the results as they are
