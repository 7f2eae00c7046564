"""The operators of the layers as functions, with torch's names and argument order where torch has them."""

from faltung.nn.functional.convolution import BOUNDARY, conv, conv_transpose, margins, numbers
from faltung.nn.functional.redilate import redilate

__all__ = ["BOUNDARY", "conv", "conv_transpose", "margins", "numbers", "redilate"]
