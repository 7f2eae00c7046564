"""Kernels with a corner or a mask: invertible and autoregressive convolutions."""

from faltung.nn.base import Layer

ALL: tuple[type[Layer], ...] = ()
