"""How much each layer can amplify, at which frequency, and how close it is to losing what it reads."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from faltung.certify import gram, l_orth, spectral_norm
from faltung.look import Gains, gains
from faltung.look.singular import singular_values
from faltung.look.spectrum import symbol_of
from faltung.readers import Node
from faltung.report import charts
from faltung.report.margin import growth
from faltung.report.section import Column, Rule, Section, Subject, Values
from faltung.report.sections.identity import rows

COLUMNS = (
    Column(
        "sigma_upper", "σ max ≤", "bound of the factor by which any signal grows, its margin included", "look.gains"
    ),
    Column("sigma_lower", "σ max ≥", "a factor that some signal attains, if it is large enough", "look.gains"),
    Column("gap", "gap", "between the bounds without a margin, as a share", "certify.spectral_norm"),
    Column(
        "margin_gain",
        "margin adds",
        "factor in the upper bound for samples that the margin repeats",
        "certify.operator.copies",
    ),
    Column("sigma_min", "σ min", "smallest singular value on a grid of frequencies", "look.gains"),
    Column("condition", "condition", "largest over smallest singular value on that grid", "look.gains"),
    Column("stable_rank", "stable rank", "sum of σ² over the largest σ², mean of the grid", "look.gains"),
    Column("at", "σ max at", "the frequency of the largest gain, by axis, in shares of π", "look.gains"),
    Column("l_orth", "L_orth", "0 where all gains are 1, or all that are not 0", "certify.l_orth"),
    Column("dc", "gain at 0", "largest singular value for constant signals", "look.gains"),
    Column("nyquist", "gain at π", "largest singular value for signals that alternate", "look.gains"),
)
# How far apart certified bounds may lie, by the products of one Gram step: wide layers take minutes for one percent.
POINTS, DRAWN, DRAWN_WORK = 33, 6, 64**3  # of the picture: frequencies, layers, their channels' product
WORK = 2e8  # out · in · min(out, in) · frequencies beyond which the grid is coarse
TOLERANCES = ((32**3, 0.02), (64**3, 0.1), (128**3, 0.3))


def fill(subject: Subject) -> Values:
    """Gains of each layer, certified ones where time allows."""
    found: dict[str, dict[str, Any]] = {}
    for node in rows(subject.network):
        if node.kernel is None:
            continue
        if node.op == "linear":
            found[node.name] = matrix(np.asarray(node.kernel, np.float64))
        elif node.op == "conv":
            found[node.name] = spectrum(node, growth(subject.network, node), subject.level != "fast")
    drawn = [(n, v["sigma_min"], v["sigma_upper"]) for n, v in found.items() if v["sigma_min"] and v["sigma_upper"]]
    if len(drawn) > 1:
        words = "Smallest singular value and bound of the largest, layer by layer, in order."
        chart = charts.ranges(drawn, words, 1.0, "1")
        subject.pictures.append((chart, words + " Above the line signals may grow, below it fade."))
    _draw(subject)
    return found


def _draw(subject: Subject) -> None:
    """The largest singular value over frequency, of a few layers from the first to the last that are not too wide."""
    fit = [
        node for node in rows(subject.network)
        if node.op == "conv" and node.kernel is not None and max(node.taps, default=1) > 1
        and math.prod(node.kernel_shape[:2]) * min(node.kernel_shape[:2]) <= DRAWN_WORK and np.any(node.kernel)
    ]  # fmt: skip
    chosen = [fit[n * (len(fit) - 1) // max(1, min(len(fit), DRAWN) - 1)] for n in range(min(len(fit), DRAWN))]
    series = [(node.name, along(node)) for node in chosen]
    series = [
        (name, [max(v, 1e-4 * max(values)) for v in values]) for name, values in series
    ]  # zeros have no logarithm
    if series:
        words = "σ max over the frequency of the input, from constants to what alternates along all axes: "
        words += ", ".join(f"{name} (largest at {_peak(values)} π)" for name, values in series) + "."
        subject.pictures.append((charts.lines(series, words, ("0", "π"), 1.0), words))


def along(node: Node) -> list[float]:
    """The largest singular value of a layer without its stride at the same frequency along all axes, 0 to π."""
    symbol = symbol_of(node)
    omega = np.linspace(0, math.pi, POINTS)[:, None].repeat(symbol.ndim, 1)
    values: list[float] = singular_values(np.asarray(symbol.at(omega)))[..., 0].max(0).tolist()
    return values


def _peak(values: list[float]) -> str:
    return f"{int(np.argmax(values)) / (len(values) - 1):.2g}"


def matrix(weight: np.ndarray) -> dict[str, Any]:
    """The singular values of a linear map."""
    values = singular_values(weight)
    top, low = float(values[0]), float(values[-1])
    slack = gram.slack(min(weight.shape), 1, 1)
    upper, lower = top * (1 + slack), top * (1 - slack)
    return {
        "sigma_upper": upper, "sigma_lower": lower, "gap": (upper - lower) / upper if upper else 0.0, "sigma_min": low,
        "condition": top / low if low else float("inf"), "stable_rank": float((values**2).sum() / top**2) if top else 0.0,
    }  # fmt: skip


def spectrum(node: Node, margin: float | None, exact: bool) -> dict[str, Any]:
    """The gains on a grid; with `exact` also a certified norm, as tight as some seconds allow.

    Args: margin: what the layer's margin can add, None where that is not known: then nothing bounds the layer from above.
    """
    import torch

    symbol = symbol_of(node)
    phases = symbol.polyphase()
    out, into = phases.channels
    grid: int | tuple[int, ...] | None = None
    if all(size == 1 for size in phases.size):
        grid = 1
    elif symbol.groups * out * into * min(out, into) * math.prod(4 * k for k in phases.size) > WORK:
        grid = tuple(2 * (k // 2) + 2 for k in phases.size)  # the coarsest that bounds anything
    row = one_tap(node) if grid == 1 and max(node.stride) > 1 else gains(symbol, grid)
    upper, lower = row.upper * (1 + 1e-9), row.largest * (1 - 1e-9)
    if exact:
        products = out * into * min(out, into)
        rtol = next((allowed for most, allowed in TOLERANCES if products <= most), None)
        if rtol is not None:
            bound = spectral_norm(
                torch.tensor(np.asarray(node.kernel)), stride=node.stride, dilation=node.dilation, groups=node.groups,
                transposed=node.transposed, rtol=rtol,
            )  # fmt: skip
            upper, lower = float(bound), bound.lower
    return {
        "sigma_upper": None if margin is None else upper * margin * (1 + 1e-12), "sigma_lower": lower,
        "gap": (upper - lower) / upper if upper and exact else None, "margin_gain": margin,
        "sigma_min": None if np.isnan(row.smallest) else row.smallest, "condition": row.condition, "stable_rank": row.rank,
        "dc": row.dc, "nyquist": row.nyquist, "at": " × ".join(f"{abs(w) / math.pi:.2g}" for w in row.at) or None,
        "l_orth": orthogonality(node) if exact else None,
    }  # fmt: skip


def one_tap(node: Node) -> Gains:
    """`gains` of a layer of one tap with a stride: those without it, since the stride only leaves inputs out.

    What it leaves out are directions that are lost, where there are results enough to hold them: their gain is 0.
    """
    symbol = symbol_of(replace(node, stride=(1,) * node.ndim))
    out, into = symbol.channels
    row = gains(symbol, 1)
    loses = min(out, into * math.prod(node.stride)) > min(out, into)
    return replace(row, smallest=0.0, condition=math.inf) if loses else row


def orthogonality(node: Node) -> float | None:
    """The defect of orthogonality, None for layers that would take long."""
    symbol = symbol_of(node)
    shifts = math.prod(2 * -(-k // s) - 1 for k, s in zip(node.taps, node.stride, strict=True))
    work = symbol.groups * math.prod(symbol.channels) * symbol.channels[0] * math.prod(node.taps) * shifts
    if node.transposed or work > WORK:
        return None
    return float(l_orth(np.asarray(node.kernel, np.float64), node.stride, node.dilation, node.groups))


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
        Rule("S3", "The bounds of the norm lie apart", "gap", lambda v: v > 0.35, "at most 35 %",
             "The certified norm is not tight.", "raise the effort: certify.spectral_norm(layer, rtol=0.01)", "info"),
    ),
)  # fmt: skip
