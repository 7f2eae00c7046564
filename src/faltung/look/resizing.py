"""Images at the size that a feature network wants, without aliasing: distances of features see how images were resized."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faltung.arrays import as_array, is_torch
from faltung.errors import ArgumentError, DtypeError

WAYS = ("bicubic", "area")


def resized(images: Any, size: int | Sequence[int], way: str = "bicubic") -> Any:
    """Images at another size, every new pixel a mean over the old ones that it covers.

    Formula: along each axis, from n to m pixels with r = n/m, `y[i] = Σ_j w_ij x[j]`. Bicubic: `w_ij` is in proportion to
    `k((j + ½ − (i + ½)·r) / max(r, 1))` with sum 1 over the pixels of the image, k Keys' cubic with a = −½: the kernel grows with
    the step, so that what the new grid cannot hold is averaged away. Area: `w_ij` is the share of `[i·r, (i + 1)·r]` that pixel j
    covers; where r is whole that is the mean of blocks.

    Args:
        images: array or tensor (batch, channels, height, width) of real numbers, bytes too.
        size: (height, width), or one number for both; at least 1.
        way: "bicubic" (default) or "area".

    Returns:
        An array or tensor as came, in float32, or in float64 where that came. Nothing is rounded to bytes or clipped: bicubic
        weights can be negative, so next to steep edges values leave the range of the images, by less than a third of it.
        Tensors keep their derivatives.

    Raises:
        ArgumentError: images of other shapes or without pixels, sizes below 1, another way.   DtypeError: complex numbers.

    Error: some ulp of the largest value.
    Cost: two passes; bicubic takes 4·max(r, 1) products a new pixel and axis, area a matrix product with n.
    Source: Keys, Cubic convolution interpolation for digital image processing (1981); Parmar, Zhang and Zhu, On aliased resizing
        and surprising subtleties in GAN evaluation (2022).

    Example:
        >>> resized(np.arange(16.0).reshape(1, 1, 4, 4), 2, "area")[0, 0]
        array([[ 2.5,  4.5],
               [10.5, 12.5]])
    """
    x = as_array(images, "look.resized")
    wanted = tuple(size) if isinstance(size, Sequence) else (size, size)
    if x.ndim != 4 or 0 in x.shape[1:]:
        raise ArgumentError.of(
            "look.resized",
            "images (batch, channels, height, width) with pixels",
            f"shape {tuple(x.shape)}",
            "add the axes that are missing",
        )
    if len(wanted) != 2 or not all(_is_size(n) for n in wanted):
        raise ArgumentError.of(
            "look.resized", "a size, or (height, width), of at least 1", repr(size), "say size=(299, 299)"
        )
    if way not in WAYS:
        raise ArgumentError.of("look.resized", f"way {' or '.join(map(repr, WAYS))}", repr(way), "name one of them")
    y = _wide(x)
    height, width = (int(n) for n in wanted)
    if not len(y):
        y = y.new_zeros(0, y.shape[1], height, width)
    elif way == "area":
        y = _overlaps(x.shape[2], height).to(y) @ (y @ _overlaps(x.shape[3], width).T.to(y))
    else:
        y = _bicubic(y, height, width)
    return y if is_torch(images) else y.numpy()


def _is_size(n: Any) -> bool:
    return isinstance(n, (int, np.integer)) and not isinstance(n, bool) and bool(n >= 1)


def _wide(x: Any) -> Tensor:
    """The images as float32 or float64."""
    if not is_torch(x):
        x = torch.from_numpy(np.array(x, order="C"))  # a copy: torch warns of arrays that must not be written
    if x.is_complex():
        raise DtypeError.of("look.resized", "real images", str(x.dtype), "resize real and imaginary parts")
    return x if x.dtype == torch.float64 else x.float()


def _bicubic(y: Tensor, height: int, width: int) -> Tensor:
    if width == 1 < height:  # torch 2.13 leaves out the weights down a single column (along a single row it does not)
        return _bicubic(y.mT, 1, height).mT
    return torch.nn.functional.interpolate(y, (height, width), mode="bicubic", antialias=True)


def _overlaps(n: int, m: int) -> Tensor:
    """The matrix (m, n) of the shares of old pixels in new ones; whole multiples of 1/m before the last division: exact."""
    new, old = torch.arange(m)[:, None] * n, torch.arange(n) * m
    shared = torch.minimum(new + n, old + m) - torch.maximum(new, old)
    return shared.clamp(min=0).double() / n
