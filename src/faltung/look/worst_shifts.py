"""The worst that a small shift can do: to a classifier's decision, and to an embedding; every shift is tried."""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError
from faltung.look.shifting import classes, windows
from faltung.look.tables import table
from faltung.nn.functional import numbers
from faltung.readers import first_tensor, undisturbed


@dataclass(frozen=True, eq=False)
class ShiftAdversary:
    """The worst shift of each sample: one that changes the decision if any does, and of those the one with the least margin.

    Fields:
        right: (batch), decided for its class where it stands; always, where no labels say otherwise.
        fooled: (batch), right where it stands and not under `shifts`.
        shifts: (batch, axes), by how many places what is seen moves; of equal ones the shortest, 0 where none is worse.
        margins: (batch), the score of the class less the largest other one, under that shift; −inf for scores that are NaN.
        decisions: (batch), under that shift.   tried: how many shifts, no shift not counted.   kind: "crop" or "circular".
    """

    right: Tensor
    fooled: Tensor
    shifts: Tensor
    margins: Tensor
    decisions: Tensor
    tried: int
    kind: str

    @property
    def rate(self) -> float:
        """The share of samples that some shift fools."""
        return self.fooled.double().mean().item()

    @property
    def accuracy(self) -> float:
        """The share of samples that are right where they stand; 1 without labels."""
        return self.right.double().mean().item()

    @property
    def worst_accuracy(self) -> float:
        """The share of samples that are right under every shift."""
        return (self.right & ~self.fooled).double().mean().item()

    def table(self) -> str:
        """For people."""
        row = [self.kind, self.tried, self.accuracy, self.worst_accuracy, self.rate, self.margins.min().item()]
        return table(["shifts", "tried", "right", "right under all", "fooled", "least margin"], [row])


def shift_adversary(
    model: Callable[[Tensor], Any], x: Tensor, max_shift: Any = 1, *, crop: Any = None, labels: Any = None
) -> ShiftAdversary:
    """Find the shift of each sample that fools a classifier, where one does: the worst case, `shift_consistency` is the mean.

    Formula: over all shifts t with |t| ≤ max_shift along every axis the least `f(x moved by t)[c] − max over others`, c the
    class of the sample. With `crop` what is seen is a window of that size about the middle and moves the other way, as with a
    camera: new places come in. Without, samples are rolled, and a network that is circular throughout is not fooled.

    Shapes: x (batch, channels, *n), larger than crop by 2 · max_shift along each axis.   The model returns (batch, classes).

    Args:
        model: a module, which is called in evaluation mode and left as it is, or any function.
        max_shift: the longest shift, in places, one number or one for each axis. Default 1.   crop: a size, or one for each axis.
        labels: (batch), the classes of the samples. Default: what the model decides for them where they stand.

    Returns:
        `ShiftAdversary`; nothing is sampled, a rate of 0 is one for every shift that was asked for.

    Raises:
        ArgumentError: samples too small for the crops, no shift, results or labels that are no classes.
        DtypeError: complex scores.

    Cost: (2 · max_shift + 1)^axes calls of the model; rolls that go round to the same place are made once.
    Source: Shifman and Weiss, Lost in translation: neural networks and small realistic image transformations (2024).

    Example:
        >>> net = lambda x: torch.stack((x[:, 0, 2], x[:, 0, 3] - 0.5), 1)
        >>> found = shift_adversary(net, torch.tensor([[[0.0, 2.0, 1.0, 0.0, 0.0]]]), 2)
        >>> found.rate, found.shifts.tolist(), found.margins.tolist()
        (1.0, [[2]], [-1.5])
    """
    who, known = "shift_adversary", labels is not None
    wanted = torch.as_tensor(labels) if known else torch.empty(0)
    tried = 0
    with _alone(model), torch.no_grad():
        for shift, seen in _views(who, x, max_shift, crop):
            scores = classes(who, model(seen))
            told = scores.argmax(1)
            if not tried:
                wanted = _wanted(wanted if known else told, scores, x)
            own = scores.double().gather(1, wanted[:, None]).squeeze(1)
            margin = own - scores.double().scatter(1, wanted[:, None], -math.inf).amax(1)
            wrong = (told != wanted) | margin.isnan()
            margin = margin.nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf)
            if not tried:
                right, fails, least, decisions = ~wrong, wrong, margin, told
                shifts = torch.tensor([shift] * x.shape[0])
            # A tie of scores may be a wrong decision or none: decisions count before margins.
            worse = (wrong & ~fails) | ((wrong == fails) & (margin < least))
            fails, least, decisions = (
                fails | wrong,
                torch.where(worse, margin, least),
                torch.where(worse, told, decisions),
            )
            shifts[worse.cpu()] = torch.tensor(shift)
            tried += 1
    return ShiftAdversary(right, right & fails, shifts, least, decisions, tried - 1, _kind(crop))


