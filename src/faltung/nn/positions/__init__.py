"""Kernels whose taps move: learnt positions and delays."""

from faltung.nn.base import Layer
from faltung.nn.positions.dcls import DCLSConv
from faltung.nn.positions.delay import Delay1d
from faltung.nn.positions.repulsion import repulsion

ALL: tuple[type[Layer], ...] = (DCLSConv, Delay1d)

__all__ = ["ALL", "DCLSConv", "Delay1d", "repulsion"]
