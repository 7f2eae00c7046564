"""Whether a map of evidence points at an object: its highest place, and the box around what is high."""

from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError


def pointing_game(heat: Tensor, boxes: Any, tolerance: float = 0.0) -> Tensor:
    """Whether the highest place of each map lies in its object's box, or within some distance of the box's places.

    Shapes: heat (batch, *n); boxes (batch, axes, 2), places from the first on up to before the second; returns (batch), bool.
    Args: tolerance: in places, l∞, at least 0. Of several highest places the first counts. Default 0.
    Raises: ArgumentError: boxes of another shape, without places, or a tolerance below 0.
    Cost: one pass.   Source: Zhang, Lin, Brandt, Shen and Sclaroff, Top-down neural attention by excitation backprop (2016).

    Example:
        >>> heat = torch.tensor([[0.1, 0.9, 0.2]])
        >>> pointing_game(heat, [[[1, 3]]]).tolist(), pointing_game(heat, [[[2, 3]]]).tolist()
        ([True], [False])
    """
    boxes = _boxes(heat, boxes, "pointing_game")
    if not tolerance >= 0:
        raise ArgumentError.of("pointing_game", "a tolerance of at least 0", repr(tolerance), "use 0")
    best = torch.stack(torch.unravel_index(heat.flatten(1).argmax(1), heat.shape[1:]), 1)
    return ((best >= boxes[..., 0] - tolerance) & (best <= boxes[..., 1] - 1 + tolerance)).all(1)


def box_iou(heat: Tensor, boxes: Any, threshold: float = 0.5) -> Tensor:
    """The share of common places of an object's box and the tightest box around all that is high: intersection over union.

    Formula: the box of {p : heat(p) ≥ threshold · max heat}, of a map that is nowhere above 0 nothing. An object counts as found
    from 1/2 on.

    Shapes: heat (batch, *n); boxes (batch, axes, 2) as for `pointing_game`; returns (batch), float64, 0 to 1.
    Args: threshold: above 0, at most 1. Default 0.5.
    Raises: ArgumentError: boxes of another shape, without places, or another threshold.
    Cost: one pass.   Source: Zhou, Khosla, Lapedriza, Oliva and Torralba, Learning deep features for discriminative localization
        (2016).

    Example:
        >>> box_iou(torch.tensor([[0.1, 0.9, 0.6, 0.2]]), [[[1, 4]]]).item() * 3
        2.0
    """
    boxes = _boxes(heat, boxes, "box_iou")
    if not 0 < threshold <= 1:
        raise ArgumentError.of("box_iou", "a threshold above 0 and at most 1", repr(threshold), "use 0.5")
    top = heat.flatten(1).amax(1).reshape(-1, *[1] * (heat.ndim - 1))
    high = (heat >= threshold * top) & (top > 0)
    own, common = torch.ones(len(heat), dtype=torch.float64), torch.ones(len(heat), dtype=torch.float64)
    for axis in range(1, heat.ndim):
        others = tuple(a for a in range(1, heat.ndim) if a != axis)
        line = high.any(others) if others else high
        places = torch.arange(heat.shape[axis], device=heat.device)
        first = torch.where(line, places, heat.shape[axis]).amin(1)
        last = torch.where(line, places + 1, 0).amax(1)
        low, end = boxes[:, axis - 1, 0], boxes[:, axis - 1, 1]
        own = own * (last - first).clamp(min=0).cpu()
        common = common * (torch.minimum(last, end) - torch.maximum(first, low)).clamp(min=0).cpu()
    whole = (boxes[..., 1] - boxes[..., 0]).prod(1).cpu()
    return common / (own + whole - common)


def _boxes(heat: Tensor, boxes: Any, who: str) -> Tensor:
    boxes = torch.as_tensor(boxes, device=heat.device)
    wanted = (len(heat), heat.ndim - 1, 2)
    if heat.ndim < 2 or tuple(boxes.shape) != wanted or not bool((boxes[..., 0] < boxes[..., 1]).all()):
        raise ArgumentError.of(
            who, f"boxes {wanted} with first before last", f"shape {tuple(boxes.shape)}", "give two ends for each axis"
        )
    return boxes
