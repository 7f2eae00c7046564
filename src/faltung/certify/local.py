"""Lipschitz constants near a point: a box around all Jacobians that a network has in a box of inputs."""

import heapq
import itertools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from faltung.certify.bound import Bound
from faltung.certify.box import Box
from faltung.certify.capture import Graph, capture
from faltung.certify.jacobians import Backward, backward
from faltung.certify.reach import boxes_by, check_bounds
from faltung.certify.relaxed import row_sums
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
) -> list[Bound]:
    """How much the results can move for inputs within a box around each sample: a bound of all (Clarke) Jacobians there.

    Formula: `sup over |x' − x| ≤ eps of ‖J(x')‖`. Intervals of all values are carried forwards through the box, which fixes gates
    that cannot switch; the Jacobian is then carried back with an interval for every entry, a gate that may switch counting as
    [0, 1]. `linf`: the norm from l∞ to l∞, the largest row's sum of sizes. `l2`: the spectral norm, over the same box.

    Shapes: x (batch, ...); returns a list of `Bound`, one for each sample.

    Args:
        model: maps (batch, ...) to (batch, outputs), of convolutions, linear maps, sums, concatenations, batch normalisation,
            average and max pooling, rectifiers (also leaky), tanh, sigmoid, softplus, ELU. It is left as it was.
        eps: half the width of the box, at least 0. 0 gives the norm of the gradient itself (unless a gate sits at its kink).
        norm: `linf` or `l2`. Default linf.   outputs: which results count, indices. Default: all.
        method: `interval`; `linear` (linf), which bounds gates by lines in the entries instead of by intervals and is never looser;
            `bab`, which also cuts the box where it helps most and is never looser than that. Default interval.
        bounds: how the values before activations are bounded, which says what gates can do: `interval`, or `crown`, which traces
            them back to the input by lines. `crown` is never looser (for `bab`, within one box) and fixes more gates. Default
            interval.
        most_boxes: how many boxes `bab` looks at. Default 64.

    Returns:
        Bounds whose lower ends are norms of Jacobians at points of the box.

    Raises:
        ArgumentError: a step without a rule (named), another norm, method or bounds, a result that is no (batch, outputs).

    Error: computed in float64; intervals are widened by 1e-13 and the result by 1e-9, relatively.
    Cost: for each sample and box about two evaluations and two gradients for each output; with `crown` also two gradients, from
        where it stands, for each value whose gate is open.
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
    if not eps >= 0:
        raise ArgumentError.of(who, "eps of at least 0", repr(eps), "give half the width of the box")
    most = whole(who, "most_boxes", most_boxes, 1) if method == "bab" else 1
    graph = capture(model, x, who)
    if graph.result.value.ndim != 2:
        raise ArgumentError.of(
            who, "a result (batch, outputs)", f"shape (batch, {tuple(graph.result.value.shape[1:])})", "flatten it"
        )
    rows = torch.arange(graph.result.value.shape[1]) if outputs is None else torch.as_tensor(outputs).reshape(-1)
    found = []
    with undisturbed(model):
        for sample in x.detach().double().split(1):
            around = Box(sample, torch.full_like(sample, eps))
            upper = _searched(graph, around, rows, most, _Way(norm, method != "interval", bounds))
            lower = _attained(model, sample, eps, rows, norm)
            scope = f"inputs within {eps:g} of the sample, place by place"
            found.append(Bound(lower, upper, method, scope))
    return found


@dataclass(frozen=True)
class _Part:
    """A box of inputs with the bound of the Jacobian's norm and the place to cut it at."""

    box: Box
    bound: float
    cut: int


@dataclass(frozen=True)
class _Way:
    """What is bounded and how: the norm, whether by lines, and how the values before activations are bounded."""

    norm: str
    linear: bool
    bounds: str


def _searched(graph: Graph, box: Box, rows: Tensor, most: int, way: _Way) -> float:
    """The bound over a box, which is cut in two again and again where the bound is largest."""
    order = itertools.count()
    first = _bounded(graph, box, rows, way)
    queue = [(-first.bound, next(order), first)]
    for _ in range((most - 1) // 2):
        worst = queue[0][2]
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
    return _Part(box, bound * (1 + 1e-9), int((known.end.radius.sum(0) * box.radius.flatten()).argmax()))


def _norm(graph: Graph, known: Backward, rows: Tensor, way: _Way) -> float:
    jacobian = known.end
    largest = jacobian.centre.abs() + jacobian.radius
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
        halves.append(Box(centre, radius))
    return halves


def _attained(model: nn.Module, sample: Tensor, eps: float, rows: Tensor, norm: str) -> float:
    """The largest norm of a Jacobian at the sample and at some points of the box, drawn in one fixed way."""
    kind = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    draw = torch.Generator().manual_seed(0)
    best = 0.0
    for number in range(8):
        away = (
            torch.zeros_like(sample)
            if number == 0
            else eps * (2 * torch.rand(sample.shape, generator=draw).double() - 1)
        )
        x = (sample + away).to(kind).requires_grad_()
        with torch.enable_grad():
            y = model(x)[0][rows]
            jacobian = torch.stack([torch.autograd.grad(v, x, retain_graph=True)[0].flatten() for v in y]).double()
        best = max(
            best, float(jacobian.abs().sum(1).max() if norm == "linf" else torch.linalg.matrix_norm(jacobian, 2))
        )
    return best
