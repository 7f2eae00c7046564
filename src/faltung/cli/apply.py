"""One filter on one file's content: which axes, which defaults, opacity, and the way back to the file's own dtype."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import faltung
from faltung import filters, media
from faltung.errors import ArgumentError
from faltung.media import Media

ARITHMETIC = (
    None,
    "real",
    "max-plus",
    "min-plus",
    "max-times",
    "max-min",
    "min-max",
    "log",
)  # algebras that compute with floats, so that integer pictures become floats first


@dataclass(frozen=True)
class Request:
    """What `faltung convolve` was asked to do, the same for every input.

    `mode` and `boundary` None mean the usual ones: `same` and `reflect` for images and arrays, `full` and `constant` for sounds.
    """

    kernel: str
    over: str | None = None
    mode: str | None = None
    boundary: Any = None
    stride: Any = 1
    correlate: bool = False
    scale: float = 1.0
    policy: faltung.Policy | None = None

    def options(self, kind: str) -> dict[str, Any]:
        """The door's arguments for a kind of media."""
        sound = kind == "sound"
        mode = self.mode if self.mode is not None else ("full" if sound else "same")
        boundary = self.boundary if self.boundary is not None else ("constant" if sound else "reflect")
        return {"mode": mode, "boundary": boundary, "stride": self.stride, "over": self.over, "policy": self.policy}


def filter_for(given: Media, request: Request) -> tuple[np.ndarray, str]:
    """The request's filter for this content, and the pattern that says how their axes meet."""
    k = filters.parse(request.kernel, given.spatial, request.over)
    who = f"kernel {request.kernel!r}"
    if given.kind == "sound" and Path(request.kernel).suffix.lower() in media.sounds.SUFFIXES:
        own, other = given.metadata["rate"], media.read(request.kernel).metadata["rate"]
        if own != other:
            raise ArgumentError.of(
                who, f"{own} samples a second, as the sound has", f"{other}", "resample one of the two"
            )
    if request.scale != 1.0:
        if request.over not in (None, "real", "complex"):
            raise ArgumentError.of("--scale", "real or complex arithmetic", f"--over {request.over}", "leave it out")
        k = k * request.scale
    if k.ndim == given.spatial:
        return k, "*s, *s -> *s" if given.channels is None else "*s c, *s -> *s c"
    if given.channels not in (None, 1, k.shape[-1]) or given.alpha:
        came = f"{given.channels} channels in the data and {k.shape[-1]} in the filter"
        raise ArgumentError.of(who, "one filter, or one for each channel", came, "match the channels")
    return k, "*s, *s c -> *s c" if given.channels is None else "*s c, *s c -> *s c"


def explained(given: Media, request: Request) -> str:
    """How `convolved` would compute it, as text (for pictures with alpha: their colours)."""
    k, pattern = filter_for(given, request)
    x = _operand(given, given.array[..., :-1] if given.alpha else given.array, request)
    x, k = _paired(x, k, pattern)
    plan = faltung.plan(x, k, pattern, flip=not request.correlate, **request.options(given.kind))
    return f"{plan}\n\nthis filter is taken by {plan.prepare(k).method}"


def convolved(given: Media, request: Request, raw: bool = False) -> tuple[Media, float]:
    """The filtered content, in the dtype and range of the original, and the share of values that left that range.

    Args:
        given: the content of a file.   request: what to do.
        raw: keep the unrounded values, as float32 (pictures in their range, sounds within ±1). Default False.
    """
    k, pattern = filter_for(given, request)
    run = faltung.correlate if request.correlate else faltung.convolve
    options = request.options(given.kind)

    def filtered(values: np.ndarray, weights: np.ndarray, dtype: str | None = None) -> np.ndarray:
        x, w = _paired(_operand(given, values, request), weights, pattern)
        return run(x, w, pattern, dtype=dtype, **options)

    if given.alpha:
        y = _with_alpha(given, k, request, filtered)
    elif raw or given.kind != "image" or given.array.dtype.kind not in "iu":
        y = filtered(given.array, k)
    else:
        return given.of(filtered(given.array, k, str(given.array.dtype))), 0.0
    if given.kind == "array":
        return Media(y, "array"), 0.0
    if raw:
        unit = given.top if given.kind == "sound" and given.top else 1.0
        return replace(given, array=(y / unit).astype(np.float32), channels=_channels(given, y)), 0.0
    outside = 0.0
    if given.kind == "sound" and given.array.dtype.kind in "iu" and given.top:
        outside = float(np.mean((y < -given.top - 0.5) | (y > given.top - 0.5)))
    return replace(given.of(y), channels=_channels(given, y)), outside


def _channels(given: Media, y: np.ndarray) -> int | None:
    """A filter with channels of its own gives its number of channels to the result."""
    return None if given.channels is None else y.shape[-1]


def _operand(given: Media, values: np.ndarray, request: Request) -> np.ndarray:
    """Pictures and sounds of integers as floats that hold them exactly; arrays as they are."""
    if given.kind == "array" or values.dtype.kind not in "iu" or request.over not in ARITHMETIC:
        return values
    return values.astype(np.float32 if values.dtype.itemsize <= 2 and given.kind == "image" else np.float64)


def _paired(x: np.ndarray, k: np.ndarray, pattern: str) -> tuple[np.ndarray, np.ndarray]:
    """The filter in the float type of a picture's arithmetic, and the single channel of a sound spread over a filter's."""
    if x.dtype == np.float32 and k.dtype == np.float64:
        k = k.astype(np.float32)
    if pattern == "*s c, *s c -> *s c" and x.shape[-1] == 1:
        x = np.repeat(x, k.shape[-1], axis=-1)
    return x, k


def _with_alpha(given: Media, k: np.ndarray, request: Request, filtered: Callable[..., np.ndarray]) -> np.ndarray:
    """Colours weighted by their opacity before they are mixed, and freed of it afterwards.

    Opacity is mixed like the colours where the filter averages (no negative weight; divided by the weights' sum, so that a
    brighter picture is not a more opaque one) and where it takes maxima or minima. Filters that find differences leave it where
    it is.
    """
    top = given.top or 1.0
    values = given.array.astype(np.float64)
    opacity = values[..., -1:]
    colours = values[..., :-1] if given.premultiplied else values[..., :-1] * (opacity / top)
    total = float(k.sum())
    picks = request.over in ("max-plus", "min-plus")
    averages = not picks and bool(np.all(k >= 0)) and total > 0
    if picks or averages:
        seen = filtered(opacity, k) / (total if averages else 1.0)
    else:
        impulse = np.zeros_like(k)
        impulse[tuple(t // 2 if request.correlate else (t - 1) // 2 for t in k.shape)] = 1.0
        seen = filtered(opacity, impulse)
    mixed = filtered(colours, k)
    seen = np.clip(seen, 0.0, top)
    if not given.premultiplied:
        visible = seen > (
            0.5 if given.array.dtype.kind in "iu" else 1e-9 * top
        )  # below, rounding noise would be amplified
        mixed = np.where(visible, mixed * top / np.where(visible, seen, 1.0), 0.0)
    return np.concatenate([mixed, seen], axis=-1)
