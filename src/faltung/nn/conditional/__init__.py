"""Kernels that depend on the sample, on parameters of the user, or on coordinates."""

from faltung.nn.base import Layer

ALL: tuple[type[Layer], ...] = ()
