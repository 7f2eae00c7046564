"""What each part of the network reads of the input in practice, beside what it could read."""

from math import prod
from typing import Any

from faltung.errors import FaltungError
from faltung.look import effective_receptive_field, receptive_field
from faltung.readers import Traced
from faltung.report import pictures
from faltung.report.section import Column, Section, Subject, Values

COLUMNS = (
    Column("effective", "reads half", "side of the square of half of what moves a result", "look.effective_receptive_field"),
    Column("effective_99", "reads 99 %", "side of the square of 99 % of it", "look.effective_receptive_field"),
    Column("used", "of its field", "share of the theoretical field's places that hold 99 %", "look.effective_receptive_field"),
)  # fmt: skip


def fill(subject: Subject) -> Values:
    """Effective fields of the last convolution at each scale."""
    if subject.batch is None or not isinstance(subject.replay, Traced):
        if subject.replay is not None and not isinstance(subject.replay, Traced):
            subject.notes.append("effective fields are not known: only torch's programs have gradients")
        return {}
    found: dict[str, dict[str, Any]] = {}
    try:
        for name, whole in stages(subject).items():
            field = effective_receptive_field(subject.replay, _samples(subject), layer=name)
            found[name] = {"effective": field.sides[0.5], "effective_99": field.sides[0.99]}
            found[name]["used"] = field.places(0.99) / whole
            last = name, field.field
        if found and last[1].ndim == 2:
            words = f"Effective field of {last[0]}: how much its middle result moves with each place of the input, by logarithm."
            subject.pictures.append((pictures.heat(last[1], words), words))
    except FaltungError as error:
        subject.notes.append(f"effective fields are not known: {error}")
    return found


def stages(subject: Subject) -> dict[str, int]:
    """The last convolution of each distance between results, with the places of its theoretical field, cut to the input."""
    rows: dict[Any, tuple[str, int]] = {}
    table = receptive_field(subject.network)
    for row in table.layers:
        shape = subject.network[row.name].shape
        spatial = row.op == "conv" and row.size and row.jump and shape is not None and len(shape) == len(row.size) + 2
        if spatial and row.size:
            rows[row.jump] = row.name, prod(min(pair) for pair in zip(row.size, table.input_size, strict=True))
    return dict(rows.values())


def _samples(subject: Subject) -> Any:
    """As many samples as the graph takes, from the batch."""
    import torch

    size = (subject.network[subject.network.inputs[0]].shape or (1,))[0] or 1
    few = subject.batch[:size]
    return few if len(few) == size else torch.cat([few, few[-1:].expand(size - len(few), *few.shape[1:])])


SECTION = Section("effective field", "full", COLUMNS, fill)
