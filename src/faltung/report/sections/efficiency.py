"""What each layer costs: multiplications, bytes, and how they balance."""

from typing import Any

from faltung.look import counts
from faltung.readers import Network, Node
from faltung.report import charts
from faltung.report.section import Column, Rule, Section, Subject, Values
from faltung.report.sections.identity import calls, rows

COLUMNS = (
    Column("macs", "MACs", "multiplications with an addition for one input", "look.counts"),
    Column("share", "of all", "share of the network's multiplications", "look.counts"),
    Column("parameters", "parameters", "learnt numbers, at the first call", "look.counts"),
    Column("bytes", "bytes", "moved if nothing stays in a cache", "look.counts"),
    Column("intensity", "ops/byte", "operations for each byte: low ones wait for memory", "look.counts"),
    Column("foldable", "norm to fold", "a frozen batch norm stands right behind", "faltung.readers.read"),
    Column(
        "lanes_left", "lanes left", "outputs of a group beyond a multiple of a vector's lanes", "faltung.readers.read"
    ),
    Column(
        "linear_chain", "joins the next", "the next layer is a convolution with nothing between", "faltung.readers.read"
    ),
)
LANES = 8  # single-precision numbers in a vector of 256 bits
BALANCE = 10.0  # operations a byte where a processor of two cores computes as long as it loads; graphics processors: 100 and more


def fill(subject: Subject) -> Values:
    """Counts by layer, and the waterline."""
    network = subject.network
    table = counts(network)
    whole = table.at_least or 1
    found: dict[str, dict[str, Any]] = {}
    first = {node.name for node in rows(network)}
    for row in table.rows:
        node = network[row.name]
        if node.op in ("weights", "conv", "linear"):
            found[row.name] = {"parameters": row.parameters if row.name in first else None}
        if node.op not in ("conv", "linear"):
            continue
        found[row.name] |= {"macs": row.macs, "bytes": row.bytes, "intensity": row.intensity}
        found[row.name]["share"] = None if row.macs is None else row.macs / whole
        alone = network.reader(node.name)
        found[row.name]["foldable"] = int(norm_behind(network, node) is not None)
        outputs = node.out_channels // node.groups
        found[row.name]["lanes_left"] = (
            outputs % LANES if outputs > LANES else 0
        )  # heads and depthwise layers have their reasons
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


def norm_behind(network: Network, node: Node) -> Node | None:
    """The frozen batch norm that could go into a layer: it alone reads the layer's result, and both are called once."""
    norm = network.reader(node.name)
    if norm is None or norm.op != "norm" or not norm.settings.get("frozen") or not {"mean", "var"} <= set(norm.values):
        return None
    # Norms scale axis 1, which is that of the layer's outputs only with a batch in front.
    channels = node.shape is not None and len(node.shape) == max(len(node.kernel_shape), 2)
    once = calls(network, node) == calls(network, norm) == 1
    return norm if once and channels else None


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
             "Two convolutions with nothing between are one convolution.", "multiply them, if one has fewer products",
             "info", "E4"),
        Rule("E6", "Outputs that do not fill vectors", "lanes_left", lambda v: v > 0, f"outputs a multiple of {LANES}",
             "The last vector of outputs is partly empty, and costs as much as a full one.",
             f"choose channels as a multiple of {LANES}", "info"),
    ),
)  # fmt: skip
