"""Whether gains are below a number, for wide convolutions: one Cholesky factorisation a frequency instead of many products.

σ₁(F(ω)) < μ exactly where μ²·1 − F*F(ω) is positive definite, which a Cholesky factorisation tells; and F*F(ω) is the symbol of
the filters' correlations, so it is summed from (2k − 1)^D matrices instead of multiplied. Both together are some fifteen times
fewer operations than a Gram iteration.

Rounding: a factorisation that ends is exact for a matrix that is at most u·(r + 1)·trace away (r rows, u the unit of float64; Rump,
Verification of positive definiteness, 2006), and the sums are within u·(number of terms) of the correlations' sizes. The number
that is tested is smaller than μ by several times both.
"""

import itertools
import math
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from faltung.certify.gram import EPSILON

WIDE = 32  # rows from which it is faster
STEPS = 24  # of power iteration


class Definite:
    """The matrices F*F of one group of a convolution without stride and dilation (or FF*, where that is smaller).

    Shapes: taps (out, in, *k), in double precision.
    """

    def __init__(self, taps: Tensor) -> None:
        # (a, c, *k): H = Σ over c of the channel a with the channel b
        self.taps = taps.transpose(0, 1) if taps.shape[1] <= taps.shape[0] else taps.conj()

    @property
    def rank(self) -> int:
        """Rows of the matrices."""
        return int(self.taps.shape[0])

    @cached_property
    def correlations(self) -> Tensor:
        """R_τ[a, b] = Σ over c, t of conj K[a, c, t] · K[b, c, t + τ], for |τ| < k: (a, b, *2k − 1)."""
        size = self.taps.shape[2:]
        found = []
        for shift in itertools.product(*(range(1 - k, k) for k in size)):
            early = tuple(slice(max(0, -s), k - max(0, s)) for s, k in zip(shift, size, strict=True))
            late = tuple(slice(max(0, s), k - max(0, -s)) for s, k in zip(shift, size, strict=True))
            one, two = (self.taps[(slice(None), slice(None), *at)].flatten(1) for at in (early, late))
            found.append(one.conj() @ two.mT)
        return torch.stack(found, -1)

    @cached_property
    def margin(self) -> float:
        """What rounding may hide, as a share of the square of the tested number."""
        terms = self.correlations.shape[-1] + math.prod(self.taps.shape[1:])
        return 8 * EPSILON * (self.rank + 1) * (self.rank + terms)

    def values(self, omegas: np.ndarray) -> Tensor:
        """F*F at frequencies (number, D): (number, rows, rows)."""
        size = np.array(self.taps.shape[2:])
        places = np.indices(tuple(2 * size - 1)).reshape(len(size), -1) - (size - 1)[:, None]
        waves = torch.as_tensor(np.exp(-1j * (omegas @ places)), device=self.taps.device)
        flat = self.correlations.reshape(-1, waves.shape[1])
        # a product of real matrices takes a quarter of one of complex ones
        real = not flat.is_complex()
        made = torch.complex(waves.real @ flat.mT, waves.imag @ flat.mT) if real else waves @ flat.mT
        return made.reshape(-1, self.rank, self.rank)

    def below(self, squares: Tensor, number: float) -> Tensor:
        """For each matrix whether it is certain that its largest eigenvalue is below the square of a number."""
        level = number**2 * (1 - self.margin)
        if not level > 0:
            return torch.zeros(len(squares), dtype=torch.bool, device=squares.device)
        eye = torch.eye(self.rank, dtype=squares.dtype, device=squares.device)
        _, info = torch.linalg.cholesky_ex(level * eye - squares)
        return info == 0

    def reached(self, squares: Tensor) -> Tensor:
        """Gains that some vectors have: the root of what power iteration finds of each matrix."""
        draw = torch.Generator().manual_seed(0)
        x = torch.randn(self.rank, 2, generator=draw, dtype=torch.float64)
        v = torch.view_as_complex(x).to(squares.device).expand(len(squares), -1)[..., None]
        for _ in range(STEPS):
            v = squares @ v
            v = v / torch.linalg.vector_norm(v, dim=1, keepdim=True).clamp(min=1e-300)
        return (v.mH @ (squares @ v)).real.flatten().clamp(min=0).sqrt()
