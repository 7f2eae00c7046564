"""Whether the numbers fit: weights that are not finite, ranges that halves or eight bits cannot hold."""

from typing import Any

import numpy as np

from faltung.report.section import Column, Rule, Section, Subject, Values
from faltung.report.sections.identity import rows

HALF = float(np.finfo(np.float16).max)
COLUMNS = (
    Column("not_finite", "not finite", "weights that are NaN or infinite", "numpy.isfinite"),
    Column("largest", "largest weight", "largest absolute weight", "numpy.abs"),
    Column(
        "range_ratio",
        "range ratio",
        "largest over smallest range of the outputs' filters that are not zero",
        "numpy.ptp",
    ),
    Column(
        "snr8", "8 bits", "decibels of signal over error with eight bits and a scale for each output", "numpy.round"
    ),
)


def fill(subject: Subject) -> Values:
    """Ranges and losses by layer."""
    found: dict[str, dict[str, Any]] = {name: {"not_finite": count} for name, count in subject.broken.items()}
    for node in rows(subject.network):
        kernel = node.filters if node.op == "conv" else node.kernel
        if kernel is None or not kernel.size:
            continue
        flat = np.asarray(kernel, np.float64).reshape(kernel.shape[0], -1)
        tops = np.abs(flat).max(axis=1)
        used = tops[tops > 0]
        steps = np.where(tops > 0, tops, 1)[:, None] / 127
        error = ((np.round(flat / steps) * steps - flat) ** 2).sum()
        found[node.name] = {
            "not_finite": 0,
            "largest": float(tops.max()),
            "range_ratio": float(used.max() / used.min()) if used.size else None,
            "snr8": float(10 * np.log10((flat**2).sum() / error)) if error else None,
        }
    return found


SECTION = Section(
    "numerics",
    "fast",
    COLUMNS,
    fill,
    (
        Rule("N1", "Weights near the end of half precision", "largest", lambda v: v > 0.5 * HALF, f"below {0.5 * HALF:,.0f}",
             "In float16 the layer would overflow.", "keep it in bfloat16 or float32", "bad"),
        Rule("N2", "Outputs of very different range", "range_ratio", lambda v: v > 64, "at most 64",
             "One scale for all outputs would lose the small ones when quantised.", "use a scale for each output", "info"),
        Rule("N3", "Weights that are no numbers", "not_finite", lambda v: v > 0, "none",
             "NaN or infinite weights: every result that reads them is lost.", "train again from the last good checkpoint", "bad"),
    ),
)  # fmt: skip
