"""Whether answers stay the same when the input moves, at which layer that is lost, and how far margins are felt."""

import itertools
from contextlib import nullcontext
from typing import Any

import torch

from faltung.certify import equivariance
from faltung.errors import FaltungError
from faltung.look import border_influence, shift_consistency
from faltung.readers import undisturbed
from faltung.report import charts
from faltung.report.section import WHOLE, Column, Rule, Section, Subject, Values
from faltung.report.sections.identity import rows

COLUMNS = (
    Column(
        "consistency",
        "answers kept",
        "share of pairs of shifted samples with the same answer",
        "look.shift_consistency",
    ),
    Column(
        "fooled",
        "shifts that fool",
        "share of samples whose answer some shift of a few places changes",
        "look.shift_adversary",
    ),
    Column("deviation", "answers move", "deviation of the results over shifts, relative", "look.shift_consistency"),
    Column("shift_error", "shift error", "relative change of the result when the input moves", "certify.equivariance"),
    Column("subpixel", "sub-pixel error", "the same for moves by fractions of a place", "certify.equivariance"),
    Column(
        "border", "margin felt", "largest |border − middle| / |middle| for a constant input", "look.border_influence"
    ),
)
SAMPLES, FEW, REACH = 64, 8, 3
LEAST = 0.9


def fill(subject: Subject) -> Values:
    """Shares of answers kept by the network, errors by layer."""
    if subject.batch is None:
        return {}
    found: dict[str, dict[str, Any]] = {}
    x = subject.batch[:SAMPLES]
    try:
        found[WHOLE] = steadiness(subject, x)
    except FaltungError as error:
        subject.notes.append(f"whether answers stay under shifts is not known: {error}")
    if subject.labels is not None:
        with torch.no_grad():
            right = subject.call(subject.batch).argmax(1).cpu() == subject.labels.cpu()
        subject.facts["accuracy"] = f"{right.double().mean().item():.1%}"
    known = {node.name for node in rows(subject.network)}
    for kind, key in (("shift", "shift_error"), ("fractional shift", "subpixel")) if subject.model is not None else ():
        try:
            report = equivariance(subject.model, kind, x[:8], count=4)
        except FaltungError as error:
            subject.notes.append(f"where moves of kind {kind!r} are lost is not known: {error}")
            continue
        for step in report.rows:
            if step.name in known and step.error is not None:
                found.setdefault(step.name, {}).setdefault(key, step.error)
        found.setdefault(WHOLE, {})[key] = report.mean
    if subject.replay is not None:
        try:
            borders = border_influence(subject.replay, subject.example)
            for name, influence, _ in borders.layers:
                if name in known:
                    found.setdefault(name, {})["border"] = influence
            subject.facts["margins reach the centre"] = (
                "nowhere" if borders.depth == len(borders.layers) else f"at {borders.layers[borders.depth][0]}"
            )
        except FaltungError as error:
            subject.notes.append(f"how far margins are felt is not known: {error}")
    return found


def steadiness(subject: Subject, x: Any) -> dict[str, Any]:
    """The share of answers kept, under shifts all around the circle by up to a quarter of the input, at most 32 places."""
    most = max(2, min(32, min(x.shape[2:], default=1) // 4 + 1))
    consistency = shift_consistency(subject.call if subject.model is None else subject.model, x, most=most)
    subject.facts["answers kept under shifts"] = f"{consistency.agree:.1%}"
    return {"consistency": consistency.agree, "deviation": consistency.deviation, **mapped(subject, x[:FEW])}


def mapped(subject: Subject, x: Any) -> dict[str, Any]:
    """The share of samples that some shift by up to `REACH` places fools; for two axes also a picture, shift by shift.

    Cost: (2 · REACH + 1)^axes calls of the network for a few samples, of one axis or two.
    """
    ndim = x.ndim - 2
    if ndim not in (1, 2) or min(x.shape[2:]) <= 2 * REACH:
        return {}
    alone = undisturbed(subject.model) if subject.model is not None else nullcontext()
    line = range(-REACH, REACH + 1)
    with alone, torch.no_grad():
        before = subject.call(x.clone()).argmax(1)
        kept = {
            shift: subject.call(torch.roll(x, shift, tuple(range(2, x.ndim)))).argmax(1) == before
            for shift in itertools.product(line, repeat=ndim)
        }
    shares = {shift: float(same.double().mean()) for shift, same in kept.items()}
    worst = min(shares, key=lambda shift: (shares[shift], sum(map(abs, shift))))
    if ndim == 2:
        names = [[f"{(down, across)}" for across in line] for down in line]
        words = (
            f"Answers kept by {len(x)} samples that are moved by up to {REACH} places down and across, 0 in the middle"
        )
        if shares[worst] < 1:
            words += f"; fewest, {shares[worst]:.0%}, when moved by {worst}"
        chart = charts.cells(
            [[shares[d, a] for a in line] for d in line], names, words + ".", f"{worst}" if shares[worst] < 1 else ""
        )
        subject.pictures.append((chart, words + ". The fuller a square, the more."))
    return {"fooled": 1 - float(torch.stack([*kept.values()]).all(0).double().mean())}


SECTION = Section(
    "shifts",
    "full",
    COLUMNS,
    fill,
    (
        Rule("A2", "Answers depend on where things are", "consistency", lambda v: v < LEAST, f"at least {LEAST:.0%} of pairs",
             "The same input, moved by a few places, often gets another answer: what is learnt depends on the sampling grid.",
             "put low-passes before the strides: faltung.antialias(model); and compare accuracies too"),
    ),
)  # fmt: skip
