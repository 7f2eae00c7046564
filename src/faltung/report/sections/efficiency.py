"""What each layer costs: multiplications, bytes, and how they balance."""

from typing import Any

from faltung.look import counts
from faltung.report import charts
from faltung.report.section import Column, Rule, Section, Subject, Values

COLUMNS = (
    Column("macs", "MACs", "multiplications with an addition for one input", "look.counts"),
    Column("share", "of all", "share of the network's multiplications", "look.counts"),
    Column("parameters", "parameters", "learnt numbers", "look.counts"),
    Column("bytes", "bytes", "moved if nothing stays in a cache", "look.counts"),
    Column("intensity", "ops/byte", "operations for each byte: low ones wait for memory", "look.counts"),
    Column("foldable", "norm to fold", "a frozen batch norm stands right behind", "faltung.readers.read"),
    Column(
        "linear_chain", "joins the next", "the next layer is a convolution with nothing between", "faltung.readers.read"
    ),
)
BALANCE = 10.0  # operations a byte where a processor of two cores computes as long as it loads; graphics processors: 100 and more


def fill(subject: Subject) -> Values:
    """Counts by layer, and the waterline."""
    network = subject.network
    table = counts(network)
    whole = table.at_least or 1
    found: dict[str, dict[str, Any]] = {}
    for row in table.rows:
        node = network[row.name]
        if node.op in ("weights", "conv", "linear"):
            found[row.name] = {"parameters": row.parameters}
        if node.op not in ("conv", "linear"):
            continue
        found[row.name] |= {"macs": row.macs, "bytes": row.bytes, "intensity": row.intensity}
        found[row.name]["share"] = None if row.macs is None else row.macs / whole
        after = [network[name] for name in network.successors(row.name)]
        alone = after[0] if len(after) == 1 else None
        found[row.name]["foldable"] = int(
            alone is not None and alone.op == "norm" and bool(alone.settings.get("frozen"))
        )
        found[row.name]["linear_chain"] = int(alone is not None and node.op == alone.op == "conv")
    subject.facts["parameters"] = network.parameter_count
    if network.connected:
        subject.facts["MACs"] = table.macs if table.macs is not None else f"≥ {table.at_least:,}"
        if table.unknown:
            few = ", ".join(table.unknown[:3]) + (" ..." if len(table.unknown) > 3 else "")
            subject.notes.append(f"multiplications of {len(table.unknown)} operations are not known: {few}")
        drawn = [
            (n, float(v["macs"]), v["intensity"]) for n, v in found.items() if v.get("macs") and v.get("intensity")
        ]
        if drawn:
            words = "Waterline: each layer as wide as its multiplications and as high as its operations a byte."
            chart = charts.bars(drawn, words, BALANCE, f"{BALANCE:g} operations a byte")
            subject.pictures.append((chart, words + " Layers below the line wait for memory on a small processor."))
    return found


SECTION = Section(
    "cost",
    "fast",
    COLUMNS,
    fill,
    (
        Rule("E3", "Norms that could be folded", "foldable", lambda v: v > 0, "none when the network only runs",
             "A frozen batch norm is a factor and a shift for each channel: it can go into the convolution before it, at no error "
             "but rounding.", "fold it: one pass over the signal less", "info", "E3"),
        Rule("E4", "Convolutions one after the other", "linear_chain", lambda v: v > 0, "something between that is not linear",
             "Two convolutions with nothing between are one convolution.", "multiply them, if one has fewer products", "info"),
    ),
)  # fmt: skip
