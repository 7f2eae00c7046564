"""Kernels that depend on the sample, on parameters of the user, or on coordinates."""

from faltung.nn.base import Layer
from faltung.nn.conditional.cond import CondConv, CondConvTranspose, Routing

ALL: tuple[type[Layer], ...] = (CondConv, CondConvTranspose, Routing)
