"""A convolution with its boundary: what a certificate is about, read from a layer or from a kernel and its settings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.filters import Symbol
from faltung.nn import functional

SUMS = replace(functional.MANY_CALLS, only=("direct",))
SETTINGS = ("stride", "padding", "dilation", "groups", "padding_mode", "output_padding")


@dataclass(frozen=True, eq=False)
class Operator:
    """The linear map of a convolution layer, or of the transpose of one.

    Fields: weight as torch lays it out; one number, or (lo, hi) pair, for each spatial axis; `transposed` and what goes with it.
    """

    weight: Tensor
    stride: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int
    padding_mode: str
    transposed: bool = False
    output_padding: tuple[int, ...] = ()

    @classmethod
    def read(cls, given: Any, who: str, transposed: bool = False, **settings: Any) -> Self:
        """From a layer of torch or of this library, or from a kernel with its settings.

        Raises:
            ArgumentError: settings beside a layer, which has its own; something that is neither; settings that do not fit.
        """
        if isinstance(given, cls):
            return given
        if isinstance(given, torch.nn.Module):
            if settings or transposed:
                raise ArgumentError.of(
                    who, "a layer alone", f"{sorted(settings)} beside it", "pass layer.weight to choose settings"
                )
            symbol = Symbol.of(given)
            weight, transposed = symbol.weight, symbol.transposed
            settings = {name: getattr(given, name) for name in SETTINGS if hasattr(given, name)}
        else:
            weight = given if isinstance(given, Tensor) else torch.as_tensor(np.asarray(given))
            unknown = sorted(set(settings) - set(SETTINGS))
            if unknown:
                raise ArgumentError.of(
                    who, f"settings among {', '.join(SETTINGS)}", ", ".join(unknown), "leave them out"
                )
        symbol = Symbol(
            weight, settings.get("stride", 1), settings.get("dilation", 1), settings.get("groups", 1), transposed
        )
        mode = settings.get("padding_mode", "zeros")
        if mode not in functional.BOUNDARY:
            words = ", ".join(functional.BOUNDARY)
            raise ArgumentError.of(who, f"a padding_mode among {words}", repr(mode), "choose one of these")
        pads = functional.margins(settings.get("padding", 0), symbol.stride, symbol.dilation, symbol.size)
        extra = functional.numbers("output_padding", settings.get("output_padding", 0), symbol.ndim, 0)
        return cls(symbol.weight, symbol.stride, pads, symbol.dilation, symbol.groups, mode, transposed, extra)

    @property
    def symbol(self) -> Symbol:
        """The symbol, of the convolution of which a transposed one is the adjoint."""
        return Symbol(self.weight, self.stride, self.dilation, self.groups, self.transposed)

    @property
    def ndim(self) -> int:
        """The number of spatial axes."""
        return self.weight.ndim - 2

    @property
    def inputs(self) -> int:
        """The number of input channels."""
        return self.weight.shape[0] if self.transposed else self.weight.shape[1] * self.groups

    def apply(self, x: Tensor, absolute: bool = False, local: bool = False) -> Tensor:
        """The map without its bias, of x (batch, in, *n), in x's dtype.

        Args: absolute: the sizes of the weights in their place.   local: sums only, so that a result's error is relative to what it
            reads and not, as of Fourier transforms, to the largest sample.
        """
        weight = self.weight.to(x.dtype)
        weight = weight.abs() if absolute else weight
        options: dict[str, Any] = {
            "stride": self.stride, "padding": self.pads, "groups": self.groups, "dilation": self.dilation,
            "policy": SUMS if local else None,
        }  # fmt: skip
        if self.transposed:
            made = partial(
                functional.conv_transpose, output_padding=self.output_padding, padding_mode=self.padding_mode
            )
        else:
            made = partial(functional.conv, padding_mode=self.padding_mode)
        return made(x, weight, None, **options)

    def result(self, n: Sequence[int]) -> tuple[int, ...]:
        """The sizes of the result of a convolution (not of a transposed one) for an input of these sizes."""
        parts = zip(n, self.pads, self.dilation, self.symbol.size, self.stride, strict=True)
        sizes = tuple((a + lo + hi - d * (t - 1) - 1) // s + 1 for a, (lo, hi), d, t, s in parts)
        if any(m < 1 for m in sizes):
            raise ArgumentError.of(
                "spectral_norm", f"an input at least as large as the kernel's reach {self.symbol.size}",
                f"sizes {tuple(n)}", "enlarge the input or its padding",
            )  # fmt: skip
        return sizes


def copies(mode: str, n: int, lo: int, hi: int) -> int:
    """How often the padded line of a signal of n samples holds its most frequent one: the square of the norm of padding."""
    place = np.arange(-lo, n + hi)
    if mode == "circular":
        place = place % n
    elif mode == "replicate":
        place = place.clip(0, n - 1)
    elif mode == "reflect":
        place = np.abs((place + n - 1) % (2 * n - 2) - n + 1) if n > 1 else place * 0
    elif mode == "symmetric":
        place = np.where(place % (2 * n) < n, place % (2 * n), 2 * n - 1 - place % (2 * n))
    else:
        place = place[(place >= 0) & (place < n)]
    return int(np.bincount(place).max()) if place.size else 0


def usual_copies(mode: str, lo: int, hi: int) -> tuple[int, int]:
    """The same for all signals of at least some size, and that size."""
    lo, hi = max(lo, 0), max(hi, 0)
    if mode == "zeros" or lo == hi == 0:
        return 1, 1
    if mode == "replicate":
        return 1 + max(lo, hi), 2
    return 2, lo + hi + (2 if mode == "reflect" else 0)


def circle_copies(n: int | None, lo: int, hi: int, reach: int, s: int) -> int:
    """How often a sample is read by one tap of windows around a circle, or held by the padded line where only that is known.

    Args: n: the size of the signal, None for all sizes.   lo, hi: the margins.   reach: places that a window spans less one.
        s: the stride.
    """
    if n is None:
        return 1 if s == 1 and lo + hi <= reach else usual_copies("circular", lo, hi)[0]
    if n % s:
        return copies("circular", n, lo, hi)
    return repeats(n, (n + lo + hi - reach - 1) // s + 1, s)


def repeats(n: int, m: int, s: int) -> int:
    """How often m windows, s apart, on a circle of n places come to the same place."""
    return -(-m // (n // math.gcd(n, s)))
