"""What lies between a layer and the one that alone reads it, channel by channel."""

from dataclasses import dataclass
from math import prod
from typing import Any

from faltung.readers import Network, Node

_POSITIVE = ("relu", "leaky_relu")  # f(αx) = α f(x) for α > 0
_GRADES = ("linear", "positive", "any")


@dataclass(frozen=True)
class Way:
    """From one layer to the next, through what treats every channel by itself and all alike.

    Fields:
        last: what reads the result, a convolution without groups or a linear map.   norm: a frozen batch norm on the way.
        kind: what passes a factor: "linear" any, "positive" one above 0, "any" only 1.
        zeros: whether zeros stand beside the results on the way, so that a constant is none at the border.
        columns: inputs of `last` for each channel, more than 1 behind a flattening.
    """

    last: Node
    norm: Node | None
    kind: str
    zeros: bool
    columns: int


def way_from(network: Network, node: Node) -> Way | None:
    """The way from a layer to what alone reads it; None where channels meet, somebody else reads them, or a margin of a number
    other than 0 stands beside them."""
    at, norm, kind, zeros, columns = node, None, 0, False, 1
    while True:
        found = network.reader(at.name)
        if found is None or len(found.inputs) != 1:
            return None
        word = found.word.rpartition(".")[2].rstrip("_")
        if found.op in ("conv", "linear"):
            break
        if found.op == "norm" and at is node and found.settings.get("frozen") and {"mean", "var"} <= set(found.values):
            norm = found
        elif found.op == "activation" and not found.values and not found.parameters:
            kind = max(kind, 1 if word in _POSITIVE else 2)
        elif found.op == "max_pool" or (found.op == "adaptive_pool" and found.settings["function"] == "max"):
            kind = max(kind, 1)
        elif found.op == "adaptive_pool" or (found.op == "reduce" and _over_places(found, at)):
            pass
        elif found.op == "avg_pool":
            zeros = zeros or any(map(any, found.padding))
        elif found.op == "pad" and len(found.padding) <= len(at.shape or ()) - 2:
            if found.boundary == "constant" and found.settings.get("value"):
                return None  # a number beside the results, which no factor and no shift of theirs reaches
            zeros = zeros or found.boundary == "constant"
        elif found.op == "reshape" and word == "flatten" and found.settings.get("start_dim") == 1:
            columns *= prod(n or 0 for n in (at.shape or ())[2:])
        elif found.op != "same":
            return None
        at = found
    if found.op == "conv" and (found.groups != 1 or columns != 1):
        return None
    if found.op == "linear" and len(at.shape or ()) != 2:
        return None
    if found.in_channels != node.out_channels * columns:
        return None
    padded = found.op == "conv" and found.boundary == "constant" and any(map(any, found.padding))
    return Way(found, norm, _GRADES[kind], zeros or padded or found.transposed, columns)


def _over_places(node: Node, before: Node) -> bool:
    """A mean over all spatial axes and nothing else."""
    axes: Any = node.settings.get("axes")
    return node.settings.get("function") == "mean" and tuple(axes) == tuple(range(2, len(before.shape or ())))
