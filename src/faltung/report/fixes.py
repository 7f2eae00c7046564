"""Rewritings that findings offer, each with a check: how far the new model's results are from the old one's."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from faltung.errors import ArgumentError, FaltungError, VerificationError
from faltung.report.rewritings import KEEPING, REWRITINGS
from faltung.report.rewritings.place import inputs_of, noise_like

if TYPE_CHECKING:
    from faltung.report.report import Report

WITHIN = 1e-4  # of the largest result: round-off of single precision through some hundred layers


@dataclass(frozen=True)
class Check:
    """What came of a rewriting.

    Fields:
        rule: whose.   done: what was rewritten, in words.   difference: of the results of the example and of noise, over the
            largest; None where it could not be done.   within: the most that is let pass, None where results are to change.
        note: why noise was left out, "" where it was not.
    """

    rule: str
    done: str
    difference: float | None
    within: float | None
    note: str = ""

    def __str__(self) -> str:
        if self.difference is None:
            return f"{self.rule}: {self.done}"
        most = "results are meant to change" if self.within is None else f"{self.within:.0e} is let pass"
        tried = "the example" if self.note else "the example and of noise"
        far = f"results of {tried} differ by {self.difference:.1e} of the largest"
        return f"{self.rule}: {self.done}; {far}, {most}{self.note and '; '}{self.note}"


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
    try:
        model = copy.deepcopy(report.model).eval()
    except Exception as error:  # tensors that are results, locks, open files, and what a class's own copying does
        raise ArgumentError.of(
            "Report.fix", "a model that can be copied", _said(error), "make copy.deepcopy(model) work"
        ) from error
    proofs = []
    with torch.no_grad():
        for name in wanted:
            seen = _seen(model, inputs_of(report))
            model, done = _rewritten(model, report, name)
            far = largest([apart(old, _ran(model, given, name)) for given, old in seen.pairs])
            if name in KEEPING and not far <= WITHIN:
                raise VerificationError.of(
                    "Report.fix", f"results within {WITHIN:g} of the largest after {name}", f"{far:.1e}",
                    "keep the model as it is, and report this",
                )  # fmt: skip
            report.checks[name] = Check(name, done, far, WITHIN if name in KEEPING else None, seen.note)
            proofs.append(str(report.checks[name]))
    return model, proofs


@dataclass(frozen=True)
class _Seen:
    """What a model gives before it is rewritten: (inputs, results) each.   note: why noise is not among them, or ""."""

    pairs: list[tuple[tuple[Any, ...], Any]]
    note: str


def _seen(model: Any, inputs: tuple[Any, ...]) -> _Seen:
    """The results of the example and of noise; without those of noise where the model takes or shows none."""
    from torch.utils._pytree import tree_leaves

    try:
        pairs = [(inputs, model(*copy.deepcopy(inputs)))]
    except Exception as error:  # whatever the model's own code raises
        raise ArgumentError.of(
            "Report.fix", "a model that runs on its example", _said(error), "inspect(model, example)"
        ) from error
    noise = noise_like(inputs)
    try:
        result = model(*copy.deepcopy(noise))
    except Exception as error:  # the same, as of a model that asserts what its inputs hold
        return _Seen(pairs, f"noise was left out, which the model does not take: {_said(error)}")
    floats = [leaf for leaf in map(_tensor, tree_leaves(result)) if leaf is not None and leaf.is_floating_point()]
    if floats and not any(bool(leaf.isfinite().any()) for leaf in floats):
        return _Seen(pairs, "noise was left out, of which the model gives nothing finite")
    return _Seen([*pairs, (noise, result)], "")


def _rewritten(model: Any, report: "Report", name: str) -> tuple[Any, str]:
    """The rewriting itself, which may meet what nobody thought of."""
    try:
        return REWRITINGS[name](model, report)
    except FaltungError:
        raise
    except Exception as error:
        raise VerificationError.of(
            "Report.fix", f"a model that {name} can rewrite", _said(error), "keep the model as it is, and report this"
        ) from error


def _ran(model: Any, given: Sequence[Any], name: str) -> Any:
    """The results of a rewritten model."""
    try:
        return model(*copy.deepcopy(given))
    except Exception as error:  # whatever the model's own code does with sizes
        raise VerificationError.of(
            "Report.fix", f"a model that still runs after {name}", _said(error),
            "keep the model as it is: it counts on the sizes that it has",
        ) from error  # fmt: skip


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")


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


def apart(before: Any, after: Any) -> float:
    """How far results are from others: the largest difference over the largest result, over all tensors and numbers.

    Infinite for other shapes, dtypes or numbers of results, for whole numbers and truth values that differ at all, and where only
    one of both is NaN or infinite.
    """
    from torch.utils._pytree import tree_leaves

    old, new = ([_tensor(leaf) for leaf in tree_leaves(results)] for results in (before, after))
    if len(old) != len(new):
        return math.inf
    return largest([_one_apart(a, b) for a, b in zip(old, new, strict=True)])


def largest(values: Sequence[float]) -> float:
    """Of numbers, NaN among them counting as the largest; 0 of none."""
    return math.nan if any(map(math.isnan, values)) else max(values, default=0.0)


def _tensor(leaf: Any) -> Any:
    """A result as a tensor; None for what is neither one nor a number, such as a word."""
    import torch

    return (
        torch.as_tensor(leaf) if isinstance(leaf, (torch.Tensor, np.ndarray, np.generic, int, float, complex)) else None
    )


def _one_apart(a: Any, b: Any) -> float:
    import torch

    if a is None or b is None:
        return 0.0 if a is b else math.inf
    if a.shape != b.shape or a.dtype != b.dtype:
        return math.inf
    if not (a.is_floating_point() or a.is_complex()):
        return 0.0 if torch.equal(a, b) else math.inf
    wide = torch.complex128 if a.is_complex() else torch.float64
    a, b = a.to(wide), b.to(wide)
    rest = ~((a == b) | (a.isnan() & b.isnan()))
    if not bool(rest.any()):
        return 0.0
    scale = a[a.isfinite()].abs().max().clamp(min=1e-30) if bool(a.isfinite().any()) else math.inf
    far = float((a - b)[rest].abs().max() / scale)
    return math.inf if math.isnan(far) else far
