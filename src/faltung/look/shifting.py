"""What happens to a network's answers when its input moves, and what its margins do; `certify.equivariance` measures any group."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError
from faltung.look.tables import table
from faltung.readers import first_tensor, replay, undisturbed


@dataclass(frozen=True)
class Consistency:
    """How steady the answers are under shifts.

    Fields:
        agree: share of pairs of shifted samples with the same largest output.   deviation: standard deviation of the outputs
            over shifts, relative to their size.   pairs: how many were compared.   kind: "crop" or "circular".
    """

    agree: float
    deviation: float
    pairs: int
    kind: str

    def table(self) -> str:
        """For people."""
        return table(["shifts", "pairs", "agree", "deviation"], [[self.kind, self.pairs, self.agree, self.deviation]])


def shift_consistency(
    model: Callable[[Tensor], Any], x: Tensor, *, crop: Any = None, most: int = 32, pairs: int = 8, seed: int = 0
) -> Consistency:
    """How often a classifier's answer stays the same when its input moves.

    With `crop` each pair are two windows of that size at random offsets below `most`, as with photographs; without, the samples
    are rolled by whole places, which for a network that is circular throughout changes nothing.

    Shapes: x (batch, channels, *n), larger than crop by most − 1 along each axis.   The model returns (batch, classes).

    Args:
        model: a module, which is called in evaluation mode and left as it is, or any function.
        crop: a size, or one for each axis.   most: offsets are 0 to most − 1. Default 32.   pairs: for each sample. Default 8.
        seed: of the offsets; the global random numbers are left alone.

    Raises:
        ArgumentError: samples too small for the crops, or results that are no classes.   DtypeError: complex scores.

    Source: Zhang, Making convolutional networks shift-invariant again (2019).

    Example:
        >>> net = nn.Sequential(nn.Conv1d(1, 3, 3, padding=1, padding_mode="circular"), nn.AdaptiveAvgPool1d(1), nn.Flatten())
        >>> shift_consistency(net, torch.randn(4, 1, 16)).agree
        1.0
    """
    ndim, rng = x.ndim - 2, np.random.default_rng(seed)
    sizes = None if crop is None else tuple(np.broadcast_to(crop, ndim).tolist())
    if (
        ndim < 1
        or pairs < 1
        or (sizes is not None and any(n < c + most - 1 for n, c in zip(x.shape[2:], sizes, strict=True)))
    ):
        raise ArgumentError.of(
            "shift_consistency",
            f"samples at least {most - 1} larger than {sizes}",
            f"{tuple(x.shape)}",
            "take a smaller crop",
        )
    agree, spread, size = 0, 0.0, 0.0
    alone = undisturbed(model) if isinstance(model, nn.Module) else nullcontext()
    with alone, torch.no_grad():
        for _ in range(pairs):
            first, second = (
                classes("shift_consistency", model(windows(x, sizes, rng.integers(0, most, ndim).tolist())))
                for _ in range(2)
            )
            agree += int((first.argmax(1) == second.argmax(1)).sum())
            spread += (
                float(((first - second).double() ** 2).sum()) / 2
            )  # the variance of a pair is half its squared difference
            size += float((first.double() ** 2).sum() + (second.double() ** 2).sum()) / 2
    return Consistency(
        agree / (pairs * len(x)),
        (spread / size) ** 0.5 if size else 0.0,
        pairs * len(x),
        "circular" if crop is None else "crop",
    )


def windows(x: Tensor, sizes: tuple[int, ...] | None, offsets: Sequence[int]) -> Tensor:
    """Windows of these sizes from these places on, or all of the samples rolled by as much: always a copy."""
    if sizes is None:
        return torch.roll(x, tuple(offsets), tuple(range(2, x.ndim)))
    # A model may begin by an operation in place, and the samples are not its own.
    return x[(..., *(slice(o, o + n) for o, n in zip(offsets, sizes, strict=True)))].clone()


def classes(who: str, result: Any) -> Tensor:
    """The scores (batch, classes) that a classifier returned."""
    y = first_tensor(result)
    if y is None or y.ndim != 2:
        came = "none" if y is None else f"shape {tuple(y.shape)}"
        raise ArgumentError.of(who, "a result (batch, classes)", came, "wrap the model")
    if y.is_complex():
        raise DtypeError.of(who, "scores that are real numbers", f"{y.dtype}", "take their real parts or moduli")
    return y


@dataclass(frozen=True)
class Borders:
    """What margins do to a constant signal: for each convolution or pool the largest |border − centre| / |centre|, in order.

    Fields:
        layers: (name, influence, whether the centre itself still equals its neighbours).
        depth: how many layers keep a constant centre.
    """

    layers: tuple[tuple[str, float, bool], ...]
    depth: int

    def table(self) -> str:
        """For people."""
        return table(["layer", "border / centre", "centre constant"], self.layers)


def border_influence(source: Any, example: Any, value: float = 1.0) -> Borders:
    """Feed a constant signal and see how far from the border its margins are felt.

    Args:
        source: a module, or what else `faltung.readers.replay` runs.
        example: a tensor (batch, channels, *n) for the shapes; its values are replaced by `value`.

    Example:
        >>> border_influence(nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular"), torch.zeros(1, 1, 9)).layers[0][1] < 1e-6
        True
    """
    first = first_tensor(example)
    if first is None or first.ndim < 3:
        raise ArgumentError.of(
            "border_influence", "an example (batch, channels, *n)", type(example).__name__, "pass a batch"
        )
    x = torch.full_like(first, value)
    found = replay(source, x)
    if found is None:
        raise ArgumentError.of("border_influence", "what can run", type(source).__name__, "pass a module")
    kinds = ("conv", "max_pool", "avg_pool")
    names = [
        n.name for n in found.network.nodes if n.op in kinds and n.shape is not None and len(n.shape) == first.ndim
    ]
    values = found.values(x, names)
    rows, depth, steady = [], 0, True
    for name in names:
        y = values[name][0].double()
        middle = tuple(n // 2 for n in y.shape[1:])
        centre = y[(slice(None), *middle)]
        scale = centre.abs().reshape(-1, *(1,) * len(middle))
        away = (y - centre.reshape(scale.shape)).abs() / scale.clamp(min=1e-12 * float(y.abs().max()) or 1.0)
        near = away[(slice(None), *(slice(max(m - 1, 0), m + 2) for m in middle))]
        constant = bool(near.max() < 1e-5)
        steady = steady and constant
        depth += steady
        rows.append((name, float(away.max()), constant))
    return Borders(tuple(rows), depth)
