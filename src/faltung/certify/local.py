"""Lipschitz constants near a point: a box around all Jacobians that a network has in a box of inputs."""

import heapq
import itertools
import math
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from faltung.certify.bound import Bound
from faltung.certify.box import Ball, Box
from faltung.certify.capture import Graph, capture
from faltung.certify.jacobians import Backward, backward
from faltung.certify.reach import boxes_by, check_bounds, check_finite
from faltung.certify.relaxed import row_sums
from faltung.certify.search import attained
from faltung.errors import ArgumentError
from faltung.filters.filter import whole
from faltung.readers import undisturbed

NORMS = ("linf", "l2")
METHODS = ("interval", "linear", "bab")


def local_lipschitz(
    model: nn.Module,
    x: Tensor,
    eps: float,
    *,
    norm: str = "linf",
    method: str = "interval",
    bounds: str = "interval",
    outputs: Any = None,
    most_boxes: int = 64,
    ball: str = "linf",
    timeout: float | None = None,
) -> list[Bound]:
    """How much the results can move for inputs within a box or ball around each sample: a bound of all (Clarke) Jacobians there.

    Formula: `sup over ‖x' − x‖ ≤ eps of ‖J(x')‖`. Intervals of all values are carried forwards through the box, which fixes gates
    that cannot switch; the Jacobian is then carried back with an interval for every entry, a gate that may switch counting as
    [0, 1]. `linf`: the norm from l∞ to l∞, the largest row's sum of sizes. `l2`: the spectral norm. Either over a box or over an
    l2 ball: of a ball, values that are linear in the input are bounded by `eps · ‖w‖₂` instead of `eps · ‖w‖₁`, and what follows
    by their boxes.

    Shapes: x (batch, ...); returns a list of `Bound`, one for each sample.

    Args:
        model: maps (batch, ...) to (batch, outputs), of convolutions, linear maps, sums, concatenations, batch normalisation,
            average and max pooling, rectifiers (also leaky), tanh, sigmoid, softplus, ELU. It is left as it was.
        eps: half the width of the box or ball, at least 0 and finite. 0 gives the norm of the gradient (unless a gate sits at
            its kink).
        norm: `linf` or `l2`. Default linf.   outputs: which results count, indices from 0. Default: all.
        method: `interval`; `linear` (linf), which bounds gates by lines in the entries instead of by intervals and is never looser;
            `bab`, which also cuts the box where it helps most and is never looser than that. Default interval.
        bounds: how the values before activations are bounded, which says what gates can do: `interval`, or `crown`, which traces
            them back to the input by lines. `crown` is never looser (for `bab`, within one box) and fixes more gates. Default
            interval.
        most_boxes: how many boxes `bab` looks at. Default 64.
        ball: `linf`, the box; or `l2`. Default linf.
        timeout: seconds after which `bab` cuts no more, for each sample; what it has by then is a bound. Default: none.

    Returns:
        Bounds whose lower ends are norms of Jacobians at points of the box or ball, found by a projected gradient search.

    Raises:
        ArgumentError: a step without a rule (named), another norm, method, bounds or ball, an eps or samples that are not finite,
            outputs that the model does not have, a result that is no (batch, outputs).

    Error: computed in float64; intervals are widened by 1e-13 and the result by 1e-9, relatively. Where a width overflows float64
        the bound is infinite.
    Cost: for each sample and box about two evaluations and two gradients for each output; with `crown` also two gradients, from
        where it stands, for each value whose gate is open; for the lower end some forty of each.
    Source: Shi, Wang, Zhang, Kolter and Hsieh, Efficiently computing local Lipschitz constants of neural networks via bound
        propagation (2022); Zhang et al., RecurJac (2019); Zhang et al., CROWN (2018).

    Example:
        >>> model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> with torch.no_grad():  # |x| made of two rectifiers
        ...     for p, v in zip(model.parameters(), ([[1.0], [-1]], [0.0, 0], [[1.0, 1]], [0.0])):
        ...         _ = p.copy_(torch.tensor(v))
        >>> [round(local_lipschitz(model, torch.tensor([[1.0]]), e)[0].upper, 6) for e in (0.5, 2.0)]
        [1.0, 1.0]
    """
    who = "local_lipschitz"
    if norm not in NORMS or method not in METHODS or (norm == "l2" and method == "linear"):
        raise ArgumentError.of(
            who, "norm linf, or l2 but not by method linear, method interval, linear or bab", f"{norm!r}, {method!r}",
            "choose one of these",
        )  # fmt: skip
    check_bounds(bounds, who)
    if ball not in NORMS:
        raise ArgumentError.of(who, f"a ball among {', '.join(NORMS)}", repr(ball), "choose one of these")
    if not 0 <= eps < math.inf:
        raise ArgumentError.of(who, "eps of at least 0 and finite", repr(eps), "give half the width of the box")
    if timeout is not None and not timeout >= 0:
        raise ArgumentError.of(who, "a timeout of at least 0 seconds", repr(timeout), "leave it out for none")
    most = whole(who, "most_boxes", most_boxes, 1) if method == "bab" else 1
    graph = capture(model, x, who)
    if graph.result.value.ndim != 2:
        raise ArgumentError.of(
            who, "a result (batch, outputs)", f"shape (batch, {tuple(graph.result.value.shape[1:])})", "flatten it"
        )
    check_finite(who, x)
    rows = _chosen(outputs, graph.result.value.shape[1])
    found = []
    with undisturbed(model):
        for sample in x.detach().double().split(1):
            around = Ball.around(sample, eps) if ball == "l2" else Box(sample, torch.full_like(sample, eps))
            until = None if timeout is None else time.monotonic() + timeout
            upper = _searched(graph, around, rows, most, _Way(norm, method != "interval", bounds, until))
            lower = attained(graph, around, rows, norm)
            scope = f"inputs within {eps:g} of the sample, {'in the l2 norm' if ball == 'l2' else 'place by place'}"
            found.append(Bound(lower, upper, method, scope))
    return found


