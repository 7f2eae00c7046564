"""Where the time of a network can go: operations, bytes, what the machine allows, what was measured, and what the planner
would do."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import inf, prod
from typing import Any

import torch

from faltung.errors import ArgumentError, FaltungError
from faltung.look.counts import Count, counts
from faltung.look.tables import amount, table
from faltung.nn import functional
from faltung.nn.functional.convolution import stated
from faltung.planner import Policy, plan_problem
from faltung.planner.plan import Plan
from faltung.readers import Network, Node, read

_MODES = {"constant": "zeros", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
_CALLS = Policy(calls=10_000)  # as layers plan: a filter's share of the work is done once


@dataclass(frozen=True)
class Roof:
    """What a machine can do at most: operations a second (a multiplication with its addition as two) and bytes a second.

    `balance` is the intensity, operations for each byte, from which on arithmetic and not memory is the limit.
    """

    peak: float
    bandwidth: float
    origin: str = "given"

    @property
    def balance(self) -> float:
        """I* = peak / bandwidth."""
        return self.peak / self.bandwidth

    def attainable(self, intensity: float) -> float:
        """min(1, I / I*): the share of the peak that memory leaves."""
        return min(1.0, intensity / self.balance)


@lru_cache(maxsize=1)
def this_roof() -> Roof:
    """The roof of this machine's processors as torch uses them: the best of a few matrix products and copies."""
    a = torch.ones(768, 768)
    b, c = torch.ones(1 << 24), torch.empty(1 << 24)
    product = min(_timed(lambda: torch.mm(a, a)) for _ in range(7))
    copied = min(_timed(lambda: c.copy_(b)) for _ in range(5))
    return Roof(2 * 768**3 / product, 8 * (1 << 24) / copied, f"measured with {torch.get_num_threads()} threads")


def _timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@dataclass(frozen=True)
class Work:
    """One convolution or linear map under the roof.

    Fields:
        ops: two for each multiplication.   bytes: inputs, result and parameters, each once.   intensity: ops / bytes.
        attainable: share of the peak that memory leaves.   ideal: seconds at the roof.
        method: what the planner picks for these shapes; None where it is no plain convolution.   predicted: its seconds.
        next: the next best method and its predicted seconds.   torch, faltung: measured seconds, None where not asked for.
        efficiency: ops / (peak · measured seconds of torch).
    """

    name: str
    op: str
    ops: int
    bytes: int
    intensity: float
    attainable: float
    ideal: float
    method: str | None
    predicted: float | None
    next: tuple[str, float] | None
    torch: float | None
    faltung: float | None
    efficiency: float | None

    @property
    def speedup(self) -> float | None:
        """Measured seconds of torch over those of faltung."""
        return None if self.torch is None or not self.faltung else self.torch / self.faltung


@dataclass(frozen=True)
class Chain:
    """Layers that one pass could compute: what lies between them would never reach memory.

    Fields:
        names: the layers, convolutions and what is between them.   apart, fused: bytes, one by one and in one pass.
        reread: bytes of the first input that more than one tile reads, for tiles of `tile` results along each axis; part of
            `fused`. Weights are counted once: they stay in a cache.
        halo: how many times the results of earlier layers are computed for these tiles, because neighbouring tiles overlap; 1
            where no kernel has more than one tap.
    """

    names: tuple[str, ...]
    apart: int
    fused: int
    reread: int
    halo: float
    tile: int

    @property
    def saved(self) -> int:
        """Bytes that need not move; below nothing where small tiles of wide kernels read more again than that."""
        return self.apart - self.fused

    @property
    def pays(self) -> bool:
        """Whether one pass moves fewer bytes; more than nothing always where `reread` is nothing."""
        return self.saved > 0


