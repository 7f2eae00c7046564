"""The operators of the layers as functions, with torch's names and argument order where torch has them."""

from faltung.nn.functional.convolution import BOUNDARY, conv, conv_transpose, margins, numbers
from faltung.nn.functional.periods import Periods, dominant_periods, fold_period, unfold_period
from faltung.nn.functional.planes import can_fill_planes, fill_planes

__all__ = [
    "BOUNDARY",
    "Periods",
    "can_fill_planes",
    "conv",
    "conv_transpose",
    "dominant_periods",
    "fill_planes",
    "fold_period",
    "margins",
    "numbers",
    "unfold_period",
]
