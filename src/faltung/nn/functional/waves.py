"""Signals as sums of waves: what a signal is between its samples, at another number of samples, without its fine waves.

All of it is circular: a signal of n samples is one period. The wave that alternates with every sample (frequency n/2 of an even
n) has no phase that samples could tell; it is halved when a signal is enlarged, and dropped where it would be born by shrinking.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from faltung.errors import ArgumentError, DtypeError

_WIDE = (torch.float32, torch.float64)


def low_pass(x: Tensor, cutoff: float, ndim: int) -> Tensor:
    """The signal without its waves above a share of the highest frequency.

    Formula: along each of the last ndim axes of n samples, frequencies |k| ≤ ⌊cutoff·n/2⌋ stay, the others are 0; where
    cutoff·n/2 is whole and cutoff below 1, frequency cutoff·n/2 is 0 too: on the grid of cutoff·n samples it would have no phase.

    Shapes: x (..., *n), returns the same.

    Args:
        cutoff: above 0, at most 1, which changes nothing.   ndim: how many of the last axes.

    Raises:
        ArgumentError: another cutoff.   DtypeError: no tensor of real numbers.

    Source: Michaeli, Michaeli and Soudry, Alias-free convnets (2023).

    Example:
        >>> low_pass(torch.tensor([1.0, -1.0, 1.0, -1.0]), 0.5, 1).abs().max() < 1e-6
        tensor(True)
    """
    if isinstance(cutoff, bool) or not isinstance(cutoff, (int, float)) or not 0 < cutoff <= 1:
        raise ArgumentError.of("low_pass", "a cutoff above 0 and at most 1", repr(cutoff), "use 0.5 for half the band")
    return _along(x, ndim, lambda n, axis: n, lambda n, m: kept(n, cutoff), "low_pass")


def kept(n: int, cutoff: float) -> int:
    """The highest frequency that `low_pass` keeps of n samples."""
    if cutoff == 1:
        return n // 2
    # A product that misses a whole number by rounding (of 1/3, say) is that number.
    edge = cutoff * n / 2
    near = round(edge)
    return near - 1 if abs(edge - near) < 1e-9 * max(1, n) and near > 0 else math.floor(edge)


def resample_ideal(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """The same sum of waves at another number of samples: enlarging adds none, shrinking drops those that no longer fit.

    Formula: along each axis, from n to m samples, `y[i] = Σ over |k| ≤ min(n, m)/2 of c_k X[k]/n exp(2πi k i/m)`, X the Fourier
    transform of x; c = 1, but for |k| = n/2 < m/2, where it is ½, and |k| = m/2 < n/2, where it is 0.

    Shapes: x (..., *n), returns (..., *sizes), as many of the last axes as there are sizes.

    Args:
        sizes: of the result, at least 1 each.

    Raises:
        ArgumentError: a size below 1, or more sizes than axes.   DtypeError: no tensor of real numbers.

    Error: a few roundoffs times log₂ n of the largest value. Up and then down again is the identity but for frequency n/2.
    Cost: two Fourier transforms along each axis that changes.
    Source: the sampling theorem (Whittaker, Kotelnikov, Shannon).

    Example:
        >>> resample_ideal(torch.tensor([1.0, 0, 0, 0, 0]), [3])
        tensor([0.6000, 0.0000, 0.0000])
    """
    wanted = tuple(sizes)
    if not wanted or len(wanted) > x.ndim or any(m < 1 for m in wanted):
        raise ArgumentError.of(
            "resample_ideal", f"1 to {x.ndim} sizes of at least 1", repr(wanted), "give one for each of the last axes"
        )
    count = len(wanted)
    return _along(
        x, count, lambda n, axis: wanted[axis], lambda n, m: n // 2 if n <= m else (m - 1) // 2, "resample_ideal"
    )


def shift_ideal(x: Tensor, shifts: Sequence[float]) -> Tensor:
    """The signal shifted by any number of samples, whole or not, along its last axes; a whole number rolls it.

    Formula: along each axis, X[k] becomes `X[k] exp(−2πi k·shift/n)`, for k = n/2 of an even n its real part,
    `X[k] cos(π·shift)`, which is why shifts of signals with that wave do not add up.

    Shapes: x (..., *n), returns the same.

    Args:
        shifts: one for each of the last axes, in samples, positive towards higher indices.

    Raises:
        ArgumentError: more shifts than axes.   DtypeError: no tensor of real numbers.

    Source: the sampling theorem.

    Example:
        >>> shift_ideal(torch.tensor([1.0, 2.0, 3.0]), [1.0])
        tensor([3., 1., 2.])
    """
    steps = tuple(float(s) for s in shifts)
    if not steps or len(steps) > x.ndim:
        raise ArgumentError.of(
            "shift_ideal", f"1 to {x.ndim} shifts", repr(steps), "give one for each of the last axes"
        )
    whole = [round(s) if s.is_integer() else 0 for s in steps]
    axes = tuple(range(-len(steps), 0))
    x = x.roll(whole, axes) if any(whole) else x
    rest = [0.0 if s.is_integer() else s for s in steps]
    if not x.numel() or not any(rest):
        return x
    wide = _widened(x, "shift_ideal")
    for axis, step in zip(axes, rest, strict=True):
        if step:
            n = x.shape[axis]
            angle = -2 * math.pi * step / n * torch.arange(n // 2 + 1, dtype=wide.dtype, device=x.device)
            turn = torch.polar(torch.ones_like(angle), angle)
            if n % 2 == 0:
                turn = torch.cat((turn[:-1], turn[-1:].real.to(turn.dtype)))
            waves = torch.fft.rfft(wide, dim=axis) * turn.reshape(-1, *[1] * (-1 - axis))
            wide = torch.fft.irfft(waves, n, dim=axis)
    return wide.to(x.dtype)


def _along(x: Tensor, ndim: int, size: object, top: object, who: str) -> Tensor:
    """Each of the last ndim axes to `size(n, axis)` samples with the frequencies up to `top(n, m)`."""
    wide = _widened(x, who)
    for axis in range(-ndim, 0):
        n = x.shape[axis]
        m = size(n, axis + ndim)  # type: ignore[operator]
        highest = top(n, m)  # type: ignore[operator]
        if m == n and highest == n // 2:
            continue
        if not x.numel():
            after = wide.shape[wide.ndim + axis + 1 :]
            wide = wide.new_zeros((*wide.shape[:axis], m, *after))
            continue
        waves = torch.fft.rfft(wide, dim=axis, norm="forward").narrow(axis, 0, highest + 1)
        if m > n and n % 2 == 0:
            last = highest
            waves = torch.cat((waves.narrow(axis, 0, last), waves.narrow(axis, last, 1) / 2), axis)
        wide = torch.fft.irfft(waves, m, dim=axis, norm="forward")
    return wide.to(x.dtype)


def _widened(x: Tensor, who: str) -> Tensor:
    """The tensor in a type that the library transforms."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        came = f"a tensor of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        raise DtypeError.of(who, "a tensor of real numbers", came, "convert it with .float()")
    return x if x.dtype in _WIDE else x.float()
