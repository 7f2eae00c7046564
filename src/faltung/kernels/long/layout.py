"""How a long convolution is cut into matrix products: factors, tables, and the order in which spectra lie.

A real row of at most M samples and a filter of at most M taps have a linear convolution of at most 2M − 1 values. Modulo
z^M − i it is `(first M values) + i · (the others)`, so one complex transform of length M of the row, twisted by ζ^j with
ζ = exp(iπ/2M), holds the whole convolution of a real row: no second row is paired with it, and nothing is untangled.

Formula: for M = N₁·R and j = j₁R + j₂, f = f₁ + N₁f₂:
`X[f] = Σ over j₂ of exp(−2πi j₂f₂/R) · (exp(−2πi j₂f₁/M) ζ^j₂) · Σ over j₁ of (exp(−2πi j₁f₁/N₁) ζ^(j₁R)) x[j₁R + j₂]`;
the inner sum is a product with an N₁ × N₁ matrix, the factor between a table, the outer sum the same again for R. The twist costs
nothing, being part of matrix and table. Matrices carry 1/√N₁, so that values keep their size in half precision.

Source: Nussbaumer, Fast Fourier Transform and Convolution Algorithms (1981), for the modulus; Bailey (1990); Dao et al., Monarch
(2022); Fu, Kumbong, Nguyen and Ré, FlashFFTConv (2024).
"""

from functools import lru_cache
from typing import Any

LEAST, ROWS = 256, 16
FACTORS: dict[tuple[int, int], tuple[int, int, int]] = {
    (2, 256): (16, 16, 1),
    (2, 512): (16, 32, 1),
    (2, 1024): (32, 32, 1),
    (2, 2048): (32, 64, 1),
    (2, 4096): (64, 64, 1),
    (2, 8192): (64, 128, 1),
    (2, 16384): (128, 128, 1),
    (3, 4096): (16, 16, 16),
    (3, 8192): (16, 32, 16),
    (3, 16384): (32, 32, 16),
    (3, 32768): (32, 32, 32),
}
"""Factors (N₁, N₂, N₃) of a transform in one kernel, by order and length; every factor fits a matrix unit."""


def length(*sizes: int) -> int:
    """The transform's length for a row and a filter of these sizes: a power of two of at least 256."""
    return max(LEAST, 1 << (max(sizes) - 1).bit_length())


def factored(M: int, order: int) -> tuple[int, int, int]:
    """The factors for a length: of that order where it has them, else of the other."""
    return FACTORS.get((order, M)) or FACTORS[5 - order, M]


def outer(M: int, largest: int) -> int:
    """How many rows a transform of length M is cut into for kernels of that largest length: none, or 16 and more.

    Matrix units take 16 rows at least, so that up to 2048 values are transformed whole.
    """
    return 1 if largest >= M or M < ROWS * LEAST else max(ROWS, M // largest)


@lru_cache(maxsize=64)
def tables(M: int, O: int, factors: tuple[int, int, int], dtype: str, device: str) -> tuple[Any, ...]:
    """Tables for the kernels, real parts before imaginary ones.

    Returns:
        For the kernel of length M/O: matrix, factors between, matrix, factors between, matrix; for O > 1 then the same first two
        for the outer pass. Twisted are those of the first pass.
    """
    m = M // O
    N1, N2, N3 = factors
    rest = m // N1
    first = (_matrix(N1, O == 1), _between(N1, rest, m, O == 1))
    second = (_matrix(N2, False), _between(N2, N3, N2 * N3, False)) if N3 > 1 else first
    last = (_matrix(N3 if N3 > 1 else N2, False),)
    outermost = (_matrix(O, True), _between(O, m, M, True)) if O > 1 else ()
    return tuple(_planes(angles, scale, dtype, device) for angles, scale in (*first, *second, *last, *outermost))


def _matrix(n: int, twisted: bool) -> tuple[Any, float]:
    """Angles of the transform matrix [f, j] in units of a turn, its columns twisted by ζ^(j·M/n)."""
    import torch

    f, j = torch.arange(n, dtype=torch.int64)[:, None], torch.arange(n, dtype=torch.int64)[None]
    turns = -((f * j) % n).to(torch.float64) / n
    return (turns + j.to(torch.float64) / (4 * n) if twisted else turns), n**-0.5


def _between(n: int, rest: int, M: int, twisted: bool) -> tuple[Any, float]:
    """Angles of the factors [f, j] between two products, twisted by ζ^j."""
    import torch

    f, j = torch.arange(n, dtype=torch.int64)[:, None], torch.arange(rest, dtype=torch.int64)[None]
    turns = -((f * j) % M).to(torch.float64) / M
    return (turns + j.to(torch.float64) / (4 * M) if twisted else turns), 1.0


def _planes(turns: Any, scale: float, dtype: str, device: str) -> Any:
    """exp(2πi · turns) as three planes: real part, imaginary part, and the latter's negative."""
    import torch

    angle = turns * (2 * torch.pi)
    return (
        (torch.stack([angle.cos(), angle.sin(), -angle.sin()]) * scale)
        .to(getattr(torch, dtype))
        .to(device)
        .contiguous()
    )


def spectrum(k: Any, M: int, O: int, factors: tuple[int, int, int]) -> Any:
    """The twisted filter's spectrum (B, 2, M) in float32, in the order in which the kernels leave that of a row; k (B, t)."""
    import torch

    wave = torch.arange(k.shape[-1], dtype=torch.float64, device=k.device) * (torch.pi / (2 * M))
    values = k.to(torch.float32)
    s = torch.fft.fft(torch.complex(values * wave.cos().float(), values * wave.sin().float()), M)
    N1, N2, N3 = factors
    B, m = s.shape[0], M // O
    s = s.view(B, m, O).transpose(1, 2)  # (B, outer, inner)
    # With three factors it lies as (f₂, f₁, f₃), with two as (f₁, f₂).
    shape, order = ((N3, N2, N1), (0, 1, 3, 4, 2)) if N3 > 1 else ((N2, N1), (0, 1, 3, 2))
    s = s.reshape(B, O, *shape).permute(order)
    s = s.reshape(B, M)
    return torch.stack([s.real, s.imag], dim=1).contiguous()
