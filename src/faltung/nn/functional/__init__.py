"""The operators of the layers as functions, with torch's names and argument order where torch has them."""

from faltung.nn.functional.channel_mix import channel_mix, named
from faltung.nn.functional.chunked import chunked_conv
from faltung.nn.functional.complex import conv_complex
from faltung.nn.functional.convolution import BOUNDARY, MANY_CALLS, conv, conv_transpose, margins, numbers
from faltung.nn.functional.cosine import dct, idct
from faltung.nn.functional.deform import deform_conv
from faltung.nn.functional.delayed import delayed
from faltung.nn.functional.gated import gated_conv
from faltung.nn.functional.local import conv_local, conv_local_transpose
from faltung.nn.functional.mixed import conv_mixed, conv_transpose_mixed, mixture
from faltung.nn.functional.motion import rotate_kernel, translate_kernel
from faltung.nn.functional.per_pixel import conv_per_pixel
from faltung.nn.functional.per_sample import conv_per_sample, conv_transpose_per_sample
from faltung.nn.functional.periods import Periods, dominant_periods, fold_period, unfold_period
from faltung.nn.functional.placed import placed
from faltung.nn.functional.planes import can_fill_planes, fill_planes
from faltung.nn.functional.polyphase import choose_phase, crop_each, put_phase, roll_each, take_phase
from faltung.nn.functional.redilate import redilate
from faltung.nn.functional.resample import add_resampled, resample
from faltung.nn.functional.separable import separable_conv
from faltung.nn.functional.shift import shift
from faltung.nn.functional.shrink import smooth, squash
from faltung.nn.functional.shuffle import pixel_shuffle, pixel_unshuffle
from faltung.nn.functional.spectrum import from_spectrum, real_spectrum, wide
from faltung.nn.functional.submanifold import submanifold_conv
from faltung.nn.functional.triangular import SOLVERS, causal_conv, causal_solve, inverse_kernel, newton_steps
from faltung.nn.functional.vandermonde import moments, vandermonde
from faltung.nn.functional.waves import low_pass, resample_ideal, shift_ideal
from faltung.nn.functional.ways import Call, fastest

__all__ = [
    "BOUNDARY",
    "MANY_CALLS",
    "SOLVERS",
    "Call",
    "Periods",
    "add_resampled",
    "can_fill_planes",
    "causal_conv",
    "causal_solve",
    "channel_mix",
    "choose_phase",
    "chunked_conv",
    "conv",
    "conv_complex",
    "conv_local",
    "conv_local_transpose",
    "conv_mixed",
    "conv_per_pixel",
    "conv_per_sample",
    "conv_transpose",
    "conv_transpose_mixed",
    "conv_transpose_per_sample",
    "crop_each",
    "dct",
    "deform_conv",
    "delayed",
    "dominant_periods",
    "fastest",
    "fill_planes",
    "fold_period",
    "from_spectrum",
    "gated_conv",
    "idct",
    "inverse_kernel",
    "low_pass",
    "margins",
    "mixture",
    "moments",
    "named",
    "newton_steps",
    "numbers",
    "pixel_shuffle",
    "pixel_unshuffle",
    "placed",
    "put_phase",
    "real_spectrum",
    "redilate",
    "resample",
    "resample_ideal",
    "roll_each",
    "rotate_kernel",
    "separable_conv",
    "shift",
    "shift_ideal",
    "smooth",
    "squash",
    "submanifold_conv",
    "take_phase",
    "translate_kernel",
    "unfold_period",
    "vandermonde",
    "wide",
]
