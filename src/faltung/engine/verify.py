"""Is y the convolution of x and k? Found out in linear time, without computing it."""

from typing import Any

from faltung import arrays
from faltung.door import plan
from faltung.planner.verify import Verdict


def verify(
    y: Any, x: Any, k: Any, pattern: str | None = None, *, flip: bool = True, repeats: int = 1, seed: int | None = None,
    **options: Any,
) -> Verdict:  # fmt: skip
    """Check a claimed convolution against the definition at random points.

    Formula: with y[i] = Σ_t x̃[i·s + t·d] k[t], for a random ρ (one an axis)
        `Σ_i ρ^(s·i) y[i] = Σ_j x̃[j] ρ^j Σ_t k[t] ρ^(−t·d)`, the inner sum over the taps that meet place j.

    Shapes: as in `convolve`; y has the shape and dtype of its result.

    Args:
        y: the claim.   x, k, pattern, options: as in `convolve`.   flip: True for convolution, False for correlation.
        repeats: how many points, from 1 on.   seed: of the points; drawn from the system where None.

    Returns:
        A `Verdict`: true where the claim is accepted. Exact values (integers, residues modulo a prime, Python's numbers): a wrong
        claim passes with a probability of at most `missed` = (sum of the padded sizes / p)^repeats, p = 2^61 − 1 or the modulus.
        Floating-point values: `allowed` is what the plan's error bound leaves to the sum of all results; smaller errors pass.

    Raises:
        RefusedError: no ring, no grid, or residues modulo a composite or small number.   ArgumentError: shapes that do not fit.

    Cost: linear in |x| + |k| + |y|, about 20 operations a value.
    Source: Freivalds (1977); Schwartz (1980), Zippel (1979); Sun, Bai, Li and Zhang, zkDL (2024).

    Example:
        >>> bool(verify([4, 13, 22, 15], [1, 2, 3], [4, 5]))
        True
        >>> bool(verify([4, 13, 22, 16], [1, 2, 3], [4, 5]))
        False
    """
    x, k, y = (arrays.as_array(a, "verify") for a in (x, k, y))
    made = plan(x, k, pattern, flip=flip, **options)
    return made.check(x, k, y, repeats, seed)
