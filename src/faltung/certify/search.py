"""Large Jacobians in a box or ball, by a projected gradient search: lower ends of local Lipschitz constants."""

import torch
from torch import Tensor

from faltung.certify.box import Ball, Box
from faltung.certify.capture import Graph
from faltung.certify.jacobians import backward

DRAWS, STEPS = 7, 5


def attained(graph: Graph, region: Box, rows: Tensor, norm: str) -> float:
    """The largest norm of a Jacobian that was met in a box or ball, rounded down: at the sample, at some points drawn in one fixed
    way, and on the ways uphill from the sample and from the best of these.

    Formula: with a row (of l∞) or a pair of vectors (of l2) u, v of the Jacobian at x where uᵀ J v is its norm, the search climbs
    `uᵀ (f(x + h v) − f(x − h v)) / 2h`, h a half of the region. Its gradient, `uᵀ (J(x + h v) − J(x − h v)) / 2h`, sees gates
    that switch, which the slope of ‖J‖ does not: that is 0 for rectifiers.

    Error: rounding can only lower it: every entry of a Jacobian counts with the interval that it lies in.
    Cost: DRAWS + 6 STEPS evaluations, with a gradient for each row; one where the region is a point.
    """
    width = float(region.radius.max())
    middle = region.centre
    best = _jacobian(graph, middle, rows, norm)[1]
    if not width > 0:
        return best
    draw = torch.Generator().manual_seed(0)
    drawn = []
    for _ in range(DRAWS):
        away = 2 * torch.rand(middle.shape, generator=draw, dtype=torch.float64) - 1
        x = _inside(region, middle + width * away)
        drawn.append((_jacobian(graph, x, rows, norm)[1], x))
    top = max(drawn, key=lambda entry: entry[0])
    return max(best, top[0], *(_climbed(graph, region, start, rows, norm) for start in (middle, top[1])))


def _climbed(graph: Graph, region: Box, x: Tensor, rows: Tensor, norm: str) -> float:
    """The largest norm on the way uphill from a point."""
    round_, best = isinstance(region, Ball), 0.0
    stride = float(region.radius.max())
    reach = stride / 2
    for _ in range(STEPS):
        here, low = _jacobian(graph, x, rows, norm)
        left, right = _pair(here, norm)
        along = right.reshape(x.shape)
        along = reach * along / (along.norm() if round_ else along.abs().max()).clamp(min=1e-300)
        ends = [_jacobian(graph, _inside(region, x + side * along), rows, norm) for side in (1, -1)]
        best = max(best, low, *(end[1] for end in ends))
        slope = (left @ (ends[0][0] - ends[1][0])).reshape(x.shape)
        step = slope / slope.norm().clamp(min=1e-300) if round_ else slope.sign()
        x = _inside(region, x + stride * step)
        stride *= 0.7
    return best


def _jacobian(graph: Graph, x: Tensor, rows: Tensor, norm: str) -> tuple[Tensor, float]:
    """The Jacobian at a point, (rows, inputs), and its norm from below."""
    found = backward(graph, Box(x, torch.zeros_like(x)), rows).end
    if not bool(found.high.isfinite().all()):  # what overflowed shows nothing
        return torch.zeros_like(found.centre), 0.0
    if norm == "linf":
        low = float((found.centre.abs() - found.radius).clamp(min=0).sum(1).max())
    else:
        low = float(torch.linalg.matrix_norm(found.centre, 2) - torch.linalg.matrix_norm(found.radius))
    return found.centre, max(low, 0.0) * (1 - 1e-12)


def _pair(jacobian: Tensor, norm: str) -> tuple[Tensor, Tensor]:
    """u and v for which uᵀ J v is the norm of J."""
    if norm == "linf":
        row = jacobian.abs().sum(1).argmax()
        return torch.eye(len(jacobian), dtype=torch.float64)[row], jacobian[row].sign()
    left, _, right = torch.linalg.svd(jacobian, full_matrices=False)
    return left[:, 0], right[0]


def _inside(region: Box, x: Tensor) -> Tensor:
    """The nearest point of a region, for a ball that of its whole."""
    if isinstance(region, Ball):
        away = x - region.middle
        length = float(away.norm())
        return region.middle + away * min(1.0, region.reach * (1 - 1e-12) / max(length, 1e-300))
    return torch.minimum(torch.maximum(x, region.low), region.high)
