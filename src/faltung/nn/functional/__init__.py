"""The operators of the layers as functions, with torch's names and argument order where torch has them."""

from faltung.nn.functional.convolution import BOUNDARY, conv, conv_transpose, margins, numbers
from faltung.nn.functional.resample import add_resampled, resample
from faltung.nn.functional.shift import shift
from faltung.nn.functional.shuffle import pixel_shuffle, pixel_unshuffle
from faltung.nn.functional.submanifold import submanifold_conv

__all__ = [
    "BOUNDARY",
    "add_resampled",
    "conv",
    "conv_transpose",
    "margins",
    "numbers",
    "pixel_shuffle",
    "pixel_unshuffle",
    "resample",
    "shift",
    "submanifold_conv",
]
