"""The ideal low-pass and ideal resampling as layers: `IdealLowPass` and `IdealResample`."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Layer, Symmetry, rolled, shown
from faltung.nn.functional.waves import kept, low_pass, resample_ideal, shift_ideal

_SOURCE = "Michaeli, Michaeli and Soudry, Alias-free convnets (2023)"


def waves(x: Tensor, axis: int, m: int, highest: int, nyquist: float) -> Tensor:
    """One axis of n samples on m, by sums of cosines up to a frequency, that one times `nyquist`: for definitions."""
    n = x.shape[axis]
    at = torch.arange(m, dtype=torch.float64)[:, None] / m - torch.arange(n, dtype=torch.float64) / n
    matrix = torch.ones_like(at) / n
    for k in range(1, highest + 1):
        weight = nyquist if k == highest else 1.0
        double = 1.0 if k == highest and 2 * k == m == n else 2.0
        matrix = matrix + double * weight / n * torch.cos(2 * torch.pi * k * at)
    return torch.einsum("mn,...n->...m", matrix.to(x), x.movedim(axis, -1)).movedim(-1, axis)


class IdealLowPass(Layer):
    """The signal without its waves above a share of the highest frequency, exactly, on a circular domain.

    Formula, Raises: see `faltung.nn.functional.low_pass`.

    Shapes: input (batch, channels, *n), any sizes from call to call, returns the same.

    Args:
        ndim: number of spatial axes.   cutoff: above 0, at most 1. Default 0.5.

    Error: a few roundoffs; twice is once.
    Cost: two Fourier transforms.
    Source: as below. No mask is kept, so that sizes may change and state dicts stay empty.

    Example:
        >>> IdealLowPass(1, 0.5)(torch.tensor([[[1.0, 0.0, 0.0, 0.0]]]))
        tensor([[[0.2500, 0.2500, 0.2500, 0.2500]]])
    """

    name = "ideal-low-pass"
    summary = "the ideal low-pass on a circular domain"
    source = _SOURCE
    dims = (1, 2, 3, 4)
    neutral = torch.empty(0, dtype=torch.float64)
    cost = "two Fourier transforms: about 5 · log2 Π n"
    portrait = shown("photo", (1, 1, 96, 96), ndim=2, cutoff=0.25)

    def __init__(self, ndim: int, cutoff: float = 0.5) -> None:
        super().__init__()
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        if isinstance(cutoff, bool) or not isinstance(cutoff, (int, float)) or not 0 < cutoff <= 1:
            raise ArgumentError.of("IdealLowPass", "a cutoff above 0 and at most 1", repr(cutoff), "use 0.5")
        self.cutoff = cutoff

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, self.ndim)
        return low_pass(input, self.cutoff, self.ndim)

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        for axis in range(2, x.ndim):
            n = x.shape[axis]
            x = waves(x, axis, n, kept(n, self.cutoff), 1.0)
        return x

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    def symmetries(self) -> Iterable[Symmetry]:
        yield rolled(1, self.ndim)

    def gain(self) -> float:
        return 1.0

    def parameter_count(self) -> int:
        return 0

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1}, ((2, 2, 8),))
        yield Example({"ndim": 2, "cutoff": 0.4}, ((2, 2, 7, 6),))
        yield Example({"ndim": 3, "cutoff": 2 / 3}, ((1, 2, 6, 3, 4),))
        yield Example({"ndim": 4, "cutoff": 1}, ((1, 1, 2, 3, 2, 3),))


class IdealResample(Layer):
    """The same sum of waves on a finer or coarser grid: up by a whole number, down by a whole number, or both.

    Formula: see `faltung.nn.functional.resample_ideal`, from n to `n·up / down` samples.

    Shapes: input (batch, channels, *n) with n·up a multiple of down, returns (batch, channels, *n·up / down).

    Args:
        ndim: number of spatial axes.   up, down: whole numbers of at least 1, one for all axes or one for each. Default 1.

    Raises:
        ArgumentError: settings that name no layer, sizes that do not divide.

    Error: a few roundoffs. Commutes with shifts of any length, fractions of samples too, for signals without frequency n/2.
    Cost: two Fourier transforms along each axis.
    Source: as below.

    Example:
        >>> IdealResample(1, down=2)(torch.tensor([[[1.0, 1, 1, 1, 1, 1]]]))
        tensor([[[1., 1., 1.]]])
    """

    name = "ideal-resample"
    summary = "ideal resampling by a rational factor on a circular domain"
    source = _SOURCE
    dims = (1, 2, 3, 4)
    neutral = torch.empty(0, dtype=torch.float64)
    cost = "two Fourier transforms: about 5 · log2 Π n"
    portrait = shown("photo", (1, 1, 96, 96), ndim=2, down=3)

    def __init__(self, ndim: int, up: Any = 1, down: Any = 1) -> None:
        super().__init__()
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        self.up = functional.numbers("up", up, self.ndim, 1)
        self.down = functional.numbers("down", down, self.ndim, 1)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, self.ndim)
        if any(n * u % d for n, u, d in zip(input.shape[2:], self.up, self.down, strict=True)):
            raise ArgumentError.of(
                "IdealResample", f"sizes that times {self.up} are multiples of {self.down}", f"{tuple(input.shape[2:])}",
                "use faltung.nn.functional.resample_ideal for other sizes",
            )  # fmt: skip
        return resample_ideal(input, self.shapes(input.shape)[2:])

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        for axis, m in enumerate(self.shapes(x.shape)[2:], 2):
            n = x.shape[axis]
            highest = n // 2 if n <= m else (m - 1) // 2
            x = waves(x, axis, m, highest, 0.5 if n < m and n % 2 == 0 else 1.0)
        return x

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        sizes = zip(inputs[0][2:], self.up, self.down, strict=True)
        return (*inputs[0][:2], *(n * u // d for n, u, d in sizes))

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    def symmetries(self) -> Iterable[Symmetry]:
        axes = tuple(range(-self.ndim, 0))
        yield Symmetry(f"shift by {self.down}", lambda x: x.roll(self.down, axes), lambda y: y.roll(self.up, axes))
        if self.up == (1,) * self.ndim:  # what has frequency n/2 has lost it in the result
            factors = [0.3 / d for d in self.down]
            shift = [0.3] * self.ndim
            if all(d > 1 for d in self.down):
                yield Symmetry("shift by 0.3", lambda x: shift_ideal(x, shift), lambda y: shift_ideal(y, factors))

    def parameter_count(self) -> int:
        return 0

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "up": 2}, ((2, 2, 8),))
        yield Example({"ndim": 1, "down": 2}, ((2, 2, 8),))
        yield Example({"ndim": 2, "up": 2, "down": 3}, ((2, 2, 6, 3),))
        yield Example({"ndim": 3, "up": (1, 2, 3), "down": (2, 1, 1)}, ((1, 2, 4, 3, 2),))
        yield Example({"ndim": 4, "down": (1, 3, 1, 2)}, ((1, 1, 2, 3, 2, 6),))
