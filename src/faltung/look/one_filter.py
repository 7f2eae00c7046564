"""When a filter can be learnt: gradient descent on one rectified filter whose results are averaged over its patches."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from faltung.errors import ArgumentError
from faltung.look.tables import table


@dataclass(frozen=True, eq=False)
class Learnt:
    """How a filter came nearer to the one that made the labels.

    Fields: weights: (steps + 1, taps).   angles: radians to the true filter.   distances: ‖w − w*‖.   errors: half the mean
        squared error.
    """

    weights: np.ndarray
    angles: np.ndarray
    distances: np.ndarray
    errors: np.ndarray

    def table(self, every: int = 10) -> str:
        """For people: every so many steps."""
        kept = range(0, len(self.angles), every)
        rows = [[n, float(self.angles[n]), float(self.distances[n]), float(self.errors[n])] for n in kept]
        return table(["step", "angle", "distance", "error"], rows)


def learn_filter(
    patches: Any,
    target: Any,
    *,
    start: Any = None,
    rates: tuple[float, float] = (0.2, 1.0),
    steps: int = 200,
    seed: int = 0,
) -> Learnt:
    """Learn a rectified filter with mean pooling from what another one says, by gradient descent in two stages.

    Formula: f(w, Z) = mean over patches of max(wᵀ Zᵢ, 0); the step is against the gradient of ½ mean (f(w) − f(w*))²,
    `mean over samples of (f(w) − f(w*)) · mean over patches of Zⱼ [wᵀ Zⱼ ≥ 0]`, by the first rate until the angle is below 1/2,
    then by the second.

    Started within the right half of space, the filter is found for patches whose directions are spread smoothly, the more slowly
    the more they resemble each other; for other starts nothing is proved, and of many patches such a start is often not left
    in the steps that others need. Patches that resemble each other need small rates.

    Shapes: patches (samples, patches, taps), target (taps).

    Args:
        start: (taps). Default: a small one at random.   rates: of the two stages.   seed: of the start.

    Raises:
        ArgumentError: shapes that do not fit, or a target of zeros.

    Source: Du, Lee and Tian, When is a convolutional filter easy to learn? (2018).

    Example:
        >>> z = np.random.default_rng(0).standard_normal((2000, 4, 6))
        >>> bool(learn_filter(z, np.ones(6), start=0.1 * np.eye(6)[0]).distances[-1] < 1e-4)
        True
    """
    z, true = np.asarray(patches, np.float64), np.asarray(target, np.float64)
    if z.ndim != 3 or true.shape != z.shape[2:] or not np.abs(true).max(initial=0.0) > 0:
        raise ArgumentError.of(
            "learn_filter", "patches (samples, patches, taps) and a filter (taps) other than zero",
            f"{z.shape} and {true.shape}", "cut signals into patches",
        )  # fmt: skip
    if start is None:
        drawn = np.random.default_rng(seed).standard_normal(len(true))
        start = 0.1 * np.linalg.norm(true) * drawn / np.linalg.norm(drawn)
    w = np.array(start, np.float64)
    labels = np.maximum(z @ true, 0).mean(1)
    weights, errors = [w], []
    for _ in range(steps + 1):
        responses = z @ w
        off = np.maximum(responses, 0).mean(1) - labels
        errors.append(0.5 * float((off**2).mean()))
        if len(errors) > steps:
            break
        gradient = np.einsum("n,nk,nkp->p", off, responses >= 0, z) / responses.size
        w = w - rates[_angle(w, true) < 0.5] * gradient
        weights.append(w)
    path = np.array(weights)
    angles = np.array([_angle(v, true) for v in path])
    return Learnt(path, angles, np.linalg.norm(path - true, axis=1), np.array(errors))


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    """By half angles, which keeps small ones."""
    a, b = (v / max(np.linalg.norm(v), 1e-300) for v in (a, b))
    return float(2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b)))
