"""The operators of the layers as functions, with torch's names and argument order where torch has them."""

from faltung.nn.functional.convolution import BOUNDARY, MANY_CALLS, conv, conv_transpose, margins, numbers
from faltung.nn.functional.triangular import SOLVERS, causal_conv, causal_solve, inverse_kernel, newton_steps

__all__ = [
    "BOUNDARY",
    "MANY_CALLS",
    "SOLVERS",
    "causal_conv",
    "causal_solve",
    "conv",
    "conv_transpose",
    "inverse_kernel",
    "margins",
    "newton_steps",
    "numbers",
]
