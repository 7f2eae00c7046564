"""The operators of the layers as functions, with torch's names and argument order where torch has them."""

from faltung.nn.functional.convolution import BOUNDARY, conv, conv_transpose, margins, numbers
from faltung.nn.functional.delayed import delayed
from faltung.nn.functional.placed import placed

__all__ = ["BOUNDARY", "conv", "conv_transpose", "delayed", "margins", "numbers", "placed"]
