"""Filters as long as the signal: constructors of few parameters, and the layers that convolve with what they make."""

from faltung.nn.base import Layer
from faltung.nn.sequence.sequence import DIRECTIONS, LOCAL, FilterConstructor, SequenceConv, State

ALL: tuple[type[Layer], ...] = ()
MODULES = (
    FilterConstructor,
    SequenceConv,
)

__all__ = ["ALL", "DIRECTIONS", "LOCAL", "MODULES", "FilterConstructor", "SequenceConv", "State"]
