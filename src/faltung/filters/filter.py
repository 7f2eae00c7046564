"""What a filter is: a named function that makes an array, and the readers of the arguments that many filters share.

Filters are written in the order of `convolve` (as in `numpy.convolve`): tap 0 meets the newest value. The middle of a filter is at
index `(size - 1) // 2`, where `mode="same"` looks for it; all filters here have odd sizes or are even on purpose and say so.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from faltung.errors import ArgumentError

AXIS_LETTERS = "xyz"  # x is the last axis, as columns are of an image, y the last but one, z the one before


@dataclass(frozen=True)
class Filter:
    """One family of filters, as the registry lists it.

    Fields:
        name: how expressions call it.   summary: one line for people.   source: where the formula comes from.
        make: the function; its positional parameters are what an expression gives in order, its keywords what it names, and
            `ndim`, where it has one, is filled in from the data.
        examples: expressions, each valid for an image unless `ndims` says otherwise.   ndims: numbers of axes that `examples` fit.
        element: for max-plus and min-plus, whether the filter's support is meant and not its weights (box and disk: a flat element
            of zeros).   ordered: whether its weights themselves are meant for max-plus and min-plus.
    """

    name: str
    summary: str
    source: str
    make: Callable[..., np.ndarray]
    examples: tuple[str, ...]
    ndims: tuple[int, ...] = (1, 2, 3)
    element: bool = False
    ordered: bool = False


def count(who: str, ndim: Any) -> int:
    """A number of axes, an integer of at least 1."""
    if isinstance(ndim, bool) or not isinstance(ndim, (int, np.integer)) or ndim < 1:
        raise ArgumentError.of(who, "ndim, an integer of at least 1", repr(ndim), "give the number of spatial axes")
    return int(ndim)


def positive(who: str, name: str, value: Any) -> float:
    """A finite number above zero."""
    number = finite(who, name, value)
    if number <= 0:
        raise ArgumentError.of(who, f"{name} > 0", repr(value), f"give a positive {name}")
    return number


def finite(who: str, name: str, value: Any) -> float:
    """A finite real number."""
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not real or not math.isfinite(value):
        raise ArgumentError.of(who, f"{name}, a finite number", repr(value), f"give {name} as a number")
    return float(value)


def per_axis(who: str, name: str, value: Any, ndim: int | None, default_ndim: int = 2) -> tuple[Any, ...]:
    """One entry an axis from a single value or a sequence; `ndim` None takes the sequence's length."""
    if (isinstance(value, Sequence) and not isinstance(value, str)) or isinstance(value, np.ndarray):
        entries = tuple(value)
        if not entries or (ndim is not None and len(entries) != count(who, ndim)):
            wanted = (
                "at least one entry" if ndim is None else f"one {name} for each of the {ndim} axes, or a single one"
            )
            raise ArgumentError.of(who, wanted, f"{len(entries)} ({value!r})", "match the number of axes")
        return entries
    return (value,) * (default_ndim if ndim is None else count(who, ndim))


def whole(who: str, name: str, value: Any, least: int) -> int:
    """An integer of at least `least`; 9.0 counts as one."""
    number = finite(who, name, value)
    if number != int(number) or number < least:
        raise ArgumentError.of(who, f"{name}, an integer of at least {least}", repr(value), f"give a whole {name}")
    return int(number)


def axis_index(who: str, axis: Any, ndim: int) -> int:
    """The index of an axis given as `x`, `y`, `z` (last, last but one, ...) or as an integer."""
    letters = AXIS_LETTERS[:ndim]
    if isinstance(axis, str) and len(axis) == 1 and axis in letters:
        return ndim - 1 - letters.index(axis)
    if (
        isinstance(axis, (int, float, np.integer))
        and not isinstance(axis, bool)
        and axis == int(axis)
        and -ndim <= axis < ndim
    ):
        return int(axis) % ndim
    raise ArgumentError.of(
        who,
        f"an axis among {', '.join(letters)} or {-ndim}..{ndim - 1} of {ndim}-D data",
        repr(axis),
        "choose one of these",
    )


def direction(who: str, ndim: int, angle: Any, vector: Any, vector_name: str) -> np.ndarray:
    """A unit vector, one entry an axis, from an angle in the plane of the last two axes or from a vector.

    The angle is in radians, from x (right) towards the top of the picture, counter-clockwise as one sees it; rows count downwards,
    so the vector is (..., -sin, cos).
    """
    if vector is not None:
        entries = np.array([finite(who, vector_name, v) for v in per_axis(who, vector_name, vector, ndim)])
        length = float(np.linalg.norm(entries))
        if length == 0 or np.ndim(vector) != 1:
            raise ArgumentError.of(
                who, f"{vector_name}, {ndim} numbers that are not all zero", repr(vector), "give a vector"
            )
        return entries / length
    turn = finite(who, "angle", angle)
    if ndim == 1:
        if turn != 0:
            raise ArgumentError.of(who, "angle 0 for 1-D data", repr(angle), "leave the angle out")
        return np.ones(1)
    unit = np.zeros(ndim)
    # exact zeros for quarter turns, which floating-point sines miss by 1e-16 and which would leak into neighbouring cells
    unit[-2:] = [-_clean(math.sin(turn)), _clean(math.cos(turn))]
    return unit


def outer(factors: Sequence[np.ndarray]) -> np.ndarray:
    """The outer product of 1-D factors, one an axis."""
    result = factors[0]
    for factor in factors[1:]:
        result = np.multiply.outer(result, factor)
    return result


def offsets(radii: Sequence[int]) -> list[np.ndarray]:
    """The coordinates -r..r along each axis, shaped to broadcast against each other."""
    return list(np.ogrid[tuple(slice(-r, r + 1) for r in radii)])


def _clean(value: float) -> float:
    return 0.0 if abs(value) < 1e-12 else value
