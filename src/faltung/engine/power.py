"""Powers of a convolution: x ∗ x ∗ ... ∗ x, by repeated squaring, over every algebra and on every domain."""

from typing import Any

import numpy as np

from faltung import arrays, domains
from faltung.door import convolve, plan
from faltung.errors import ArgumentError
from faltung.planner.policy import Policy


def power(x: Any, n: int, *, on: Any = None, over: Any = None, policy: Policy | None = None) -> Any:
    """x convolved with itself: n factors.

    Formula: `x^n = x ∗ x ∗ ... ∗ x`, x⁰ the neutral signal: the algebra's one at the neutral index, its zero elsewhere.

    Shapes: on the grid (*s) gives (n·(s − 1) + 1 an axis), all of the convolution's values; elsewhere the shape stays.

    Args:
        x: array of signals on one domain: all axes are its indices.   n: from 0 on.
        on, over, policy: domain, algebra and limits, as in `convolve`.

    Returns:
        The power, in the kind of array that came in.

    Raises:
        ArgumentError: n that is no whole number from 0 on; n = 0 where the domain has no neutral index.

    Error: exact algebras none; otherwise that of about 2·log₂ n convolutions, each of its plan.
    Cost: at most 2·log₂ n convolutions, squares above all.
    Source: the binary method, Pingala (c. 200 BC); Knuth, TAOCP 4.6.3.

    Example:
        >>> power([3, 1], 3)
        array([27, 27,  9,  1])
        >>> power([True, True, False, False], 2, on="dyadic")
        array([ True,  True, False, False])
    """
    x = arrays.as_array(x, "power")
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0:
        raise ArgumentError.of("power", "a whole number of factors from 0 on", repr(n), "give an int")
    result, square, rest = None, x, int(n)
    while rest:
        if rest & 1:
            result = square if result is None else convolve(result, square, on=on, over=over, policy=policy)
        rest >>= 1
        if rest:
            square = convolve(square, square, on=on, over=over, policy=policy)
    if result is None:
        return one(x, on, over, "power")
    return convolve(one(x, on, over, "power"), x, on=on, over=over, policy=policy) if n == 1 else result


def one(x: Any, on: Any, over: Any, who: str) -> Any:
    """The neutral signal of a domain and algebra, in the dtype of x ∗ x; on the grid a single value."""
    domain = domains.named("grid" if on is None else on)
    problem = plan(x, x, on=on, over=over).problem
    algebra, dtype = problem.over, np.dtype(problem.out_dtype)
    at: Any = (0,) * x.ndim
    shape = (1,) * x.ndim if domain is domains.GRID else tuple(x.shape)
    if isinstance(domain, domains.FiniteDomain):
        at = domain.neutral(x.shape[-1])
        if at is None:
            raise ArgumentError.of(
                who, "a domain with a neutral index", domain.text, "there is no power of zero factors"
            )
    zero, unit = algebra.zero(dtype), algebra.one(dtype)
    values = np.full(shape, zero, dtype=dtype)
    values[at] = unit
    return arrays.from_numpy(values, problem.out_dtype, problem.host)
