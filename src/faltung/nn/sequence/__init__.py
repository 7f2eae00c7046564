"""Filters as long as the signal: constructors of few parameters, and the layers that convolve with what they make."""

from faltung.nn.base import Layer
from faltung.nn.sequence.block import SequenceBlock
from faltung.nn.sequence.butterfly import ButterflyConv1d, LearnedButterfly
from faltung.nn.sequence.dense import DenseStateSpace
from faltung.nn.sequence.diagonal import DiagonalStateSpace
from faltung.nn.sequence.discretisation import discretise
from faltung.nn.sequence.free import FreeFilter, LongConv1d
from faltung.nn.sequence.free_nd import LongConv
from faltung.nn.sequence.hippo import correction, matrices, recall, remember
from faltung.nn.sequence.hyena import Hyena
from faltung.nn.sequence.implicit import ImplicitConv1d, ImplicitFilter
from faltung.nn.sequence.low_rank import LowRankStateSpace
from faltung.nn.sequence.moving_average import DampedMovingAverage, MovingAverage, MovingAverageConv1d
from faltung.nn.sequence.multi_scale import MultiScale, SGConv1d
from faltung.nn.sequence.multi_scale_nd import SGConv
from faltung.nn.sequence.sequence import DIRECTIONS, LOCAL, FilterConstructor, SequenceConv, State
from faltung.nn.sequence.state_space import StateSpaceConv1d, state_space
from faltung.nn.sequence.state_space_nd import StateSpaceConv

ALL: tuple[type[Layer], ...] = (
    StateSpaceConv1d,
    StateSpaceConv,
    MovingAverageConv1d,
    LongConv1d,
    LongConv,
    SGConv1d,
    SGConv,
    ImplicitConv1d,
    Hyena,
    LearnedButterfly,
    ButterflyConv1d,
)
CONSTRUCTORS: tuple[type[FilterConstructor], ...] = (
    DiagonalStateSpace,
    LowRankStateSpace,
    DenseStateSpace,
    MovingAverage,
    DampedMovingAverage,
    FreeFilter,
    MultiScale,
    ImplicitFilter,
)
MODULES = (
    FilterConstructor,
    SequenceConv,
    SequenceBlock,
    *CONSTRUCTORS,
)

__all__ = [
    "ALL",
    "CONSTRUCTORS",
    "DIRECTIONS",
    "LOCAL",
    "MODULES",
    "ButterflyConv1d",
    "DampedMovingAverage",
    "DenseStateSpace",
    "DiagonalStateSpace",
    "FilterConstructor",
    "FreeFilter",
    "Hyena",
    "ImplicitConv1d",
    "ImplicitFilter",
    "LearnedButterfly",
    "LongConv",
    "LongConv1d",
    "LowRankStateSpace",
    "MovingAverage",
    "MovingAverageConv1d",
    "MultiScale",
    "SGConv",
    "SGConv1d",
    "SequenceBlock",
    "SequenceConv",
    "State",
    "StateSpaceConv",
    "StateSpaceConv1d",
    "correction",
    "discretise",
    "matrices",
    "recall",
    "remember",
    "state_space",
]
