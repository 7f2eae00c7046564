"""What strides do to the signal: samples that nobody reads, checkerboards, aliases."""

from typing import Any

from faltung.report.section import Column, Rule, Section, Subject, Values

COLUMNS = (
    Column("skipped", "skipped", "share of the input's samples that no tap ever reads", "faltung.readers.read"),
    Column(
        "checkerboard",
        "uneven overlap",
        "results of a transposed convolution get unequally many taps",
        "faltung.readers.read",
    ),
    Column(
        "alias",
        "alias fraction",
        "share of a white input's energy that folds back",
        "look.alias_fraction",
    ),
)


def fill(subject: Subject) -> Values:
    from faltung.look import alias_fraction

    found: dict[str, dict[str, Any]] = {}
    for node in subject.network.once(subject.network.convolutions):
        if not node.stride:
            continue
        row: dict[str, Any] = {"skipped": 0.0, "checkerboard": 0}
        if node.transposed:
            row["checkerboard"] = max(t % s for t, s in zip(node.taps, node.stride, strict=True))
        else:
            read = 1.0
            for t, s, d in zip(node.taps, node.stride, node.dilation, strict=True):
                read *= len({i * d % s for i in range(t)}) / s
            row["skipped"] = 1 - read
            if max(node.stride) > 1 and node.kernel is not None:
                row["alias"] = alias_fraction(node.kernel, node.stride, groups=node.groups, dilation=node.dilation)
        found[node.name] = row
    return found


SECTION = Section(
    "sampling",
    "fast",
    COLUMNS,
    fill,
    (
        Rule("A1", "The stride folds high frequencies", "alias", lambda v: v > 0.5, "at most half of the energy",
             "High frequencies come back as low ones: the result depends on where the picture lies, pixel by pixel.",
             "blur before the stride: faltung.antialias(model)", "warn", "A1"),
        Rule("A3", "The stride jumps over samples", "skipped", lambda v: v > 0, "no sample unread",
             "Part of the input is never looked at: the stride is larger than the taps.",
             "use taps at least as many as the stride, or average before", "bad"),
        Rule("A4", "A transposed convolution with uneven overlap", "checkerboard", lambda v: v > 0, "taps a multiple of the stride",
             "Neighbouring results are sums of unequally many taps: a checkerboard that training has to work against.",
             "choose taps as a multiple of the stride"),
    ),
)  # fmt: skip
