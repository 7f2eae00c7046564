"""How much each layer can amplify, at which frequency, and how close it is to losing what it reads."""

import math
from typing import Any

import numpy as np

from faltung.certify import spectral_norm
from faltung.filters.symbol import Symbol
from faltung.readers import Node
from faltung.report import charts
from faltung.report.section import Column, Rule, Section, Subject, Values
from faltung.report.sections.identity import rows

COLUMNS = (
    Column(
        "sigma_upper",
        "σ max ≤",
        "certified bound of the factor by which signals grow",
        "certify.spectral_norm",
    ),
    Column("sigma_lower", "σ max ≥", "a factor that some signal attains", "certify.spectral_norm"),
    Column("gap", "gap", "between the two bounds, as a share", "certify.spectral_norm"),
    Column(
        "sigma_min",
        "σ min",
        "smallest singular value on a grid of frequencies",
        "filters.symbol.Symbol.singular_values",
    ),
    Column(
        "condition",
        "condition",
        "largest over smallest singular value on that grid",
        "filters.symbol.Symbol.singular_values",
    ),
    Column(
        "stable_rank",
        "stable rank",
        "mean σ² over largest σ², times their number",
        "filters.symbol.Symbol.singular_values",
    ),
    Column("dc", "gain at 0", "largest singular value for constant signals", "filters.symbol.Symbol.dc"),
    Column(
        "nyquist", "gain at π", "largest singular value for signals that alternate", "filters.symbol.Symbol.nyquist"
    ),
)
GRID = {1: 64, 2: 12, 3: 6}
# How far apart the bounds of the norm may lie, by the products of one Gram step: wide layers would take minutes for one percent.
TOLERANCES = ((64**3, 0.02), (128**3, 0.1), (256**3, 0.3))
WORK = 1.5e9  # out · in · min(out, in) · frequencies beyond which singular values take seconds


def fill(subject: Subject) -> Values:
    found: dict[str, dict[str, Any]] = {}
    skipped = []
    for node in rows(subject.network):
        if node.kernel is None or (node.op == "weights" and len(node.kernel_shape) < 3):
            continue
        found[node.name] = bounds(node, subject.level)
        if node.op != "linear":
            found[node.name] |= spectrum(node) or {}
            if "sigma_min" not in found[node.name]:
                skipped.append(node.name)
    wide = [name for name, row in found.items() if "sigma_upper" not in row]
    if wide:
        subject.notes.append(f"certified norms of {len(wide)} wide layers take level 'standard': {', '.join(wide[:3])} ...")
    if skipped:
        words = f"smallest singular values would take too long for {len(skipped)} wide layers"
        subject.notes.append(f"{words}: {', '.join(skipped[:3])} ...")
    drawn = [
        (n, v["sigma_min"], v["sigma_upper"]) for n, v in found.items() if v.get("sigma_min") and v.get("sigma_upper")
    ]
    if len(drawn) > 1:
        words = "Smallest singular value and certified norm of each layer, in order."
        subject.pictures.append(
            (charts.ranges(drawn, words, 1.0, "1"), words + " Above the line signals may grow, below it fade.")
        )
    return found


def bounds(node: Node, level: str = "standard") -> dict[str, Any]:
    """The certified norm, from above and from below."""
    import torch

    if node.op == "linear":
        values = np.linalg.svd(np.asarray(node.kernel, np.float64), compute_uv=False)
        top = float(values[0])
        return {
            "sigma_upper": top * (1 + 1e-12), "sigma_lower": top, "gap": 0.0, "sigma_min": float(values[-1]),
            "condition": float(top / values[-1]) if values[-1] else float("inf"),
            "stable_rank": float((values**2).sum() / top**2) if top else 0.0,
        }  # fmt: skip
    out, into = node.kernel_shape[0] // node.groups, node.kernel_shape[1]
    products = out * into * min(out, into) * math.prod(s if t > 1 else 1 for s, t in zip(node.stride, node.taps, strict=False)) ** 2
    rtol = next((allowed for most, allowed in TOLERANCES if products <= most), None if level == "fast" else 0.3)
    if math.prod(node.taps) == 1:
        rtol = 0.01  # one matrix
    if rtol is None:
        return {}
    margin = {"padding": 0} if node.op == "weights" else _margin(node)
    if margin is None:
        return {}
    bound = spectral_norm(
        torch.tensor(np.asarray(node.kernel)), stride=node.stride or 1, dilation=node.dilation or 1, groups=node.groups,
        transposed=node.transposed, rtol=rtol, **margin,
    )  # fmt: skip
    upper, lower = float(bound.upper), float(bound.lower)
    return {"sigma_upper": upper, "sigma_lower": lower, "gap": (upper - lower) / upper if upper else 0.0}


def spectrum(node: Node) -> dict[str, Any] | None:
    """Singular values on a grid of frequencies; None where they would take too long."""
    # As stored: a transposed convolution has the singular values of the convolution that it is the adjoint of.
    symbol = Symbol(node.kernel, node.stride or 1, node.dilation or 1, node.groups)
    reduced = symbol.reduced()
    out, into = reduced.channels
    n = GRID.get(reduced.ndim, 4)
    phases = int(np.prod(node.stride)) if node.stride else 1
    if out * into * phases * min(out, into * phases) * n**reduced.ndim * node.groups > WORK:
        return None
    values = np.asarray(symbol.singular_values(n, half=True))
    low, high = float(values.min()), float(values.max())
    gains = [float(np.linalg.svd(np.asarray(at), compute_uv=False).max()) for at in (symbol.dc(), symbol.nyquist())]
    squares = values**2
    return {
        "sigma_min": low, "condition": high / low if low else float("inf"),
        "stable_rank": float(squares.mean() / high**2 * values.shape[-1] * node.groups) if high else 0.0,
        "dc": gains[0], "nyquist": gains[1],
    }  # fmt: skip


def _margin(node: Node) -> dict[str, Any] | None:
    """The margin in torch's words; None where it has none for it."""
    modes = {"constant": "zeros", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    if node.boundary not in modes or any(a != b for a, b in node.padding):
        return None
    return {"padding": tuple(a for a, _ in node.padding) or 0, "padding_mode": modes[node.boundary]}


SECTION = Section(
    "spectrum",
    "fast",
    COLUMNS,
    fill,
    (
        Rule("S1", "The layer amplifies strongly", "sigma_lower", lambda v: v > 10, "at most 10",
             "Some input grows by more than ten times: training and small perturbations are unstable here.",
             "add spectral normalisation, or look at the norm behind the layer"),
        Rule("S2", "The layer nearly loses directions", "condition", lambda v: v > 1e6, "at most 10⁶",
             "Some inputs vanish compared with others: the layer cannot be inverted, and part of its width is wasted.",
             "initialise orthogonally, or reduce the width", "info"),
        Rule("S3", "The bounds of the norm lie apart", "gap", lambda v: v > 0.05, "at most 5 %",
             "The certified norm is not tight.", "raise the iterations of certify.spectral_norm", "info"),
    ),
)  # fmt: skip
