"""Sampling on the grid that the signal chooses: `PolyphaseDownsample`, `PolyphaseUpsample`, `PolyphaseAnchor` and `Anchored`."""

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, Symmetry, shown
from faltung.nn.functional.polyphase import CRITERIA, choose_phase, offsets, put_phase, roll_each, take_phase, wrapped
from faltung.nn.phase.blur import BlurPool, BlurUnpool

_APS = "Chaman and Dokmanić, Truly shift-invariant convolutional neural networks (2021)"
_ANCHOR = "Ding et al., Reviving shift equivariance in vision transformers (2023)"


class _Chosen(Layer):
    """What sampling and anchoring share: a stride, a criterion, sizes that the stride divides."""

    dims = (1, 2, 3, 4)

    def _settle(self, ndim: Any, stride: Any, criterion: str) -> None:
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        self.stride = functional.numbers("stride", stride, self.ndim, 1)
        if criterion not in CRITERIA:
            raise ArgumentError.of(
                type(self).__name__, f"a criterion among {', '.join(CRITERIA)}", repr(criterion), "use 'l2'"
            )
        self.criterion = criterion

    def filled(self, x: Tensor) -> Tensor:
        """The signal with so many samples of its beginning behind it that the stride divides its sizes."""
        return wrapped(x, tuple((0, -n % s) for n, s in zip(x.shape[2:], self.stride, strict=True)))

    def parameter_count(self) -> int:
        return 0

    def symmetries(self) -> Iterable[Symmetry]:
        yield self._rolled((1,) * self.ndim)
        yield self._rolled(self.stride)

    def random_symmetries(self, random: np.random.Generator) -> Iterable[Symmetry]:
        yield self._rolled(tuple(int(t) for t in random.integers(-9, 10, self.ndim)))

    def _rolled(self, shift: tuple[int, ...]) -> Symmetry:
        """Any shift of circular signals: another phase is chosen, and what is sampled or anchored there rolls with it."""
        axes = tuple(range(-self.ndim, 0))
        return Symmetry(
            f"shift by {shift}", lambda x, *others: (x.roll(shift, axes), *others), partial(self._after, shift), together=True,
            fits=lambda x, *others: all(n % s == 0 for n, s in zip(x.shape[2:], self.stride, strict=True)),
        )  # fmt: skip

    def _phase_after(self, shift: tuple[int, ...], phase: Tensor) -> tuple[Tensor, Tensor]:
        """The phase along each axis after a shift, and by how much the first sample of its grid has moved since."""
        moved = phase + torch.tensor(shift, device=phase.device)
        after = moved % torch.tensor(self.stride, device=phase.device)
        return after, moved - after

    def _after(self, shift: tuple[int, ...], result: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """What becomes of the results."""
        raise TypeError(f"{type(self).__name__} does not say what a shift does to its results")

    def _first_best(self, x: Tensor) -> Tensor:
        """The phase with the largest sum, phase by phase, for definitions: for signals without ties."""
        whole = self.filled(x).double()
        scores = []
        for index in range(int(torch.tensor(self.stride).prod())):
            start: list[int] = []
            rest = index
            for s in reversed(self.stride):
                start.insert(0, rest % s)
                rest //= s
            part = whole[(..., *(slice(a, None, s) for a, s in zip(start, self.stride, strict=True)))].flatten(1)
            sizes = {
                "l1": part.abs().sum(1), "l2": part.square().sum(1), "min-l1": -part.abs().sum(1),
                "min-l2": -part.square().sum(1),
            }  # fmt: skip
            found = sizes.get(self.criterion)
            if found is None:
                kept = part.abs() if self.criterion == "linf" else part
                found = kept.amax(1) if part.shape[1] else kept.sum(1)
            scores.append(found)
        return torch.stack(scores).argmax(0)


class PolyphaseDownsample(_Chosen):
    """Sample with a stride on the grid on which the signal is largest: what is shifted is sampled at the shifted places.

    Formula: `y = x[phase::stride]`, `phase = argmax over phases of Σ |x[phase::stride]|^p` over channels and places, chosen for
    each sample of the batch. For shifts t of circular signals, with i the phase of x and i' = (i + t) mod stride,
    `layer(roll(x, t)) = roll(layer(x), (i + t − i') / stride)`: bit for bit, for only addresses move.

    A residual branch has to be sampled on the same grid: pass it the index of the other one.

    Shapes: input (batch, channels, *n), index (batch), int64, or None; returns y (batch, channels, *⌈n / stride⌉) and the index.

    Args:
        ndim: number of spatial axes.   stride: one number or one for each axis. Default 2.
        criterion: `l1`, `l2`, `linf` (the largest |x|), `max` (the largest x), `min-l1`, `min-l2`. Default l2.
        blur: taps of a binomial blur before, or None. Default None.

    Raises:
        ArgumentError: settings that name no layer.

    Error: none. Sizes that the stride does not divide are filled up from the beginning, and the law above is lost; equal scores
    are decided by the signal, too, see `faltung.nn.functional.choose_phase`.
    Source: as below.

    Example:
        >>> PolyphaseDownsample(1)(torch.tensor([[[1.0, 5.0, 2.0, 0.0]]]))
        (tensor([[[5., 0.]]]), tensor([1]))
    """

    name = "polyphase-downsample"
    summary = "sampling with a stride on the grid that the signal chooses"
    source = _APS
    cost = "1 for each sample of the input"
    portrait = shown("photo", (1, 1, 96, 96), ndim=2)

    def __init__(self, ndim: int, stride: Any = 2, criterion: str = "l2", blur: int | None = None) -> None:
        super().__init__()
        self._settle(ndim, stride, criterion)
        self.blur = None if blur is None else BlurPool(ndim, 1, blur, "binomial", "circular")

    def forward(self, input: Tensor, index: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.expect(input, None, self.ndim)
        x = self.filled(input)
        x = x if self.blur is None else self.blur(x)
        index = choose_phase(x, self.stride, self.criterion) if index is None else index
        return take_phase(x, self.stride, index), index

    def definition(self, *inputs: Any) -> tuple[Tensor, Tensor]:
        """The phases one by one."""
        x = self.filled(inputs[0])
        x = x if self.blur is None else self.blur.definition(x)
        index = self._first_best(x)
        starts = offsets(index, self.stride)
        rows = []
        for sample, start in zip(x, starts.tolist(), strict=True):
            rows.append(sample[(..., *(slice(a, None, s) for a, s in zip(start, self.stride, strict=True)))])
        return torch.stack(rows) if rows else x.new_zeros(self.shapes(x.shape)[0]), index

    def shapes(self, *inputs: Any) -> tuple[tuple[int, ...], ...]:
        batch, channels, *sizes = inputs[0]
        return (batch, channels, *(-(-n // s) for n, s in zip(sizes, self.stride, strict=True))), (batch,)

    def _after(self, shift: tuple[int, ...], result: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        y, index = result
        after, way = self._phase_after(shift, offsets(index, self.stride))
        places = [math.prod(self.stride[a + 1 :]) for a in range(self.ndim)]
        number = (after * torch.tensor(places, device=after.device)).sum(1)
        return roll_each(y, way // torch.tensor(self.stride, device=way.device)), number

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1}, ((3, 2, 8),))
        yield Example({"ndim": 2, "stride": (2, 3), "criterion": "l1"}, ((3, 2, 4, 6),))
        yield Example({"ndim": 2, "stride": 2, "criterion": "linf", "blur": 3}, ((2, 3, 5, 4),))
        yield Example({"ndim": 3, "criterion": "min-l2"}, ((2, 1, 4, 2, 2),))
        yield Example({"ndim": 4, "criterion": "max"}, ((1, 2, 2, 4, 2, 2),))


class PolyphaseAnchor(_Chosen):
    """Roll the signal so that the grid on which it is largest becomes the first: in front of patches, windows and strides.

    Formula: `y = roll(x, −phase)`, phase as in `PolyphaseDownsample`. An ordinary operation on patches of that size then gives
    for a shifted signal the same result up to a roll by whole patches; what follows needs only to commute with those.

    Shapes: input (batch, channels, *n), shift (batch, axes), int64, or None; returns y (batch, channels, *n) and the phase
    along each axis (batch, axes); `faltung.nn.functional.roll_each(y, phase)` is the input again. n is filled up to a multiple.

    Args:
        ndim: number of spatial axes.   patch: sides of a patch, one number or one for each axis.
        criterion: see `PolyphaseDownsample`. Default l2.

    Raises:
        ArgumentError: settings that name no layer.

    Source: as below. The published form rolls by interpolation at whole places, which is a copy of addresses here.

    Example:
        >>> PolyphaseAnchor(1, 2)(torch.tensor([[[1.0, 5.0, 2.0, 0.0]]]))
        (tensor([[[5., 2., 0., 1.]]]), tensor([[1]]))
    """

    name = "polyphase-anchor"
    summary = "the signal rolled so that patches stand where the signal wants them"
    source = _ANCHOR
    cost = "1 for each sample of the input"
    portrait = shown("photo", (1, 1, 96, 96), ndim=2, patch=16)

    def __init__(self, ndim: int, patch: Any, criterion: str = "l2") -> None:
        super().__init__()
        self._settle(ndim, patch, criterion)

    def forward(self, input: Tensor, shift: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.expect(input, None, self.ndim)
        x = self.filled(input)
        if shift is None:
            shift = offsets(choose_phase(x, self.stride, self.criterion), self.stride)
        return roll_each(x, -shift), shift

    def definition(self, *inputs: Any) -> tuple[Tensor, Tensor]:
        x = self.filled(inputs[0])
        shift = offsets(self._first_best(x), self.stride)
        axes = tuple(range(1, 1 + self.ndim))
        rows = [one.roll(tuple(-s for s in step), axes) for one, step in zip(x, shift.tolist(), strict=True)]
        return torch.stack(rows) if rows else x, shift

    def shapes(self, *inputs: Any) -> tuple[tuple[int, ...], ...]:
        batch, channels, *sizes = inputs[0]
        return (batch, channels, *(n + -n % s for n, s in zip(sizes, self.stride, strict=True))), (batch, self.ndim)

    def _after(self, shift: tuple[int, ...], result: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        after, way = self._phase_after(shift, result[1])
        return roll_each(result[0], way), after

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "patch": 3}, ((3, 2, 9),))
        yield Example({"ndim": 2, "patch": (2, 3), "criterion": "l1"}, ((3, 2, 4, 5),))
        yield Example({"ndim": 3, "patch": 2}, ((2, 1, 4, 2, 2),))
        yield Example({"ndim": 4, "patch": 2, "criterion": "min-l1"}, ((1, 2, 2, 4, 2, 2),))


class PolyphaseUpsample(nn.Module):
    """Put a signal back on the grid that `PolyphaseDownsample` chose, among zeros, and blur: the decoder of a U-Net.

    Shapes: y (batch, channels, *m), index (batch) of the matching `PolyphaseDownsample`; returns (batch, channels, *stride·m).

    Args:
        ndim: number of spatial axes.   stride: as below. Default 2.
        kernel_size: taps of a binomial blur, times stride^ndim; 1 leaves the zeros. Default 3.

    Source: Chaman and Dokmanić, Truly shift-equivariant convolutional neural networks with adaptive polyphase upsampling (2021).

    Example:
        >>> PolyphaseUpsample(1, kernel_size=1)(torch.tensor([[[5.0, 0.0]]]), torch.tensor([1]))
        tensor([[[0., 5., 0., 0.]]])
    """

    def __init__(self, ndim: int, stride: Any = 2, kernel_size: int = 3) -> None:
        super().__init__()
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        self.stride = functional.numbers("stride", stride, self.ndim, 1)
        self.blur = None if kernel_size == 1 else BlurUnpool(self.ndim, 1, kernel_size)
        self.gain = 1.0 if kernel_size == 1 else float(torch.tensor(self.stride).prod())

    def extra_repr(self) -> str:
        return f"{self.ndim}, stride={self.stride}"

    def forward(self, input: Tensor, index: Tensor) -> Tensor:
        if not isinstance(index, Tensor) or index.dtype != torch.int64 or index.shape != input.shape[:1]:
            came = f"{tuple(index.shape)} of {index.dtype}" if isinstance(index, Tensor) else type(index).__name__
            raise ArgumentError.of(
                "PolyphaseUpsample",
                f"an index ({len(input)}) of int64",
                came,
                "pass the one that PolyphaseDownsample returned",
            )
        placed = put_phase(input, self.stride, index)
        return placed if self.blur is None else self.blur(placed) * self.gain


class Anchored(nn.Module):
    """A module between an anchor and its undoing: what works on patches or windows then moves with the signal.

    Formula: `y = roll(module(roll(x, −phase)), phase)` for a module that keeps sizes, such as attention in windows; for one that
    makes a sample of every patch (undo=False) `module(roll(x, −phase))`.

    Args:
        module: takes and returns (batch, channels, *n).   ndim, patch, criterion: see `PolyphaseAnchor`.
        undo: whether the result is rolled back. Default True.

    Source: Ding et al., Reviving shift equivariance in vision transformers (2023).

    Example:
        >>> Anchored(nn.AvgPool2d(4), 2, 4, undo=False)(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 3, 2, 2])
    """

    def __init__(self, module: nn.Module, ndim: int, patch: Any, criterion: str = "l2", undo: bool = True) -> None:
        super().__init__()
        self.module, self.anchor, self.undo = module, PolyphaseAnchor(ndim, patch, criterion), undo

    def forward(self, input: Tensor) -> Tensor:
        rolled, shift = self.anchor(input)
        y = self.module(rolled)
        if not self.undo:
            return y
        if y.shape[2:] != rolled.shape[2:]:
            raise ArgumentError.of(
                "Anchored", f"a module that keeps the sizes {tuple(rolled.shape[2:])}", f"{tuple(y.shape[2:])}",
                "pass undo=False for one that makes a sample of every patch",
            )  # fmt: skip
        return roll_each(y, shift)