@dataclass(frozen=True, eq=False)
class EmbeddingShifts:
    """How far embeddings go when the samples move by a little.

    Fields:
        rate: share of samples whose embedding is changed by some shift, farther than `tolerance`.
        distances: (batch), the largest cosine distance 1 − cos over shifts.   shifts: (batch, axes), where that is.
        apart: the median cosine distance between embeddings of different samples, to judge distances by; NaN for one sample.
        tolerance: as it was asked for.   tried: how many shifts, no shift not counted.   kind: "crop" or "circular".
    """

    rate: float
    distances: Tensor
    shifts: Tensor
    apart: float
    tolerance: float
    tried: int
    kind: str

    def table(self) -> str:
        """For people."""
        row = [self.kind, self.tried, self.rate, self.tolerance, self.distances.max().item(), self.apart]
        return table(["shifts", "tried", "changed", "farther than", "farthest", "other samples"], [row])


def embedding_shift_rate(
    model: Callable[[Tensor], Any], x: Tensor, max_shift: Any = 1, *, crop: Any = None, tolerance: float = 0.1
) -> EmbeddingShifts:
    """The share of samples whose embedding changes under some small shift.

    Formula: the share with `max over |t| ≤ max_shift of 1 − cos(f(x), f(x moved by t)) > tolerance`. An embedding that is 0 on
    one side only is at distance 1.

    Shapes: x as for `shift_adversary`; the model returns (batch, ...), all of it one embedding, which is to be pooled: maps move.

    Args:
        model, max_shift, crop: as for `shift_adversary`.
        tolerance: the cosine distance beyond which an embedding counts as changed, 0 to 2. Default 0.1. Spaces differ: in some
            all samples lie close together; `apart` of the result says how close, and shares by other tolerances follow from
            `distances`.

    Returns:
        `EmbeddingShifts`.

    Raises:
        ArgumentError: samples too small for the crops, no shift, no tolerance, results that are no embeddings.
        DtypeError: results that are no real numbers.

    Cost: as `shift_adversary`.
    Source: Shifman and Weiss (2024), for whose models the share is about 0.4 for one place, by their own measure of a change.

    Example:
        >>> net = lambda x: x[:, :, 1:3].flatten(1)
        >>> found = embedding_shift_rate(net, torch.tensor([[[0.0, 1.0, 0.0, 0.0]], [[1.0, 1.0, 1.0, 1.0]]]))
        >>> found.rate, found.distances.tolist()
        (0.5, [1.0, 0.0])
    """
    who, tried = "embedding_shift_rate", 0
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)) or not 0 <= tolerance <= 2:
        raise ArgumentError.of(who, "a cosine distance from 0 to 2 as tolerance", repr(tolerance), "use 0.1")
    with _alone(model), torch.no_grad():
        for shift, seen in _views(who, x, max_shift, crop):
            there = _directions(who, first_tensor(model(seen)), x)
            if not tried:
                here, farthest, shifts = there, there.new_zeros(x.shape[0]), torch.tensor([shift] * x.shape[0])
            if there.shape != here.shape:
                came = f"{here.shape[1]} numbers, then {there.shape[1]}"
                raise ArgumentError.of(who, "embeddings of one size", came, "pool the result of the model")
            # ½‖u − v‖² is 1 − cos of directions without its rounding; a direction that is 0 has none.
            far = torch.where(here.any(1) == there.any(1), (there - here).square().sum(1) / 2, 1.0).nan_to_num(
                nan=math.inf
            )
            worse = far > farthest
            farthest = torch.where(worse, far, farthest)
            shifts[worse.cpu()] = torch.tensor(shift)
            tried += 1
    others = (1 - here @ here.T)[~torch.eye(x.shape[0], dtype=torch.bool, device=here.device)]
    apart = others.median().item() if others.numel() else math.nan
    rate = (farthest > tolerance).double().mean().item()
    return EmbeddingShifts(rate, farthest, shifts, apart, float(tolerance), tried - 1, _kind(crop))