def _chosen(outputs: Any, count: int) -> Tensor:
    """The numbers of the results that count."""
    if outputs is None:
        return torch.arange(count)
    rows = torch.as_tensor(outputs).reshape(-1)
    kinds = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
    if rows.dtype not in kinds or not len(rows) or not bool(((rows >= 0) & (rows < count)).all()):
        raise ArgumentError.of(
            "local_lipschitz", f"outputs among 0 to {count - 1}, at least one", repr(outputs), "leave it out for all"
        )
    return rows.long()


@dataclass(frozen=True)
class _Part:
    """A box of inputs with the bound of the Jacobian's norm and the place to cut it at."""

    box: Box
    bound: float
    cut: int


@dataclass(frozen=True)
class _Way:
    """What is bounded and how: the norm, whether by lines, how the values before activations are bounded, and until when."""

    norm: str
    linear: bool
    bounds: str
    until: float | None


def _searched(graph: Graph, box: Box, rows: Tensor, most: int, way: _Way) -> float:
    """The bound over a box, which is cut in two again and again where the bound is largest."""
    order = itertools.count()
    first = _bounded(graph, box, rows, way)
    queue = [(-first.bound, next(order), first)]
    for _ in range((most - 1) // 2):
        worst = queue[0][2]
        if way.until is not None and time.monotonic() >= way.until:
            break
        if not float(worst.box.radius.flatten()[worst.cut]) > 0:
            break
        heapq.heappop(queue)
        for half in _halves(worst.box, worst.cut):
            part = _bounded(graph, half, rows, way)
            part = _Part(part.box, min(part.bound, worst.bound), part.cut)  # a smaller box has no more
            heapq.heappush(queue, (-part.bound, next(order), part))
    return queue[0][2].bound


def _bounded(graph: Graph, box: Box, rows: Tensor, way: _Way) -> _Part:
    known = backward(graph, box, rows, boxes_by(way.bounds, graph, box, "local_lipschitz"))
    bound = _norm(graph, known, rows, way)
    if way.bounds != "interval" and bool(
        known.end.radius.any()
    ):  # lines and norms of narrower boxes may still be larger
        bound = min(bound, _norm(graph, backward(graph, box, rows), rows, way))
    bound = math.inf if math.isnan(bound) else bound * (1 + 1e-9)
    return _Part(box, bound, int((known.end.radius.sum(0) * box.radius.flatten()).argmax()))


def _norm(graph: Graph, known: Backward, rows: Tensor, way: _Way) -> float:
    jacobian = known.end
    largest = jacobian.centre.abs() + jacobian.radius
    if not bool(largest.isfinite().all()):
        return math.inf
    if way.norm == "linf":
        sums = largest.sum(1)
        if way.linear and bool(jacobian.radius.any()):
            sums = torch.minimum(sums, row_sums(graph, known, rows))
        return float(sums.max())
    around = [torch.linalg.matrix_norm(m, 2) for m in (jacobian.centre, jacobian.radius, largest)]
    return float(torch.minimum(around[0] + around[1], around[2]))


def _halves(box: Box, place: int) -> list[Box]:
    halves = []
    for side in (-1, 1):
        centre, radius = box.centre.clone(), box.radius.clone()
        radius.view(-1)[place] /= 2
        centre.view(-1)[place] += side * radius.view(-1)[place]
        halves.append(replace(box, centre=centre, radius=radius))
    return halves
