"""Kernels with the structure of an algebra or a product: hypercomplex, separable."""

from faltung.nn.base import Layer

ALL: tuple[type[Layer], ...] = ()
