"""The grids on which a signal can be sampled with a stride, and the choice among them by the signal itself.

A stride of s leaves s^d grids, its phases. Taking always the first makes a network depend on where an image begins; a choice that
rolls with the image does not. The choice here is exact: scores are sums of integers, which no order of summation changes.
"""

import itertools
import math
from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.nn.functional.convolution import numbers

CRITERIA = ("l1", "l2", "linf", "max", "min-l1", "min-l2")
_BITS = 40  # of the scores' summands; the sums of 2²² of them fit 63
_ODD = (0x9E3779B97F4A7C15 - (1 << 64), 0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64))


def phases(x: Tensor, stride: tuple[int, ...]) -> Tensor:
    """The samples of each phase as a view (batch, Π stride, channels, *m), the last axis' phase fastest.

    Shapes: x (batch, channels, *n) with sizes that the stride divides; m = n / stride.

    Example:
        >>> phases(torch.arange(6.0).reshape(1, 1, 6), (2,))[0, :, 0]
        tensor([[0., 2., 4.],
                [1., 3., 5.]])
    """
    ndim = len(stride)
    split = x.reshape(*x.shape[:2], *(p for n, s in zip(x.shape[2:], stride, strict=True) for p in (n // s, s)))
    steps, places = range(3, 3 + 2 * ndim, 2), range(2, 2 + 2 * ndim, 2)
    return split.permute(0, *steps, 1, *places).flatten(1, ndim)


def choose_phase(x: Tensor, stride: Any, criterion: str = "l2") -> Tensor:
    """The phase of each sample of the batch whose values are largest: a choice that rolls with the signal, bit for bit.

    Formula: `argmax over phases of Σ |x|^p` over channels and positions, p = 1 or 2; `linf` the largest |x|, `max` the largest x;
    `min-l1`, `min-l2` the smallest sum. The summands are rounded to whole multiples of 2^−40 of the largest, so that their sums
    are exact and do not depend on where the signal begins. Of equal phases the one with the larger fingerprint is taken, a number
    that equally stays under rolls; of phases that agree in that as well, the first: these are rolls of each other (but for
    a chance of about 2^−64), so that ties do not break equivariance.

    Shapes: x (batch, channels, *n), sizes that the stride divides; returns (batch), int64, `Σ over axes of phase · strides after`.

    Args:
        stride: one number or one for each axis.   criterion: see above. Default l2.

    Raises:
        ArgumentError: another criterion, or sizes that the stride does not divide.

    Cost: one pass over x; for batches with a tie (decided by a look at the values, except while a graph is traced) some more.
    Source: Chaman and Dokmanić, Truly shift-invariant convolutional neural networks (2021).

    Example:
        >>> choose_phase(torch.tensor([[[1.0, 5.0, 2.0, 0.0]], [[0.0, 1.0, 5.0, 2.0]]]), 2)
        tensor([1, 0])
    """
    if criterion not in CRITERIA:
        raise ArgumentError.of("choose_phase", f"a criterion among {', '.join(CRITERIA)}", repr(criterion), "use 'l2'")
    steps = numbers("stride", stride, x.ndim - 2, 1)
    if any(n % s for n, s in zip(x.shape[2:], steps, strict=True)):
        raise ArgumentError.of(
            "choose_phase", f"sizes that the stride {steps} divides", f"{tuple(x.shape[2:])}", "pad or crop the signal"
        )
    if math.prod(steps) == 1 or not x.numel():
        return torch.zeros(x.shape[0], dtype=torch.int64, device=x.device)
    values = torch.nan_to_num(x.detach().double(), 0.0)
    largest = values.abs().flatten(1).amax(1).reshape(-1, *[1] * (x.ndim - 1))
    whole = (values / torch.where(largest > 0, largest, torch.ones_like(largest)) * 2.0**_BITS).round()
    parts = phases(whole, steps).flatten(2)
    if criterion == "linf":
        score = parts.abs().amax(2).long()
    elif criterion == "max":
        score = parts.amax(2).long()
    else:
        sized = parts.abs() if criterion.endswith("l1") else (parts / 2.0 ** (_BITS // 2)).square().round()
        score = sized.long().sum(2)
        score = -score if criterion.startswith("min") else score
    best = score == score.amax(1, keepdim=True)
    if torch.compiler.is_compiling() or x.is_meta or bool((best.sum(1) > 1).any()):
        mark = torch.where(best, _fingerprints(phases(whole.long(), steps)), torch.iinfo(torch.int64).min)
        best = best & (mark == mark.amax(1, keepdim=True))
    return best.to(torch.int8).argmax(1)  # of equal ones the first


def _fingerprints(parts: Tensor) -> Tensor:
    """A number (batch, phase) for the values of each phase, the same for all rolls of them: a sum modulo 2^64.

    What stands at a place is mixed with what stands 1, 2, 4, ... places on, until every place knows the whole circle.
    """
    channels = torch.arange(1, parts.shape[2] + 1, device=parts.device) * _ODD[0]
    own = _mixed(parts + channels.reshape(-1, *[1] * (parts.ndim - 3))).sum(2)
    for axis in range(2, own.ndim):
        step = 1
        while step < own.shape[axis]:
            own = _mixed(own * _ODD[1] + own.roll(-step, axis))
            step *= 2
    return _mixed(own).flatten(2).sum(2)


def _mixed(values: Tensor) -> Tensor:
    """Integers scrambled, so that sums of products tell arrangements apart."""
    values = (values ^ (values >> 30)) * _ODD[1]
    values = (values ^ (values >> 27)) * _ODD[2]
    return values ^ (values >> 31)


def offsets(index: Tensor, stride: tuple[int, ...]) -> Tensor:
    """The phase along each axis, (batch, axes), of the indices that `choose_phase` returns.

    Example:
        >>> offsets(torch.tensor([0, 1, 2, 3]), (2, 2))
        tensor([[0, 0],
                [0, 1],
                [1, 0],
                [1, 1]])
    """
    rest = index
    found: list[Tensor] = []
    for s in reversed(stride):
        found.insert(0, rest % s)
        rest = rest // s
    return torch.stack(found, -1)


def take_phase(x: Tensor, stride: Any, index: Tensor) -> Tensor:
    """The samples of one phase, another for each sample of the batch.

    Shapes: x (batch, channels, *n) with sizes that the stride divides, index (batch); returns (batch, channels, *n / stride).

    Source, Raises: as `choose_phase`.

    Example:
        >>> take_phase(torch.tensor([[[1.0, 5.0, 2.0, 0.0]]]), 2, torch.tensor([1]))
        tensor([[[5., 0.]]])
    """
    steps = numbers("stride", stride, x.ndim - 2, 1)
    return phases(x, steps)[torch.arange(x.shape[0], device=x.device), index]


def put_phase(y: Tensor, stride: Any, index: Tensor) -> Tensor:
    """The transpose of `take_phase`: the samples on their phase among zeros.

    Shapes: y (batch, channels, *m), index (batch); returns (batch, channels, *m·stride).

    Example:
        >>> put_phase(torch.tensor([[[5.0, 7.0]]]), 2, torch.tensor([1]))
        tensor([[[0., 5., 0., 7.]]])
    """
    steps = numbers("stride", stride, y.ndim - 2, 1)
    many, ndim = math.prod(steps), len(steps)
    own = torch.arange(many, device=y.device) == index[:, None]
    spread = y.unsqueeze(1) * own.reshape(len(y), many, *[1] * (y.ndim - 1)).to(y.dtype)
    split = spread.unflatten(1, steps)
    order = [0, 1 + ndim, *itertools.chain(*zip(range(2 + ndim, 2 + 2 * ndim), range(1, 1 + ndim), strict=True))]
    sizes = [m * s for m, s in zip(y.shape[2:], steps, strict=True)]
    return split.permute(order).reshape(*y.shape[:2], *sizes)


def roll_each(x: Tensor, shifts: Tensor) -> Tensor:
    """Each sample of the batch rolled by its own whole numbers of samples: only addresses move.

    Shapes: x (batch, channels, *n), shifts (batch, axes), int64; returns x's shape.

    Source: `torch.roll`, with one shift for each sample.

    Example:
        >>> roll_each(torch.tensor([[[1, 2, 3]], [[1, 2, 3]]]), torch.tensor([[1], [-1]]))
        tensor([[[3, 1, 2]],
        <BLANKLINE>
                [[2, 3, 1]]])
    """
    return crop_each(x, -shifts, tuple(x.shape[2:]))


def crop_each(x: Tensor, starts: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """A window of each sample of the batch from its own place; what is beyond one end comes from the other.

    Shapes: x (batch, channels, *n), starts (batch, axes), int64; returns (batch, channels, *sizes).

    Source: `torch.narrow`, circular, with one place for each sample.

    Example:
        >>> crop_each(torch.tensor([[[1, 2, 3, 4]]]), torch.tensor([[3]]), (2,))
        tensor([[[4, 1]]])
    """
    ndim = x.ndim - 2
    rows = torch.arange(x.shape[0], device=x.device).reshape(-1, *[1] * ndim)
    at = []
    for axis, (n, m) in enumerate(zip(x.shape[2:], sizes, strict=True)):
        place = (starts[:, axis, None] + torch.arange(m, device=x.device)) % n
        at.append(place.reshape(x.shape[0], *[m if other == axis else 1 for other in range(ndim)]))
    return x.movedim(1, -1)[(rows, *at)].movedim(-1, 1)


def wrapped(x: Tensor, pads: tuple[tuple[int, int], ...]) -> Tensor:
    """The signal with so many samples more before and after, of its own other end, however many.

    Shapes: x (..., *n), one pair (lo, hi) for each of the last axes.

    Example:
        >>> wrapped(torch.tensor([1, 2, 3]), ((1, 0),))
        tensor([3, 1, 2, 3])
    """
    for axis, (lo, hi) in enumerate(pads, -len(pads)):
        if lo or hi:
            n = x.shape[axis]
            x = x.index_select(axis, torch.arange(-lo, n + hi, device=x.device) % n)
    return x
