"""Large receptive fields from small parts: shifts, pyramids, recursion, sub-pixels, four dimensions."""

from faltung.nn.base import Layer

ALL: tuple[type[Layer], ...] = ()
