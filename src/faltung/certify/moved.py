"""How far a model is from a symmetry, and at which of its steps it is lost: `equivariance`."""

import itertools
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from faltung.certify.actions import Action, named
from faltung.certify.actions.fields import FieldAction, Kind
from faltung.certify.steps import Step, seen_by_graph, seen_by_modules
from faltung.errors import ArgumentError, DtypeError
from faltung.readers import undisturbed

WAYS = ("auto", "graph", "modules", None)


@dataclass(frozen=True)
class Element:
    """One element: its words, the largest and the mean error over samples, what interpolation alone loses, decisions kept."""

    words: str
    error: float
    mean: float
    interpolation: float
    kept: float | None


@dataclass(frozen=True)
class Row:
    """One step of the model: its name, what it is, the result's shape, its error and the largest error among its inputs."""

    name: str
    kind: str
    shape: tuple[int, ...]
    error: float | None
    before: float


@dataclass(frozen=True)
class Report:
    """What `equivariance` found; it prints as a table.

    `error` is the largest over elements and samples, `mean` the mean. `consistency` is the share of pairs of sample and element
    with the same decision (the largest of a result (batch, classes)), `steady` the share of samples that keep theirs under all
    elements, None for results that are no scores. `rows` are the model's steps, `seen` says how they were found.
    """

    action: str
    elements: tuple[Element, ...]
    exhaustive: bool
    tolerance: float
    consistency: float | None
    steady: float | None
    rows: tuple[Row, ...] = ()
    seen: str = "not looked at"
    notes: tuple[str, ...] = field(default=())

    @property
    def error(self) -> float:
        return max(e.error for e in self.elements)

    @property
    def mean(self) -> float:
        return sum(e.mean for e in self.elements) / len(self.elements)

    @property
    def interpolation(self) -> float:
        """The most that interpolation alone loses: no error of the model below it is seen."""
        return max(e.interpolation for e in self.elements)

    @property
    def kept(self) -> bool:
        """Whether no error is above the tolerance and what interpolation loses."""
        return all(e.error <= self.tolerance + e.interpolation for e in self.elements)

    @property
    def lost(self) -> tuple[Row, ...]:
        """The steps whose inputs keep the symmetry and whose result does not, the worst first."""
        found = [row for row in self.rows if row.error is not None and row.error > self.tolerance >= row.before]
        return tuple(sorted(found, key=lambda row: -(row.error or 0.0)))

    def __str__(self) -> str:
        many = "all" if self.exhaustive else "a sample of"
        over = f"over {many} {len(self.elements)} elements"
        text = [f"{self.action}: error {self.error:.1e} at most, {self.mean:.1e} on average, {over}"]
        if self.interpolation:
            text.append(f"interpolation alone loses up to {self.interpolation:.1e}")
        if self.consistency is not None and self.steady is not None:
            text.append(f"decisions kept: {self.consistency:.2%} of all, by {self.steady:.2%} of samples always")
        if self.rows:
            lost = {id(row) for row in self.lost}
            width = max(len(row.name) for row in self.rows)
            for row in self.rows:
                error = "—" if row.error is None else f"{row.error:.1e}"
                mark = "  lost here" if id(row) in lost else ""
                text.append(f"  {row.name.ljust(width)}  {error:>8}  {row.kind} {'×'.join(map(str, row.shape))}{mark}")
        return "\n".join([*text, *self.notes])

    def __repr__(self) -> str:
        return str(self)

    def picture(self, path: Any) -> None:
        """Draw the error of every step as a bar, logarithmic; `.html`, `.svg` or `.png` (needs Pillow) by the name.

        Raises:
            ArgumentError: another ending, or a report without steps.
        """
        from faltung.certify.loss_picture import drawn

        drawn(self, path)


