"""Kernels whose taps move: learnt positions and delays."""

from faltung.nn.base import Layer

ALL: tuple[type[Layer], ...] = ()
