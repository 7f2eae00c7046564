"""The gains of every convolution of a network: how much it can stretch and squeeze signals, and at which frequencies."""

from dataclasses import dataclass
from math import inf, nan, pi
from typing import Any

import numpy as np

from faltung.errors import ArgumentError
from faltung.filters.between import between
from faltung.filters.symbol import Symbol
from faltung.look.singular import grid_values, singular_values
from faltung.look.tables import table
from faltung.readers import Network, Node, read

_WORK = 3e9  # multiplications that the singular values of one layer may take before the grid is made coarser


@dataclass(frozen=True)
class Gains:
    """The gains of one convolution on a grid of frequencies; every number is that of `Symbol` for the layer's kernel.

    Fields:
        largest, smallest: singular values over the grid: exact for signals of that size on a circle.   upper: no signal of any
            size, padded with zeros or not, is stretched further.   condition: largest / smallest.   rank: stable rank, Σσ² /
            σ₁² averaged over frequencies.   at: the frequency of the largest, radians for each result.   dc, nyquist:
            largest gain of constants and of checkerboards.   grid: results along each axis.
    """

    name: str
    shape: tuple[int, ...]
    largest: float
    smallest: float
    upper: float
    condition: float
    rank: float
    at: tuple[float, ...]
    dc: float
    nyquist: float
    grid: tuple[int, ...]