@dataclass(frozen=True)
class Efficiency:
    """A network under the roof."""

    rows: tuple[Work, ...]
    roof: Roof
    chains: tuple[Chain, ...]
    unknown: tuple[str, ...]

    @property
    def attainable(self) -> float:
        """Σ ops / Σ ops · max(1, I* / I): latencies add, so slow layers weigh by their ops and not by their number."""
        slowed = sum(w.ops / w.attainable for w in self.rows if w.attainable > 0)
        return sum(w.ops for w in self.rows) / slowed if slowed else 1.0

    def waterline(self) -> list[tuple[str, int, float, bool]]:
        """(layer, ops, intensity, whether it is under water) in order: bars of width ops and height intensity, water at I*."""
        return [(w.name, w.ops, w.intensity, w.intensity < self.roof.balance) for w in self.rows]

    def gap(self) -> list[tuple[str, float, float | None]]:
        """(layer, ideal seconds without memory, measured seconds): on a log axis their distance is 1 / efficiency."""
        return [(w.name, w.ops / self.roof.peak, w.torch) for w in self.rows]

    def table(self) -> str:
        """For people."""
        header = [
            "layer",
            "op",
            "ops",
            "ops/byte",
            "attainable",
            "plan",
            "predicted ms",
            "torch ms",
            "faltung ms",
            "speed-up",
        ]
        rows = [
            [
                w.name, w.op, amount(w.ops), w.intensity, w.attainable, w.method, _ms(w.predicted), _ms(w.torch),
                _ms(w.faltung), w.speedup,
            ]
            for w in self.rows
        ]  # fmt: skip
        roof = f"roof {amount(self.roof.peak)} ops/s, {amount(self.roof.bandwidth)} B/s, water at {self.roof.balance:.3g} ops/byte"
        end = [f"{roof} ({self.roof.origin}); attainable for all {self.attainable:.3f}"]
        end += [
            f"in one pass: {' + '.join(c.names)}, {amount(abs(c.saved))} B {'less' if c.pays else 'more'}, "
            f"{amount(c.reread)} B read again, halo × {c.halo:.2f}"
            for c in self.chains
        ]
        return "\n".join([table(header, rows), *end, *(f"not known: {name}" for name in self.unknown)])


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def efficiency(
    source: Any,
    example: Any = None,
    *,
    roof: Roof | None = None,
    measure: bool = False,
    repeats: int = 5,
    tile: int = 16,
) -> Efficiency:
    """Every convolution and linear map of a network: its work, its bound, the planner's choice, and measured times if asked
    for.

    Formula: attainable share of the peak E = min(1, I / I*), I = ops / bytes, I* = peak / bandwidth; seconds at the roof
    ops / (peak · E).

    Args:
        source: what `faltung.readers.read` takes.   roof: the machine; measured where left out.   measure: run each convolution
            alone, torch's and ours in turns, medians of `repeats`; noise of the machine is in these numbers.
        tile: results along each axis of the tiles that `Chain.halo` is about.

    Source: Williams, Waterman and Patterson, Roofline (2009); Lavin, On the efficiency of convolutional neural networks
    (2024), for the gap and the waterline.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1, groups=64))
        >>> found = efficiency(net, torch.zeros(1, 64, 28, 28), roof=Roof(1e11, 1e10))
        >>> [row.attainable for row in found.rows] == [1.0, found.rows[1].intensity / 10]
        True
    """
    network = read(source, example)
    found = counts(network)
    roof = roof or this_roof()
    by_name = {row.name: row for row in found.rows}
    rows = [
        _row(node, by_name[node.name], roof, repeats if measure else 0)
        for node in network.nodes
        if node.op in ("conv", "linear") and by_name[node.name].macs and by_name[node.name].bytes
    ]  # fmt: skip
    chains = tuple(_chain(network, names, by_name, tile) for names in _runs(network, by_name))
    return Efficiency(tuple(rows), roof, chains, found.unknown)


