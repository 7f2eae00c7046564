"""Between which numbers a model's results lie while its input moves within a box."""

import torch
from torch import Tensor, nn

from faltung.certify.box import Ball, Box, boxes
from faltung.certify.capture import Graph, Step, capture
from faltung.certify.crown import crown_boxes
from faltung.errors import ArgumentError

BOUNDS = ("interval", "crown")


def interval(model: nn.Module, low: Tensor, high: Tensor, *, bounds: str = "interval") -> tuple[Tensor, Tensor]:
    """Between which numbers a model's results lie while each input lies between two: interval arithmetic, centre and radius.

    Formula: a linear step maps centres as it is and radii with the sizes of its weights; nondecreasing steps map both ends. With
    `crown` results, and values before activations, are also traced back to the input by lines below and above activations.

    Shapes: low, high (batch, ...); returns two tensors like the result, float64.
    Args:
        model: of the steps that `local_lipschitz` knows; left as it was.
        bounds: `interval`, or `crown`, which is never wider and often much narrower. Default interval.
    Raises:
        ArgumentError: a step without a rule (named), ends of different shapes, crossed or not finite, other bounds.
    Error: computed in float64, widened by 1e-13.
    Cost: about two evaluations for each sample; with `crown` also two gradients for each value whose gate is open.
    Source: Gowal et al., On the effectiveness of interval bound propagation for training verifiably robust models (2018); Zhang
        et al., Efficient neural network robustness certification with general activation functions (2018).

    Example:
        >>> ends = interval(nn.ReLU(), torch.tensor([[-1.0, 2.0]]), torch.tensor([[1.0, 3.0]]))
        >>> [end.round(decimals=6).tolist() for end in ends]
        [[[-0.0, 2.0]], [[1.0, 3.0]]]
    """
    who = "interval"
    check_bounds(bounds, who)
    if low.shape != high.shape or not bool((low <= high).all()):
        raise ArgumentError.of(
            who, "ends of one shape, low at most high", f"{tuple(low.shape)}, {tuple(high.shape)}", "order them"
        )
    graph = capture(model, low, who)
    check_finite(who, low)
    check_finite(who, high)
    ends = zip(low.detach().double().split(1), high.detach().double().split(1), strict=True)
    found = [boxes_by(bounds, graph, Box.between(a, b), who, result=True)[graph.result] for a, b in ends]
    return torch.cat([box.low for box in found]), torch.cat([box.high for box in found])


def check_bounds(bounds: str, who: str) -> None:
    """Refuse what is no way to find boxes."""
    if bounds not in BOUNDS:
        raise ArgumentError.of(who, f"bounds among {', '.join(BOUNDS)}", repr(bounds), "choose one of these")


def check_finite(who: str, x: Tensor) -> None:
    """Refuse samples with NaN or infinity: no comparison with them says anything, so that no bound could be trusted."""
    if not bool(x.isfinite().all()):
        count = int((~x.isfinite()).sum())
        raise ArgumentError.of(who, "finite samples", f"NaN or infinity at {count} places", "look at the input")


def boxes_by(bounds: str, graph: Graph, box: Box, who: str, result: bool = False) -> dict[Step, Box]:
    """The boxes of all steps, found one way or the other."""
    if bounds == "crown":
        return crown_boxes(graph, box, who, result=result)
    return crown_boxes(graph, box, who, straight=True) if isinstance(box, Ball) else boxes(graph, box, who)
