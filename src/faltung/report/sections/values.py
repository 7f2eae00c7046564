"""What one input shows of the numbers inside: how near they are to the end of half precision, and what is no number."""

from faltung.errors import FaltungError
from faltung.look import ranges
from faltung.look.numerics import HALF_LARGEST
from faltung.report.section import Column, Rule, Section, Subject, Values

COLUMNS = (
    Column("value", "largest result", "largest |result| on the example", "look.ranges"),
    Column("margin_half", "fp16 margin", "largest number of float16 over the largest result", "look.ranges"),
    Column("margin_bfloat", "bf16 margin", "largest number of bfloat16 over the largest result", "look.ranges"),
    Column("value_ratio", "result ratio", "largest over smallest range of the result's channels", "look.channel_ratio"),
    Column("value_broken", "results broken", "results that are NaN or infinite", "look.ranges"),
    Column("tiny", "tiny results", "share that half precision would make subnormal or 0", "look.ranges"),
)


def fill(subject: Subject) -> Values:
    """Ranges of results by layer."""
    if subject.replay is None:
        return {}
    try:
        table = ranges(subject.replay, subject.example)
    except FaltungError as error:
        subject.notes.append(f"results inside are not known: {error}")
        return {}
    return {
        row.name: {
            "value": row.value, "margin_half": row.margin, "margin_bfloat": row.margin_bfloat,
            "value_ratio": None if row.value_unequal != row.value_unequal else row.value_unequal,
            "value_broken": row.broken, "tiny": row.tiny,
        }
        for row in table.layers if row.op in ("conv", "linear") or row.broken
    }  # fmt: skip


SECTION = Section(
    "values",
    "standard",
    COLUMNS,
    fill,
    (
        Rule("N4", "Results near the end of half precision", "value", lambda v: v > 0.5 * HALF_LARGEST,
             f"below {0.5 * HALF_LARGEST:,.0f}", "In float16 the layer's result would overflow for such inputs.",
             "run it in bfloat16 or float32, or scale the weights", "bad"),
        Rule("N5", "Results that are no numbers", "value_broken", lambda v: v > 0, "none",
             "NaN or infinity appear for this input: everything behind is lost.", "look at the first layer of these", "bad"),
    ),
)  # fmt: skip
