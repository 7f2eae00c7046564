"""Ranges of weights and values: how near to overflow in narrow types, how unequal channels are, what eight bits would lose."""

from dataclasses import dataclass
from math import inf, log10, nan
from typing import Any

import numpy as np
import torch

from faltung.look.tables import table
from faltung.readers import Network, Node, read, replay

HALF_LARGEST = 65504.0
BFLOAT_LARGEST = (2 - 2.0**-7) * 2.0**127


@dataclass(frozen=True)
class Ranges:
    """The numbers of one layer; None where they are not known.

    Fields:
        weight: largest |weight|.   unequal: largest over smallest of the outputs' ranges, dead ones left out.   bits8:
            signal to quantisation noise in dB of weights in eight bits, one scale an output, a scale for all in `bits8_whole`.
        value: largest |value| of the result on the example.   margin: 65504 over it: below 2 half precision is in danger.
        margin_bfloat: the largest of bfloat16, about 3.4e38, over it.
        value_unequal: of the result's channels.   broken: values that are not finite.   tiny: share of values other than 0
            that half precision would make 0 or subnormal.
    """

    name: str
    op: str
    weight: float | None
    unequal: float | None
    bits8: float | None
    bits8_whole: float | None
    value: float | None
    margin: float | None
    value_unequal: float | None
    broken: int | None
    tiny: float | None
    margin_bfloat: float | None = None


@dataclass(frozen=True)
class RangeTable:
    """The ranges of a network."""

    layers: tuple[Ranges, ...]

    def table(self) -> str:
        """For people."""
        header = [
            "layer",
            "op",
            "|w|",
            "w unequal",
            "int8 dB",
            "int8 dB (one scale)",
            "|y|",
            "half margin",
            "bfloat margin",
            "y unequal",
            "broken",
            "tiny",
        ]
        rows = [
            [x.name, x.op, x.weight, x.unequal, x.bits8, x.bits8_whole, x.value, x.margin, x.margin_bfloat, x.value_unequal,
             x.broken, x.tiny]
            for x in self.layers
        ]  # fmt: skip
        return table(header, rows)


def channel_ratio(ranges: Any) -> float:
    """The largest over the smallest of channels' ranges, those of nothing left out; NaN without any."""
    alive = np.asarray(ranges, float)
    alive = alive[alive > 0]
    return float(alive.max() / alive.min()) if alive.size else nan


def quantisation_sqnr(w: Any, bits: int = 8, per_channel: bool = True) -> float:
    """Signal to noise in dB of a kernel in so many bits, symmetric, rounded to nearest, scaled by its largest tap.

    Shapes: w (out, ...).   Returns: inf where nothing is lost.

    Example:
        >>> quantisation_sqnr(np.array([[127.0, 1.0], [254.0, 2.0]]))
        inf
    """
    w = np.asarray(w, np.float64)
    flat = w.reshape(len(w), -1) if per_channel else w.reshape(1, -1)
    top = np.abs(flat).max(1, keepdims=True, initial=0.0)
    step = np.where(top > 0, top, 1) / (2 ** (bits - 1) - 1)
    noise = ((np.round(flat / step) * step - flat) ** 2).sum()
    power = (flat**2).sum()
    return nan if power == 0 else inf if noise <= 1e-28 * power else 10 * log10(power / noise)


def ranges(source: Any, example: Any = None) -> RangeTable:
    """The ranges of every layer with weights, and of every result if what can run comes with an example.

    Args:
        source: what `faltung.readers.read` takes.   example: the arguments of one call, typical data.

    Example:
        >>> net = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU())
        >>> [row.name for row in ranges(net, torch.ones(1, 1, 9)).layers]
        ['0', '1']
    """
    found = None if example is None else replay(source, example)
    network: Network = read(source, example) if found is None else found.network
    values = {} if found is None else found.values(example, [n.name for n in network.nodes])
    rows = [_row(node, values.get(node.name)) for node in network.nodes if node.op != "input"]
    return RangeTable(tuple(row for row in rows if row.weight is not None or row.value is not None))


def _row(node: Node, value: torch.Tensor | None) -> Ranges:
    w = node.filters
    weight = unequal = eight = whole = None
    if w is not None and w.size and np.isfinite(w).all():
        w = w.astype(np.float64)
        each = np.abs(w.reshape(len(w), -1)).max(1)
        weight, unequal = float(each.max()), channel_ratio(each)
        eight, whole = quantisation_sqnr(w), quantisation_sqnr(w, per_channel=False)
    if value is None or not value.is_floating_point() or not value.numel():
        return Ranges(node.name, node.op, weight, unequal, eight, whole, None, None, None, None, None)
    y = value.detach().double()
    finite = y.isfinite()
    size = torch.where(finite, y.abs(), 0)
    largest = float(size.max())
    channels = size.transpose(0, 1).flatten(1).amax(1) if y.ndim > 1 else size
    alive = size > 0
    tiny = float(((size < 2**-14) & alive).sum() / alive.sum()) if alive.any() else 0.0
    return Ranges(
        node.name, node.op, weight, unequal, eight, whole, largest, HALF_LARGEST / largest if largest else inf,
        channel_ratio(channels.cpu().numpy()), int((~finite).sum()), tiny,
        BFLOAT_LARGEST / largest if largest else inf,
    )  # fmt: skip
