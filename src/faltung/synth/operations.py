"""Small changes of one picture that leave its label: contrast, levels, turns, slants and shifts, of a drawn strength.

Values are real numbers and stay so: nothing is rounded to bytes, and what a shift or turn brings in from outside is 0.

Source: the set of Hendrycks et al., AugMix (2020), as used by Yucel, Cinbis and Duygulu, HybridAugment++ (2023).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.ndimage import affine_transform

from faltung.arrays import import_torch, is_torch
from faltung.errors import ArgumentError
from faltung.synth.draws import Source, random


def stretch(x: np.ndarray, level: float = 0.0) -> np.ndarray:
    """Each channel from 0 to 1: `(x - min) / (max - min)`; constants stay. The level says nothing."""
    low, high = x.min((1, 2), keepdims=True), x.max((1, 2), keepdims=True)
    return np.where(high > low, (x - low) / np.where(high > low, high - low, 1), x)


def equalise(x: np.ndarray, level: float = 0.0) -> np.ndarray:
    """Each channel's values by their ranks: `(F(x) - F(min)) / (1 - F(min))`, F(v) the share of values at most v; constants stay.

    Any increasing change of the values before gives the same. The level says nothing.
    """
    out = x.copy()
    for plane, made in zip(x, out, strict=True):
        shares = np.searchsorted(np.sort(plane, axis=None), plane, side="right") / plane.size
        least = shares.min()
        if least < 1:
            made[...] = (shares - least) / (1 - least)
    return out


def posterise(x: np.ndarray, level: float) -> np.ndarray:
    """So many steps: `min(⌊m·x⌋, m - 1) / m`, m = 2^(4 - ⌊4·level⌋), at least 1; x in [0, 1]."""
    steps = 2.0 ** (4 - int(4 * level))
    return np.minimum(np.floor(steps * x), steps - 1) / steps


def solarise(x: np.ndarray, level: float) -> np.ndarray:
    """What is bright turned into its negative: 1 - x where x ≥ 1 - level, else x; x in [0, 1]."""
    return np.where(x >= 1 - level, 1 - x, x)


def rotate(x: np.ndarray, level: float) -> np.ndarray:
    """Turned about the middle by 30° · level, from the second axis to the first."""
    angle = np.deg2rad(30 * level)
    return _affine(x, [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], (0, 0))


def shear_x(x: np.ndarray, level: float) -> np.ndarray:
    """Each row moved by 0.3 · level times its distance from the middle one."""
    return _affine(x, [[1, 0], [0.3 * level, 1]], (0, 0))


def shear_y(x: np.ndarray, level: float) -> np.ndarray:
    """Each column moved by 0.3 · level times its distance from the middle one."""
    return _affine(x, [[1, 0.3 * level], [0, 1]], (0, 0))


def translate_x(x: np.ndarray, level: float) -> np.ndarray:
    """Moved along rows by a third of the width times the level, truncated to whole pixels."""
    return _affine(x, np.eye(2), (0, int(x.shape[2] / 3 * level)))


def translate_y(x: np.ndarray, level: float) -> np.ndarray:
    """Moved along columns by a third of the height times the level, truncated to whole pixels."""
    return _affine(x, np.eye(2), (int(x.shape[1] / 3 * level), 0))


Operation = Callable[[np.ndarray, float], np.ndarray]
OPERATIONS: tuple[Operation, ...] = (
    stretch, equalise, posterise, rotate, solarise, shear_x, shear_y, translate_x, translate_y,
)  # fmt: skip
SIGNED = frozenset({rotate, shear_x, shear_y, translate_x, translate_y})


def vary(x: Any, severity: float = 3.0, rng: Source = 0, operations: Sequence[Operation] = OPERATIONS) -> Any:
    """Each picture changed by one operation of its own, drawn with its strength.

    Formula: level uniform from 0.01 to severity / 10, either sign alike for turns, slants and shifts.
    Shapes: x (B, C, H, W) of real numbers, in [0, 1] for `posterise` and `solarise`; array or tensor, returns the same.

    Args:
        severity: at least 0.1, at most 10. Default 3.
        rng: a seed or a `numpy.random.Generator`, also for tensors.   operations: to draw from, each `fn(picture, level)`.

    Raises:
        ArgumentError: other shapes or dtypes, a severity out of range, no operation.

    Cost: some passes a picture, in the processor's memory, wherever a tensor lies; no derivative passes.
    Source: see the module.

    Example:
        >>> vary(np.ones((2, 3, 8, 8)), operations=[solarise]).max()
        np.float64(0.0)
    """
    if not is_real(x) or x.ndim != 4 or not 0.1 <= severity <= 10 or not operations:
        raise ArgumentError.of(
            "synth.vary",
            "real pictures (B, C, H, W), severity in [0.1, 10], at least one operation",
            f"{tuple(x.shape)} of {x.dtype}, severity {severity}, {len(operations)} operations",
            "divide bytes by 255",
        )
    source = random(rng, "synth.vary")
    # All numbers of a picture are drawn whichever operation it gets, so that a longer batch starts like a shorter one.
    draws = source.random((len(x), 3))
    given = x.detach().cpu() if is_torch(x) else x
    if x.dtype.itemsize < 4:  # SciPy interpolates no half precision
        given = given.float() if is_torch(x) else given.astype(np.float32)
    given = np.asarray(given)
    out = np.empty_like(given)
    for picture, made, (which, strength, sign) in zip(given, out, draws, strict=True):
        operation = operations[int(which * len(operations))]
        level = 0.01 + strength * (severity / 10 - 0.01)
        made[...] = operation(picture, -level if sign < 0.5 and operation in SIGNED else level)
    if is_torch(x):
        return import_torch("synth.vary").as_tensor(out, dtype=x.dtype, device=x.device)
    return out.astype(x.dtype, copy=False)


def is_real(x: Any) -> bool:
    """Whether an array or tensor holds real numbers, not whole ones."""
    return x.is_floating_point() if is_torch(x) else np.issubdtype(x.dtype, np.floating)


def like(values: np.ndarray, x: Any) -> Any:
    """The values in the images' kind of array, dtype and place."""
    if is_torch(x):
        return import_torch("synth").as_tensor(values, dtype=x.dtype, device=x.device)
    return values.astype(x.dtype)


def _affine(x: np.ndarray, matrix: Any, step: tuple[int, int]) -> np.ndarray:
    """The picture at `middle + matrix (p - middle) - step`, by linear interpolation, 0 outside."""
    matrix = np.asarray(matrix, float)
    middle = (np.array(x.shape[1:]) - 1) / 2
    offset = middle - matrix @ middle - np.asarray(step)
    return np.stack([affine_transform(plane, matrix, offset, order=1, mode="grid-constant") for plane in x])
