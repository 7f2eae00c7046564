"""Boxes by backward linear relaxation (CROWN): every value is traced back to the input by lines below and above what bends.

Intervals forget that two values come of the same input. Here a weighted sum of a step's values is replaced by weighted sums of
the steps before it, linear steps by their adjoints, activations by a line that is nowhere above them (nowhere below, where the
weight is negative), until only the input is left, whose box says the rest. Rounding is kept outside in one place: what a step's
arithmetic can have lost is at most a share of the sizes of its values, which their boxes bound.
"""

import torch
from torch import Tensor

from faltung.certify.box import (
    POOLS,
    ROUNDING,
    Activation,
    Ball,
    Box,
    activation,
    boxes,
    constant,
    linear_maps,
    name_of,
)
from faltung.certify.capture import Graph, Step
from faltung.certify.jacobians import pulled, windows_of

HELD = 2**22
"""Numbers in the coefficients of one step that are held at a time: 32 MiB."""


def crown_boxes(
    graph: Graph, box: Box, who: str, *, result: bool = False, held: int = HELD, straight: bool = False
) -> dict[Step, Box]:
    """The box of every step while the input is in one, those before activations and max pooling (and the result's, if asked
    for) cut down to what backward linear relaxation says; nowhere wider than intervals.

    Args: straight: only for values that are linear in the input, for which it is exact: what intervals miss of a ball.

    Cost: for each value whose gate is open two rows, carried back through all steps before it; linear steps by their adjoint (of
    a convolution the transposed one, no matrix is made), as many rows at a time as `held` numbers allow.

    Raises:
        ArgumentError: a step without a rule; it is named.

    Source: Zhang, Weng, Chen, Hsieh and Daniel, Efficient neural network robustness certification with general activation
        functions (2018); Singh, Gehr, Püschel and Vechev, An abstract domain for certifying neural networks (2019), for S-shapes.
    """
    curves: dict[Step, list[Step]] = {}
    for step in graph.steps[1:]:
        if isinstance(step.value, Tensor) and (activation(step) is not None or name_of(step) in POOLS):
            curves.setdefault(step.inputs[0], []).append(step)
    widest = max(step.value.numel() for step in graph.steps if isinstance(step.value, Tensor))
    most = max(1, held // (2 * widest))
    linear = {graph.source}
    for step in graph.steps[1:]:
        if linear_maps(step) is not None and linear.issuperset(step.inputs):
            linear.add(step)

    def narrow(step: Step, known: dict[Step, Box]) -> Box:
        old = known[step]
        if straight and step not in linear:
            return old
        asked = torch.full(old.centre.shape, result and step is graph.result)
        for curve in curves.get(step, []):
            asked = asked | _open(curve, old)
        if not bool(asked.any()):
            return old
        low, high = old.low.flatten(), old.high.flatten()
        for places in asked.flatten().nonzero()[:, 0].split(most):
            rows = torch.zeros(2, len(places), old.centre.numel(), dtype=torch.float64)
            rows[0, torch.arange(len(places)), places] = 1
            rows[1, torch.arange(len(places)), places] = -1
            below, above = least(graph, known, step, rows.reshape(-1, *step.value.shape)).chunk(2)
            low[places] = torch.maximum(low[places], below)
            high[places] = torch.minimum(high[places], -above)
        high = torch.maximum(low, high)  # of an empty part of a ball any bounds will do
        new = Box.between(low.reshape(old.centre.shape), high.reshape(old.centre.shape))
        better = new.radius < old.radius
        return Box(torch.where(better, new.centre, old.centre), torch.where(better, new.radius, old.radius))

    return boxes(graph, box, who, narrow)


def least(graph: Graph, known: dict[Step, Box], step: Step, rows: Tensor) -> Tensor:
    """Lower bounds of weighted sums of a step's values, from the boxes of the steps before it.

    Shapes: rows (rows, *the step's value); returns (rows).
    """
    found: dict[Step, Tensor] = {step: rows}
    total = torch.zeros(len(rows), dtype=torch.float64)
    sizes = torch.zeros_like(total)
    for here in reversed(graph.steps[: graph.steps.index(step) + 1]):
        weights = found.pop(here, None)
        if weights is None:
            continue
        maps, curve, touched = linear_maps(here), activation(here), _most(known[here])
        if here is graph.source:
            total = total + _lowest(weights, known[here])
        elif maps is not None:
            added = torch.as_tensor(constant(here), dtype=torch.float64)
            total = total + _dot(weights, added.expand(touched.shape))
            touched = touched + added.abs()
            for source, apply, absolute in maps:
                _add(found, source, pulled(apply, source, weights))
                touched = touched + absolute(_most(known[source]))
        elif curve is not None:
            before = known[here.inputs[0]]
            rising, falling = weights.clamp(min=0), weights.clamp(max=0)
            (below, under), (above, over) = lines(curve, before)
            _add(found, here.inputs[0], rising * below + falling * above)
            total = total + _dot(rising, under) + _dot(falling, over)
            touched = touched + _most(before) + under.abs() + over.abs()
        else:
            part, added, largest = _unpooled(here, weights, known[here.inputs[0]])
            _add(found, here.inputs[0], part)
            total, touched = total + added, touched + largest.reshape(touched.shape).abs()
        sizes = sizes + _dot(weights.abs(), touched)
    return total - ROUNDING * sizes


def lines(curve: Activation, before: Box) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(slope, offset) of a line nowhere above an activation in a box, and of one nowhere below it, place by place.

    Where the function is convex: the tangent in the middle, and the chord; where it is concave the other way round; where it is
    neither, lines through the ends with the least slope.
    """
    low, high, middle = before.low, before.high, before.centre
    at_low, at_high, at_middle = curve.value(low), curve.value(high), curve.value(middle)
    flat, steep = curve.slopes(low, high)
    tangent = curve.slopes(middle, middle)[0]
    chord = (at_high - at_low) / torch.where(high > low, high - low, 1.0)
    chord = torch.minimum(torch.maximum(chord, flat), steep)  # of very narrow boxes the quotient is noise
    convex, concave = high <= curve.convex, low >= curve.concave
    below = torch.where(convex, tangent, torch.where(concave, chord, flat))
    above = torch.where(convex, chord, torch.where(concave, tangent, flat))
    touching = at_middle - tangent * middle
    ends = torch.stack([at_low - chord * low, at_high - chord * high])
    under = torch.where(convex, touching, torch.where(concave, ends.amin(0), at_low - flat * low))
    over = torch.where(convex, ends.amax(0), torch.where(concave, touching, at_high - flat * high))
    slack = ROUNDING * (at_low.abs() + at_high.abs() + low.abs() + high.abs()) + curve.off
    return (below, under - slack), (above, over + slack)


def _unpooled(step: Step, weights: Tensor, before: Box) -> tuple[Tensor, Tensor, Tensor]:
    """Back through max pooling: a window is at least its sample with the largest lower end, and at most its largest upper end.

    Returns (weights of the samples, what is added, the largest upper ends); where one sample is certainly the largest, it is the
    window.
    """
    windows, must, _ = windows_of(step, before)
    nowhere = torch.full((1,), -torch.inf, dtype=torch.float64)
    low, high = (torch.cat([end.flatten(), nowhere])[windows] for end in (before.low, before.high))
    first = low.argmax(1, keepdim=True)
    place, sure = windows.gather(1, first)[:, 0], must.gather(1, first)[:, 0] > 0
    flat, largest = weights.flatten(1), high.amax(1)
    kept = torch.where(sure, flat, flat.clamp(min=0))
    part = torch.zeros(len(flat), before.centre.numel(), dtype=torch.float64).index_add_(1, place, kept)
    return part.reshape(len(flat), *step.inputs[0].value.shape), (flat - kept) @ largest, largest


def _open(step: Step, before: Box) -> Tensor:
    """Which values a narrower box could be of use to: those with an open slope; before max pooling those that may be largest."""
    curve = activation(step)
    if curve is not None:
        flat, steep = curve.slopes(before.low, before.high)
        return flat != steep
    windows, must, may = windows_of(step, before)
    undecided = (must != may).flatten()
    count = before.centre.numel()
    places = torch.zeros(count + 1).index_add_(0, windows.flatten(), undecided.float())
    return (places[:count] > 0).reshape(before.centre.shape)


def _add(found: dict[Step, Tensor], step: Step, weights: Tensor) -> None:
    old = found.get(step)
    found[step] = weights if old is None else old + weights


def _lowest(weights: Tensor, box: Box) -> Tensor:
    """The least that weighted sums can be in a box, or at most that in a ball."""
    least = _dot(weights, box.centre) - _dot(weights.abs(), box.radius)
    if isinstance(box, Ball):
        least = torch.maximum(least, _dot(weights, box.middle) - box.reach * weights.flatten(1).norm(dim=1))
    return least


def _dot(weights: Tensor, values: Tensor) -> Tensor:
    return weights.flatten(1) @ values.reshape(-1)


def _most(box: Box) -> Tensor:
    """The largest size that each place can have."""
    return box.centre.abs() + box.radius