def equivariance(
    model: Any,
    group: Any,
    x: Any,
    *,
    count: int = 32,
    seed: int = 0,
    layers: str | None = "auto",
    tolerance: float | None = None,
) -> Report:
    """Measure how far a model is from an equivariance, and at which of its steps it is lost.

    Formula: for elements g, `max over samples of ‖f(g·x) − g·f(x)‖₂ / ‖g·f(x)‖₂`; what g does to the result is the action's to
    say, for shifts and rotations: maps move like the input, by as much less as they are smaller, and vectors stay. Turns and
    motions follow fields: what `GroupConv`, `SteerableConv`, `PointConv` and their kin make is mixed as they say.

    Args:
        model: a torch module or any function of tensors. It is called in evaluation mode and left as it is, to the bit.
        group: `shift`, `shift up to a roll` (for networks that choose their grid by the data), `fractional shift`, `C4`, `D4`,
            `Cn`, `Dn`, `p4`, `p4m`, `p6`, `p6m`, `o`, `oh`, `SO(3)`, `O(3)`, `SE(2)`, `SE(3)`, `E(3)`, `scale`, `contour`,
            `GL+`, `SL`, `SO` (linear maps of the plane), `ball`, `sphere`, or an `Action` of one's own
            (`faltung.certify.actions`).
        x: what the model is called with, a tensor (batch, channels, *n), or a tuple of which the first is moved; motions of
            space move all.
        count: all elements are taken where there are no more than that, else so many at random. Default 32.
        seed: of that choice. Default 0.
        layers: how steps are found: `graph` (torch.fx, function calls too), `modules` (results of modules), `auto` (the graph
            where the model can be traced, else modules; the report says which and why), None for none. Default auto.
        tolerance: the largest error that counts as kept. Default: 1e-4 in float32, 1e-10 in float64.

    Returns:
        `Report`.

    Raises:
        ArgumentError: another group or way, no elements.   DtypeError: no tensor of floating numbers.

    Error: elements that interpolate have their own error stated beside (`Report.interpolation`).
    Cost: one call of the model for each element; steps are compared for at most four of them.

    Example:
        >>> x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
        >>> conv = nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular").double()
        >>> equivariance(conv, "shift", x).kept, equivariance(nn.Sequential(conv, nn.MaxPool2d(2)), "shift", x).kept
        (True, False)
    """
    inputs = x if isinstance(x, tuple) else (x,)
    if not inputs or not isinstance(inputs[0], Tensor) or not (inputs[0].is_floating_point() or inputs[0].is_complex()):
        came = f"a tensor of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        raise DtypeError.of("equivariance", "a tensor of real or complex numbers", came, "convert it with .float()")
    if layers not in WAYS:
        raise ArgumentError.of("equivariance", f"layers among {WAYS}", repr(layers), "use 'auto'")
    action = named(group)
    start = action.prepare(inputs if action.together else inputs[0])
    alone = undisturbed(model) if isinstance(model, nn.Module) else nullcontext()
    with torch.no_grad(), alone:
        look, seen = _way(model, action, layers)
        result = model(*_given(action, start, inputs))
        before = _first(result)
        first = look(model, *_given(action, start, inputs)) if look else []
        kind = None
        if isinstance(action, FieldAction):
            action = action.informed(first, _given(action, start, inputs))
            kind = action.of_result(model, first, before)
        chosen, whole = _chosen(action, start, count, seed)
        head = start[0] if action.together else start
        if tolerance is None:
            tolerance = 1e-10 if head.dtype in (torch.float64, torch.complex128) else 1e-4
        scores = before.ndim == 2 and before.shape[1] > 1 and head.ndim > 2 and not before.is_complex()
        decided = before.argmax(1) if scores and (kind is None or kind.plain) else None
        always = torch.ones(before.shape[:1], dtype=torch.bool, device=before.device)
        elements = []
        for g in chosen:
            moved = model(*_given(action, action.apply(g, start), inputs))
            after = _first(moved)
            ends = (moved, result) if action.whole else (after, before)
            off = _compared(action, g, *ends, kind, start)
            if off is None:
                raise ArgumentError.of(
                    "equivariance", f"a result that compares with {tuple(before.shape)} after {action.words(g)}",
                    f"{tuple(after.shape)}", "write an Action whose apply_output says what becomes of the result",
                )  # fmt: skip
            kept = None
            if decided is not None and after.shape == before.shape:
                same = after.argmax(1) == decided
                always &= same
                kept = same.double().mean().item()
            worst, mean = (off.max().item(), off.mean().item()) if off.numel() else (0.0, 0.0)
            elements.append(Element(action.words(g), worst, mean, action.interpolation(g, start), kept))
        rows: tuple[Row, ...] = ()
        if layers is not None and look:
            rows, seen = _steps(look, seen, model, action, chosen, first, start, inputs)
    shares = [e.kept for e in elements if e.kept is not None]
    return Report(
        action.name, tuple(elements), whole, tolerance, sum(shares) / len(shares) if shares else None,
        always.double().mean().item() if shares else None, rows, seen,
    )  # fmt: skip


