"""Ideal down-scaling to smaller images: `Scale`."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from faltung.certify.actions.action import Action
from faltung.errors import ArgumentError
from faltung.nn.functional.waves import resample_ideal


class Scale(Action):
    """Ideal down-scaling: of the signal's waves those stay that fit fewer samples.

    Formula: D_r, to `min(n, r)` samples along every axis; a result of m samples where the input has n goes to
    `round(m·min(n, r)/n)`.

    Args:
        sizes: r, whole numbers of at least 1. Default: all odd ones from 5 to below the longest axis.
    """

    name = "ideal down-scaling"

    def __init__(self, sizes: Sequence[int] | None = None) -> None:
        if sizes is not None and (not sizes or min(sizes) < 1):
            raise ArgumentError.of("Scale", "sizes of at least 1", repr(sizes), "leave them out for all odd ones")
        self.sizes = sizes

    def elements(self, x: Tensor) -> list[Any]:
        longest = max(x.shape[2:])
        return [r for r in (range(5, longest, 2) if self.sizes is None else self.sizes) if r < longest]

    def apply(self, element: Any, x: Tensor) -> Tensor:
        return resample_ideal(x, tuple(min(n, element) for n in x.shape[2:]))

    def apply_output(self, element: Any, y: Tensor, x: Tensor) -> Tensor | None:
        if y.ndim != x.ndim:
            return y
        pairs = zip(y.shape[2:], x.shape[2:], strict=True)
        return resample_ideal(y, tuple(max(1, round(m * min(n, element) / n)) for m, n in pairs))

    def words(self, element: Any) -> str:
        return f"{element} samples"
