"""How much of a filter's gain can hide between the points of a grid of frequencies."""

import math
from collections.abc import Sequence


def between(size: Sequence[int], n: Sequence[int]) -> float:
    """A factor that takes the largest gain on a grid of n points an axis to a bound over all frequencies.

    Formula: the smaller of `1 / cos(Σ_a π(k_a − 1) / 2n_a)`, where the sum is below π/2, and `∏_a (1 − 2⌊k_a/2⌋ / n_a)^(−1/2)`,
    where n_a > 2⌊k_a/2⌋. The first is smaller on fine grids, the second holds on coarse grids of several axes, where the first says
    nothing.

    Args:
        size: the kernel's taps along each axis, without dilation.   n: points of the grid along each axis.
    Returns:
        At least 1; infinite where the grid is too coarse for both.
    Error: a few roundings; callers who certify add theirs.
    Source: M. Riesz (1914) and Hörmander (1955) for the cosine; Pfister and Bresler, Bounding multivariate trigonometric
        polynomials (2019), for the product.

    Example:
        >>> between((3,), (8,)), between((3, 3), (4, 4))
        (1.082392200292394, 2.0)
    """
    angle = sum(math.pi * (k - 1) / (2 * m) for k, m in zip(size, n, strict=True))
    cosine = 1 / math.cos(angle) if angle < math.pi / 2 * (1 - 1e-9) else math.inf
    shares = [1 - 2 * (k // 2) / m if k > 1 else 1.0 for k, m in zip(size, n, strict=True)]
    product = math.prod(share**-0.5 for share in shares) if min(shares, default=1.0) > 0 else math.inf
    return min(cosine, product)
