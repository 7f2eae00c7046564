"""The operators of the layers as functions, with torch's names and argument order where torch has them."""

from faltung.nn.functional.complex import conv_complex
from faltung.nn.functional.convolution import BOUNDARY, conv, conv_transpose, margins, numbers
from faltung.nn.functional.redilate import redilate
from faltung.nn.functional.ways import Call, fastest

__all__ = ["BOUNDARY", "Call", "conv", "conv_complex", "conv_transpose", "fastest", "margins", "numbers", "redilate"]
