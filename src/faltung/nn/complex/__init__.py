"""Layers for complex numbers beside the convolution, which takes them as they are."""

from faltung.nn.base import Layer

ALL: tuple[type[Layer], ...] = ()
