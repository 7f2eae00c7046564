"""Receptive fields on any graph: the largest and the smallest over all paths, by formula; and a probe that needs no graph."""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung import tools
from faltung.errors import ArgumentError
from faltung.look.demands import Box, Interval, UnknownError, demanded, sizes
from faltung.look.tables import table
from faltung.readers import Network, Node, Traced, arguments, first_tensor, read, replay, undisturbed
from faltung.readers.network import Shape

SHARES = (0.2, 0.3, 0.5, 0.99)
_FAR = 10**6


@dataclass(frozen=True)
class Field:
    """What one result of a layer depends on, an entry for each spatial axis of the input; None where the graph does not say.

    Fields:
        size: places from the first to the last, by the formula that goes on beyond margins.   least: over the shortest path.
        start: the first place that result 0 reads; negative in the margin.   jump: places from one result to the next.
        whole: whether an operation on the way reads the whole axis (attention, a global mean): then size is the input's.
        before: `least` before this layer.   note: why something is not known.
    """

    name: str
    op: str
    size: tuple[int, ...] | None
    least: tuple[int, ...] | None
    start: tuple[int, ...] | None
    jump: tuple[Fraction, ...] | None
    whole: tuple[bool, ...] | None
    before: tuple[int, ...] | None
    note: str = ""


