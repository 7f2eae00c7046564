"""Kernels that depend on the place: local connections, per-pixel weights, moved samples."""

from faltung.nn.base import Layer

ALL: tuple[type[Layer], ...] = ()
