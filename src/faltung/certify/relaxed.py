"""Linear bounds of the rows of Jacobians in a box: what a gate can do to an entry, as lines instead of an interval.

A row's sum of sizes is a sum of entries with signs, or above a line where the sign is open; each entry is a linear function of
entries one step nearer to the result, gates bounded by the lines that fit; and so on up to the result, where the Jacobian is
known. The coefficients travel forwards through the network, so its own linear maps carry them.
"""

import torch
from torch import Tensor

from faltung.certify.box import POOLS, Box, activation, linear_maps, name_of
from faltung.certify.capture import Graph, Step
from faltung.certify.jacobians import Backward, windows_of


def row_sums(graph: Graph, known: Backward, rows: Tensor) -> Tensor:
    """For each of some results a bound of the sum of sizes of its derivatives by the inputs, (rows), not rounded up.

    Formula: `|J| ≤ ((U + L) J − 2UL) / (U − L)` where L < 0 < U, ±J elsewhere; a gate δ in [s, t] times J in [L, U] lies between
    s·J plus t − s times the chords of min(J, 0) and max(J, 0).

    Source: Shi, Wang, Zhang, Kolter and Hsieh, Efficiently computing local Lipschitz constants of neural networks via bound
        propagation (2022).
    """
    shape = (len(rows), *graph.source.value.shape)
    low, high = known.end.low.reshape(shape), known.end.high.reshape(shape)
    slope, offset = _chord(low, high, low.abs(), high.abs())
    signs = torch.where(low >= 0, 1.0, torch.where(high <= 0, -1.0, slope))
    total = torch.where((low < 0) & (high > 0), offset, 0.0).flatten(1).sum(1)
    found: dict[Step, Tensor] = {graph.source: signs}
    for step in graph.steps[1:]:
        if step not in known.adjoints:
            continue
        maps, curve, after = linear_maps(step), activation(step), known.adjoints[step]
        if maps is not None:
            parts = [torch.stack([apply(row) for row in found[s]]) for s, apply, _ in maps if s in found]
            found[step] = sum(parts[1:], parts[0])
        elif curve is not None and step.inputs[0] in found:
            before = known.values[step.inputs[0]]
            least, most = curve.slopes(before.low, before.high)
            found[step], more = _gates(found[step.inputs[0]], after, least, most)
            total = total + more.flatten(1).sum(1)
        elif name_of(step) in POOLS and step.inputs[0] in found:
            windows, must, may = windows_of(step, known.values[step.inputs[0]])
            outside = torch.zeros(len(rows), 1, dtype=torch.float64)
            entries = torch.cat([found[step.inputs[0]].flatten(1), outside], 1)[:, windows]
            around = Box(after.centre.flatten(1)[..., None], after.radius.flatten(1)[..., None])
            slopes, more = _gates(entries, around, must, may)
            found[step] = slopes.sum(-1).reshape(after.centre.shape)
            total = total + more.flatten(1).sum(1)
    ends = found[graph.result].reshape(len(rows), -1)
    return total + ends[torch.arange(len(rows)), rows]


def _gates(weights: Tensor, entries: Box, least: Tensor, most: Tensor) -> tuple[Tensor, Tensor]:
    """(slope, offset) of lines in an entry J that are nowhere below weight · gate · J."""
    low, high = entries.low, entries.high
    zero = torch.zeros_like(low)
    above = _chord(low, high, zero, high.clamp(min=0))
    below = _chord(low, high, low.clamp(max=0), zero)
    # where the sign of J is known the chords are the functions themselves
    up = torch.where(low >= 0, 1.0, torch.where(high <= 0, 0.0, above[0]))
    down = torch.where(low >= 0, 0.0, torch.where(high <= 0, 1.0, below[0]))
    open_ = (low < 0) & (high > 0)
    span = most - least
    raised = weights >= 0
    slope = weights * (least + span * torch.where(raised, up, down))
    offset = weights * span * torch.where(raised, torch.where(open_, above[1], 0.0), torch.where(open_, below[1], 0.0))
    return slope, offset


def _chord(low: Tensor, high: Tensor, at_low: Tensor, at_high: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and offset of the line through two values at the two ends; 0 where the ends are one."""
    width = torch.where(high > low, high - low, 1.0)
    slope = torch.where(high > low, (at_high - at_low) / width, 0.0)
    return slope, at_low - slope * low
