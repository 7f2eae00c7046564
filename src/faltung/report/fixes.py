"""Rewritings that findings offer, each with a proof: how far the new model's results are from the old one's."""

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from faltung.errors import ArgumentError

if TYPE_CHECKING:
    from faltung.report.report import Report


def fix(report: "Report", rules: Sequence[str]) -> tuple[Any, list[str]]:
    """A copy of the report's model with the findings' rewritings applied; see `Report.fix`."""
    import torch

    if report.model is None or report.example is None:
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
            before = model(*inputs)
            model, done = REWRITINGS[name](model, report)
            after = model(*inputs)
            proofs.append(f"{name}: {done}; results differ by {_far(before, after):.1e} of the largest")
    return model, proofs


def _far(before: Any, after: Any) -> float:
    """The largest difference over the largest result, over all tensors."""
    from torch.utils._pytree import tree_leaves

    pairs = [
        (a, b) for a, b in zip(tree_leaves(before), tree_leaves(after), strict=True) if hasattr(a, "abs") and a.numel()
    ]
    return max((float((a - b).abs().max() / a.abs().max().clamp(min=1e-30)) for a, b in pairs), default=0.0)


def fold(model: Any, report: "Report") -> tuple[Any, str]:
    """Frozen batch norms into the convolutions before them."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    names = [layer for f in report.findings if f.rewrite == "E3" for layer, _ in f.where]
    modules, done = dict(model.named_modules()), 0
    for name in names:
        norm = _norm_behind(report, name)
        if name not in modules or norm not in modules or not hasattr(modules[norm], "running_var"):
            continue
        _put(model, name, fuse_conv_bn_eval(modules[name], modules[norm]))
        _put(model, norm, nn.Identity())
        done += 1
    return model, f"{done} of {len(names)} norms folded"


def antialiased(model: Any, report: "Report") -> tuple[Any, str]:
    """Strides behind a low-pass."""
    from faltung.tools import antialias

    made = antialias(model, report.example if isinstance(report.example, tuple) else (report.example,))
    before, after = made.before.error, made.after.error
    return made.model, f"strides behind a low-pass filter: error under shifts {before:.2g} before, {after:.2g} after"


def _norm_behind(report: "Report", name: str) -> str:
    """The module name of the norm that alone reads a layer's result."""
    from faltung.readers import read

    network = read(report.model, report.example)
    after = network.successors(name)
    return after[0].partition(":")[0] if after else ""


def _put(model: Any, name: str, module: Any) -> None:
    """Another module at a name."""
    home, _, last = name.rpartition(".")
    setattr(model.get_submodule(home), last, module)


REWRITINGS: dict[str, Callable[[Any, "Report"], tuple[Any, str]]] = {"E3": fold, "A1": antialiased}
KEEPING = ("E3",)  # those that leave the results as they are
