"""What strides do to the signal: samples that nobody reads, checkerboards, aliases, and how it shows when the input is shifted."""

from faltung.errors import FaltungError
from faltung.look import aliasing
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
            "skipped": row.skips, "checkerboard": row.checkers,
        }
        for row in table.layers
    }  # fmt: skip


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
