"""Filters as long as the signal: constructors of few parameters, and the layers that convolve with what they make."""

from faltung.nn.base import Layer
from faltung.nn.sequence import butterfly, free, hyena, implicit, multi_scale
from faltung.nn.sequence.sequence import DIRECTIONS, LOCAL, FilterConstructor, SequenceConv, State

ALL: tuple[type[Layer], ...] = (
    free.LongConv1d,
    multi_scale.SGConv1d,
    implicit.ImplicitConv1d,
    hyena.Hyena,
    butterfly.LearnedButterfly,
    butterfly.ButterflyConv1d,
)
MODULES = (
    FilterConstructor,
    SequenceConv,
    free.FreeFilter,
    multi_scale.MultiScale,
    implicit.ImplicitFilter,
)

__all__ = ["ALL", "DIRECTIONS", "LOCAL", "MODULES", "FilterConstructor", "SequenceConv", "State"]
