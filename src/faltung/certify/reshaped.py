"""Norms of convolutions from the norms of matrices that their taps make when laid out: coarse, and cheap for few channels."""

import itertools
import math

import torch
from torch import Tensor

from faltung.certify import gram
from faltung.filters import Symbol


def laid_out(symbol: Symbol, every: bool = True) -> Tensor:
    """A bound of the gain over all frequencies, of a symbol without stride and dilation; differentiable, rounded up.

    Formula: `√∏k · min ‖M‖₂` over the layouts M of the taps (out, in, *k) as matrices, each axis of taps standing by the outputs or
    by the inputs. For F(ω) = Σ_t K[t] e^(−iωt) is such a matrix between two isometries of phases, √∏k times. With all taps by the
    inputs it is the matrix that maps patches to results; of the polyphase kernel of a stride S its factor is √∏⌈k / S⌉, the root
    of the number of patches that a sample stands in.

    Args: every: all 2^D layouts; else the one of patches alone.
    Error: singular values are rounded up as those of `faltung.certify.gram` are.
    Cost: 2^D singular value decompositions; (out ∏k') × (in ∏k'') each.
    Source: Singla and Feizi, Fantastic four: differentiable bounds on singular values of convolution layers (2021), for two
        axes.
    """
    taps = symbol.taps()
    size = taps.shape[3:]
    layouts = itertools.product((False, True), repeat=len(size)) if every else [(False,) * len(size)]
    found = []
    for rows in layouts:
        out = [axis + 3 for axis, here in enumerate(rows) if here]
        into = [axis + 3 for axis, here in enumerate(rows) if not here]
        matrix = taps.permute(0, 1, *out, 2, *into)
        matrix = matrix.reshape(len(taps), taps.shape[1] * math.prod(taps.shape[a] for a in out), -1)
        slack = gram.slack(max(matrix.shape[1:]), 1, 1)
        found.append(torch.linalg.matrix_norm(matrix, 2).max() * (1 + slack))
    return torch.stack(found).min() * math.prod(size) ** 0.5