def _row(node: Node, count: Count, roof: Roof, repeats: int) -> Work:
    ops, moved = 2 * (count.macs or 0), count.bytes or 1
    attainable = roof.attainable(ops / moved)
    plan = layer_plan(node)
    able = [c for c in plan.candidates if c.refusal is None and c.method.name != plan.method] if plan else []
    others = sorted((c.cost, c.method.name) for c in able)
    plain = node.boundary == "constant" and all(lo == hi for lo, hi in node.padding)
    theirs, ours = measured(node, repeats) if plan and repeats and plain else (None, None)
    return Work(
        node.name, node.op, ops, moved, ops / moved, attainable, ops / (roof.peak * attainable) if attainable else inf,
        plan.method if plan else None, plan.cost if plan else None, (others[0][1], others[0][0]) if others else None,
        theirs, ours, ops / (roof.peak * theirs) if theirs else None,
    )  # fmt: skip


def _settings(node: Node) -> tuple[tuple[int, ...], dict[str, Any]]:
    """The canonical input (batch, channels, *n) of a convolution, and the settings of the call that computes it."""
    shape = tuple(n for n in node.in_shapes[0] or () if n is not None)
    lead = prod(shape[: -node.ndim]) // node.in_channels
    even = all(lo == hi for lo, hi in node.padding)
    padding: Any = tuple(lo for lo, _ in node.padding) if even else node.padding
    how = {"stride": node.stride, "padding": padding, "dilation": node.dilation, "groups": node.groups}
    if node.transposed:
        return (lead, node.in_channels, *shape[-node.ndim :]), {**how, "output_padding": node.output_padding}
    return (lead, node.in_channels, *shape[-node.ndim :]), {**how, "padding_mode": _MODES[node.boundary]}


def layer_plan(node: Node) -> Plan | None:
    """The plan that this library follows for a convolution of a network, for the processor; None where it would not take it."""
    if node.op != "conv" or node.boundary not in _MODES or node.in_shapes[0] is None or None in node.in_shapes[0]:
        return None
    shape, how = _settings(node)
    facts = ((shape, node.dtype, "cpu"), (node.kernel_shape, node.dtype, "cpu"), None)
    options = (how["stride"], how["padding"], how["dilation"], how["groups"], how.get("padding_mode", "zeros"))
    options += (how["output_padding"], None) if node.transposed else ()
    try:
        return plan_problem(stated(node.transposed, facts, options, False), _CALLS)
    except FaltungError:
        return None


def measured(node: Node, repeats: int = 5) -> tuple[float, float]:
    """Seconds of one convolution of a network on noise, torch's and this library's: medians of calls in turns.

    Raises:
        ArgumentError: a boundary that torch's functions do not have, which would be another computation.
    """
    if node.boundary != "constant" or any(lo != hi for lo, hi in node.padding):
        came = f"{node.boundary} {node.padding}"
        raise ArgumentError.of("measured", "margins of zeros, the same on both sides", came, "leave it out")
    shape, how = _settings(node)
    dtype = getattr(torch, node.dtype)
    drawn = torch.Generator().manual_seed(0)
    x, w = (torch.randn(s, generator=drawn).to(dtype) for s in (shape, node.kernel_shape))
    theirs = getattr(torch.nn.functional, f"conv_transpose{node.ndim}d" if node.transposed else f"conv{node.ndim}d")
    ours = functional.conv_transpose if node.transposed else functional.conv
    plain = {k: v for k, v in how.items() if k != "padding_mode"}
    times: tuple[list[float], list[float]] = ([], [])
    with torch.no_grad():
        for turn in range(repeats + 1):
            for kept, call in zip(times, (lambda: theirs(x, w, **plain), lambda: ours(x, w, **how)), strict=True):
                seconds = _timed(call)
                if turn:  # the first warms up
                    kept.append(seconds)
    return statistics.median(times[0]), statistics.median(times[1])


_BETWEEN = ("activation", "norm", "same", "add", "mul", "pad")


