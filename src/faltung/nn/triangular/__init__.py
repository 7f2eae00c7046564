"""Kernels with a corner or a mask: invertible and autoregressive convolutions."""

from faltung.nn.base import Layer
from faltung.nn.triangular.invertible import InvertibleConv

ALL: tuple[type[Layer], ...] = (InvertibleConv,)
