"""Sums of exponentials at consecutive times, and the transpose of that, as two small tables and one matrix product.

A time l = B·j + i splits each power: exp(a·l) = exp(a·B·j) · exp(a·i). So the sums over the modes n are products of a matrix
(j, n) and a matrix (n, i), and the tables hold N·(L/B + B) powers where the Vandermonde matrix has N·L. Real and imaginary parts
are planes: no graph sees a complex number. Powers are taken in double precision, because a phase of many turns needs all its
digits.
"""

import math
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError, DtypeError

Planes = tuple[Tensor, Tensor | None]

_DIRECT = 16  # powers that are taken one by one; longer tables are products of two shorter ones


def vandermonde(weight: Planes, exponent: Planes, length: int) -> Tensor:
    """Sums of exponentials at the times 0, 1, ..., as real parts.

    Formula: `y[h, m, l] = Re Σ_n weight[h, m, n] · exp(exponent[h, n] · l)`.

    Shapes: weight, planes of (H, M, N); exponent, planes of (H, N); returns (H, M, length) in the dtype of the weight.

    Args:
        weight, exponent: real and imaginary part, or the real part and None where both are real.   length: at least 1.

    Returns:
        A tensor that is differentiable any number of times.

    Raises:
        ArgumentError, DtypeError: planes that do not fit.

    Error: 4·N roundings of the weight's dtype, relative to Σ_n |weight|; phases are right to 2⁻⁵² of their turns.
    Cost: 4·H·M·N·length flops in one matrix product (half for real exponents), about 2·H·N·√(M·length) powers of memory.
    Source: Gu, Gupta, Goel and Ré, On the parameterization and initialization of diagonal state space models (2022), for the use.

    Example:
        >>> half = torch.tensor([[0.5]]).log()
        >>> vandermonde((torch.ones(1, 1, 1), None), (half, None), 4)
        tensor([[[1.0000, 0.5000, 0.2500, 0.1250]]])
    """
    (H, M, _), real = _checked("vandermonde", weight, exponent, length)
    step = _block(length, M)
    with _wide(weight[0]):
        out = weight[0].dtype
        dtype = torch.promote_types(out, torch.float32)
        near, far = _powers(exponent, step), _powers(exponent, -(-length // step), step)
        w = tuple(None if a is None else a.double().unsqueeze(2) for a in weight)
        rows = _times(w, tuple(None if a is None else a.mT.unsqueeze(1) for a in far))  # (H, M, J, N)
        if real:
            left, right = rows[0], near[0]
        else:
            left, right = torch.cat([rows[0], -_is(rows[1])], -1), torch.cat([near[0], _is(near[1])], 1)
        y = torch.bmm(left.to(dtype).flatten(1, 2), right.to(dtype))
        return y.reshape(H, M, -1)[..., :length].to(out)


def moments(signal: Tensor, exponent: Planes) -> Planes:
    """Sums of a signal against exponentials: the transpose of `vandermonde`.

    Formula: `s[h, r, n] = Σ_l signal[h, r, l] · exp(exponent[h, n] · l)`.

    Shapes: signal (H, R, length); exponent, planes of (H, N); returns planes of (H, R, N).

    Returns, Error, Cost, Source: as `vandermonde`.

    Example:
        >>> moments(torch.ones(1, 1, 3), (torch.tensor([[0.5]]).log(), None))[0]
        tensor([[[1.7500]]])
    """
    H, R, length = signal.shape
    step = _block(length, R)
    blocks = -(-length // step)
    with _wide(signal):
        near, far = _powers(exponent, step), _powers(exponent, blocks, step)
        x = torch.nn.functional.pad(signal, (0, blocks * step - length)).reshape(H, R * blocks, step)
        sums = [None if a is None else torch.bmm(x, a.mT.to(x.dtype)).reshape(H, R, blocks, -1) for a in near]
        turned = _times(
            (_is(sums[0]), sums[1]), tuple(None if a is None else a.mT.unsqueeze(1).to(x.dtype) for a in far)
        )
        return turned[0].sum(2), None if turned[1] is None else turned[1].sum(2)


def _wide(tensor: Tensor) -> Any:
    """Where autocast would narrow matrix products, it is kept from that."""
    kind = tensor.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def _powers(exponent: Planes, count: int, step: int = 1) -> Planes:
    """exp(exponent · step · j) for j < count in double precision, planes of (H, N, count)."""
    if count <= _DIRECT:
        at = torch.arange(0, count * step, step, dtype=torch.float64, device=exponent[0].device)
        size = torch.exp(exponent[0].double()[..., None] * at)
        if exponent[1] is None:
            return size, None
        phase = exponent[1].double()[..., None] * at
        return size * phase.cos(), size * phase.sin()
    short = 1 << (math.isqrt(count - 1).bit_length())
    low, high = _powers(exponent, short, step), _powers(exponent, -(-count // short), step * short)
    both = _times(
        tuple(None if a is None else a.unsqueeze(-1) for a in high),
        tuple(None if a is None else a.unsqueeze(-2) for a in low),
    )
    return both[0].flatten(-2)[..., :count], None if both[1] is None else both[1].flatten(-2)[..., :count]


def _times(a: tuple, b: tuple) -> Planes:
    """The product of two complex numbers as planes; both have an imaginary part or none has."""
    if a[1] is None and b[1] is None:
        return a[0] * b[0], None
    if a[1] is None or b[1] is None:
        one, other = (b, a) if a[1] is None else (a, b)
        return one[0] * other[0], one[1] * other[0]
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _block(length: int, rows: int) -> int:
    """How many times the inner table holds: where both tables together are smallest, as a power of two."""
    return min(1 << round(math.log2(max(1, rows * length)) / 2), 1 << max(0, length - 1).bit_length())


def _is(plane: Tensor | None) -> Tensor:
    assert plane is not None
    return plane


def _checked(who: str, weight: Planes, exponent: Planes, length: int) -> tuple[tuple[int, ...], bool]:
    """The sizes (H, M, N), and whether all is real."""
    planes = [a for a in (*weight, *exponent) if a is not None]
    if any(not isinstance(a, Tensor) or not a.is_floating_point() for a in planes):
        raise DtypeError.of(who, "planes of real numbers", "others", "pass real and imaginary parts")
    shape, modes = weight[0].shape, exponent[0].shape
    if len(shape) != 3 or modes != (shape[0], shape[2]) or any(a.shape not in (shape, modes) for a in planes):
        raise ArgumentError.of(
            who, "weight (H, M, N) and exponent (H, N)", f"{tuple(shape)} and {tuple(modes)}", "match their sizes"
        )
    if (weight[1] is None) != (exponent[1] is None):
        raise ArgumentError.of(who, "imaginary parts of both or of neither", "one of the two", "pass zeros")
    if length < 1:
        raise ArgumentError.of("length", "a whole number of at least 1", repr(length), "ask for at least one sample")
    return tuple(shape), exponent[1] is None
