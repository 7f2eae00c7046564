"""Filters as long as the signal: constructors of few parameters, and the layers that convolve with what they make."""

from faltung.nn.base import Layer
from faltung.nn.sequence import free, multi_scale
from faltung.nn.sequence.sequence import DIRECTIONS, LOCAL, FilterConstructor, SequenceConv, State

ALL: tuple[type[Layer], ...] = (
    free.LongConv1d,
    multi_scale.SGConv1d,
)
MODULES = (
    FilterConstructor,
    SequenceConv,
    free.FreeFilter,
    multi_scale.MultiScale,
)

__all__ = ["ALL", "DIRECTIONS", "LOCAL", "MODULES", "FilterConstructor", "SequenceConv", "State"]
