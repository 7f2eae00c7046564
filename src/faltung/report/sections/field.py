"""What each layer can see of the input."""

from typing import Any

from faltung.errors import FaltungError
from faltung.look import receptive_field
from faltung.readers import shown
from faltung.report import charts
from faltung.report.section import WHOLE, Column, Rule, Section, Subject, Values

COLUMNS = (
    Column("field", "field", "places of the input that one result can read, by axis", "look.receptive_field"),
    Column("field_side", "side", "the largest of these", "look.receptive_field"),
    Column("least", "least path", "the same over the shortest path", "look.receptive_field"),
    Column("jump", "jump", "places of the input from one result to the next", "look.receptive_field"),
    Column(
        "unproductive",
        "nothing new",
        "whether every path saw the whole input before this layer",
        "look.receptive_field",
    ),
    Column(
        "short_of_object",
        "short of object",
        "places that the last layer's field lacks to hold an object",
        "look.receptive_field",
    ),
)


def fill(subject: Subject) -> Values:
    """Receptive fields by layer."""
    if not subject.network.connected:
        return {}
    try:
        table = receptive_field(subject.network)
    except FaltungError as error:
        subject.notes.append(f"receptive fields are not known: {error}")
        return {}
    late = set(table.unproductive)
    found: dict[str, dict[str, Any]] = {}
    for row in table.layers:
        if row.op != "conv":
            continue
        found[row.name] = {
            "field": None if row.size is None else shown(row.size),
            "field_side": None if row.size is None else max(row.size, default=None),
            "least": None if row.least is None else shown(row.least),
            "jump": None if row.jump is None else " × ".join(map(str, dict.fromkeys(row.jump))),
            "unproductive": row.name in late and max(subject.network[row.name].taps, default=1) > 1,
        }
    seen = [row.size for row in table.layers if row.op == "conv" and row.size]
    if subject.object_size is not None and seen:
        found[WHOLE] = {"short_of_object": subject.object_size - min(seen[-1])}
    drawn = [
        (r.name, float(max(r.least)), float(max(r.size))) for r in table.layers if r.size and r.least and r.op == "conv"
    ]
    if len(drawn) > 1:
        words = "Receptive field of each layer, in order: over the shortest path and over all."
        side = float(max(table.input_size))
        subject.pictures.append((charts.ranges(drawn, words, side, "the input"), words))
    return found


SECTION = Section(
    "field",
    "fast",
    COLUMNS,
    fill,
    (
        Rule("R1", "The layer sees nothing new", "unproductive", bool, "a least path shorter than the input",
             "Every path had seen the whole input before this layer: its taps read the same again, mostly margins.",
             "shorten the network, use fewer strides, or larger inputs", "info"),
        Rule("R2", "The field is smaller than what it is to see", "short_of_object", lambda v: v > 0, "at least the object",
             "No result can depend on the whole of an object at once.",
             "use larger or dilated kernels, more layers, or strides earlier"),
    ),
)  # fmt: skip