def _views(who: str, x: Tensor, max_shift: Any, crop: Any) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """Every shift, none first and then from short to long, and what is seen under it."""
    if not isinstance(x, Tensor) or x.ndim < 3 or not x.numel():
        came = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ArgumentError.of(who, "samples (batch, channels, *n)", came, "add axes, pass at least one sample")
    sizes = None if crop is None else numbers("crop", crop, x.ndim - 2, 1)
    reach = numbers("max_shift", max_shift, x.ndim - 2, 0)
    if not any(reach):
        raise ArgumentError.of(who, "a shift by at least one place", f"max_shift {max_shift}", "use 1")
    if sizes is not None and any(n < c + 2 * r for n, c, r in zip(x.shape[2:], sizes, reach, strict=True)):
        raise ArgumentError.of(
            who, f"samples larger than {sizes} by twice the shift {reach}", f"{tuple(x.shape)}", "take a smaller crop"
        )
    lines = []
    for n, r in zip(x.shape[2:], reach, strict=True):
        line: dict[int, int] = {}
        for t in sorted(range(-r, r + 1), key=lambda t: (abs(t), -t)):
            line.setdefault(t if crop is not None else t % n, t)
        lines.append(line.values())
    middle = [0] * len(lines) if sizes is None else [(n - c) // 2 for n, c in zip(x.shape[2:], sizes, strict=True)]
    for shift in sorted(itertools.product(*lines), key=lambda t: (max(map(abs, t)), sum(map(abs, t)))):
        # What is seen moves by t where it is rolled by t, and where the window moves by −t.
        yield shift, windows(x, sizes, shift if sizes is None else [m - t for m, t in zip(middle, shift, strict=True)])


def _wanted(wanted: Tensor, scores: Tensor, x: Tensor) -> Tensor:
    """The classes to be kept, (batch), int64, of at least two."""
    many = scores.shape[1]
    if scores.shape[0] != x.shape[0] or many < 2:
        came = f"shape {tuple(scores.shape)} for {x.shape[0]} samples"
        raise ArgumentError.of(
            "shift_adversary", "a result (batch, classes) of two or more classes", came, "wrap the model"
        )
    whole = not (wanted.is_floating_point() or wanted.is_complex() or wanted.dtype == torch.bool)
    if not whole or wanted.shape != x.shape[:1] or ((wanted < 0) | (wanted >= many)).any():
        came = f"{wanted.dtype}, shape {tuple(wanted.shape)}"
        raise ArgumentError.of(
            "shift_adversary", f"labels (batch) from 0 to {many - 1}", came, "leave them out, or check them"
        )
    return wanted.long().to(scores.device)


def _directions(who: str, y: Tensor | None, x: Tensor) -> Tensor:
    """Embeddings (batch, numbers) of length 1, or 0, in float64."""
    if y is None or y.ndim < 2 or y.shape[0] != x.shape[0] or not y.numel():
        came = "none" if y is None else f"shape {tuple(y.shape)} for {x.shape[0]} samples"
        raise ArgumentError.of(who, "an embedding of each sample (batch, ...)", came, "wrap the model")
    if not y.is_floating_point():
        raise DtypeError.of(who, "embeddings of real numbers", f"{y.dtype}", "convert them with .float()")
    return nn.functional.normalize(y.flatten(1).double(), dim=1, eps=torch.finfo(torch.float64).tiny)


def _alone(model: Any) -> AbstractContextManager[Any]:
    return undisturbed(model) if isinstance(model, nn.Module) else nullcontext()


def _kind(crop: Any) -> str:
    return "circular" if crop is None else "crop"
