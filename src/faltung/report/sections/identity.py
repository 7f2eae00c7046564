"""What each layer is."""

from typing import Any

import numpy as np

from faltung.readers import Network, Node, shown
from faltung.report.margin import margins
from faltung.report.section import Column, Rule, Section, Subject, Values

COLUMNS = (
    Column("op", "kind", "what it does", "faltung.readers.read"),
    Column("kernel", "kernel", "out × in/groups × taps, as torch stores it", "faltung.readers.read"),
    Column("stride", "stride", "positions from one result to the next", "faltung.readers.read"),
    Column("dilation", "dilation", "positions from one tap to the next", "faltung.readers.read"),
    Column("groups", "groups", "parts that channels are split into", "faltung.readers.read"),
    Column(
        "padding",
        "padding",
        "margin before and after, by axis, that of a pad right before included",
        "faltung.readers.read",
    ),
    Column("padding_mode", "margin of", "what the margin holds, in torch's word", "faltung.readers.read"),
    Column("input", "input", "shape of what it reads", "faltung.readers.read"),
    Column("result", "result", "shape of the result", "faltung.readers.read"),
    Column("dtype", "type", "of the result's numbers", "faltung.readers.read"),
    Column("layout", "in memory", "the order in which the kernel lies in memory", "faltung.readers.read"),
    Column("calls", "calls", "how often the layer runs for one input; each call has a row", "faltung.readers.read"),
    Column(
        "uneven", "uneven margin", "largest difference between the margins before and after", "faltung.readers.read"
    ),
    Column(
        "short",
        "margin to 'same'",
        "what the margins lack for the result to keep its place and size",
        "faltung.readers.read",
    ),
)


def fill(subject: Subject) -> Values:
    """What the graph says of each layer, call by call."""
    network = subject.network
    found: dict[str, dict[str, Any]] = {}
    for node in network.nodes:
        if node.op not in ("conv", "linear", "weights"):
            continue
        found[node.name] = {
            "op": "transposed conv" if node.transposed else node.op,
            "input": shown(node.in_shapes[0]) if node.in_shapes and node.in_shapes[0] else None,
            "result": node.shape and shown(node.shape),
            "dtype": node.dtype or None,
            "layout": layout(node),
            "calls": calls(network, node),
        }
        if node.op in ("conv", "weights"):
            around = margins(network, node)
            pads = tuple(
                tuple(map(sum, zip(*axis, strict=True))) for axis in zip(*(m.pads for m in around), strict=True)
            )
            pads = pads or node.padding
            found[node.name] |= {
                "kernel": shown(node.kernel_shape),
                "stride": words(node.stride),
                "dilation": words(node.dilation),
                "groups": node.groups,
                "padding": ", ".join(f"{a}" if a == b else f"{a}+{b}" for a, b in dict.fromkeys(pads)) or None,
                "padding_mode": " in ".join(m.mode or "?" for m in reversed(around)) or None,
                "uneven": max((abs(a - b) for a, b in pads), default=None),
                "short": lacking(node, pads),
            }
        elif node.op == "linear":
            found[node.name]["kernel"] = shown(node.kernel_shape)
    return found


def layout(node: Node) -> str | None:
    """The order of a kernel's axes in memory, None where it is not known."""
    if node.kernel is None or not node.kernel.ndim:
        return None
    if node.kernel.flags.c_contiguous:
        return "contiguous"
    return "channels last" if np.moveaxis(node.kernel, 1, -1).flags.c_contiguous else "strided"


def rows(network: Network) -> list[Node]:
    """The layers by their first calls: what weights alone say is said there, once."""
    return list(network.once([node for node in network.nodes if node.op in ("conv", "linear", "weights")]))


def calls(network: Network, node: Node) -> int:
    """How often a layer runs for one input."""
    return sum(other.op == node.op and plain(other.name) == plain(node.name) for other in network.nodes)


def plain(name: str) -> str:
    """A layer's name without the number of its call."""
    return name.partition(":")[0]


def words(numbers: tuple[int, ...]) -> str | None:
    """`2` for equal numbers, `2 × 1` for others, None for none."""
    if not numbers:
        return None
    return str(numbers[0]) if len(set(numbers)) == 1 else shown(numbers)


def lacking(node: Node, pads: tuple[tuple[int, ...], ...]) -> int | None:
    """Samples by which the margins miss those that keep a layer of odd taps and stride 1 in place; 0 for what is meant to shrink.

    A layer whose margin is some, but not what its reach asks for, shifts or crops the signal: seldom meant.
    """
    if node.op != "conv" or node.transposed or not pads or set(node.stride) != {1}:
        return None
    reach = [d * (t - 1) for d, t in zip(node.dilation, node.taps, strict=True)]
    return max((abs(r - a - b) for r, (a, b) in zip(reach, pads, strict=True) if a + b), default=0)


SECTION = Section(
    "identity",
    "fast",
    COLUMNS,
    fill,
    (
        Rule("P1", "The margin does not fit the taps", "short", lambda v: v > 0, "0: taps · dilation − dilation samples in all",
             "The layer pads, but not by what its taps reach: results shrink or grow at every such layer, and skip connections or "
             "stacked outputs no longer line up.", "set padding = dilation · (taps − 1) / 2, or padding='same'", "warn"),
        Rule("P2", "The margin is uneven", "uneven", lambda v: v > 1, "at most 1",
             "The margin on one side is larger by more than one sample: the result is shifted against the input.",
             "pad both sides alike", "info"),
    ),
)  # fmt: skip
