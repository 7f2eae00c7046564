"""The operators of the layers as functions, with torch's names and argument order where torch has them."""

from faltung.nn.functional.channel_mix import channel_mix, named
from faltung.nn.functional.complex import conv_complex
from faltung.nn.functional.convolution import BOUNDARY, conv, conv_transpose, margins, numbers
from faltung.nn.functional.separable import separable_conv
from faltung.nn.functional.ways import Call, fastest

__all__ = [
    "BOUNDARY", "Call", "channel_mix", "conv", "conv_complex", "conv_transpose", "fastest", "margins", "named", "numbers",
    "separable_conv",
]  # fmt: skip
