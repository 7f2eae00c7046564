"""How long each layer takes, measured: torch's convolution beside this library's plan, and what the machine allows."""

from typing import Any

from faltung.look import efficiency
from faltung.report import charts
from faltung.report.section import Column, Rule, Section, Subject, Values

COLUMNS = (
    Column("method", "plan", "the method that the planner picks for these shapes", "look.layer_plan"),
    Column("predicted_ms", "predicted ms", "milliseconds that it expects", "look.layer_plan"),
    Column(
        "next",
        "next best",
        "the method that the planner would take else, and the milliseconds that it expects",
        "look.efficiency",
    ),
    Column("torch_ms", "torch ms", "milliseconds of torch's convolution, median", "look.efficiency"),
    Column("faltung_ms", "faltung ms", "milliseconds of that plan, median, in turns with torch's", "look.efficiency"),
    Column("speedup", "times as fast", "torch's time over that of the plan", "look.efficiency"),
    Column(
        "roof_ms", "roof ms", "milliseconds where arithmetic or memory of this machine are the limit", "look.this_roof"
    ),
    Column("over_roof", "over the roof", "the faster of both times over that", "look.efficiency"),
)
REPEATS = 3
FASTER, OVER = 1.25, 3.0


def fill(subject: Subject) -> Values:
    """Times by layer, and the waterline of this machine."""
    if not subject.network.connected:
        return {}
    found: dict[str, dict[str, Any]] = {}
    table = efficiency(subject.network, measure=True, repeats=REPEATS)
    for row in table.rows:
        best = min((t for t in (row.torch, row.faltung) if t is not None), default=None)
        found[row.name] = {
            "method": row.method, "predicted_ms": _ms(row.predicted), "torch_ms": _ms(row.torch),
            "next": None if row.next is None else f"{row.next[0]}, {row.next[1] * 1e3:.3g} ms",
            "faltung_ms": _ms(row.faltung), "speedup": row.speedup, "roof_ms": _ms(row.ideal),
            "over_roof": None if best is None else best / row.ideal,
        }  # fmt: skip
    timed = [row for row in table.rows if row.torch and row.faltung]
    if timed:
        theirs, ours = sum(row.torch or 0 for row in timed), sum(row.faltung or 0 for row in timed)
        best = sum(min(row.torch or 0, row.faltung or 0) for row in timed)
        subject.facts["convolutions, measured"] = f"torch {theirs * 1e3:.3g} ms, faltung {ours * 1e3:.3g} ms"
        subject.facts["measured speed-up"] = (
            f"{theirs / ours:.2f} with all planned, {theirs / best:.2f} with the faster of both"
        )
        words = "Waterline, measured: each layer as wide as torch's time for it and as high as its operations a byte."
        drawn = [(row.name, row.torch or 0.0, row.intensity) for row in timed]
        water = table.roof.balance
        chart = charts.bars(drawn, words, water, f"{water:.3g} operations a byte, {table.roof.origin}")
        subject.pictures.append((chart, words + " Layers below the line wait for this machine's memory."))
    subject.notes.append("times are medians of a few calls on noise; other work of the machine is in them")
    return found


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


SECTION = Section(
    "times",
    "full",
    COLUMNS,
    fill,
    (
        Rule("E1", "Far from what the machine allows", "over_roof", lambda v: v > OVER, f"at most {OVER:g} times the bound",
             "The layer takes much longer than its arithmetic and bytes need: its shapes suit no kernel, or it is too small "
             "to fill the machine.", "merge small layers, use larger batches, or choose channels in multiples of 16", "info"),
        Rule("E2", "A faster method gives the same result", "speedup", lambda v: v > FASTER, f"at most {FASTER:g}",
             "Measured in turns, the planned method is faster than torch's for these shapes.",
             "use the layer of faltung.nn: faltung.swap(model)", "info", "E2"),
    ),
)  # fmt: skip
