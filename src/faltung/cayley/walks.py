"""Walks on a group as powers of a convolution: how many there are, how they mix, how far everything is.

One function, the indicator of the generators, over three algebras.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from faltung.domains.group import Group
from faltung.door import convolve
from faltung.engine import power, star
from faltung.errors import ArgumentError, ExactnessError


def indicator(G: Group, generators: Iterable[Any]) -> np.ndarray:
    """How often each element is among the generators: (|G|,) whole numbers."""
    numbers = [G.index(s) for s in generators]
    if not numbers:
        raise ArgumentError.of("walks", "at least one generator", "none", "name elements of the group")
    return np.bincount(numbers, minlength=G.order)


def walks(G: Group, generators: Iterable[Any], length: int) -> np.ndarray:
    """How many walks of a length lead from the neutral element to each: the integer power of the indicator.

    Shapes: (|G|,) of int64.

    Args:
        G: from `faltung.domains.group`.   generators: elements, as G names them.   length: from 0 on.

    Raises:
        ArgumentError: no generators, others than the group's elements, a negative length.
        ExactnessError: numbers of walks that could leave 64 bits: |generators|^length from 2⁶³ on.

    Error: none.
    Cost: about 2·log₂(length) convolutions.

    Example:
        >>> from faltung.domains.group import cyclic
        >>> walks(cyclic(4), [1, 3], 3).tolist()
        [0, 4, 0, 4]
    """
    s = indicator(G, generators).astype(np.int64)
    if int(s.sum()) ** max(length, 0) >= 1 << 63:
        raise ExactnessError.of(
            "walks",
            "fewer than 2^63 walks",
            f"{int(s.sum())}^{length}",
            "take shorter walks, or `mixing` for their shares",
        )
    return np.asarray(power(s, length, on=G, over="count"))


def distances(G: Group, generators: Iterable[Any]) -> np.ndarray:
    """The length of the shortest word for each element: the star of [s ↦ 1] over min-plus; infinite for what no word reaches.

    Shapes: (|G|,) of float64.

    Cost: about 2·log₂ of the diameter convolutions; `growth` is for larger groups.
    Source: Kleene (1956); Lehmann (1977).

    Example:
        >>> from faltung.domains.group import cyclic
        >>> distances(cyclic(6), [1, 5]).tolist()
        [0.0, 1.0, 2.0, 3.0, 2.0, 1.0]
    """
    return np.asarray(star(np.where(indicator(G, generators) > 0, 1.0, np.inf), on=G, over="min-plus"))


def mixing(G: Group, weights: np.ndarray, steps: int) -> np.ndarray:
    """How far a random walk is from the uniform distribution after 0, 1, ... steps, in total variation.

    Formula: `d(r) = ½ Σ_g |P^r(g) − 1/|G||`.

    Shapes: (steps + 1,).

    Args:
        weights: (|G|,), not negative; they are divided by their sum and are the chance of each step.

    Error: r roundings of the convolution, each relative to 1.
    Cost: a convolution a step.
    Source: Diaconis (1988).

    Example:
        >>> from faltung.domains.group import cyclic
        >>> mixing(cyclic(4), np.array([2.0, 1.0, 0.0, 1.0]), 3).round(4).tolist()
        [0.75, 0.25, 0.125, 0.0625]
    """
    p = np.asarray(weights, np.float64)
    if p.shape != (G.order,) or not (p >= 0).all() or not 0 < p.sum() < np.inf:
        raise ArgumentError.of(
            "mixing", f"{G.order} weights from 0 on, not all 0", f"shape {p.shape}", "one an element"
        )
    on: Any = G
    p = p / p.sum()
    found = [np.eye(1, G.order)[0]]
    for _ in range(steps):
        found.append(convolve(found[-1], p, on=on))
    return 0.5 * np.abs(np.array(found) - 1.0 / G.order).sum(axis=1)
