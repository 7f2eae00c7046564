"""The operators of the layers as functions, with torch's names and argument order where torch has them."""

from faltung.nn.functional.convolution import BOUNDARY, conv, conv_transpose, margins, numbers
from faltung.nn.functional.resample import add_resampled, resample
from faltung.nn.functional.shift import shift

__all__ = ["BOUNDARY", "add_resampled", "conv", "conv_transpose", "margins", "numbers", "resample", "shift"]
