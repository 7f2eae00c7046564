"""Groups of channels shifted by whole samples: no arithmetic, every value moved once."""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from faltung import torch_gate
from faltung.errors import ArgumentError

Offsets = tuple[tuple[int, ...], ...]
MODES = ("zeros", "circular")


def directions(ndim: int) -> Offsets:
    """The 3^n − 1 neighbours of a sample: first both along each axis, back before forth, then the diagonal ones.

    Example:
        >>> directions(2)
        ((-1, 0), (1, 0), (0, -1), (0, 1), (1, 1), (1, -1), (-1, 1), (-1, -1))
    """
    found = []
    for many in range(1, ndim + 1):
        for axes in itertools.combinations(range(ndim), many):
            for signs in itertools.product((-1, 1) if many == 1 else (1, -1), repeat=many):
                chosen = dict(zip(axes, signs, strict=True))
                found.append(tuple(chosen.get(a, 0) for a in range(ndim)))
    return tuple(found)


def offsets_of(given: Any, ndim: int) -> Offsets:
    """The offsets that a layer's argument names: a word or a list of n whole numbers each.

    Words are `neighbours` (all 3^n − 1 directions), `axes` (the 2·n along the axes), and these two by their number: in the plane
    `8-neighbour` and `4-neighbour`.

    Raises:
        ArgumentError: another word, an empty list, or offsets that are not n whole numbers.
    """
    if isinstance(given, str):
        every = directions(ndim)
        words = {"neighbours": every, f"{2 * ndim}-neighbour": every[: 2 * ndim], "axes": every[: 2 * ndim]}
        words[f"{len(every)}-neighbour"] = every
        if given not in words:
            raise ArgumentError.of(
                "offsets", f"one of {', '.join(words)}, or a list", repr(given), "choose one of these"
            )
        return words[given]
    offsets = tuple(tuple(o) if isinstance(o, (tuple, list)) else (o,) for o in given)
    whole = all(isinstance(v, int) and not isinstance(v, bool) for o in offsets for v in o)
    if not offsets or not whole or any(len(o) != ndim for o in offsets):
        raise ArgumentError.of(
            "offsets", f"a list of offsets of {ndim} whole numbers each", repr(given), "write (dy, dx), …"
        )
    return offsets


def shift(x: Tensor, offsets: Sequence[Sequence[int]], padding_mode: str = "zeros") -> Tensor:
    """Each of as many equal groups of channels as there are offsets, read from that far away.

    Formula: `y[b, c, p] = x̃[b, c, p + offsets[⌊c·groups/channels⌋]]`, x̃ zero or periodic outside.

    Shapes: x (batch, channels, *n), channels a multiple of the number of offsets; returns the same.

    Args:
        offsets: one for each group, each a whole number for every spatial axis.
        padding_mode: `zeros` or `circular`. Default zeros.

    Raises:
        ArgumentError: channels that the groups do not divide, offsets of another length, another mode.

    Cost: one pass; where derivatives are wanted two, forwards and backwards alike. (Assigning group after group to slices of one
    tensor copies its whole gradient once for every group.)

    Source: Wu, Wan, Yue et al., Shift: a zero FLOP, zero parameter alternative to spatial convolutions (2018).

    Example:
        >>> shift(torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]), [(-1,), (1,)])
        tensor([[[0., 1., 2.],
                 [5., 6., 0.]]])
    """
    groups, ndim = len(offsets), x.ndim - 2
    if padding_mode not in MODES:
        raise ArgumentError.of(
            "shift", f"padding_mode among {', '.join(MODES)}", repr(padding_mode), "choose one of these"
        )
    if not groups or x.shape[1] % groups or any(len(o) != ndim for o in offsets):
        raise ArgumentError.of(
            "shift", f"channels in {groups} groups and offsets of {ndim} numbers", f"{x.shape[1]} channels, offsets {offsets}",
            "give one offset for each equal part of the channels",
        )  # fmt: skip
    axes = tuple(range(2, x.ndim))
    parts = x.chunk(groups, 1)
    if padding_mode == "circular":
        return torch.cat([part.roll([-v for v in o], axes) for part, o in zip(parts, offsets, strict=True)], 1)
    # Farther than the signal is long there are zeros only.
    held = [tuple(max(-n, min(n, v)) for v, n in zip(o, x.shape[2:], strict=True)) for o in offsets]
    if torch_gate.plain(x):
        y = torch.empty_like(x)
        for into, part, offset in zip(y.chunk(groups, 1), parts, held, strict=True):
            _moved(into, part, offset)
        return y
    return torch.cat(
        [
            nn.functional.pad(part, [side for v in reversed(o) for side in (-v, v)])
            for part, o in zip(parts, held, strict=True)
        ],
        1,
    )


def _moved(y: Tensor, x: Tensor, offset: Sequence[int]) -> None:
    """One group written in place: what comes from inside, and zeros beside it."""
    kept: list[Any] = [slice(None), slice(None)]
    source: list[Any] = [slice(None), slice(None)]
    for axis, v in enumerate(offset, 2):
        n = x.shape[axis]
        inside, beside = slice(max(0, -v), n - max(0, v)), slice(0, -v) if v < 0 else slice(n - v, n)
        if v:
            y[(*kept, beside)] = 0
        kept.append(inside)
        source.append(slice(max(0, v), n - max(0, -v)))
    y[tuple(kept)] = x[tuple(source)]
