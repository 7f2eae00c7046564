"""The operators of the layers as functions, with torch's names and argument order where torch has them."""

from faltung.nn.functional.convolution import BOUNDARY, conv, conv_transpose, margins, numbers
from faltung.nn.functional.mixed import conv_mixed, conv_transpose_mixed, mixture
from faltung.nn.functional.motion import rotate_kernel, translate_kernel
from faltung.nn.functional.per_sample import conv_per_sample, conv_transpose_per_sample

__all__ = [
    "BOUNDARY",
    "conv",
    "conv_mixed",
    "conv_per_sample",
    "conv_transpose",
    "conv_transpose_mixed",
    "conv_transpose_per_sample",
    "margins",
    "mixture",
    "numbers",
    "rotate_kernel",
    "translate_kernel",
]
