"""The density of weighted convolutions that minimises a loss."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from faltung.errors import ArgumentError

BOUNDS: dict[int, tuple[tuple[float, float], ...]] = {
    3: ((0.5, 1.5),), 5: ((0.05, 1.0), (0.5, 1.5)), 7: ((0.05, 0.5), (0.15, 1.0), (0.25, 1.5)),
}  # fmt: skip
"""The published ranges for each number of taps, the outermost tap first."""


@dataclass(frozen=True)
class TunedDensity:
    """The best density found, its loss, and all that was tried: pairs (density, loss) in order."""

    density: list[float]
    loss: float
    tried: list[tuple[list[float], float]]


def tune_density(
    train_fn: Callable[[list[float]], float], kernel_size: int, bounds: Any = "auto", budget: int = 50
) -> TunedDensity:
    """Search the density for which a training ends with the least loss, by dividing rectangles with a local bias (DIRECT-L).

    Args:
        train_fn: trains with the density it is given, (k − 1) / 2 numbers, the outermost tap first, and returns the final loss; for
            the same density always the same one, so seed it.
        kernel_size: odd taps k, at least 3.
        bounds: a pair (low, high) for each number; or `auto`, the published ranges for 3, 5 and 7 taps. Default auto.
        budget: trainings at most, at least 3. Default 50. The first is the middle of the bounds.

    Returns:
        `TunedDensity` with density, loss and tried. Deterministic.

    Raises:
        ArgumentError: bounds that do not fit the taps, or a loss that is no number.

    Source: Gablonsky and Kelley, A locally-biased form of the DIRECT algorithm (2001); Cammarasana and Patanè (2025).

    Example:
        >>> tune_density(lambda d: (d[0] - 0.7) ** 2, 3, budget=40).density
        [0.700...]
    """
    from scipy.optimize import Bounds, direct

    if kernel_size < 3 or kernel_size % 2 == 0:
        raise ArgumentError.of(
            "kernel_size", "an odd number of at least 3", repr(kernel_size), "one tap has no density"
        )
    if budget < 3:
        raise ArgumentError.of("budget", "at least 3 trainings", repr(budget), "raise it")
    if isinstance(bounds, str) and (bounds != "auto" or kernel_size not in BOUNDS):
        raise ArgumentError.of(
            "bounds",
            f"pairs, or 'auto' for taps among {sorted(BOUNDS)}",
            f"{bounds!r} for {kernel_size}",
            "write pairs",
        )
    pairs: Sequence[Sequence[float]] = BOUNDS[kernel_size] if isinstance(bounds, str) else bounds
    if len(pairs) != kernel_size // 2 or any(len(pair) != 2 or not pair[0] < pair[1] for pair in pairs):
        raise ArgumentError.of(
            "bounds",
            f"{kernel_size // 2} pairs (low, high) for {kernel_size} taps",
            repr(bounds),
            "give one for each distance",
        )
    tried: list[tuple[list[float], float]] = []

    def loss(point: Any) -> float:
        density = [float(v) for v in point]
        for known, value in tried:  # the search may come back to a point
            if known == density:
                return value
        if len(tried) >= budget:  # it ends a round that has begun; what is beyond the budget is not trained
            return math.inf
        value = float(train_fn(list(density)))
        if math.isnan(value):
            raise ArgumentError.of("train_fn", "a loss", f"{value} for {density}", "lower the learning rate")
        tried.append((density, value))
        return value

    box = Bounds([low for low, _ in pairs], [high for _, high in pairs])
    direct(loss, box, maxfun=budget, maxiter=10 * budget, locally_biased=True, vol_tol=0.0, len_tol=0.0)
    density, least = min(tried, key=lambda pair: pair[1])
    return TunedDensity(density, least, tried)
