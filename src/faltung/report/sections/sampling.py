"""What strides do to the signal: samples that nobody reads, checkerboards, aliases, and how it shows when the input is shifted."""

import numpy as np

from faltung.errors import FaltungError
from faltung.look import aliasing
from faltung.readers import Network, Node
from faltung.report.section import Column, Rule, Section, Subject, Values

COLUMNS = (
    Column(
        "alias",
        "alias (kernel)",
        "share of white noise's energy that the stride folds back",
        "look.kernel_alias_fraction",
    ),
    Column(
        "alias_signal", "alias (signal)", "the same of the example's signal at this layer", "look.signal_alias_fraction"
    ),
    Column(
        "low_pass",
        "low-pass before",
        "whether a low-pass stands right before the stride, or is the layer itself",
        "faltung.readers.read",
    ),
    Column("skipped", "skips inputs", "whether the stride leaves samples that no tap reads", "look.aliasing"),
    Column("checkerboard", "checkerboard", "whether results get unequally many taps", "look.aliasing"),
)
LEAST = 0.3  # of the energy that folds where a layer's filters do not look at all


def fill(subject: Subject) -> Values:
    """Alias fractions, of the example too where it may run."""
    network = subject.network
    if not network.connected:
        return {}
    try:
        table = aliasing(network) if subject.replay is None else aliasing(subject.replay, subject.example)
    except FaltungError as error:  # an example that only some of the graph takes
        subject.notes.append(f"aliases of the example are not known: {error}")
        table = aliasing(network)
    return {
        row.name: {
            "op": row.op if row.op != "conv" else None, "alias": row.kernel, "alias_signal": row.signal,
            "low_pass": low_passed(network, network[row.name]), "skipped": row.skips, "checkerboard": row.checkers,
        }
        for row in table.layers
    }  # fmt: skip


def low_passed(network: Network, node: Node) -> bool | None:
    """Whether what a stride drops samples of went through a low-pass; None of transposed layers, which drop nothing.

    A low-pass is a mean, or filters of single channels that pass constants and, along every axis, nothing that alternates (1 % of
    the constant's gain).
    """
    if node.transposed:
        return None
    seen, before = [node], node
    while before.inputs:
        before = network[before.inputs[0]]
        seen.append(before)
        if before.op not in ("same", "pad"):
            break
    return any(is_low_pass(one) for one in seen)


def is_low_pass(node: Node) -> bool:
    """Whether one operation alone takes off what alternates."""
    if node.op == "avg_pool":
        return max(node.taps, default=1) > 1
    if node.op != "conv" or node.transposed or node.kernel is None or node.kernel_shape[1] != 1 or not node.depthwise:
        return False
    taps = np.asarray(node.kernel, np.float64)[:, 0]
    places = tuple(range(1, taps.ndim))
    constant = np.abs(taps.sum(places))
    signs = [(-1.0) ** np.arange(k) for k in node.taps]
    turned = [
        np.abs((taps * s.reshape([-1 if a == axis else 1 for a in places])).sum(places))
        for axis, s in zip(places, signs, strict=True)
    ]
    return bool((constant > 0).all() and (np.max(turned, 0) <= 0.01 * constant).all())


SECTION = Section(
    "sampling",
    "fast",
    COLUMNS,
    fill,
    (
        Rule("A1", "The stride folds high frequencies", "alias", lambda v: v > LEAST, f"at most {LEAST:.0%} of the energy",
             "High frequencies come back as low ones: results depend on where the picture lies, sample by sample.",
             "put a low-pass before the stride: faltung.antialias(model)", "warn", "A1"),
        Rule("A3", "The stride jumps over samples", "skipped", bool, "no sample unread",
             "Part of the input is never looked at: the stride is larger than the taps.",
             "use at least as many taps as the stride, or average before"),
        Rule("A4", "A transposed convolution with uneven overlap", "checkerboard", bool, "taps a multiple of the stride",
             "Neighbouring results are sums of unequally many taps: a checkerboard that training has to work against.",
             "choose taps as a multiple of the stride"),
    ),
)  # fmt: skip
