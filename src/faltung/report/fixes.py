"""Rewritings that findings offer, each with a check: how far the new model's results are from the old one's."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from faltung.errors import ArgumentError, FaltungError, VerificationError
from faltung.report.rewritings import KEEPING, REWRITINGS

if TYPE_CHECKING:
    from faltung.report.report import Report

WITHIN = 1e-4  # of the largest result: round-off of single precision through some hundred layers


@dataclass(frozen=True)
class Check:
    """What came of a rewriting.

    Fields:
        rule: whose.   done: what was rewritten, in words.   difference: of the results of the example and of noise, over the
            largest; None where it could not be done.   within: the most that is let pass, None where results are to change.
    """

    rule: str
    done: str
    difference: float | None
    within: float | None

    def __str__(self) -> str:
        if self.difference is None:
            return f"{self.rule}: {self.done}"
        most = "results are meant to change" if self.within is None else f"{self.within:.0e} is let pass"
        far = f"results of the example and of noise differ by {self.difference:.1e} of the largest"
        return f"{self.rule}: {self.done}; {far}, {most}"


def fix(report: "Report", rules: Sequence[str]) -> tuple[Any, list[str]]:
    """A copy of the report's model with the findings' rewritings applied; see `Report.fix`."""
    import torch

    if report.model is None or report.example is None or not isinstance(report.model, torch.nn.Module):
        raise ArgumentError.of(
            "Report.fix", "a report of a torch module with an example", report.source, "inspect(model, example)"
        )
    offered = [f.rewrite for f in report.findings if f.rewrite]
    wanted = list(rules) or [name for name in REWRITINGS if name in offered and name in KEEPING]
    for name in wanted:
        if name not in REWRITINGS or name not in offered:
            raise ArgumentError.of(
                "Report.fix",
                f"findings with a rewriting: {', '.join(offered) or 'none here'}",
                repr(name),
                "leave it out",
            )
    inputs = report.example if isinstance(report.example, (tuple, list)) else (report.example,)
    try:
        model = copy.deepcopy(report.model).eval()
    except (RuntimeError, TypeError) as error:  # tensors that are results, locks, open files
        raise ArgumentError.of(
            "Report.fix",
            "a model that can be copied",
            f"{type(error).__name__}: {error}",
            "make copy.deepcopy(model) work",
        ) from error
    proofs = []
    with torch.no_grad():
        for name in wanted:
            tried = [tuple(inputs), noise_like(inputs)]
            before = [model(*copy.deepcopy(given)) for given in tried]
            model, done = REWRITINGS[name](model, report)
            far = max(_far(old, _ran(model, given, name)) for old, given in zip(before, tried, strict=True))
            if name in KEEPING and not far <= WITHIN:
                raise VerificationError.of(
                    "Report.fix", f"results within {WITHIN:g} of the largest after {name}", f"{far:.1e}",
                    "keep the model as it is, and report this",
                )  # fmt: skip
            report.checks[name] = Check(name, done, far, WITHIN if name in KEEPING else None)
            proofs.append(str(report.checks[name]))
    return model, proofs


def _ran(model: Any, given: Sequence[Any], name: str) -> Any:
    """The results of a rewritten model."""
    try:
        return model(*copy.deepcopy(given))
    except (
        RuntimeError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:  # whatever the model's own code does with sizes
        raise VerificationError.of(
            "Report.fix", f"a model that still runs after {name}", f"{type(error).__name__}: {error}",
            "keep the model as it is: it counts on the sizes that it has",
        ) from error  # fmt: skip


def checked(report: "Report", rules: Sequence[str]) -> None:
    """Try the rewritings of some findings, each alone, and note in the report what came of them."""
    import torch

    if not isinstance(report.model, torch.nn.Module) or report.example is None:
        return
    for name in dict.fromkeys(f.rewrite for f in report.findings if f.rewrite in rules):
        try:
            fix(report, (name,))
        except FaltungError as error:
            report.checks[name] = Check(name, f"not done: {error}", None, None)


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
