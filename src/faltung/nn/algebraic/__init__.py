"""Kernels with the structure of an algebra or a product, and mixes of channels that are sparse or coarse."""

from faltung.nn.algebraic.phc import PHConv, PHConvTranspose, PHLinear
from faltung.nn.algebraic.separable import SeparableConv
from faltung.nn.algebraic.sic import SICBlock, SpatialBottleneck, TopologicalLinear
from faltung.nn.base import Layer

ALL: tuple[type[Layer], ...] = (
    PHConv,
    PHConvTranspose,
    PHLinear,
    SeparableConv,
    SICBlock,
    TopologicalLinear,
    SpatialBottleneck,
)
