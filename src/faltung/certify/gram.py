"""Norms from above by Gram iteration: squaring a matrix over and over leaves its largest singular value, never less.

With G₀ = G and G_{t+1} = G_t* G_t, the number ‖G_t‖_F^(2^−t) is the Schatten norm of order 2^(t+1): at least σ₁, falling with
t, and at most σ₁ · r^(2^−(t+1)) for rank r. The largest column of G_t bounds σ₁ from below in the same way.
"""

from typing import Any

import torch
from torch import Tensor

EPSILON = 2.0**-52


def gram_bound(matrices: Any, n_iter: int = 5) -> Tensor:
    """The largest singular value of each matrix from above, by that many Gram steps; differentiable.

    Formula: `(Σ_i σ_i^(2^(n_iter + 1)))^(2^-(n_iter + 1))`, at most `min(m, n)^(2^-(n_iter + 1)) · σ₁`.

    Shapes: matrices (..., m, n), real or complex, array or tensor; returns (...), float64.
    Args:
        n_iter: how many times to square, at least 0. Default 5: at most 7 % above for 64 channels, much less as a rule.
    Error: rounding in float64, relatively below 1e-12 for up to 500 channels; `spectral_norm` adds it on, this does not.
    Cost: n_iter · min(m, n)²·max(m, n) multiplications for each matrix.
    Source: Delattre, Barthélemy, Araujo and Allauzen, Efficient bound of Lipschitz constant for convolutional layers by Gram
        iteration (2023).

    Example:
        >>> round(gram_bound(torch.eye(64), 5).item(), 12) == round(64 ** (1 / 64), 12)
        True
    """
    upper, _ = both(prepared(matrices), n_iter)
    return upper


def prepared(matrices: Any) -> Tensor:
    """In double precision, with no more columns than rows, so that Gram matrices are small."""
    given = torch.as_tensor(matrices)
    given = given.to(torch.complex128 if given.is_complex() else torch.float64)
    return given if given.shape[-1] <= given.shape[-2] else given.mH


def both(matrices: Tensor, n_iter: int) -> tuple[Tensor, Tensor]:
    """The largest singular value from above and from below, of matrices that are `prepared`."""
    scale = torch.zeros(matrices.shape[:-2], dtype=torch.float64, device=matrices.device)
    for _ in range(n_iter):
        matrices, scale = step(matrices, scale)
    return ends(matrices, scale, n_iter)


def step(matrices: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """One Gram step of matrices of which exp(scale) has been taken out, so that nothing overflows."""
    size = frobenius(matrices)
    # a matrix of zeros stays one: its logarithm is never looked at
    size = torch.where(size > 0, size, 1.0)
    matrices = matrices / size[..., None, None]
    return matrices.mH @ matrices, 2 * (scale + size.log())


def ends(matrices: Tensor, scale: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """The upper and the lower end after that many steps."""
    root = 2.0**-steps
    size = frobenius(matrices)
    column = squares(matrices).sum(-2).amax(-1)
    some = size > 0
    upper = torch.where(some, torch.where(some, size, 1.0) ** root * (root * scale).exp(), 0.0)
    lower = torch.where(some, torch.where(some, column, 1.0) ** (root / 2) * (root * scale).exp(), 0.0)
    return upper, lower


def reached(matrices: Tensor, powers: Tensor) -> Tensor:
    """How much each matrix lengthens the largest column of its Gram power: as tight as 2^steps power iterations."""
    largest = squares(powers).sum(-2).argmax(-1)
    column = powers.gather(-1, largest[:, None, None].expand(-1, powers.shape[-2], 1))
    length = squares(column).sum((-2, -1)).sqrt()
    image = squares(matrices @ column).sum((-2, -1)).sqrt()
    return torch.where(length > 0, image / torch.where(length > 0, length, 1.0), 0.0)


def frobenius(matrices: Tensor) -> Tensor:
    """The Frobenius norm; its gradient at 0 is 0."""
    flat = torch.view_as_real(matrices.resolve_conj()) if matrices.is_complex() else matrices[..., None]
    return torch.linalg.vector_norm(flat.flatten(-3), dim=-1)


def squares(matrices: Tensor) -> Tensor:
    """The squared sizes of the entries."""
    if matrices.is_complex():
        return matrices.real.square() + matrices.imag.square()
    return matrices.square()


def slack(rank: int, taps: int, points: int) -> float:
    """A bound of the relative rounding error of `both` applied to the values of a symbol, to be added on.

    Let u be the unit of float64. Sums of `taps` terms and a Fourier transform of `points` values miss the matrix of a symbol by at
    most a few u·(taps^1.5 + log₂(points)·√points) of the kernel's Frobenius norm, which is at most √rank times the largest value
    of σ₁. A product of Gram matrices misses by a few u·rank of the square of the norm, which is at most √rank times the norm of
    the product; of the error of step t the root leaves 2^−t. Logarithms and exponentials add a few u. "A few" is 32 here.
    """
    fourier = max(points, 2).bit_length() * points**0.5
    return 32 * EPSILON * (rank**0.5 * (rank + taps**1.5 + fourier) + 32)