def _runs(network: Network, by_name: dict[str, Count]) -> list[list[str]]:
    """Longest chains of convolutions where each result is read by the next alone, with functions between them."""
    readers: dict[str, list[str]] = {node.name: [] for node in network.nodes}
    for node in network.nodes:
        for name in node.inputs:
            readers[name].append(node.name)
    found, seen = [], set()
    for node in network.nodes:
        if node.op != "conv" or node.name in seen:
            continue
        chain, last = [node.name], node.name
        while len(readers[last]) == 1 and last not in network.outputs:
            following = network[readers[last][0]]
            usable = following.op == "conv" or (following.op in _BETWEEN and len(following.inputs) == 1)
            if not usable or (following.op == "norm" and not following.settings.get("frozen")):
                break
            chain.append(following.name)
            last = following.name
        while network[chain[-1]].op != "conv":
            chain.pop()
        if sum(network[name].op == "conv" for name in chain) > 1 and all(by_name[n].bytes for n in chain):
            found.append(chain)
            seen.update(chain)
    return found


def _chain(network: Network, names: list[str], by_name: dict[str, Count], tile: int) -> Chain:
    rows = [by_name[name] for name in names]
    apart = sum(row.bytes or 0 for row in rows)
    read = rows[0].read or 0
    again = _reread([network[name] for name in names], read, tile)
    fused = read + again + (rows[-1].written or 0) + sum(row.weights for row in rows)
    nodes = [network[name] for name in names if network[name].op == "conv"]
    side: list[float] = [float(tile)] * nodes[0].ndim
    most = 1.0
    # From the last to the first: a tile of results needs this many of the layer before, `exact` without overlap of tiles.
    exact = list(side)
    for node in reversed(nodes[1:]):
        for axis, (k, s, d) in enumerate(zip(node.taps, node.stride, node.dilation, strict=True)):
            step = 1 / s if node.transposed else s
            exact[axis] *= step
            side[axis] = side[axis] * step + ((k - 1) * d / s if node.transposed else (k - 1) * d + 1 - s)
        most = max(most, prod(max(a / b, 1.0) for a, b in zip(side, exact, strict=True)))
    return Chain(tuple(names), apart, fused, again, most, tile)


def _reread(nodes: list[Node], read: int, tile: int) -> int:
    """Bytes of the first input that tiles read beyond reading it once: along each axis the sum of what each tile needs.

    A tile's box of places is followed from the last result to the first input, cut to the signal at every layer. Boxes are
    products of intervals, and so is the sum over the tiles of a grid.
    """
    ndim = nodes[0].ndim
    needed = 1
    for axis in range(-ndim, 0):
        size, total = _extent(nodes[-1].shape, axis), 0
        for start in range(0, size, tile):
            first, last = start, min(start + tile, size) - 1
            for node in reversed(nodes):
                first, last = _before(node, axis, first, last)
            total += max(last - first + 1, 0)
        needed *= total
    whole = prod(_extent(nodes[0].in_shapes[0], axis) for axis in range(-ndim, 0))
    return max(0, read // whole * needed - read) if whole else 0


def _extent(shape: tuple[int | None, ...] | None, axis: int) -> int:
    return (shape[axis] or 0) if shape is not None else 0


def _before(node: Node, axis: int, first: int, last: int) -> tuple[int, int]:
    """The places of a node's input, from the first to the last, on which these places of its result depend."""
    end = _extent(node.in_shapes[0], axis) - 1
    if first > last:
        return first, last
    if node.op == "conv":
        (low, _), step, reach = node.padding[axis], node.stride[axis], (node.taps[axis] - 1) * node.dilation[axis]
        if node.transposed:
            first, last = -((reach - first - low) // step), (last + low) // step
        else:
            first, last = first * step - low, last * step - low + reach
    elif node.op == "pad":
        low = node.padding[axis][0] if len(node.padding) >= -axis else 0
        first, last = first - low, last - low
    else:
        return first, last
    if node.boundary == "wrap" and (first < 0 or last > end):  # from both ends
        return 0, min(last - first, end)
    return max(first, 0), min(last, end)
