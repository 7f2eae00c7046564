"""Sums of parallel convolutions, and filters that are fixed, weighted or merged."""

from faltung.nn.base import Layer

ALL: tuple[type[Layer], ...] = ()
