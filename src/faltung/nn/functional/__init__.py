"""The operators of the layers as functions, with torch's names and argument order where torch has them."""

from faltung.nn.functional.convolution import BOUNDARY, conv, conv_transpose, margins, numbers
from faltung.nn.functional.deform import deform_conv
from faltung.nn.functional.local import conv_local, conv_local_transpose
from faltung.nn.functional.per_pixel import conv_per_pixel

__all__ = [
    "BOUNDARY",
    "conv",
    "conv_local",
    "conv_local_transpose",
    "conv_per_pixel",
    "conv_transpose",
    "deform_conv",
    "margins",
    "numbers",
]