def _words(values: tuple[Fraction, ...] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(map(str, values))


@dataclass(frozen=True)
class Fields:
    """The receptive fields of a network's layers."""

    layers: tuple[Field, ...]
    input_size: tuple[int, ...]

    def __getitem__(self, name: str) -> Field:
        return next(layer for layer in self.layers if layer.name == name)

    @property
    def unproductive(self) -> tuple[str, ...]:
        """Convolutions whose smallest path saw the whole input before them: their taps can only add what is there."""
        return tuple(
            x.name
            for x in self.layers
            if x.op == "conv"
            and x.before is not None
            and all(b >= n for b, n in zip(x.before, self.input_size, strict=True))
        )

    def table(self) -> str:
        """For people."""
        rows = [
            [x.name, x.op, x.size, x.least, _words(x.jump), x.start, x.note] for x in self.layers
        ]  # fmt: skip
        return table(["layer", "op", "field", "least", "jump", "start", "note"], rows)


def receptive_field(source: Any, example: Any = None, *, layers: Any = None) -> Fields:
    """The theoretical receptive field of every convolution and pool of a network, and of its result.

    Every node asks its inputs for what one place of its result reads: a window for convolutions and pools, the inverse of
    one for transposed convolutions, the same places for sums and functions, the whole axis for attention and means. Where
    paths meet again, `size` covers all of them and `least` is the smallest.

    Args:
        source: what `faltung.readers.read` takes; the graph's first input is asked about.   example: the arguments of one call.
        layers: names of nodes instead of convolutions, pools and the result.

    Raises:
        ArgumentError: a network without a graph, or whose first input has no spatial axes.

    Example:
        >>> net = nn.Sequential(nn.Conv1d(1, 1, 3, 2), nn.Conv1d(1, 1, 3))
        >>> receptive_field(net, torch.zeros(1, 1, 16))["1"].size
        (7,)
    """
    network = _one(read(source, example))
    entered = _input(network)
    spatial = len(sizes(entered.shape)) - 2
    kinds = ("conv", "max_pool", "avg_pool", "adaptive_pool")
    wanted = list(layers) if layers is not None else [n.name for n in network.nodes if n.op in kinds]
    wanted += [name for name in network.outputs if name not in wanted] if layers is None else []
    rows = tuple(_field(network, network[name], entered, spatial) for name in wanted)
    return Fields(rows, sizes(entered.shape)[2:])


def _one(network: Network) -> Network:
    """The network for one sample, where the source leaves the number of samples open."""

    def closed(shape: Shape) -> Shape:
        return shape if shape is None or not shape or shape[0] is not None else (1, *shape[1:])

    if not any(n.shape and n.shape[0] is None for n in network.nodes):
        return network
    nodes = (replace(n, shape=closed(n.shape), in_shapes=tuple(map(closed, n.in_shapes))) for n in network.nodes)
    return replace(network, nodes=tuple(nodes))


def _input(network: Network) -> Node:
    if not network.connected or not network.inputs:
        raise ArgumentError.of("receptive_field", "a network with a graph", network.source, "pass an example")
    entered = network[network.inputs[0]]
    if entered.shape is not None and None in entered.shape[2:]:
        raise ArgumentError.of(
            "receptive_field", "an input of known size", f"{entered.shape}", "pass an example of that size"
        )
    if entered.shape is None or len(entered.shape) < 3:
        raise ArgumentError.of(
            "receptive_field", "an input (batch, channels, *n)", f"{entered.shape}", "pass a batch of signals"
        )
    return entered


def _field(network: Network, node: Node, entered: Node, spatial: int) -> Field:
    row = Field(node.name, node.op, None, None, None, None, None, None)
    whole: tuple[bool, ...] = ()
    try:
        shape = sizes(node.shape)
        everything = sizes(entered.shape)[2:]
        middle = tuple(n // 2 for n in shape[2:])
        # Transposed convolutions repeat after as many results as their strides multiply to.
        period = prod(max(n.stride) for n in network.nodes if n.transposed and n.stride) or 1
        found = []
        for least in (False, True):
            near = _extents(reads(network, node.name, middle, least=least)[2:])
            # Far beyond the border a window still reads a window; what reads whole axes is stretched until there.
            far = _extents(reads(network, node.name, tuple(m - period * _FAR for m in middle), least=least)[2:])
            stretched = tuple(f != e or not middle for f, e in zip(far, near, strict=True))
            found.append(tuple(n if w else e for w, e, n in zip(stretched, near, everything, strict=True)))
            whole = stretched if not least else whole
        row = replace(row, size=found[0], least=found[1], whole=whole)
        if len(shape) == spatial + 2:
            first = reads(network, node.name, (0,) * spatial)[2:]
            later = reads(network, node.name, (period,) * spatial)[2:]
            jump = tuple(Fraction(b[0] - a[0], period) for a, b in zip(first, later, strict=True))
            row = replace(row, start=tuple(a for a, _ in first), jump=jump)
        before = reads(
            network, node.inputs[0], tuple(n // 2 for n in sizes(network[node.inputs[0]].shape)[2:]), least=True
        )[2:]
        return replace(row, before=_extents(before))
    except UnknownError as error:
        return replace(row, note=str(error))


def _extents(box: Box) -> tuple[int, ...]:
    return tuple(hi - lo + 1 for lo, hi in box)


def reads(network: Network, name: str, at: tuple[int, ...], *, clip: bool = False, least: bool = False) -> Box:
    """The box of the network's first input that one place of a node's result reads, all channels and samples.

    Args:
        at: the place, an index for each axis behind batch and channels.   clip: stop at the borders of every signal.
        least: over the smallest path instead of all.

    Raises:
        UnknownError: an operation on the way has no rule.   ArgumentError: the node does not read the input.
    """
    entered = _input(network)
    shape = sizes(network[name].shape)
    start: Box = (*((0, n - 1) for n in shape[: len(shape) - len(at)]), *((p, p) for p in at))
    needs: dict[str, Box] = {name: start}
    for node in reversed(network.nodes):
        box = needs.get(node.name)
        if box is None or node.name == entered.name or node.op == "input":
            continue
        for source, part in zip(node.inputs, demanded(node, box, clip), strict=True):
            if part is not None and all(lo <= hi for lo, hi in part):
                needs[source] = _joined(needs.get(source), part, least)
    if entered.name not in needs:
        raise ArgumentError.of("receptive_field", f"a node that reads {entered.name!r}", repr(name), "choose another")
    return needs[entered.name]


def _joined(old: Box | None, new: Box, least: bool) -> Box:
    if old is None:
        return new
    if least:
        return tuple(min(a, b, key=_extent) for a, b in zip(old, new, strict=True))
    return tuple((min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(old, new, strict=True))


def _extent(interval: Interval) -> int:
    return interval[1] - interval[0]


def probed_field(model: nn.Module, inputs: Any, at: tuple[int, ...] | None = None) -> tuple[Interval, ...]:
    """What a result depends on, found by filling parts of the input with NaN: exact for any model, graph or no graph.

    An interval for each spatial axis of the first input: from the first to the last place that reaches the result's place `at`
    (default: the middle). Bisection: about 2 log₂ n calls for each axis. Functions that swallow NaN (a comparison) hide paths.

    Raises:
        ArgumentError: a place outside the result, or a result that does not depend on the input.

    Example:
        >>> probed_field(nn.Conv1d(1, 1, 3, dilation=2, padding=2), torch.zeros(1, 1, 9))
        ((2, 6),)
    """
    first, *rest = arguments(inputs)
    if not isinstance(first, Tensor) or not first.is_floating_point() or first.ndim < 3:
        raise ArgumentError.of(
            "probed_field", "a real tensor (batch, channels, *n)", type(first).__name__, "pass a batch of signals"
        )

    def reached(axis: int, part: slice) -> bool:
        x = torch.zeros_like(first)
        x[(slice(None),) * axis + (part,)] = torch.nan
        y = first_tensor(model(x, *rest))
        if y is None:
            raise ArgumentError.of("probed_field", "a tensor as the result", "none", "wrap the model")
        place = tuple(n // 2 for n in y.shape[2:]) if at is None else at
        if len(place) != y.ndim - 2 or not all(0 <= p < n for p, n in zip(place, y.shape[2:], strict=True)):
            raise ArgumentError.of("probed_field", f"a place inside {tuple(y.shape[2:])}", repr(at), "leave it out")
        return bool(y[(slice(None), slice(None), *place)].isnan().any())

    found = []
    with undisturbed(model), torch.no_grad():
        for axis in range(2, first.ndim):
            n = first.shape[axis]
            if not reached(axis, slice(0, n)):
                raise ArgumentError.of(
                    "probed_field", "a result that depends on the input", "one that does not", "choose another place"
                )
            lo = _bisect(lambda i, a=axis: reached(a, slice(0, i + 1)), n)  # the first i whose prefix reaches
            hi = n - 1 - _bisect(lambda i, a=axis, n=n: reached(a, slice(n - 1 - i, n)), n)
            found.append((lo, hi))
    return tuple(found)


def _bisect(holds: Any, n: int) -> int:
    """The least i for which a condition that stays true holds."""
    low, high = 0, n - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


@dataclass(frozen=True, eq=False)
class EffectiveField:
    """How far a result's dependence reaches in practice.

    Fields:
        field: `faltung.tools.receptive_field`, largest value 1.   sides: of the centred cube that holds each share of it.
        logarithmic: the same of log₁₀(field · scale + 1), the measure of papers on large kernels, scale such that the
        largest is 1.
        spread: standard deviation along each axis, in places.
    """

    field: np.ndarray
    sides: dict[float, int]
    logarithmic: dict[float, int]
    spread: tuple[float, ...]

    def places(self, share: float = 0.99) -> int:
        """The fewest places of the input that hold that share of the field: never more than the theoretical field has."""
        sums = np.sort(self.field, axis=None)[::-1].cumsum()
        return int(np.searchsorted(sums, share * sums[-1] * (1 - 1e-12)) + 1)

    def table(self) -> str:
        """For people."""
        rows = [[share, self.sides[share], self.logarithmic[share]] for share in SHARES]
        return table(["share", "side", "side (log)"], rows) + f"\nspread {', '.join(f'{s:.3g}' for s in self.spread)}"


class _Until(nn.Module):
    """A traced network up to one of its nodes."""

    def __init__(self, found: Traced, layer: str) -> None:
        super().__init__()
        self.found, self.layer = found, layer

    def forward(self, x: Tensor) -> Tensor:
        held: list[Tensor] = []

        def see(name: str, value: Tensor) -> Tensor:
            if name == self.layer:
                held.append(value)
                return value.clone()  # what writes in place writes into the copy
            return value

        self.found.run(x.clone(), see)
        return held[0]


def effective_receptive_field(
    source: Any, inputs: Any, at: tuple[int, ...] | None = None, *, layer: str | None = None
) -> EffectiveField:
    """How much a result moves with each place of the input, and the sides of the squares that hold most of that.

    Args: source, inputs, at: as `faltung.tools.receptive_field`: typical signals, or noise; with `layer` also what
        `faltung.readers.replay` gives of torch's programs.   layer: the name of a node, whose result is looked at; default the
        model's.

    Raises: ArgumentError: no such layer, or one whose result has no spatial axes.

    Source: Luo, Li, Urtasun and Zemel (2016); the logarithmic shares: Ding et al., Scaling up your kernels to 31 × 31 (2022).

    Example:
        >>> box = nn.Conv1d(1, 1, 3, padding=1, bias=False)
        >>> _ = nn.init.constant_(box.weight, 1 / 3)
        >>> round(effective_receptive_field(nn.Sequential(*[box] * 20), torch.randn(1, 1, 101)).spread[0], 4)
        3.6515
    """
    model = source
    if layer is not None:
        found = source if isinstance(source, Traced) else replay(source, inputs)
        if not isinstance(found, Traced) or layer not in found.network:
            known = "none" if found is None else ", ".join(n.name for n in found.network.nodes[:5])
            raise ArgumentError.of(
                "effective_receptive_field", "a layer of a graph of torch's", repr(layer), f"name a node: {known}, ..."
            )
        model = _Until(found, layer)
    with undisturbed(model):
        field = tools.receptive_field(model, inputs, at).double()
    logarithms = torch.log10(9 * field + 1)
    spread, total = [], field.sum()
    for axis, n in enumerate(field.shape):
        line = field.movedim(axis, 0).reshape(n, -1).sum(1) / total
        places = torch.arange(n, dtype=torch.float64, device=field.device)
        spread.append(float((line * (places - (line * places).sum()) ** 2).sum().sqrt()))
    sides = {share: tools.extent(field, share) for share in SHARES}
    logs = {share: tools.extent(logarithms, share) for share in SHARES}
    return EffectiveField(field.cpu().numpy(), sides, logs, tuple(spread))