def _turns(at: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(round(w / pi, 3) for w in at)


@dataclass(frozen=True)
class GainTable:
    """The gains of a network's convolutions."""

    layers: tuple[Gains, ...]
    skipped: tuple[str, ...] = ()

    def table(self) -> str:
        """For people."""
        header = [
            "layer",
            "kernel",
            "largest",
            "at most",
            "smallest",
            "condition",
            "rank",
            "at / π",
            "constants",
            "checkers",
        ]
        rows = [
            [x.name, x.shape, x.largest, x.upper, x.smallest, x.condition, x.rank, _turns(x.at), x.dc, x.nyquist]
            for x in self.layers
        ]  # fmt: skip
        return "\n".join([table(header, rows), *(f"skipped: {s}" for s in self.skipped)])


def gains(symbol: Symbol, n: int | tuple[int, ...] | None = None, name: str = "") -> Gains:
    """The gains of one symbol.

    Formula: singular values of the blocks F(2πj / n). Above them, for any signal, the largest times `faltung.filters.between`.

    Args:
        n: results along each axis; default 32 for one axis, 16 for two and 8 for three, at least twice the kernel's taps, fewer
            where the channels are many.

    Error: `largest` is the value on the grid; the supremum lies between it and `upper`.
    Cost: nᴰ / 2 singular value decompositions of out / groups × in / groups · ∏ stride, for each group.
    Source: that of `faltung.filters.between` for the factor.

    Example:
        >>> gains(Symbol(np.array([[[-1.0, 2.0, -1.0]]])), 8).largest
        4.0
    """
    phases = symbol.polyphase()
    grid = _grid(symbol, phases.size, n)
    indices, counts, values = grid_values(phases, grid)
    top = values[..., 0]
    peak = float(top.max())
    where = indices[np.unravel_index(int(top.argmax()), top.shape)[1]].tolist()
    at = tuple(
        float((2 * pi * j / m + pi) % (2 * pi) - pi) if 2 * j != m else pi for j, m in zip(where, grid, strict=True)
    )
    factor = between(phases.size, grid)
    low = float(values[..., -1].min()) if values.shape[-1] == min(phases.channels) else nan
    powers = (values**2).sum(-1)
    # Of all groups and frequencies; where a block is zero it has no rank.
    shares = np.broadcast_to(counts, top.shape)[top > 0]
    ranks = powers[top > 0] / top[top > 0] ** 2
    plain = all(s == 1 for s in symbol.stride)
    constants, checkers = (_of_grid(top, indices, grid, turn) if plain else None for turn in (0, 2))
    return Gains(
        name, tuple(symbol.weight.shape), peak, low, peak * factor, peak / low if low > 0 else inf,
        float(np.average(ranks, weights=shares)) if ranks.size else 0.0, at,
        _norm(symbol.dc()) if constants is None else constants, _norm(symbol.nyquist()) if checkers is None else checkers, grid,
    )  # fmt: skip


def _of_grid(top: np.ndarray, indices: np.ndarray, grid: tuple[int, ...], turn: int) -> float | None:
    """The largest gain at frequency 0 (turn 0) or π along all axes (turn 2), where the grid has it."""
    if turn and any(n % 2 for n in grid):
        return None
    wanted = [n // turn if turn else 0 for n in grid]
    return float(top[:, (indices == wanted).all(1)].max())


def _norm(blocks: Any) -> float:
    return float(singular_values(np.asarray(blocks)).max())


def _grid(symbol: Symbol, taps: tuple[int, ...], n: int | tuple[int, ...] | None) -> tuple[int, ...]:
    if n is not None:
        return (n,) * symbol.ndim if isinstance(n, int) else tuple(n)
    rows, columns = symbol.polyphase().channels
    work = symbol.groups * rows * columns * min(rows, columns) * 8
    usual = {1: 32, 2: 16, 3: 8}.get(symbol.ndim, 4)
    chosen = []
    for k in taps:
        least = 2 * (k // 2) + 2
        size = max(usual, 1 << (2 * k - 1).bit_length())
        while size > least and work * size**symbol.ndim / 2 > _WORK:
            size -= 2
        chosen.append(max(size, least))
    return tuple(chosen)


def symbol_of(node: Node, gamma: np.ndarray | None = None) -> Symbol:
    """The symbol of a network's convolution; a norm behind it folded into the kernel where its factors are given.

    Raises:
        ArgumentError: a node whose kernel is not known, or none of a convolution.
    """
    if node.op != "conv" or node.kernel is None:
        raise ArgumentError.of(
            "symbol_of",
            "a convolution with a known kernel",
            f"{node.name}: {node.note or node.op}",
            "read it with its weights",
        )
    weight = node.kernel.astype(np.float64)
    if gamma is not None:
        scale = gamma.reshape(node.groups, -1) if node.transposed else gamma
        if node.transposed:  # (in, out / groups, *k): the outputs of each group
            rows = weight.reshape(node.groups, -1, *weight.shape[1:])
            weight = (rows * scale.reshape(node.groups, 1, -1, *(1,) * node.ndim)).reshape(weight.shape)
        else:
            weight = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
    return Symbol(weight, node.stride, node.dilation, node.groups, node.transposed)


def folded_scale(network: Network, node: Node) -> np.ndarray | None:
    """γ / √(var + eps) of a frozen batch norm that alone reads a layer's result; None where there is none."""
    norm = network.reader(node.name)
    if norm is None or norm.op != "norm" or not norm.settings.get("frozen") or "var" not in norm.values:
        return None
    return norm.values.get("gamma", np.ones_like(norm.values["var"])) / np.sqrt(
        norm.values["var"] + norm.settings["eps"]
    )


def spectrum(
    source: Any, example: Any = None, *, n: int | tuple[int, ...] | None = None, fold: bool = False
) -> GainTable:
    """The gains of every convolution of a network.

    Args:
        source: what `faltung.readers.read` takes; files without a graph do not say strides, so their layers are skipped.
        n: the grid, see `gains`.   fold: batch norms behind convolutions are part of their kernels. Default False.

    Example:
        >>> layer = nn.Conv1d(1, 1, 3, bias=False)
        >>> _ = nn.init.constant_(layer.weight, 1.0)
        >>> spectrum(layer, torch.zeros(1, 1, 9)).layers[0].dc
        3.0
    """
    network = read(source, example)
    rows, skipped = [], []
    for node in network.once(network.convolutions):
        if node.op != "conv" or node.kernel is None or not np.isfinite(node.kernel).all():
            skipped.append(f"{node.name}: {node.note or 'numbers that are not finite'}")
            continue
        rows.append(gains(symbol_of(node, folded_scale(network, node) if fold else None), n, node.name))
    return GainTable(tuple(rows), tuple(skipped))
