"""Layers for torch. One file an operator, one line in its family's folder; `Conv2d` is `Conv` with two dimensions, and so on."""

from functools import partial
from typing import Any

from faltung.arrays import import_torch

import_torch("faltung.nn")

from faltung.nn import (  # noqa: E402 - a missing torch is to be said first
    algebraic,
    attention,
    branches,
    complex,
    conditional,
    contours,
    fields,
    frequency,
    functional,
    hyperbolic,
    large,
    lie,
    phase,
    polynomial,
    positions,
    sequence,
    sphere,
    symmetry,
    triangular,
)
from faltung.nn.base import ConvLayer, Example, Layer, Symmetry  # noqa: E402
from faltung.nn.conv import Conv, ConvTranspose  # noqa: E402
from faltung.nn.training import param_groups  # noqa: E402

FAMILIES = (
    positions,
    conditional,
    fields,
    branches,
    large,
    algebraic,
    complex,
    triangular,
    attention,
    polynomial,
    sequence,
    frequency,
    symmetry,
    sphere,
    phase,
    contours,
    lie,
    hyperbolic,
)
ALL: tuple[type[Layer], ...] = (Conv, ConvTranspose, *(kind for family in FAMILIES for kind in family.ALL))

_KINDS = {kind.__name__: kind for kind in ALL if not kind.__module__.startswith("faltung.nn.complex")}
_SHORT = {f"{kind.__name__}{n}d": partial(kind, n) for kind in _KINDS.values() for n in kind.dims}
_MODULES = {kind.__name__: kind for family in FAMILIES for kind in getattr(family, "MODULES", ())}
globals().update(_KINDS | _SHORT | _MODULES)

__all__ = [
    "ALL",
    "FAMILIES",
    "ConvLayer",
    "Example",
    "Layer",
    "Symmetry",
    "complex",
    "functional",
    "param_groups",
    *_KINDS,
    *_SHORT,
    *_MODULES,
]


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module 'faltung.nn' has no attribute {name!r}; it offers {', '.join(__all__)}")
