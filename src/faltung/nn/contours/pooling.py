"""Pooling of closed curves: over windows, over samples a share of the curve apart, over all of it."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Symmetry, shown
from faltung.nn.contours.conv import SOURCE, ContourLayer, centred, moved

MODES = ("max", "mean", "mix")


class ContourPool(ContourLayer):
    """One number for every window of p samples: it begins later with the curve, where that is by multiples of p.

    Formula: `max` the number of largest modulus, the first of several; `mean`; `mix` the learnt blend
    `s·max + (1 − s)·mean`, s = sigmoid(α), α = 0.5 at first.

    Shapes: input (batch, channels, n), complex, n a multiple of p, returns (batch, channels, n / p); with `mix` weight α ().

    Args:
        p: samples of a window, at least 1.   mode: `max`, `mean` or `mix`. Default max.
        dtype: complex, that of α its real counterpart. Default complex64.

    Raises:
        ArgumentError: settings that name no layer, a number of samples that p does not divide.   DtypeError: real tensors.

    Source: as below.

    Example:
        >>> ContourPool(2)(torch.tensor([[[1 + 1j, -3, 2j, 1]]]))
        tensor([[[-3.+0.j,  0.+2.j]]])
    """

    name = "contour-pool"
    summary = "one number for every window of a closed curve"
    source = SOURCE
    cost = "p"
    portrait = shown("cloud", (1, 1, 400), complex=True, p=4)

    def __init__(self, p: int, mode: str = "max", device: Any = None, dtype: torch.dtype = torch.complex64) -> None:
        super().__init__()
        (self.p,) = functional.numbers("p", p, 1, 1)
        if mode not in MODES:
            raise ArgumentError.of(type(self).__name__, f"a mode among {', '.join(MODES)}", repr(mode), "use 'max'")
        self.mode = mode
        real = dtype.to_real()
        self.weight = nn.Parameter(torch.tensor(0.5, device=device, dtype=real)) if mode == "mix" else None

    def split(self, z: Tensor) -> Tensor:
        """The numbers that are pooled together, along a last axis."""
        return z.unflatten(-1, (z.shape[-1] // self.p, self.p))

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, 1)
        if input.shape[-1] % self.p:
            raise ArgumentError.of(
                type(self).__name__,
                f"a number of samples that {self.p} divides",
                f"{input.shape[-1]}",
                "resample the curve",
            )
        return _pooled(self.split(input), self.mode, self.weight)

    def definition(self, *inputs: Any) -> Tensor:
        (z,) = inputs
        if z.shape[-1] % self.p:
            raise ArgumentError.of("ContourPool", f"multiples of {self.p}", f"{z.shape[-1]}", "resample the curve")
        m = z.shape[-1] // self.p
        groups = [z[..., self.members(j, m)] for j in range(m)]
        found = []
        for group in groups:
            largest = torch.zeros_like(group[..., 0])
            for k in range(self.p):
                larger = (group[..., k].abs() > largest.abs()) | (k == 0)
                largest = torch.where(larger, group[..., k], largest)
            mean = group.sum(-1) / self.p
            share = {"max": 1.0, "mean": 0.0}.get(self.mode)
            share = torch.sigmoid(self.weight) if share is None else share
            found.append(largest * share + mean * (1 - share))
        return torch.stack(found, -1)

    def members(self, j: int, m: int) -> list[int]:
        """Which samples the j-th of m results is made of."""
        return list(range(j * self.p, (j + 1) * self.p))

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (*inputs[0][:2], inputs[0][2] // self.p)

    def parameter_count(self) -> int:
        return int(self.mode == "mix")

    def symmetries(self) -> Iterable[Symmetry]:
        yield moved(self.p, self.p)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"p": 2}, ((2, 3, 6),), complex=True)
        yield Example({"p": 3, "mode": "mix"}, ((2, 2, 6),), complex=True)
        yield Example({"p": 2, "mode": "mean"}, ((1, 2, 4),), complex=True)


class CosetPool(ContourPool):
    """One number for every p samples that lie n/p apart: it begins later with the curve, whatever the shift.

    Formula: result j of n/p is pooled from the samples `j + i·n/p`, i < p: a coset of the subgroup of shifts by n/p. A shift of the
    curve by t shifts the result by t modulo n/p.

    Shapes, Args, Raises: as for `ContourPool`.

    Source: as below.

    Example:
        >>> CosetPool(2)(torch.tensor([[[1 + 1j, -3, 2j, 1]]]))
        tensor([[[ 0.+2.j, -3.+0.j]]])
    """

    name = "coset-pool"
    summary = "one number for samples of a closed curve that lie a p-th of it apart"

    def split(self, z: Tensor) -> Tensor:
        return z.unflatten(-1, (self.p, z.shape[-1] // self.p)).transpose(-1, -2)

    def members(self, j: int, m: int) -> list[int]:
        return list(range(j, self.p * m, m))

    def symmetries(self) -> Iterable[Symmetry]:
        yield moved(1)


class InvariantPool(ContourLayer):
    """One real number for every channel that no turn, start or place of the curve changes: the modulus, pooled over all of it.

    Formula: `pool over p of |x[p] − mean x|`.

    Shapes: input (batch, channels, n), complex, returns (batch, channels), real; with `mix` weight α ().

    Args: mode, dtype: as for `ContourPool`; mode's default is mean.   Raises: as there.

    Source: as below.

    Example:
        >>> InvariantPool()(torch.tensor([[[3j, 1j, 2 + 2j, -2 + 2j]]]))
        tensor([[1.5000]])
    """

    name = "invariant-pool"
    summary = "the modulus of a curve about its mean, pooled over all of it"
    source = SOURCE
    cost = "1 for each sample of the input"

    def __init__(self, mode: str = "mean", device: Any = None, dtype: torch.dtype = torch.complex64) -> None:
        super().__init__()
        if mode not in MODES:
            raise ArgumentError.of("InvariantPool", f"a mode among {', '.join(MODES)}", repr(mode), "use 'mean'")
        self.mode = mode
        real = dtype.to_real()
        self.weight = nn.Parameter(torch.tensor(0.5, device=device, dtype=real)) if mode == "mix" else None

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, 1)
        return _pooled(centred(input).abs(), self.mode, self.weight)

    def definition(self, *inputs: Any) -> Tensor:
        (z,) = inputs
        size = ((z - z.sum(-1, keepdim=True) / z.shape[-1]).real ** 2 + (z - z.mean(-1, keepdim=True)).imag ** 2) ** 0.5
        share = {"max": 1.0, "mean": 0.0}.get(self.mode)
        share = torch.sigmoid(self.weight) if share is None else share
        return share * size.amax(-1) + (1 - share) * size.sum(-1) / z.shape[-1]

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0][:2])

    def parameter_count(self) -> int:
        return int(self.mode == "mix")

    def symmetries(self) -> Iterable[Symmetry]:
        turn = moved(1, 1, 3 - 2j)
        yield Symmetry(turn.name, turn.on_input)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({}, ((2, 3, 6),), complex=True)
        yield Example({"mode": "mix"}, ((2, 2, 5),), complex=True)
        yield Example({"mode": "max"}, ((1, 2, 4),), complex=True)


def _pooled(groups: Tensor, mode: str, blend: Tensor | None) -> Tensor:
    """The last axis pooled; of the largest moduli the first."""
    if mode == "mean":
        return groups.mean(-1)
    at = groups.detach().abs().argmax(-1, keepdim=True)
    largest = groups.gather(-1, at).squeeze(-1)
    if blend is None:
        return largest
    share = torch.sigmoid(blend)
    return share * largest + (1 - share) * groups.mean(-1)
