"""Intervals around every entry of the Jacobians of a network, step by step backwards through its graph."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from faltung.certify.box import POOLS, Box, activation, boxes, linear_maps, name_of
from faltung.certify.capture import Graph, Step


@dataclass(frozen=True, eq=False)
class Backward:
    """What is known of a graph over a box of inputs.

    Fields: values, the box of each step.   adjoints: for each step on the way to the result, intervals around the derivatives of
        some results with respect to it, (rows, *its shape).   end: those of the input, (rows, inputs).
    """

    values: dict[Step, Box]
    adjoints: dict[Step, Box]
    end: Box


def backward(graph: Graph, box: Box, rows: Tensor, values: dict[Step, Box] | None = None) -> Backward:
    """Intervals around every entry of the Jacobians that a graph has in a box of inputs, of some of its results.

    Args: values: the boxes of the steps, where they are known. Default: by intervals.
    """
    values = boxes(graph, box, "local_lipschitz") if values is None else values
    count, outputs = len(rows), graph.result.value.shape[1]
    start = torch.zeros(count, outputs, dtype=torch.float64)
    start[torch.arange(count), rows] = 1
    found: dict[Step, Box] = {
        graph.result: Box(start.reshape(count, *graph.result.value.shape), torch.zeros(count, 1, outputs).double())
    }
    for step in reversed(graph.steps[1:]):
        after = found.get(step)
        if after is None:
            continue
        maps, curve = linear_maps(step), activation(step)
        if maps is not None:
            for source, apply, sizes in maps:
                _add(found, source, Box(pulled(apply, source, after.centre), pulled(sizes, source, after.radius)))
        elif curve is not None:
            source = step.inputs[0]
            _add(found, source, _gated(after, *curve.slopes(values[source].low, values[source].high)))
        elif name_of(step) in POOLS:
            _add(found, step.inputs[0], _unpooled(step, after, values[step.inputs[0]]))
    zero = torch.zeros(count, *graph.source.value.shape, dtype=torch.float64)
    end = found.get(graph.source, Box(zero, zero))
    return Backward(values, found, Box(end.centre.flatten(1), end.radius.flatten(1)))


def _add(found: dict[Step, Box], step: Step, box: Box) -> None:
    old = found.get(step)
    found[step] = box if old is None else Box(old.centre + box.centre, old.radius + box.radius)


def pulled(apply: Any, source: Step, rows: Tensor) -> Tensor:
    """The adjoint of a linear map, row by row."""
    with torch.enable_grad():
        at = torch.zeros(source.value.shape, dtype=torch.float64).requires_grad_()
        result = apply(at)
        (pulled,) = torch.autograd.grad(result, at, rows.reshape(len(rows), *result.shape), is_grads_batched=True)
    return pulled


def _gated(rows: Box, least: Tensor, most: Tensor) -> Box:
    """Entries between low and high, times a slope between least and most (which are not negative)."""
    low, high = rows.low, rows.high
    return _exact(torch.minimum(low * least, low * most), torch.maximum(high * least, high * most))


def _exact(low: Tensor, high: Tensor) -> Box:
    """From two ends; where they are equal the radius is 0."""
    return Box((low + high) / 2, (high - low) / 2)


def windows_of(step: Step, before: Box) -> tuple[Tensor, Tensor, Tensor]:
    """The windows of a max pooling: the samples of each, as flat numbers (windows, places), one past the last for the margin; and
    between which numbers each sample's gate lies: it may be the largest (0 to 1), must be (1), or cannot be (0)."""
    size = step.inputs[0].value.shape
    kernel = list(step.get("kernel_size"))
    ndim = len(kernel)

    def each(name: str, usual: Any) -> list[int]:
        given = step.get(name) or usual
        given = list(given) if isinstance(given, (list, tuple)) else [given]
        return given * ndim if len(given) == 1 else given

    kernel = kernel * ndim if len(kernel) == 1 else kernel
    stride, padding, dilation = each("stride", kernel), each("padding", 0), each("dilation", 1)
    count = before.centre.numel()
    index = torch.arange(count).reshape(size)
    reaches = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    around: list[int] = []
    for axis in reversed(range(ndim)):
        n, m = size[axis - ndim], step.value.shape[axis - ndim]
        # the last window may reach beyond the margin, where ceil_mode asks for it
        beyond = (m - 1) * stride[axis] + reaches[axis] - n - 2 * padding[axis]
        around += [padding[axis], padding[axis] + max(beyond, 0)]
    index = torch.nn.functional.pad(index, around, value=count)
    for axis, reach in enumerate(reaches):
        index = index.unfold(2 + axis, reach, stride[axis])[..., :: dilation[axis]]
    windows = index.flatten(-ndim).flatten(0, -2)  # (windows, places)
    nowhere = torch.full((1,), -torch.inf, dtype=torch.float64)
    low, high = (torch.cat([end.flatten(), nowhere])[windows] for end in (before.low, before.high))
    # written so that what overflowed to NaN counts as open, not as closed
    may = (~(high < low.amax(1, keepdim=True))).double() * (windows < count)
    top = high.topk(min(2, high.shape[1]), 1).values
    rival = (
        torch.where(high == top[:, :1], top[:, -1:], top[:, :1])
        if high.shape[1] > 1
        else torch.full_like(high, -torch.inf)
    )
    return windows, (low > rival).double(), may


def _unpooled(step: Step, rows: Box, before: Box) -> Box:
    """Back through max pooling."""
    size, count = step.inputs[0].value.shape, before.centre.numel()
    windows, must, may = windows_of(step, before)
    part = _gated(Box(rows.centre.flatten(1)[..., None], rows.radius.flatten(1)[..., None]), must, may)
    where = windows.flatten().expand(len(rows.centre), -1)
    ends = [
        torch.zeros(len(rows.centre), count + 1, dtype=torch.float64).scatter_add(1, where, v.flatten(1))
        for v in (part.centre, part.radius)
    ]
    return Box(*(end[:, :count].reshape(-1, *size) for end in ends))
