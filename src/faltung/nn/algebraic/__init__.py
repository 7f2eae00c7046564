"""Kernels with the structure of an algebra or a product: hypercomplex, separable."""

from faltung.nn.algebraic.phc import PHConv, PHConvTranspose, PHLinear
from faltung.nn.algebraic.separable import SeparableConv
from faltung.nn.base import Layer

ALL: tuple[type[Layer], ...] = (PHConv, PHConvTranspose, PHLinear, SeparableConv)