def _given(action: Action, x: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """What the model is called with for an input of the action."""
    return tuple(x) if action.together else (x, *inputs[1:])


def _chosen(action: Action, start: Any, count: int, seed: int) -> tuple[list[Any], bool]:
    """The elements, and whether these are all."""
    known = action.elements(start)
    if known is not None and len(known) <= count:
        chosen, whole = list(known), True
    else:
        random = np.random.default_rng(seed)
        chosen, whole = [action.sample(random, start) for _ in range(count)], False
    if not chosen:
        shape = tuple((start[0] if action.together else start).shape)
        raise ArgumentError.of(
            "equivariance", "at least one element", f"none for an input {shape}", "give a larger input"
        )
    return chosen, whole


def _way(model: Any, action: Action, way: str | None) -> tuple[Callable[..., list[Step]] | None, str]:
    """What lists the steps of the model, and the words for it; actions on fields need them to know the result's."""
    follows = isinstance(action, FieldAction)
    if (way is None and not follows) or not isinstance(model, nn.Module):
        return None, "not looked at"
    layer = follows and type(model).__module__.startswith(
        "faltung.nn"
    )  # its parts know less of its fields than it does
    if way == "graph" or (way in ("auto", None) and not layer):
        try:
            return seen_by_graph(model), "the traced graph"
        except Exception as error:  # whatever the model's code does when it is traced
            if way == "graph":
                raise ArgumentError.of(
                    "equivariance",
                    "a model that torch.fx traces",
                    f"{type(error).__name__}: {error}",
                    "use layers='modules'",
                ) from error
            return (
                seen_by_modules,
                f"results of modules, because torch.fx cannot trace the model ({type(error).__name__})",
            )
    return seen_by_modules, "results of modules"


def _steps(
    look: Callable[..., list[Step]],
    seen: str,
    model: Any,
    action: Action,
    chosen: list[Any],
    first: list[Step],
    x: Any,
    inputs: tuple[Any, ...],
) -> tuple[tuple[Row, ...], str]:
    """The rows of the report, and how they were found."""
    known = [g for g in chosen if action.inside(g)]
    few = known[:: max(1, len(known) // 4)][:4]
    errors: list[float | None] = [None] * len(first)
    inner = [0.0] * len(first)
    kinds: Any = action.followed(first) if isinstance(action, FieldAction) else [((), None)] * len(first)
    for g in few:
        second = look(model, *_given(action, action.apply(g, x), inputs))
        if [s.name for s in second] != [s.name for s in first]:
            return (), "the moved input takes other steps"
        for n, (one, two) in enumerate(zip(first, second, strict=True)):
            taken, kind = kinds[n]
            errors[n] = _larger(errors[n], _off(action, g, two.result, one.result, kind, x))
            for early, late, own in itertools.zip_longest(one.inputs, two.inputs, taken):
                off = _off(action, g, late, early, own, x)
                inner[n] = max(inner[n], 0.0 if off is None else off)
    rows = zip(first, errors, inner, strict=True)
    return tuple(Row(s.name, s.kind, tuple(s.result.shape), error, at) for s, error, at in rows), seen


def _compared(action: Action, g: Any, after: Any, before: Any, kind: Kind | None, x: Any) -> Tensor | None:
    """What the action says of the difference; of nothing where fields are followed and nobody knows which these are."""
    if isinstance(action, FieldAction):
        return None if kind is None else action.difference_of(g, after, before, kind, x)
    return action.difference(g, after, before, x)


def _off(action: Action, g: Any, after: Tensor, before: Tensor, kind: Kind | None, x: Any) -> float | None:
    """The largest error over samples, None where nothing is to be compared."""
    numbers = before.is_floating_point() or before.is_complex()
    apart = not action.together and len(before) != len(x)
    if not numbers or before.ndim < 2 or apart or after.shape[:1] != before.shape[:1]:
        return None
    off = _compared(action, g, after, before, kind, x)
    return None if off is None or not off.numel() else off.max().item()


def _larger(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else max(a, b)


def _first(result: Any) -> Tensor:
    """The first tensor of a result."""
    return next(leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor))
