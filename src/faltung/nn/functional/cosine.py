"""The cosine transform of tensors, by one real Fourier transform an axis."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from faltung.errors import ArgumentError, DtypeError
from faltung.nn.functional.spectrum import from_spectrum, real_spectrum, wide

NORMS = ("ortho", "backward")


def dct(input: Tensor, dims: int | Sequence[int] = -1, norm: str = "ortho") -> Tensor:
    """The cosine transform (DCT-II) along some axes.

    Formula: along each axis of n samples `X_k = s_k Σ_j x_j cos(π k (j + ½) / n)`, with s_0 = 1/√n and s_k = √(2/n) for `ortho`,
    s_k = 2 for `backward`. The ortho transform keeps the 2-norm. `idct` is its inverse.

    Shapes: any, returns the same.

    Args:
        dims: the axes. Default the last one.   norm: ortho (an orthogonal map) or backward (SciPy's default). Default ortho.

    Returns:
        A real tensor of the input's dtype; half precision is transformed in float32.

    Raises:
        DtypeError: the input is not real.   ArgumentError: another norm, or an axis without samples.

    Error: a few ulp times log2 n, relative to the 2-norm.   Cost: one real Fourier transform of n samples an axis.
    Source: Makhoul, A fast cosine transform in one and two dimensions (1980).

    Example:
        >>> dct(torch.tensor([1.0, 2.0]))
        tensor([ 2.1213, -0.7071])
    """
    x, narrow = _taken("dct", input, norm)
    for axis in _axes(dims):
        x = _forward(x.movedim(axis, -1), norm).movedim(-1, axis)
    return x.to(narrow)


def idct(input: Tensor, dims: int | Sequence[int] = -1, norm: str = "ortho") -> Tensor:
    """The inverse of `dct` (a scaled DCT-III).

    Formula: along each axis of n samples, for `ortho`, `x_j = X_0/√n + √(2/n) Σ_{k ≥ 1} X_k cos(π k (j + ½) / n)`.

    Shapes, Args, Returns, Raises, Error, Cost: as `dct`.

    Example:
        >>> idct(torch.tensor([2.0, 0, 0, 0]))
        tensor([1., 1., 1., 1.])
    """
    x, narrow = _taken("idct", input, norm)
    for axis in _axes(dims):
        x = _inverse(x.movedim(axis, -1), norm).movedim(-1, axis)
    return x.to(narrow)


def _taken(who: str, input: Tensor, norm: str) -> tuple[Tensor, torch.dtype]:
    """The input in a dtype that has Fourier transforms, and the dtype it came in."""
    if not isinstance(input, Tensor) or not input.is_floating_point():
        came = f"a tensor of {input.dtype}" if isinstance(input, Tensor) else type(input).__name__
        raise DtypeError.of(who, "a tensor of real numbers", came, "convert it with .float()")
    if norm not in NORMS:
        raise ArgumentError.of("norm", f"one of {', '.join(NORMS)}", repr(norm), "choose one of these")
    return wide(input), input.dtype


def _axes(dims: int | Sequence[int]) -> tuple[int, ...]:
    return (dims,) if isinstance(dims, int) else tuple(dims)


def _turns(n: int, like: Tensor) -> Tensor:
    """`exp(−iπk / 2n)` for k = 0 .. ⌊n / 2⌋."""
    angle = torch.arange(n // 2 + 1, dtype=like.dtype, device=like.device) * (-math.pi / (2 * n))
    return torch.complex(angle.cos(), angle.sin())


def _scales(n: int, norm: str, like: Tensor) -> Tensor:
    """What turns `Σ x cos / √n` into the norm's coefficients."""
    size = 2 * math.sqrt(n) if norm == "backward" else math.sqrt(2)
    scale = torch.full((n,), size, dtype=like.dtype, device=like.device)
    if norm == "ortho":
        scale = torch.cat([scale[:1] * math.sqrt(0.5), scale[1:]])
    return scale


def _forward(x: Tensor, norm: str) -> Tensor:
    n = _samples("dct", x)
    # The samples with even numbers, then those with odd numbers backwards: their Fourier transform, turned by a quarter sample,
    # has X_k as its real part and −X_{n−k} as its imaginary part.
    turned = real_spectrum(torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], -1), 1) * _turns(n, x)
    parts = torch.cat([turned.real, -turned.imag[..., 1 : (n + 1) // 2].flip(-1)], -1)
    return parts * _scales(n, norm, x)


def _inverse(x: Tensor, norm: str) -> Tensor:
    n = _samples("idct", x)
    x = x / _scales(n, norm, x)
    mirrored = torch.cat([torch.zeros_like(x[..., :1]), x[..., 1:].flip(-1)[..., : n // 2]], -1)
    spectrum = torch.complex(x[..., : n // 2 + 1], -mirrored) * _turns(n, x).conj()
    v = from_spectrum(spectrum, (n,))
    first, second = v[..., : (n + 1) // 2], v[..., (n + 1) // 2 :].flip(-1)
    if n % 2:  # one sample more among the even ones: a pair without a second, which is cut off again
        second = torch.cat([second, torch.zeros_like(first[..., :1])], -1)
    return torch.stack([first, second], -1).flatten(-2)[..., :n]


def _samples(who: str, x: Tensor) -> int:
    if not x.shape[-1]:
        raise ArgumentError.of(who, "axes with at least one sample", f"shape {tuple(x.shape)}", "leave empty axes out")
    return x.shape[-1]
